"""What every width method must keep, as a class that the test of each method inherits."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.search.methods.contract import DrivingCost, PenaltyTarget, WidthMethod
from nas_prune.search.methods.registry import scorable
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from nas_prune.space.load import load_space
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.checkpoint import read_checkpoint, write_checkpoint
from nas_prune.training.loop import Training, fit
from nas_prune.training.recipe import recipe_named
from nas_prune.training.state import TrainState, start
from tests.search.methods.evidence import digits, evidence
from tests.surgery import kill


class DepthwiseAndGrouped(nn.Module):
    """A depthwise and a grouped convolution, inside a residual add; then all positions flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16)
        )
        self.wide = nn.Sequential(nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.grouped = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1, groups=4), nn.BatchNorm2d(24), nn.ReLU())
        self.narrow = nn.Sequential(nn.Conv2d(24, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.classifier = nn.Linear(16 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.narrow(self.grouped(self.wide(F.relu(self.depthwise(x)))))
        scores: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return scores


class Dense(nn.Module):
    """Each layer reads, through a norm of its own, what all layers before it have put out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        inner = [nn.BatchNorm2d(8 + 6 * place) for place in range(3)]
        self.norms = nn.ModuleList(inner)
        self.convs = nn.ModuleList(nn.Conv2d(8 + 6 * place, 6, 3, padding=1) for place in range(3))
        self.last = nn.BatchNorm2d(26)
        self.classifier = nn.Linear(26, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        scores: Tensor = self.classifier(F.relu(self.last(x)).mean((2, 3)))
        return scores


# VGG-11 at an eighth of its width; ResNet-20; and two of our own.
NETWORKS = ("vgg11", "resnet20", "dense", "depthwise and grouped")


@cache
def space_of(name: str) -> SearchSpace:
    own = {"dense": Dense, "depthwise and grouped": DepthwiseAndGrouped}
    return load_space(own.get(name, name), (1, 8, 8), width_multiplier=0.125 if name == "vgg11" else 1.0)


RECIPE = recipe_named("digits").with_epochs(2)


def begun(method: WidthMethod, space: SearchSpace, columns: Sequence[int]) -> TrainState:
    model = space.build(seed=0)
    if method.sparsity is not None:
        method.sparsity.prepare(model, space, columns)
    return start(model, RECIPE)


def train(
    state: TrainState, method: WidthMethod, space: SearchSpace, columns: Sequence[int], until: int = 2
) -> None:
    """Train as the method wants it, up to an epoch."""
    penalty = None
    if method.sparsity is not None:
        cost: DrivingCost | None = "macs" if method.is_driven else None
        penalty = method.sparsity.penalty(PenaltyTarget(space, tuple(columns), 0.01, cost))

    def soften(state: TrainState) -> None:
        if method.after_epoch is not None:
            scores = method.scores(evidence(state.trained, space, columns))
            method.after_epoch(state.model, space, cut(space, scores, Budget.parse("macs<=75%")).kept_G)

    training = Training(digits(), RECIPE, 0, penalise=penalty, after_epoch=soften)
    fit(state, training, on_epoch=lambda report: report.epoch >= until)


def equal(one: Scores, other: Scores) -> bool:
    return all(
        (mine is None) == (theirs is None)
        and (mine is None or theirs is None or np.array_equal(mine, theirs))
        for mine, theirs in zip(one, other, strict=True)
    )


def count_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


class Contract:
    """The tests; a subclass names the method, and the networks where there is something for it to judge."""

    method: ClassVar[WidthMethod]
    networks: ClassVar[tuple[str, ...]] = NETWORKS
    main: ClassVar[str] = "resnet20"
    closeness: ClassVar[float] = 0.95  # to a budget of ResNet-20
    scores_below_zero: ClassVar[bool] = False

    @pytest.mark.parametrize("name", NETWORKS)
    def test_every_searched_group_gets_a_score_for_each_channel(self, name: str) -> None:
        space = space_of(name)
        columns = scorable(space, self.method, "all")
        assert bool(columns) == (name in self.networks)
        if not columns:
            return
        chosen = columns[::3]
        scores = self.method.scores(evidence(self._started(space, chosen), space, chosen))
        assert len(scores) >= len(space.groups)
        for column, values in enumerate(scores):
            if column not in chosen:
                assert values is None
            else:
                assert values is not None
                assert values.shape == (space.size_at(column),)
                assert values.dtype == np.float64
                assert np.isfinite(values).all()
                assert self.scores_below_zero or (values >= 0).all()

    def test_the_network_is_left_as_it_was(self) -> None:
        space = space_of(self.main)
        columns = scorable(space, self.method, "all")
        model = self._started(space, columns)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.method.scores(evidence(model, space, columns))
        after = model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
        assert count_hooks(model) == count_hooks(self._started(space, columns))

    def test_a_search_that_goes_on_from_a_checkpoint_gives_the_same_scores(self, tmp_path: Path) -> None:
        space, method = space_of(self.main), self.method
        columns = scorable(space, method, "inner")
        whole, half, resumed = (begun(method, space, columns) for _ in range(3))
        is_own = method.sparsity is not None or method.after_epoch is not None
        if is_own:  # the others train as `tests/runs/test_resume.py` does
            train(whole, method, space, columns)
            train(half, method, space, columns, until=1)
            write_checkpoint(tmp_path / "checkpoint", half)
            read_checkpoint(tmp_path / "checkpoint", resumed)
            train(resumed, method, space, columns)
        one, other = (method.scores(evidence(state.trained, space, columns)) for state in (whole, resumed))
        assert equal(one, other)

    def test_every_kind_of_budget_is_met_from_below(self) -> None:
        space = space_of(self.main)
        columns = scorable(space, self.method, "inner")
        scores = self.method.scores(evidence(self._started(space, columns), space, columns))
        for kind in ("macs", "params", "channels", "activations"):
            result = cut(space, scores, Budget.parse(f"{kind}<=75%"))
            assert self.closeness * result.limit < result.count <= result.limit

    @pytest.mark.parametrize("name", ["vgg11", "resnet20", "dense"])
    def test_planted_dead_channels_score_lowest(self, name: str) -> None:
        if name not in self.networks:
            pytest.skip("nothing to judge")
        space = space_of(name)
        columns = scorable(space, self.method, "inner")
        model = self._started(space, columns)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.bias.fill_(0.1)  # as zeros they would hide what is dead
        column = columns[len(columns) // 2]
        size = space.base_G[column]
        kept = [np.arange(base) for base in space.base_G]
        kept[column] = np.setdiff1d(np.arange(size), [1, size // 2])
        self._plant(model, space, kept)
        values = self.method.scores(evidence(model, space, columns))[column]
        assert values is not None
        dead = np.array([1, size // 2])
        assert values[dead].max() <= values.min() + 1e-12  # a ReLU may leave others dead as well
        assert (values > values.min() + 1e-9).mean() > 0.5

    def _plant(self, model: nn.Module, space: SearchSpace, kept: Sequence[NDArray[np.int64]]) -> None:
        """Make all channels that are not kept useless in the way that the method looks at."""
        kill(model, space, kept)

    def _started(self, space: SearchSpace, columns: Sequence[int]) -> nn.Module:
        """A network as the method's training would begin with it."""
        return begun(self.method, space, columns).trained
