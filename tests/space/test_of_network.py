"""Widths read off a narrowed network are those that it was built with; what is none of the space is refused."""

import pytest
import torch
from torch import nn

from nas_prune.errors import WidthsError
from nas_prune.space.load import load_space
from nas_prune.space.of_network import vector_of
from nas_prune.space.search_space import SearchSpace
from tests.networks import known


def drawn(space: SearchSpace) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(
        allowed[int(torch.randint(len(allowed), (), generator=generator))] for allowed in space.allowed_G
    )


@pytest.mark.parametrize("name", ["resnet20", "vgg11", "densenet40"])
def test_what_was_built_is_read(name: str) -> None:
    space = known(name)
    widths_G = drawn(space)
    assert vector_of(space, space.build(widths_G, seed=0)) == widths_G
    assert vector_of(space, space.build(seed=0)) == space.base_G


class Joined(nn.Module):
    """Two concatenations of the same length and other parts, added: groups that no axis has by themselves."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"a": 6, "b": 10, "c": 10, "d": 6}
        self.parts = nn.ModuleDict({name: nn.Conv2d(3, size, 1) for name, size in sizes.items()})
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c, d = (part(x) for part in self.parts.values())
        return self.last(torch.cat([a, b], 1) + torch.cat([c, d], 1)).mean((2, 3))  # type: ignore[no-any-return]


def test_widths_that_are_only_parts_of_axes_are_worked_out() -> None:
    space = load_space(Joined, (3, 8, 8))
    half_G = tuple(max(1, base // 2) for base in space.base_G)
    assert len(half_G) > 1
    assert vector_of(space, space.build(half_G, seed=0)) == half_G


def test_widths_that_do_not_follow_from_tensors_are_said() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 12)
            self.attend = nn.MultiheadAttention(12, 3, batch_first=True)
            self.last = nn.Linear(12, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = self.first(x.mean(1))
            return self.last(self.attend(rows, rows, rows)[0]).mean(1)  # type: ignore[no-any-return]

    space = load_space(Attention, (3, 8, 8))
    network = space.build(space.base_G, seed=0)
    with pytest.raises(WidthsError, match=r"must follow from its tensors, but that of .* does not"):
        vector_of(space, network)


def test_tensors_that_do_not_agree_are_named() -> None:
    space = known("resnet20")
    network = space.build(seed=0)
    layer = network.get_submodule("layer1.0.bn1")
    assert isinstance(layer, nn.BatchNorm2d)
    layer.weight = nn.Parameter(torch.ones(3))
    with pytest.raises(WidthsError, match=r"one width for each channel group, got .* where others say"):
        vector_of(space, network)


def test_another_network_is_refused() -> None:
    with pytest.raises(WidthsError, match="must have all of its tensors, got no conv1.weight"):
        vector_of(known("resnet20"), nn.Linear(3, 4))
