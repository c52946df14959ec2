"""Networks that hold, move and do what only some networks do."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.errors import BadInputError
from nas_prune.graph.channels import channel_graph
from nas_prune.space.load import load_space
from tests.graph.cases import Net, conv
from tests.space.test_cost import count_by_pytorch
from tests.surgery import kill, lively, outputs


class Holding(nn.Module):
    """Holds something beside its layers."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.first, self.second, self.held = conv(3, 16), conv(16, 5), held

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.second(self.first(images)).mean((2, 3)))


class Box:
    """Cannot be copied, and holds what is given."""

    def __init__(self, held: Any) -> None:
        self.held, self.lock = held, threading.Lock()


@pytest.mark.parametrize("held", [threading.Lock, lambda: (i for i in range(3)), lambda: Box("a word")])
def test_what_cannot_be_copied_is_shared(held: Callable[[], Any]) -> None:
    space = load_space(lambda: Holding(held()), (3, 8, 8))
    assert space.base_G == (16,)
    assert space.build([5], seed=0)(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


def test_an_open_file_is_shared(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        space = load_space(lambda: Holding(file), (3, 8, 8))
        small: Any = space.build([5], seed=0)
        assert small.held is file


def test_what_cannot_be_copied_must_hold_no_tensor() -> None:
    with pytest.raises(BadInputError, match="must be copied with its tensors, got Box"):
        load_space(lambda: Holding(Box([torch.zeros(3)])), (3, 8, 8))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_a_scripted_part_is_named() -> None:
    class Scripted(Holding):
        def __init__(self) -> None:
            super().__init__(None)
            self.part = torch.jit.script(nn.ReLU())

    with pytest.raises(BadInputError, match="got a scripted one as its part part"):
        load_space(Scripted, (3, 8, 8))


def test_a_network_may_move_tensors_of_its_own() -> None:
    class Moving(Holding):
        def __init__(self) -> None:
            super().__init__(torch.tensor([8.0, 16.0]))

        def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "Moving":
            apply: Callable[..., Any] = super()._apply
            apply(fn, *args, **kwargs)
            self.held = fn(self.held)
            return self

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + sum(float(one) for one in self.held)

    assert load_space(Moving, (3, 8, 8)).base_G == (16,)


@pytest.mark.parametrize("channels", [32, 768])
def test_many_equal_pieces_of_one_axis_make_no_chain(channels: int) -> None:
    """A concatenation whose neighbours are summed: a squeeze of channels in pairs."""

    def forward(n: Any, images: Tensor) -> Any:
        both = torch.cat([n.a(images), n.b(images)], 1)
        count, size, high, wide = both.shape
        return n.c(both.view(count, size // 2, 2, high, wide).sum(2)) + n.e(n.d(both).relu())

    layers = {
        "a": (3, channels),
        "b": (3, channels),
        "c": (channels, 5),
        "d": (2 * channels, 16),
        "e": (16, 5),
    }
    model = Net(forward, **{name: conv(*sizes) for name, sizes in layers.items()})
    assert load_space(model, (3, 8, 8)).base_G == (16,)


class Picking(nn.Module):
    """One token of each image goes on, chosen by its number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.inner, self.head = (
            conv(3, 16),
            conv(16, 16),
            nn.Linear(16, 24),
            nn.Linear(24, 5),
        )

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.second(self.first(images)).flatten(2).transpose(1, 2)
        best = tokens.mean(2).argmax(1)
        return torch.as_tensor(
            self.head(self.inner(tokens[torch.arange(len(images), device=images.device), best]))
        )


class Wording(nn.Module):
    """Words are looked up in a table."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.first, self.second = nn.Embedding(50, 12), nn.Conv1d(12, 16, 3), nn.Conv1d(16, 16, 3)
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        numbers = (images[:, 0, 0].abs() * 9).long().clamp(0, 49)
        inner = self.first(self.words(numbers).transpose(1, 2)).relu()
        return torch.as_tensor(self.head(self.second(inner).amax(2)))


@pytest.mark.parametrize(("kind", "widths"), [(Picking, {16, 24}), (Wording, {16, 12})])
def test_the_batch_is_not_lost_where_something_is_looked_up(kind: type[nn.Module], widths: set[int]) -> None:
    space = load_space(kind, (3, 8, 8))
    assert len(space.base_G) == 3
    assert set(space.base_G) == widths
    small = [width // 2 for width in space.base_G]
    assert count_by_pytorch(space, small) == (space.cost_at(small).params, space.cost_at(small).macs)


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(
        norm(conv(3, 16)),
        nn.ReLU(),
        norm(conv(16, 24)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 5),
    )


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_weights_as_direction_and_length_are_narrowed_and_made_anew(
    norm: Callable[[nn.Module], nn.Module],
) -> None:
    space = load_space(lambda: normed(norm), (3, 8, 8))
    assert space.base_G == (16, 24)
    assert [group.is_reduced for group in space.groups] == [True, False]
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    made: Any = normed(norm)
    for widths in (None, [8, 12]):
        fresh = space.build(widths, seed=1)
        fresh(images)
        weight = fresh[2].weight.detach()  # type: ignore[index]
        fan_in = weight[0].numel()
        lengths = weight.flatten(1).norm(dim=1)
        assert float(weight.std()) == pytest.approx(
            (3 * fan_in) ** -0.5, rel=0.1
        )  # as the layer's type does it
        assert float(lengths.mean()) == pytest.approx(
            float(made[2].weight.detach().flatten(1).norm(dim=1).mean()), rel=0.1
        )
    narrow = space.narrow(space.build(seed=1), [np.arange(4), np.arange(6)])
    assert narrow(images).shape == (4, 5)


def test_the_gates_of_a_cell_are_cut_alike() -> None:
    def forward(n: Any, images: Tensor) -> Any:
        return n.head(n.cell(n.second(n.first(images)).mean((2, 3))))

    layers = {
        "first": conv(3, 16),
        "second": conv(16, 12),
        "cell": nn.GRUCell(12, 24),
        "head": nn.Linear(24, 5),
    }
    space = load_space(Net(forward, **layers), (3, 8, 8))
    assert {group.name: group.size for group in space.groups} == {"first": 16, "second": 12, "cell": 24}
    small = space.build([4, 5, 7], seed=0)
    assert small.get_parameter("cell.weight_ih").shape == (21, 5)
    assert small(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


WALKS: list[Callable[[Tensor], Any]] = [
    lambda x: x,
    lambda x: [x[number] for number in range(len(x))],
    lambda x: [one[0] for one in x.split(1)],
]


@pytest.mark.parametrize("walk", WALKS)
def test_a_network_may_walk_over_the_images_of_a_batch(walk: Callable[[Tensor], Any]) -> None:
    def forward(n: Any, images: Tensor) -> Any:
        return torch.cat([n.b(one[None]).mean((2, 3)) for one in walk(n.a(images))])

    space = load_space(Net(forward, a=conv(3, 16), b=conv(16, 5)), (3, 8, 8))
    assert space.base_G == (16,)
    for width in (1, 7, 16):
        cost = space.cost_at([width])
        assert count_by_pytorch(space, [width]) == (cost.params, cost.macs)
        assert space.build([width], seed=0)(torch.zeros(3, 3, 8, 8)).shape == (3, 5)


def test_a_statistic_of_each_image_costs_no_more() -> None:
    def forward(n: Any, images: Tensor) -> Any:
        x = n.a(images)
        return n.b(x).mean((2, 3)) + torch.stack([one.mean() for one in x])[:, None]

    plain = Net(lambda n, images: n.b(n.a(images)).mean((2, 3)), a=conv(3, 16), b=conv(16, 5))
    space = load_space(Net(forward, a=conv(3, 16), b=conv(16, 5)), (3, 8, 8))
    assert space.cost_at([5]) == load_space(plain, (3, 8, 8)).cost_at([5])


class Widths37(nn.Module):
    """As wide as a traced batch might be, in a size that its code asks for or behind an operation without a rule."""

    def __init__(self, width: int, how: str) -> None:
        super().__init__()
        self.width, self.how = width, how
        self.a, self.b = conv(3, width), conv(2 * width, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.a(images)
        if self.how == "asked for":
            other = x.new_zeros(len(x), self.width, *x.shape[2:]) + x
        else:
            other = torch.renorm(x, 2, 2, 1.0)
        scores: Tensor = self.b(torch.cat([x, other], 1)).mean((2, 3))
        return scores


@pytest.mark.parametrize("width", [36, 37, 74, 37 * 41])
@pytest.mark.parametrize("how", ["asked for", "no rule"])
def test_a_width_is_not_taken_for_the_batch(width: int, how: str) -> None:
    graph = channel_graph(Widths37(width, how), (3, 8, 8))
    (own,) = (group for group in graph.groups if group.name == "a")
    assert own.size == width
    assert own.frozen is None if how == "asked for" else "no rule" in str(own.frozen)


class Shuffled(nn.Module):
    """A shuffle by a number that stands in the code, where the channels are a product of that and others."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.a, self.o, self.q, self.p = conv(3, channels), conv(channels, 7), conv(7, 30), conv(30, 5)
        self._factor = factor  # as good as one in the code itself

    def forward(self, images: Tensor) -> Tensor:
        x = F.pixel_unshuffle(F.pixel_shuffle(self.a(images), 2), 2)
        count, channels, height, width = x.shape
        x = x.view(count, self._factor, channels // self._factor, height, width).transpose(1, 2)
        return torch.as_tensor(self.p(self.q(self.o(x.reshape(count, channels, height, width)))))


@pytest.mark.parametrize(
    ("channels", "factor", "left"),
    [(16, 4, []), (8, 2, []), (8, 4, []), (24, 2, [3]), (24, 3, [2]), (48, 4, [3]), (32, 2, [4])],
)
def test_only_what_a_number_in_the_code_is_about_is_frozen(
    channels: int, factor: int, left: list[int]
) -> None:
    space = load_space(lambda: Shuffled(channels, factor), (3, 8, 8))
    assert [group.size for group in space.groups] == [*left, 7, 30]
    model = lively(space)
    for width in range(1, left[0]) if left else ():
        kept = [np.arange(width), np.arange(1, 6), np.arange(20)]
        kill(model, space, kept)
        assert torch.allclose(outputs(model, space), outputs(space.narrow(model, kept), space), atol=1e-10)


def test_a_number_of_any_name_that_a_module_holds_follows_the_channels_it_counts() -> None:
    class Follows(Shuffled):
        def __init__(self) -> None:
            super().__init__(16, 4)
            self.times = 4

        @property
        def _factor(self) -> int:
            return self.times

        @_factor.setter
        def _factor(self, _: int) -> None:
            pass

    space = load_space(Follows, (3, 8, 8))
    assert [group.size for group in space.groups] == [4, 7, 30]
    assert space.build([3, 7, 30], seed=0).times == 3
    model, kept = lively(space), [np.array([0, 2]), np.arange(1, 6), np.arange(20)]
    kill(model, space, kept)
    assert torch.allclose(outputs(model, space), outputs(space.narrow(model, kept), space), atol=1e-10)


@pytest.mark.parametrize("factor", [0, -1, float("nan")])
def test_factors_that_are_none_are_refused_for_networks_of_ones_own(factor: float) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    with pytest.raises(BadInputError, match="--width-multiplier must be between 0.01 and 100"):
        load_space(network, (3, 8, 8), width_multiplier=factor)


def test_rows_that_are_too_long_are_refused_in_a_line() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 64, 3, padding=1), nn.Flatten())
    with pytest.raises(BadInputError, match="must put out at most 1,000,000 numbers, got 1,048,576"):
        load_space(network, (3, 128, 128))
