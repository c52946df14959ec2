"""Residual blocks that go as a whole: found, cut, priced, rebuilt, read from a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, BudgetError, WidthsError
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.contract import Evidence
from nas_prune.search.methods.learned_gates import gates_of, taken_out
from nas_prune.search.methods.registry import METHODS, scorable
from nas_prune.search.run import resume_search, search
from nas_prune.space.budget import Budget
from nas_prune.space.cut import check_feasible, cut, feasible_range
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import read_widths
from nas_prune.training.starts import inherited
from tests.networks import known
from tests.search.methods.evidence import digits

SSS_BLOCKS = METHODS["sss-blocks"]
GONE = ("layer1.1", "layer3.2")


def paths(space: SearchSpace) -> list[str]:
    return [block.path for block in space.blocks]


class _Net(nn.Module):
    """A stem, residual blocks of a kind, a classifier."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.classifier(x.mean((2, 3)))
        return scores


class _Block(nn.Module):
    stride = 1

    def __init__(self, *, activates: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.activates = activates

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.two(F.relu(self.one(x)))
        return F.relu(x) if self.activates else x


class _InPlace(_Block):
    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.two(self.one(F.relu_(x)))
        return x + inner


class _StartsAtZero(nn.Module):
    """Two branches, one after the other, whose last weights start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale[0] * self.one(x)
        both: Tensor = x + self.scale[1] * self.two(x)
        return both


class _Asking(_Net):
    def forward(self, x: Tensor) -> Tensor:
        assert all(block.stride == 1 for block in self.blocks)
        return super().forward(x)


class _Twice(_Net):
    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.blocks[0](self.stem(x)).mean((2, 3)))
        return super().forward(x) + scores


def _sharing() -> nn.Module:
    one, other = _Block(), _Block()
    other.one.weight = one.one.weight
    return _Net(one, other, _Block())


@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        ("resnet20", 7, "layer1.0"),
        pytest.param("preresnet164", 51, "layer1.1", marks=pytest.mark.slow),
        ("torchvision:mobilenet_v2", 10, "features.3"),
        ("vgg11", 0, None),
        ("densenet40", 0, None),
    ],
)
def test_blocks_are_found_where_the_shortcut_is_the_identity(
    name: str, count: int, first: str | None
) -> None:
    found = paths(known(name, (3, 32, 32)))
    assert len(found) == count
    assert first is None or found[0] == first


def test_a_block_behind_which_something_is_cut_off_is_none() -> None:
    # The stem puts out negative numbers, which the first activation takes away: only the second block is an identity.
    space = load_space(lambda: _Net(_Block(activates=True), _Block(activates=True)), (3, 16, 16))
    assert paths(space) == ["blocks.1"]


def test_a_block_of_two_branches_that_start_at_zero_is_none() -> None:
    assert paths(load_space(lambda: _Net(_StartsAtZero(), _Block()), (3, 16, 16))) == ["blocks.1"]


def test_a_block_that_changes_what_it_is_given_is_none() -> None:
    assert paths(load_space(lambda: _Net(_InPlace(), _Block()), (3, 16, 16))) == ["blocks.1"]


@pytest.mark.parametrize(
    "make", [lambda: _Asking(_Block(), _Block()), lambda: _Twice(_Block())], ids=["asked", "twice"]
)
def test_blocks_that_the_code_needs_stay(make: object) -> None:
    assert paths(load_space(make, (3, 16, 16))) == []  # type: ignore[arg-type]


def test_blocks_that_share_a_parameter_stay() -> None:
    assert paths(load_space(_sharing, (3, 16, 16))) == ["blocks.2"]


@pytest.mark.parametrize("name", ["resnet20", "torchvision:mobilenet_v2"])
def test_costs_without_blocks_are_those_of_the_network_left(name: str) -> None:
    space, rng = known(name, (3, 32, 32)), np.random.default_rng(0)
    for _ in range(4):
        widths = [
            int(rng.integers(low, high + 1)) for low, high in zip(space.floor_G, space.base_G, strict=True)
        ]
        removed = [path for path in paths(space) if rng.random() < 0.5]
        model = space.build(widths, seed=0, removed=removed).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.zeros(1, 3, 32, 32))
        cost = space.cost_at(widths, removed)
        assert cost.macs == counter.get_total_flops() / 2
        assert cost.params == sum(parameter.numel() for parameter in model.parameters())
        plan = np.array([*widths, *(path not in removed for path in paths(space))])
        for kind in ("macs", "params", "activations"):
            assert int(space.switched(kind)(plan[None])[0]) == getattr(cost, kind)


def test_a_narrow_network_without_blocks_does_what_the_whole_one_does_without_what_they_add() -> None:
    space = known("resnet20", (3, 32, 32))
    model = space.build(seed=0).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    kept = [np.arange(size) for size in space.base_G]
    left = space.narrow(model, kept, GONE).eval()
    with torch.no_grad():
        for path in GONE:
            model.get_submodule(path).bn2.weight.zero_()  # type: ignore[operator, union-attr]
            model.get_submodule(path).bn2.bias.zero_()  # type: ignore[operator, union-attr]
        assert torch.equal(left(images), model(images))
    assert isinstance(left.get_submodule("layer1.1"), nn.Identity)


def test_factors_on_blocks_are_taken_in_by_the_last_layer() -> None:
    space = known("resnet20", (3, 32, 32))
    columns = scorable(space, SSS_BLOCKS, "inner")
    model = space.build(seed=0)
    assert SSS_BLOCKS.sparsity is not None
    SSS_BLOCKS.sparsity.prepare(model, space, columns)
    gates = gates_of(model)
    with torch.no_grad():
        for number, factor in enumerate(gates.factors):
            factor.fill_(number / 4)
        model.eval()
        images = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(taken_out(model, space)(images), model(images))
    found = SSS_BLOCKS.scores(Evidence(model, space, columns, digits(32, 3)))
    scores = [float(values[0]) for values in found if values is not None]
    assert scores == [number / 4 for number in range(7)]


def test_blocks_are_kept_in_the_order_of_their_scores_and_the_budget_is_met() -> None:
    space = known("resnet20", (3, 32, 32))
    columns = scorable(space, SSS_BLOCKS, "inner")
    scores = [None] * len(space.groups) + [np.array([value]) for value in (0.1, 0.7, 0.2, 0.6, 0.3, 0.5, 0.4)]
    result = cut(space, scores, Budget.parse("channels<=50%"))
    assert result.widths_G == space.base_G
    # Of 240 channels inside the blocks 120 may stay: those of the best three, behind which none fits.
    assert result.removed == ("layer1.0", "layer1.2", "layer2.2", "layer3.2")
    assert result.count == 16 + 32 + 64
    macs = cut(space, scores, Budget.parse("macs<=60%"))
    assert macs.count == space.cost_at(macs.widths_G, macs.removed).macs <= macs.limit
    least, most = feasible_range(space, Budget.parse("macs<=60%"), columns)
    assert (least, most) == (space.cost_at(space.base_G, paths(space)).macs, space.cost_at(space.base_G).macs)


def test_the_file_alone_rebuilds_the_network(tmp_path: Path) -> None:
    space = known("resnet20", (3, 32, 32))
    space.widths(space.base_G, removed=GONE).write(tmp_path / "w.json")
    widths = read_widths(tmp_path / "w.json")
    assert widths.removed_blocks == GONE
    assert widths.cost.params == sum(p.numel() for p in space.build(widths, seed=0).parameters())
    wrong = widths.model_copy(update={"cost": widths.base_cost})
    assert space.priced(wrong).cost == widths.cost
    with pytest.raises(
        WidthsError, match="removed_blocks must be blocks of resnet20 that can go, got layer2.0"
    ):
        space.build(widths.model_copy(update={"removed_blocks": ("layer2.0",)}), seed=0)
    content = json.loads((tmp_path / "w.json").read_text(encoding="utf-8"))
    content["removed_blocks"] = ["layer1.1", "layer1.1"]
    (tmp_path / "w.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(WidthsError, match="each block once"):
        read_widths(tmp_path / "w.json")


def _config(**changed: object) -> SearchConfig:
    given: dict[str, object] = {
        "space": "resnet20",
        "method": "sss-blocks",
        "data": DataConfig(name="digits", max_images=300),
        "budgets": ("macs<=60%",),
        "epochs": 2,
        "threads": 1,
    }
    return SearchConfig.model_validate(given | changed)


def test_a_search_takes_blocks_out_and_its_network_can_be_tuned(tmp_path: Path) -> None:
    result = search(_config(), tmp_path / "run")
    widths = read_widths(tmp_path / "run" / "widths" / "macs-60pct.json")
    assert widths == result.found[0].widths
    assert 0 < len(widths.removed_blocks) < 7
    assert widths.cost.macs <= 0.6 * widths.base_cost.macs
    assert widths.vector == result.space.base_G
    model = inherited(tmp_path / "run", widths)()
    assert sum(parameter.numel() for parameter in model.parameters()) == widths.cost.params
    again = resume_search(tmp_path / "run")
    assert again.found[0].widths == widths
    assert (tmp_path / "run" / "widths.png").exists()


@pytest.mark.parametrize("name", ["sss-blocks", "sss", "l0"])
def test_what_the_method_itself_lets_go_changes_no_score(name: str) -> None:
    space, method = known("resnet20", (3, 32, 32)), METHODS[name]
    columns = scorable(space, method, "inner")
    model, rng = space.build(seed=0), torch.Generator().manual_seed(0)
    assert method.sparsity is not None
    method.sparsity.prepare(model, space, columns)
    with torch.no_grad():
        for factor in gates_of(model).factors:
            # log α from where a gate is closed to where it is open; factors likewise, many of them zero
            drawn = torch.rand(factor.shape, generator=rng)
            factor.copy_(6 * drawn - 4 if name == "l0" else (drawn - 0.4).clamp(min=0))
        gates_of(model).factors[1].fill_(-4.0 if name == "l0" else 0.0)
    scores = method.scores(Evidence(model, space, columns, digits(32, 3)))
    result = cut(space, scores, Budget.parse("own"), method.zero)
    whole = method.sparsity.without_gates(model, space).eval()
    left = space.narrow(whole, result.kept_G, result.removed).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(left(images), whole(images))
    assert (
        result.count == space.cost_at(result.widths_G, result.removed).macs < space.cost_at(space.base_G).macs
    )
    if name == "sss-blocks":
        assert "layer1.1" in result.removed
    else:
        assert result.widths_G[columns[1]] == 1
        assert result.at_floor == (columns[1],)


def test_a_method_that_lets_nothing_go_has_no_budget_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match="--budget own must come with a method that uses it, got slimming"
    ):
        search(_config(method="slimming", budgets=("own",)), tmp_path / "run")
    with pytest.raises(BadInputError, match="--budget own must come with --scope global"):
        search(_config(method="sss", budgets=("own",), scope="local"), tmp_path / "run")


def test_a_network_without_blocks_and_settings_for_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match="--method sss-blocks must find residual blocks .* These find channels"
    ):
        search(_config(space="vgg11"), tmp_path / "vgg")
    with pytest.raises(BadInputError, match="--groups must come with a method that uses it, got sss-blocks"):
        search(_config(groups="all"), tmp_path / "all")
    with pytest.raises(BadInputError, match="--scope must come with a method that uses it, got sss-blocks"):
        search(_config(scope="local"), tmp_path / "local")
    assert not list(tmp_path.iterdir())


class _OfOneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.only(x)
        return y


def test_blocks_without_channels_of_their_own_have_no_budget_of_channels() -> None:
    space = load_space(lambda: _Net(_OfOneLayer(), _OfOneLayer()), (3, 16, 16))
    columns = scorable(space, SSS_BLOCKS, "inner")
    assert len(columns) == 2
    with pytest.raises(BudgetError, match="must bound something, got blocks without channels of their own"):
        check_feasible(space, Budget.parse("channels<=50%"), columns)
    check_feasible(space, Budget.parse("macs<=60%"), columns)
