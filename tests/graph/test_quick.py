"""Shapes of the shortcuts are PyTorch's own: shape, stride, type, of every output."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from nas_prune.graph.quick import _SHORTCUTS, quick_output

aten = torch.ops.aten


def image(*shape: int, last: bool = False) -> Tensor:
    made = torch.empty(shape, device="meta")
    return made.to(memory_format=torch.channels_last) if last else made


def vector(size: int) -> Tensor:
    return torch.empty(size, device="meta")


UNARY = ("relu", "silu", "sigmoid", "hardswish", "tanh")
X, LAST = image(4, 6, 5, 7), image(4, 6, 5, 7, last=True)
NORM = (vector(6), vector(6), vector(6), vector(6))
CALLS: list[tuple[Any, tuple[Any, ...]]] = [
    (aten.native_batch_norm.default, (X, *NORM, True, 0.1, 1e-5)),
    *[(getattr(aten, name).default, (x,)) for name in UNARY for x in (X, LAST)],
    *[(getattr(aten, name).default, (x,)) for name in ("relu_", "silu_", "sigmoid_") for x in (X, LAST)],
    (aten.gelu.default, (X,)),
    (aten.hardtanh.default, (X, 0, 6)),
    *[(getattr(aten, name).Tensor, (X, y)) for name in ("add", "mul") for y in (X, image(4, 6, 1, 1), image(6, 5, 1))],
    (aten.add.Tensor, (X, LAST)),
    (aten.mul.Tensor, (LAST, LAST)),
    (aten.mul.Tensor, (image(6, 1, 1), X)),
    (aten.add.Tensor, (X, 1.5)),
    (aten.add_.Tensor, (X, X)),
    (aten.mul_.Tensor, (X, X)),
    (aten._softmax.default, (X, 1, False)),
    (aten.native_layer_norm.default, (image(4, 9, 6), [6], vector(6), vector(6), 1e-5)),
    (aten.native_layer_norm.default, (image(4, 9, 6), [9, 6], None, None, 1e-5)),
    (aten.native_group_norm.default, (X, vector(6), vector(6), 4, 6, 35, 3, 1e-5)),
    (aten.native_group_norm.default, (LAST, None, None, 4, 6, 35, 2, 1e-5)),
    (aten.addmm.default, (vector(7), image(4, 5), image(5, 7))),
    (aten.cat.default, ([X, image(4, 2, 5, 7), X], 1)),
    (aten.cat.default, ([X, X], -1)),
    (aten.mean.dim, (X, [2, 3], True)),
    (aten.mean.dim, (X, [-1, -2])),
    *[(aten.roll.default, (x, [2, 1], [2, 3])) for x in (X, LAST)],
    *[(aten.clamp_min.default, (x, 1e-12)) for x in (X, LAST)],
    *[(getattr(aten, name).Tensor, (X, y)) for name in ("div", "sub") for y in (X, image(4, 6, 1, 1), 2.0)],
    (aten.linalg_vector_norm.default, (X, 2, [1], True)),
    (aten.linalg_vector_norm.default, (X, 2, [-1])),
    (aten.linalg_vector_norm.default, (X, 2)),
    *[(aten.masked_fill.Scalar, (X, torch.empty(shape, device="meta", dtype=torch.bool), -1.0))
      for shape in ((4, 6, 5, 7), (5, 7), (4, 1, 1, 1))],
    (aten.convolution.default, (X, image(8, 6, 3, 3), vector(8), [2], [1], [1], False, [0], 1)),
    (aten.convolution.default, (X, image(8, 3, 3, 1), None, [1, 2], [1, 0], [2, 1], False, [0, 0], 2)),
    (aten.convolution.default, (image(4, 6, 9), image(6, 1, 3), None, [1], [1], [1], False, [0], 6)),
]  # fmt: skip


def described(output: object) -> list[tuple[object, ...]]:
    leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    return [(leaf.shape, leaf.stride(), leaf.dtype, leaf.is_meta) for leaf in leaves]


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=[str(call[0]) for call in CALLS])
def test_a_shortcut_gives_the_shapes_that_pytorch_gives(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    found = quick_output(function, arguments, None)
    expected = function(*arguments)
    # Where there is no short way, `test_every_shortcut_is_tried` sees that another call takes it.
    assert found is None or described(found) == described(expected)


def test_every_shortcut_is_tried() -> None:
    tried = {
        function.overloadpacket.__name__
        for function, arguments in CALLS
        if quick_output(function, arguments, None) is not None
    }
    alike = {"_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_safe_softmax"}
    alike |= {"hardsigmoid", "hardswish_", "hardsigmoid_", "hardtanh_", "tanh_"}
    assert set(_SHORTCUTS) - tried <= alike


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (aten.addmm.default, (vector(7), image(4, 5), image(6, 7))),
        (aten.native_layer_norm.default, (image(4, 9, 6), [5], None, None, 1e-5)),
        (aten.native_group_norm.default, (X, vector(5), vector(6), 4, 6, 35, 3, 1e-5)),
        (aten.native_group_norm.default, (X, None, None, 4, 6, 35, 4, 1e-5)),
        (aten.cat.default, ([X, image(4, 2, 5, 6)], 1)),
        (aten.relu.default, (torch.zeros(3),)),
    ],
)
def test_what_does_not_fit_is_left_to_pytorch(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    assert quick_output(function, arguments, None) is None


def test_a_convolution_of_other_channels_says_so() -> None:
    with pytest.raises(RuntimeError, match="a convolution of 6 channels got 5"):
        quick_output(
            aten.convolution.default,
            (image(4, 5, 5, 7), image(8, 6, 1, 1), None, [1], [0], [1], False, [0], 1),
            None,
        )
