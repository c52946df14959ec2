"""Slices of a network's parameters run as the narrowed network does, and their gradients are its gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.graph.slices import Slices
from nas_prune.space.search_space import SearchSpace
from tests.networks import known
from tests.surgery import lively, random_halves

CASES = [
    ("torchvision:mobilenet_v2", (3, 32, 32), False),
    pytest.param("densenet40", (3, 8, 8), True, marks=pytest.mark.slow),
    *(
        pytest.param(name, shape, is_first, marks=pytest.mark.slow)
        for name, shape in [
            ("resnet20", (3, 16, 16)),
            ("vgg16", (3, 32, 32)),
            ("torchvision:shufflenet_v2_x0_5", (3, 64, 64)),
            ("torchvision:mobilenet_v2", (3, 32, 32)),
        ]
        for is_first in (True, False)
    ),
]


def images_of(space: SearchSpace) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, *space.reference.input_shape, generator=generator, dtype=torch.float64)


def silent(model: nn.Module) -> nn.Module:
    """Without dropout, in which two runs differ."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.train()


@pytest.mark.parametrize(("name", "shape", "is_first"), CASES)
def test_slices_run_as_the_narrowed_network(
    name: str,
    shape: tuple[int, int, int],
    is_first: bool,
) -> None:
    space = known(name, shape)
    model, kept_G = silent(lively(space)), random_halves(space)
    if is_first:
        kept_G = [np.arange(len(kept)) for kept in kept_G]
    narrow, slices, images = silent(space.narrow(model, kept_G)), Slices(model, space.graph), images_of(space)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    whole = [np.arange(base) for base in space.base_G]
    slices(whole, images)
    out, expected = slices(kept_G, images), narrow(images)
    assert (out - expected).abs().max() < 1e-9
    assert out.shape == expected.shape
    out.square().sum().backward()
    expected.square().sum().backward()
    own = {key: value.grad for key, value in model.named_parameters()}
    for key, parameter in narrow.named_parameters():
        grad, wanted = own[key], parameter.grad
        assert (grad is None) == (wanted is None)
        if grad is not None and wanted is not None:
            assert float(grad.abs().sum()) == pytest.approx(float(wanted.abs().sum()), rel=1e-6, abs=1e-9)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])  # running statistics, too
    others = [base - 1 - kept for kept, base in zip(kept_G, space.base_G, strict=True)]
    assert not torch.allclose(slices([np.sort(kept) for kept in others], images), expected)
