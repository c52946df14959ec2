"""Masks: files of bits, refused where damaged; and zeros that stay zero to the bit while a network trains."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError, DamagedError
from nas_prune.space.load import load_space
from nas_prune.training.checkpoint import read_checkpoint, write_checkpoint, write_tensors
from nas_prune.training.loop import Training, fit
from nas_prune.training.masks import (
    GivenMasks,
    count,
    hold,
    identity_of_masks,
    masked,
    read_given,
    read_masks,
    write_given,
    write_masks,
)
from nas_prune.training.optimiser import optimiser_for
from nas_prune.training.recipe import recipe_named
from nas_prune.training.state import start

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
FORMAT = "nas-prune/mask/1"
SPACE = load_space("resnet20", (1, 8, 8))
RECIPES: dict[str, dict[str, Any]] = {
    "momentum and decay": {"weight_decay": 0.05, "nesterov": True},
    "clipped": {"clip_norm": 0.1},
    "averaged": {"average": 0.9},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.1, "average": 0.9},
}


@pytest.fixture(scope="module")
def few() -> ImageData:
    return load_data("digits", max_images=64)


def masks_of(network: nn.Module, density: float = 0.3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1:
            found[name] = torch.rand(parameter.shape, generator=generator) < density
            found[name].view(-1)[0] = True
    return found


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Files


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.integers(0, 1000))
def test_masks_of_any_size_read_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], seed: int
) -> None:
    path = tmp_path_factory.mktemp("masks") / "m.safetensors"
    generator = torch.Generator().manual_seed(seed)
    masks = {
        "a.weight": torch.rand(shape, generator=generator) < 0.5,
        "b": torch.ones(1, 3, dtype=torch.bool),
    }
    write_masks(path, masks)
    found = read_masks(path)
    assert same(found, masks)
    assert all(mask.dtype == torch.bool for mask in found.values())


def test_a_weight_takes_a_bit_and_the_first_is_the_highest(tmp_path: Path) -> None:
    write_masks(tmp_path / "m.safetensors", {"a": torch.ones(400, 100, dtype=torch.bool)})
    assert 5000 < (tmp_path / "m.safetensors").stat().st_size < 5600
    bits = torch.tensor([1, 0, 0, 0, 0, 0, 0, 1, 0, 1], dtype=torch.bool)
    write_masks(tmp_path / "m.safetensors", {"a": bits})
    assert (tmp_path / "m.safetensors").read_bytes().endswith(bytes([0b10000001, 0b01000000]))


def test_equal_masks_are_equal_bytes_and_others_are_not(tmp_path: Path) -> None:
    masks = masks_of(SPACE.build(seed=0))
    one, again, other = (tmp_path / name for name in ("one", "again", "other"))
    write_masks(one, masks)
    write_masks(again, {name: masks[name].clone() for name in reversed(masks)})
    changed = {name: mask.clone() for name, mask in masks.items()}
    changed["fc.weight"].view(-1)[-1] ^= True
    write_masks(other, changed)
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()
    assert identity_of_masks(masks) == identity_of_masks(read_masks(again)) != identity_of_masks(changed)


def test_an_identity_goes_by_names_and_shapes_too() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    found = {identity_of_masks(one) for one in ({"a": mask}, {"b": mask}, {"a": mask.view(3, 2)}, {})}
    assert len(found) == 4


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    write_masks(tmp_path / "m.safetensors", masks_of(SPACE.build(seed=0)))
    raw = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(DamagedError, match="masks must be whole, got m.safetensors"):
        read_masks(tmp_path / "m.safetensors")


def test_a_bit_that_has_turned_is_noticed(tmp_path: Path) -> None:
    write_masks(tmp_path / "m.safetensors", {"a": torch.ones(64, dtype=torch.bool)})
    raw = bytearray((tmp_path / "m.safetensors").read_bytes())
    raw[-3] ^= 4
    (tmp_path / "m.safetensors").write_bytes(raw)
    with pytest.raises(
        DamagedError, match="masks must be as it was written, got m.safetensors, whose checksum"
    ):
        read_masks(tmp_path / "m.safetensors")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"masks must be whole, got none.safetensors \(no such file"):
        read_masks(tmp_path / "none.safetensors")


BYTE = torch.zeros(1, dtype=torch.uint8)
OF_A = "must hold a bit for each weight of a, of shape"


@pytest.mark.parametrize(
    ("content", "packed", "said"),
    [
        ({"facts": {}}, BYTE, r"must hold masks \(nas-prune/mask/1\), got None"),
        ({"format": "nas-prune/mask/2", "shapes": {}}, BYTE, "must hold masks .* got 'nas-prune/mask/2'"),
        ({"format": FORMAT, "shapes": [1]}, BYTE, "must hold masks"),
        ({"format": FORMAT, "shapes": {}}, BYTE, "must say the shape of each mask"),
        ({"format": FORMAT, "shapes": {"a": [8], "b": [8]}}, BYTE, "must say the shape of each mask"),
        ({"format": FORMAT, "shapes": {"a": [9]}}, BYTE, OF_A),
        ({"format": FORMAT, "shapes": {"a": [7]}}, BYTE.repeat(2), OF_A),
        ({"format": FORMAT, "shapes": {"a": [8]}}, BYTE.char(), OF_A),
        ({"format": FORMAT, "shapes": {"a": [8]}}, BYTE[None], OF_A),
        ({"format": FORMAT, "shapes": {"a": []}}, BYTE[:0], OF_A),
        ({"format": FORMAT, "shapes": {"a": "x"}}, BYTE[:0], OF_A),
        ({"format": FORMAT, "shapes": {"a": [-8, -1]}}, BYTE, OF_A),
        ({"format": FORMAT, "shapes": {"a": [True]}}, BYTE, OF_A),
        ({"format": FORMAT, "shapes": {"a": [7]}}, BYTE + 1, "must hold zeros behind the last weight of a"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, content: dict[str, Any], packed: Tensor, said: str
) -> None:
    write_tensors(tmp_path / "m.safetensors", {"a": packed}, content)
    with pytest.raises(DamagedError, match=said) as caught:
        read_masks(tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)


def test_a_run_keeps_the_masks_of_all_seeds_or_of_each(tmp_path: Path) -> None:
    network = SPACE.build(seed=0)
    masks = {seed: masks_of(network, density) for seed, density in ((0, 0.2), (3, 0.4))}
    (tmp_path / "each").mkdir()
    each, shared = GivenMasks("p", by_seed=masks), GivenMasks("p", shared=masks[3])
    write_given(tmp_path / "each", each)
    write_given(tmp_path, shared)
    assert read_given(tmp_path / "each", "p", [0, 3]).identity == each.identity
    found = read_given(tmp_path, "p", [0, 3])
    assert found.identity == shared.identity == identity_of_masks(masks[3])
    assert same(found.of(0), masks[3])
    assert same(read_given(tmp_path / "each", "p", [0, 3]).of(0), masks[0])
    with pytest.raises(DamagedError, match="seed-1.safetensors"):
        read_given(tmp_path / "each", "p", [0, 1])


# Training


@pytest.mark.parametrize("name", RECIPES)
def test_weights_that_are_gone_stay_zero_to_the_bit(few: ImageData, name: str) -> None:
    recipe = recipe_named("digits").with_epochs(2).model_copy(update={"batch_size": 32, **RECIPES[name]})
    network = SPACE.build(seed=0)
    masks = masks_of(network)
    state = start(hold(network, masks, scales=True), recipe)
    before = {key: one.detach().clone() for key, one in network.named_parameters()}
    fit(state, Training(few, recipe, 0))
    for model in (state.model, state.trained):
        parameters = dict(model.named_parameters())
        for key, mask in masks.items():
            gone = parameters[key][~mask]
            assert torch.equal(gone.view(torch.int32), torch.zeros_like(gone, dtype=torch.int32))
            assert not torch.equal(parameters[key][mask], before[key][mask])


def test_what_an_optimiser_keeps_of_them_is_zero_and_a_checkpoint_goes_on(
    tmp_path: Path, few: ImageData
) -> None:
    recipe = recipe_named("digits").with_epochs(2).model_copy(update={"batch_size": 32})
    network = SPACE.build(seed=0)
    masks = masks_of(network)

    def save(_: Any) -> bool:
        write_checkpoint(tmp_path / "c.safetensors", state)
        return False

    state = start(hold(network, masks, scales=True), recipe)
    fit(state, Training(few, recipe.with_epochs(1), 0), on_epoch=save)
    for key, mask in masks.items():
        kept = state.optimiser.state[dict(network.named_parameters())[key]]["momentum_buffer"]
        assert not kept[~mask].any()
        assert kept[mask].any()
    again = start(hold(SPACE.build(seed=5), masks, scales=True), recipe)
    read_checkpoint(tmp_path / "c.safetensors", again)
    fit(again, Training(few, recipe, 0))
    assert all(not one[~masks[key]].any() for key, one in again.model.named_parameters() if key in masks)


@pytest.mark.parametrize("scales", [True, False])
def test_weights_start_larger_by_the_root_of_what_is_left_where_that_is_asked_for(scales: bool) -> None:
    network, whole = SPACE.build(seed=0), dict(SPACE.build(seed=0).named_parameters())
    masks = masks_of(network, 0.25)
    hold(network, masks, scales=scales)
    for name, parameter in network.named_parameters():
        if name not in masks:
            assert torch.equal(parameter, whole[name])
            continue
        density = int(masks[name].sum()) / masks[name].numel()
        expected = whole[name] * masks[name] * (density**-0.5 if scales else 1)
        torch.testing.assert_close(parameter, expected, rtol=1e-6, atol=0)
    name = "layer3.1.conv1.weight"
    ratio = dict(network.named_parameters())[name][masks[name]].std() / whole[name].std()
    assert float(ratio.detach()) == pytest.approx(2 if scales else 1, rel=0.05)


def test_a_gradient_that_is_no_number_does_not_bring_a_weight_back() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[float("nan"), -1.0]]))
    hold(layer, {"weight": torch.tensor([[False, True]])}, scales=False)
    assert layer.weight.tolist() == [[0.0, -1.0]]
    layer(torch.tensor([[float("inf"), 1.0]])).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[0.0, 1.0]]


def test_a_weight_without_gradient_is_masked_all_the_same() -> None:
    layer = nn.Linear(2, 1, bias=False).requires_grad_(requires_grad=False)
    hold(layer, {"weight": torch.tensor([[False, True]])}, scales=False)
    assert layer.weight[0, 0] == 0
    assert layer.weight[0, 1] != 0


def test_zeros_of_negative_weights_have_no_sign() -> None:
    layers = [nn.Linear(4, 4, bias=False) for _ in range(2)]
    mask = {"weight": torch.eye(4, dtype=torch.bool)}
    for layer in layers:
        nn.init.constant_(layer.weight, -1)
    hold(layers[0], mask, scales=True)
    masked(layers[1], mask)
    for layer in layers:
        assert not torch.signbit(layer.weight[~mask["weight"]]).any()


def test_a_masked_network_is_not_held() -> None:
    network = SPACE.build(seed=0)
    masks = masks_of(network)
    masked(network, masks)
    network(torch.rand(2, 1, 8, 8)).sum().backward()
    optimiser_for(network, recipe_named("digits")).step()
    name, mask = next(iter(masks.items()))
    assert dict(network.named_parameters())[name][~mask].any()


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({"fc.weight": torch.ones(10, 63)}, r"got fc.weight of shape \[10, 63\], which is \[10, 64\]"),
        ({"fc.weight": torch.ones(640)}, r"got fc.weight of shape \[640\], which is \[10, 64\]"),
        ({"head.weight": torch.ones(3)}, r"got head.weight of shape \[3\], which is none of the network"),
        ({"fc.weight": torch.zeros(10, 64)}, "must leave each layer a weight, got none for fc.weight"),
    ],
)
def test_masks_of_another_network_or_of_nothing_are_refused(masks: dict[str, Tensor], said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        hold(SPACE.build(seed=0), {name: mask.bool() for name, mask in masks.items()}, scales=True)


def test_weights_are_counted() -> None:
    assert count({"a": torch.eye(4, dtype=torch.bool), "b": torch.ones(3, dtype=torch.bool)}) == 7
