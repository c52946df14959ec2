"""Soft filter pruning: which filters become zero after an epoch, and that they may grow again."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.data.config import DataConfig
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.filters import filters, zero_filters
from nas_prune.search.methods.layer_channels import writers
from nas_prune.search.methods.registry import scorable
from nas_prune.search.methods.soft_filters import SOFT_FILTER, soften
from nas_prune.search.run import search
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.checkpoint import read_checkpoint
from nas_prune.training.recipe import recipe_named
from nas_prune.training.starts import read_kept, trained_network
from tests.search.methods.contract import begun, space_of, train
from tests.search.methods.evidence import evidence
from tests.search.methods.test_formulas import SMALL
from tests.surgery import random_halves

CONFIG = SearchConfig(
    space="resnet20",
    data=DataConfig(max_images=200),
    method="soft-filter",
    epochs=2,
    budgets=("macs<=60%", "macs<=30%"),
    threads=1,
)


def zero_channels(model: nn.Module, space: SearchSpace, column: int) -> list[int]:
    norms = sum(rows.norm(dim=1) for rows in filters(model, space, column))
    assert isinstance(norms, torch.Tensor)
    return (norms == 0).nonzero()[:, 0].tolist()


def test_the_l2_norm_of_a_filter_is_a_share_of_the_mean() -> None:
    model = SMALL.build(seed=0)
    with torch.no_grad():
        model.get_parameter("2.weight").copy_(
            torch.tensor([[2.0, -3.0, 6.0], [0.0, 0.6, 0.8]]).view(2, 3, 1, 1)
        )
    scores = SOFT_FILTER.scores(evidence(model, SMALL, [1]))
    assert scores[1] is not None
    assert scores[1].tolist() == pytest.approx([7 / 4, 1 / 4])


@pytest.mark.parametrize("name", ["vgg11", "resnet20", "dense", "depthwise and grouped"])
def test_the_filters_of_dropped_channels_become_zero_and_nothing_else(name: str) -> None:
    space = space_of(name)
    for column, kept in enumerate(random_halves(space)):
        model, before = space.build(seed=0), space.build(seed=0)
        kept_G = [np.arange(base) for base in space.base_G]
        kept_G[column] = kept
        soften(model, space, kept_G)
        dropped = np.setdiff1d(np.arange(space.base_G[column]), kept)
        assert zero_channels(model, space, column) == dropped.tolist()
        pairs = zip(filters(model, space, column), filters(before, space, column), strict=True)
        assert all(torch.equal(now[kept], then[kept]) for now, then in pairs)
        own = {f"{place.path}.weight" for place in writers(space, column)}
        then = before.state_dict()
        assert all(torch.equal(now, then[key]) for key, now in model.state_dict().items() if key not in own)


class Deconvolution(nn.Module):
    """A transposed convolution that reads the channels it adds to."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 1), nn.ConvTranspose2d(3, 3, 1)
        self.last = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        scores: Tensor = self.last((x + self.second(x)).mean((2, 3)))
        return scores


def test_filters_of_transposed_convolutions_lie_along_their_second_dimension() -> None:
    space = load_space(Deconvolution, (1, 8, 8))
    model = space.build(seed=0)
    zero_filters(model, space, 0, np.array([1]))
    assert (model.get_parameter("second.weight") == 0).all(dim=0).flatten().tolist() == [False, True, False]


def test_zero_filters_grow_again_in_the_next_step() -> None:
    space = space_of("resnet20")
    columns = scorable(space, SOFT_FILTER, "inner")
    state = begun(SOFT_FILTER, space, columns)
    train(state, SOFT_FILTER, space, columns, until=1)
    assert all(zero_channels(state.model, space, column) for column in columns)
    state.model.train()(torch.rand(8, 1, 8, 8)).square().mean().backward()
    state.optimiser.step()
    assert not any(zero_channels(state.model, space, column) for column in columns)


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_a_search_ends_with_what_its_first_budget_drops_at_zero(
    scope: str, average: float | None, tmp_path: Path
) -> None:
    recipe = recipe_named("digits").model_copy(update={"average": average})
    config = CONFIG.model_copy(update={"scope": scope, "recipe": recipe})
    result = search(config, tmp_path / "run")
    space = result.space
    model = trained_network(tmp_path / "run", space)
    kept = read_kept(tmp_path / "run")
    for column in result.columns:
        dropped = np.setdiff1d(np.arange(space.base_G[column]), kept["macs-60pct"][column])
        assert zero_channels(model, space, column) == dropped.tolist()
        assert set(kept["macs-30pct"][column]) <= set(kept["macs-60pct"][column])
    assert result.found[1].widths.method is not None
    assert result.found[1].widths.method.settings["softly_to"] == "macs<=60%"


@pytest.mark.slow
def test_processes_that_train_together_set_the_same_filters_to_zero(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_soft_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script), "."]
    subprocess.run(
        command, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True
    )
    assert (tmp_path / "rank0").read_bytes() == (tmp_path / "rank1").read_bytes()
    space = space_of("resnet20")
    state = begun(SOFT_FILTER, space, ())
    read_checkpoint(tmp_path / "rank0", state)
    assert all(zero_channels(state.model, space, column) for column in scorable(space, SOFT_FILTER, "inner"))
