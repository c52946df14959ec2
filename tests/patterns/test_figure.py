"""Pictures of patterns: what is drawn is what the pattern says, for small and for deep networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.figure import (
    draw_guideline,
    draw_patterns,
    erk_densities,
    first_layer_figure,
    guideline_figure,
    patterns_figure,
)
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.pattern import Pattern
from nas_prune.patterns.statistics import pattern_of
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.networks import known
from tests.patterns.conftest import costs_for, drawn, guideline_of, small_space

POSITIONS = {(stage, (3, 3)): [-1, 0, -1, 0, 2, 0, -1, 0, -1.0] for stage in range(3)}


def found(space: SearchSpace, *shares: float) -> list[Pattern]:
    costs = costs_of(space, weight_layers(space))
    return [
        pattern_of(space, costs, drawn(costs.layers, share), budget=f"nonzero<={100 * share:g}%")
        for share in shares
    ]


def axes_of(figure: Figure) -> Sequence[Any]:
    return figure.axes


def test_densities_of_all_layers_are_drawn_beside_those_of_erk() -> None:
    patterns = found(small_space(), 0.5, 0.1)
    axes = axes_of(patterns_figure(patterns))[0]
    lines = [line.get_ydata().tolist() for line in axes.lines]
    for number, pattern in enumerate(patterns):
        assert lines[2 * number] == pytest.approx([100 * layer.density for layer in pattern.layers])
        assert lines[2 * number + 1] == pytest.approx(
            [100 * share for share in erk_densities(pattern.layers, pattern.cost.nonzero)]
        )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2", "6"]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0].startswith("nonzero<=50% (")
    assert len(texts) == 3


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 1.0])
def test_erk_densities_have_as_many_weights_and_none_above_one(share: float) -> None:
    layers = found(known("resnet20"), 0.5)[0].layers
    total = sum(layer.size for layer in layers)
    densities = erk_densities(layers, round(share * total))
    assert sum(
        density * layer.size for density, layer in zip(densities, layers, strict=True)
    ) == pytest.approx(share * total, rel=1e-4)
    assert max(densities) <= 1
    free = [
        density * layer.size / sum(layer.shape)
        for density, layer in zip(densities, layers, strict=True)
        if density < 1
    ]
    assert free == pytest.approx([free[0]] * len(free) if free else [])


def test_each_stage_and_kernel_shape_has_its_map_for_each_pattern() -> None:
    patterns = found(known("resnet20", (1, 8, 8)), 0.5, 0.1)
    axes = axes_of(patterns_figure(patterns, ["half", "a tenth"]))
    maps = [one for one in axes if one.images]
    assert len(maps) == 2 * 3
    assert [one.get_title() for one in maps[:3]] == [f"stage {number}, 3×3" for number in range(3)]
    assert [one.get_ylabel() for one in maps[::3]] == ["half", "a tenth"]
    for one, kernel in zip(maps, [kernel for pattern in patterns for kernel in pattern.kernels], strict=True):
        shown = np.asarray(one.images[0].get_array()).ravel()
        assert shown == pytest.approx(100 * np.array(kernel.kept))
        assert [float(text.get_text()) for text in one.texts] == pytest.approx(shown, abs=0.5)


def test_a_network_of_many_layers_and_shapes_fits_on_a_page() -> None:
    patterns = found(known("torchvision:mobilenet_v3_small"), 0.4, 0.1)
    figure = patterns_figure(patterns)
    width, height = figure.get_size_inches()
    assert width <= 16
    assert height <= 12


def test_kernels_of_many_positions_have_colours_and_no_numbers() -> None:
    space = load_space(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 7), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
        (3, 9, 9),
    )
    (one,) = [axes for axes in axes_of(patterns_figure(found(space, 0.5))) if axes.images]
    assert not one.texts
    assert one.get_title().startswith("stage 0, 7×7, up to ")


def test_a_network_without_kernels_has_densities_alone() -> None:
    space = known_linear()
    figure = patterns_figure(found(space, 0.5))
    assert not [one for one in axes_of(figure) if one.images]


def known_linear() -> SearchSpace:
    return load_space(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)),
        (3, 2, 2),
        num_classes=4,
    )


def test_pictures_are_the_same_bytes_for_the_same_patterns(tmp_path: Path) -> None:
    patterns = found(small_space(), 0.5)
    for name in ("a.png", "b.png"):
        draw_patterns(patterns, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    width, height = patterns_figure(patterns).get_size_inches()
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (round(120 * width), round(120 * height))


def test_the_masks_of_a_first_layer_are_drawn_filter_by_filter() -> None:
    space = small_space()
    costs = costs_for(space)
    masks = {layer.name: torch.zeros(layer.shape, dtype=torch.bool) for layer in costs.layers.layers}
    masks["0.weight"][2, 0, 1, 0] = True
    for mask in masks.values():
        mask.view(-1)[0] = True
    figure = first_layer_figure(pattern_of(space, costs, masks), masks)
    assert figure is not None
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    assert canvas.shape == (3, 6 * 4 - 1)
    assert np.argwhere(canvas == 0).tolist() == [[0, 0], [1, 8]]
    assert (canvas == 1).sum() == 6 * 9 - 2
    assert "6 filters of 0.weight, 1 input channel" in figure.axes[0].get_xlabel()


def test_a_first_layer_of_many_filters_and_inputs_fits_on_a_page() -> None:
    space = load_space(
        lambda: nn.Sequential(nn.Conv2d(40, 70, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(70, 4)),
        (40, 6, 6),
    )
    costs = costs_for(space)
    masks = drawn(costs.layers, 0.5)
    figure = first_layer_figure(pattern_of(space, costs, masks), masks)
    assert figure is not None
    assert max(figure.get_size_inches()) <= 16
    assert "64 of 70 filters of 0.weight, 16 of 40 input channels" in figure.axes[0].get_xlabel()


def test_a_first_layer_that_is_transposed_has_its_filters_as_columns() -> None:
    space = load_space(
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        ),
        (3, 6, 6),
    )
    costs = costs_for(space)
    masks = {layer.name: torch.zeros(layer.shape, dtype=torch.bool) for layer in costs.layers.layers}
    masks["0.weight"][1, 5, 0, 1] = True  # of input channel 1 and filter 5
    masks["3.weight"][0, 0] = True
    pattern = pattern_of(space, costs, masks)
    assert [layer.out_dim for layer in pattern.layers] == [1, 0]
    figure = first_layer_figure(pattern, masks)
    assert figure is not None
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    assert canvas.shape == (3 * 3 - 1, 8 * 3 - 1)
    assert np.argwhere(canvas == 0).tolist() == [[1 * 3 + 0, 5 * 3 + 1]]
    assert "8 filters of 0.weight, 3 input channels" in figure.axes[0].get_xlabel()


def test_a_first_layer_that_stays_dense_is_not_drawn_as_another() -> None:
    space = small_space()
    costs = costs_of(space, weight_layers(space, ["0"]))
    masks = drawn(costs.layers, 0.5)
    assert first_layer_figure(pattern_of(space, costs, masks), masks) is None


def test_a_first_layer_of_one_position_is_not_drawn() -> None:
    space = known_linear()
    costs = costs_for(space)
    masks = drawn(costs.layers, 0.5)
    assert first_layer_figure(pattern_of(space, costs, masks), masks) is None


def test_a_guideline_is_drawn_with_its_intervals_and_positions(tmp_path: Path) -> None:
    said = guideline_of({("first", 0): 0.7, ("kernel", 0): -0.4, ("kernel", 1): 0.2}, POSITIONS)
    bounded = said.model_copy(
        update={
            "densities": (
                *said.densities[:2],
                said.densities[2].model_copy(update={"low": -0.1, "high": 0.5}),
            )
        }
    )
    figure = guideline_figure(bounded)
    axes = axes_of(figure)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "first", "kernel, stage 0 from the last", "kernel, stage 1 from the last"
    ]  # fmt: skip
    ends = [line.get_xdata() for line in axes[0].lines if len(line.get_xdata()) == 2]
    assert any(np.allclose(cast("Any", one), np.exp([-0.1, 0.5])) for one in ends)
    maps = [one for one in axes if one.images]
    assert len(maps) == 3
    assert [text.get_text() for text in maps[0].texts][4] == f"{np.exp(2):.2f}"
    draw_guideline(bounded, tmp_path / "g.png")
    assert (tmp_path / "g.png").stat().st_size > 1000


def test_a_guideline_that_is_not_applied_says_so() -> None:
    figure = guideline_figure(guideline_of({("first", 0): 0.7}, POSITIONS, is_found=False))
    axes = axes_of(figure)
    assert "not applied" in axes[0].get_xlabel()
    assert "not applied" in str(figure.subfigs[1]._suptitle.get_text())  # type: ignore[attr-defined]
    assert not [one for one in axes_of(guideline_figure(guideline_of({("first", 0): 0.7}))) if one.images]
