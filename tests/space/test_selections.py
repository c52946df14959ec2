"""Input selections: where they can stand, that they are exact, and that their indices travel with the widths."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import load_data
from nas_prune.errors import BadInputError, WidthsError
from nas_prune.graph.inputs import as_forward
from nas_prune.graph.selection import ChannelSelection, spread, spread_order
from nas_prune.search.methods.contract import Evidence
from nas_prune.search.methods.registry import METHODS, scorable
from nas_prune.space.load import load_referenced, load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.selections import selectable, with_selections
from nas_prune.space.widths import Widths, read_widths
from tests.networks import preresnet20, thin_densenet40
from tests.properties import check_costs, check_dead_channels, random_widths
from tests.surgery import lively, outputs, random_halves

SHAPE = (3, 16, 16)


@cache
def pre() -> SearchSpace:
    return load_space(preresnet20, SHAPE, selections=True)


@cache
def dense() -> SearchSpace:
    return load_space(thin_densenet40, SHAPE, selections=True)


SpaceOf: TypeAlias = Callable[[], SearchSpace]
BOTH = pytest.mark.parametrize("space_of", [pre, dense])


def selections(space: SearchSpace) -> list[int]:
    return [column for column, group in enumerate(space.groups) if group.role == "selection"]


def test_every_reader_of_a_stream_selects_as_in_the_paper() -> None:
    space = pre()
    names = [space.groups[column].name for column in selections(space)]
    blocks = [f"layer{stage}.{block}.bn1.select" for stage in (1, 2, 3) for block in (0, 1)]
    assert names == [*blocks, "bn.select"]
    assert [space.groups[column].size for column in selections(space)] == [16, 64, 64, 128, 128, 256, 256]
    assert {group.role for group in space.groups} == {"selection", "inner"}
    frozen = {group.name: group.frozen for group in space.graph.groups if group.frozen}
    whole = ["conv1", "layer1.0.conv3", "layer2.0.conv3", "layer3.0.conv3"]
    assert [frozen[name] for name in whole] == [
        f"selected from by aten.index_select in {reader}.select"
        for reader in ("layer1.0.bn1", "layer1.1.bn1", "layer2.1.bn1", "layer3.1.bn1")
    ]


def test_every_reader_of_a_dense_block_selects_and_nothing_else_is_narrowed() -> None:
    space = dense()
    assert len(selections(space)) == len(space.groups) == 36 + 2 + 1
    layers = [space.groups[column].layers for column in selections(space)]
    assert layers[0] == ("features.0.bn.select", "features.0.bn.norm")
    assert layers[-1] == ("bn.select", "bn.norm")
    assert all(group.is_gated for group in space.groups)


def test_stages_and_positions_of_selections_are_ranked_among_themselves() -> None:
    space = pre()
    places = [(space.groups[c].stage, space.groups[c].position) for c in selections(space)]
    assert places == [(0, 0.0), (0, 0.5), (0, 1.0), (1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0)]


@BOTH
def test_selections_of_everything_change_neither_function_nor_costs(space_of: SpaceOf) -> None:
    space = space_of()
    plain = load_space(preresnet20 if space_of is pre else thin_densenet40, SHAPE)
    assert space.cost_at(space.base_G) == plain.cost_at(plain.base_G)
    model, twin = lively(space), plain.build(seed=0).double().eval()
    state = {name.replace(".norm.", "."): tensor for name, tensor in model.state_dict().items()}
    twin.load_state_dict({name: tensor for name, tensor in state.items() if "select" not in name})
    assert torch.equal(outputs(model, space), outputs(twin, space))


@BOTH
def test_costs_are_exact_at_any_widths(space_of: SpaceOf) -> None:
    space = space_of()
    check_costs(space, [*random_widths(space, 3), list(space.floor_G)])


def test_a_selection_saves_what_its_readers_do_with_the_channel() -> None:
    space = pre()
    narrower = list(space.base_G)
    narrower[selections(space)[1]] -= 10  # layer1.1 reads 54 of 64 channels
    before, after = space.cost_at(space.base_G), space.cost_at(narrower)
    assert before.params - after.params == 10 * 2 + 10 * 16
    assert before.macs - after.macs == 10 * 16 * 16**2
    assert before.activations - after.activations == 10 * 16**2


@BOTH
def test_a_narrowed_network_is_the_whole_one_with_the_other_channels_masked_behind_the_norm(
    space_of: SpaceOf,
) -> None:
    space = space_of()
    model = lively(space)
    halves = random_halves(space)
    kept = [halves[c] if c in selections(space) else np.arange(base) for c, base in enumerate(space.base_G)]
    narrowed = space.narrow(model, kept)
    whole = outputs(model, space)
    for column in selections(space):
        mask = torch.zeros(space.base_G[column], dtype=torch.float64)
        mask[torch.from_numpy(kept[column])] = 1
        norm = model.get_submodule(space.groups[column].norms[0])
        norm.register_forward_hook(lambda _, __, output, mask=mask: output * mask[:, None, None])
    masked = outputs(model, space)
    assert float((masked - whole).abs().max()) > 1e-6
    assert float((outputs(narrowed, space) - masked).abs().max()) < 1e-10


@BOTH
def test_dead_channels_of_all_groups_go_without_a_change(space_of: SpaceOf) -> None:
    check_dead_channels(space_of())


def indices(model: nn.Module) -> list[list[int]]:
    return [module.indices.tolist() for module in model.modules() if isinstance(module, ChannelSelection)]


@BOTH
def test_a_fresh_network_of_the_kept_channels_has_the_structure_of_the_narrowed_one(
    space_of: SpaceOf,
) -> None:
    space = space_of()
    kept = random_halves(space)
    fresh = space.build(space.widths([len(one) for one in kept], kept), seed=0)
    narrowed = space.narrow(space.build(seed=1), kept)
    assert indices(fresh) == indices(narrowed) == [kept[c].tolist() for c in selections(space)]
    shapes = [{name: t.shape for name, t in model.state_dict().items()} for model in (fresh, narrowed)]
    assert shapes[0] == shapes[1]
    narrowed.load_state_dict(fresh.state_dict())
    assert torch.equal(fresh.eval()(blank()), narrowed.eval()(blank()))


def blank() -> Tensor:
    return torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_a_network_is_rebuilt_from_its_file_alone(tmp_path: Path) -> None:
    space = load_space("densenet40", (1, 8, 8), selections=True)
    kept = random_halves(space)
    space.widths([len(one) for one in kept], kept).write(tmp_path / "widths.json")
    widths = read_widths(tmp_path / "widths.json")
    again = load_referenced(widths.space)
    model = again.build(widths, seed=0)
    assert indices(model) == [one.tolist() for one in kept]
    assert again.priced(widths).cost.params == sum(parameter.numel() for parameter in model.parameters())


def test_a_file_of_selections_is_of_no_space_without_them() -> None:
    plain = load_space(preresnet20, SHAPE)
    with pytest.raises(
        WidthsError, match=r"must be of space PreResNet, but space.selections is True, not False"
    ):
        plain.build(pre().widths(pre().base_G), seed=0)
    with pytest.raises(WidthsError, match=r"space.selections is False, not True"):
        pre().build(plain.widths(plain.base_G), seed=0)


def test_selections_are_as_wide_as_the_multiplied_network() -> None:
    space = load_space(preresnet20, SHAPE, width_multiplier=0.5, selections=True)
    assert [space.base_G[column] for column in selections(space)] == [8, 32, 32, 64, 64, 128, 128]
    assert indices(space.build(seed=0))[1] == list(range(32))


def test_fresh_weights_are_those_of_the_networks_own_constructor() -> None:
    space = dense()
    model = space.build(space.floor_G, seed=0)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 39
    assert all((norm.weight == 0.5).all() and (norm.bias == 0).all() for norm in norms)


def test_widths_alone_select_channels_of_every_depth() -> None:
    space = dense()
    model = space.build([min(base, 4) for base in space.base_G], seed=0)
    last = indices(model)[-1]
    assert last == spread(space.base_G[-1], 4).tolist() == sorted(last)
    assert max(last) > space.base_G[-1] // 2
    assert sorted(spread_order(37).tolist()) == list(range(37))


def test_a_selection_cannot_be_wider_than_what_it_selects_from() -> None:
    space = dense()
    with pytest.raises(WidthsError, match=r"at most its base 8, got 9 \(group features.0.bn.select\)"):
        space.build([9, *space.base_G[1:]], seed=0)


def changed(group: int, **changes: object) -> dict[str, object]:
    content = pre().widths([max(1, base // 2) for base in pre().base_G]).model_dump(mode="json")
    content["groups"][group].update(changes)
    return content


@pytest.mark.parametrize(
    ("group", "changes", "message"),
    [
        (0, {"indices": [0, 2, 4, 6, 8, 10, 12]}, "must be as many as its width 8, got 7"),
        (0, {"indices": [0, 2, 4, 6, 8, 10, 12, 16]}, "must be from 0 to 15, got 16"),
        (0, {"indices": [-1, 2, 4, 6, 8, 10, 12, 14]}, "must be from 0 to 15, got -1"),
        (0, {"indices": [0, 2, 4, 6, 8, 12, 10, 14]}, "must rise, got 10 after 12"),
        (0, {"indices": [0, 2, 4, 6, 8, 10, 10, 14]}, "must rise, got 10 after 10"),
        (0, {"indices": None}, "must have indices if it is a selection and only then, got none"),
        (
            0,
            {"role": "inner"},
            "must have indices if it is a selection and only then, got some of role inner",
        ),
        (1, {"indices": list(range(8))}, "only then, got some of role inner"),
        (0, {"indices": [0, 2, 4, 6, 8, 10, 12, 13.5]}, "it must be a whole number"),
        (0, {"indices": [False, 2, 4, 6, 8, 10, 12, 13]}, "it must be a whole number"),
    ],
)
def test_indices_that_cannot_be_are_refused_in_one_line(
    tmp_path: Path, group: int, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "widths.json"
    path.write_text(json.dumps({"schema": "nas-prune/widths/1", **changed(group, **changes)}))
    with pytest.raises(WidthsError, match=rf"groups\.{group}.*{message}") as caught:
        read_widths(path)
    assert "\n" not in str(caught.value)


def test_a_selection_made_another_group_is_another_network() -> None:
    widths = Widths.model_validate(changed(0, role="inner", indices=None))
    with pytest.raises(
        WidthsError, match="whether group layer1.0.bn1.select is a selection is False, not True"
    ):
        pre().build(widths, seed=0)


def test_files_without_selections_say_nothing_of_indices() -> None:
    groups = load_space("vgg11", (1, 8, 8)).widths([3] * 8).model_dump(mode="json")["groups"]
    assert not any("indices" in group for group in groups)


@pytest.mark.parametrize("name", ["resnet20", "vgg11", "torchvision:mobilenet_v2"])
def test_a_network_in_which_nothing_can_be_selected_says_what_it_needs(name: str) -> None:
    with pytest.raises(
        BadInputError, match=f"{name} must have batch norms that read a residual stream"
    ) as caught:
        load_space(name, (3, 32, 32), selections=True)
    assert "\n" not in str(caught.value)


class _Block(nn.Module):
    """A pre-activation block; what its norm puts out is the shortcut too, if asked for."""

    def __init__(self, *, shares: bool) -> None:
        super().__init__()
        self.norm, self.conv, self.shares = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1), shares

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        branch: Tensor = self.conv(normed.relu())
        return branch + (normed if self.shares else x)


def _blocks(*blocks: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), *blocks, nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(4 * 16, 5))


def test_a_norm_whose_output_is_added_cannot_select() -> None:
    network = _blocks(_Block(shares=False), _Block(shares=True), _Block(shares=False))
    assert selectable(network, as_forward((3, 8, 8))) == ("1.norm", "3.norm")
    selecting = with_selections(network, ["1.norm"])
    assert isinstance(selecting.get_submodule("1.norm.select"), ChannelSelection)
    assert isinstance(network.get_submodule("1.norm"), nn.BatchNorm2d)


def test_a_norm_that_two_blocks_share_cannot_select() -> None:
    one, other = _Block(shares=False), _Block(shares=False)
    other.norm = one.norm
    assert selectable(_blocks(one, other), as_forward((3, 8, 8))) == ()


def test_channels_of_the_image_are_not_selected() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), _blocks(_Block(shares=False)))
    assert selectable(network, as_forward((3, 8, 8))) == ("1.1.norm",)


class _Again(nn.Module):
    """Applies one block twice."""

    def __init__(self) -> None:
        super().__init__()
        self.block = _Block(shares=False)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.block(self.block(x))
        return features


def test_a_block_that_runs_twice_selects_the_same_channels_both_times() -> None:
    space = load_space(lambda: _blocks(_Again()), (3, 8, 8), selections=True)
    (column,) = selections(space)
    assert space.groups[column].layers == ("1.block.norm.select", "1.block.norm.norm")
    check_costs(space, random_widths(space, 2))
    check_dead_channels(space)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_selection_leaves_its_images_laid_out_as_they_were(memory: torch.memory_format) -> None:
    selection = ChannelSelection(3)
    selection.choose([1, 4, 6])
    images = torch.rand(2, 8, 5, 5).contiguous(memory_format=memory).requires_grad_()
    selected = selection(images)
    assert selected.is_contiguous(memory_format=memory)
    assert torch.equal(selected, images[:, [1, 4, 6]])
    selected.sum().backward()
    assert images.grad is not None
    assert images.grad.is_contiguous(memory_format=memory)
    assert images.grad[0, :, 0, 0].tolist() == [0, 1, 0, 0, 1, 0, 1, 0]


def test_controls_select_evenly_and_at_random() -> None:
    space, data = dense(), load_data("digits", max_images=20)
    columns = tuple(range(len(space.groups)))

    def best(method: str, seed: int) -> list[int]:
        scores = METHODS[method].scores(Evidence(nn.Module(), space, columns, data, seed))[-1]
        assert scores is not None
        return sorted(np.argsort(-scores)[:10].tolist())

    assert best("uniform", 0) == best("uniform", 1) == spread(space.base_G[-1], 10).tolist()
    assert best("random", 0) != best("random", 1)


@pytest.mark.parametrize("method", ["slimming", "cost-aware", "sss", "l0", "taylor", "obd", "thinet"])
def test_methods_that_look_at_norms_or_readers_can_score_selections(method: str) -> None:
    assert set(selections(pre())) <= set(scorable(pre(), METHODS[method], "selections"))
