"""Networks of signals, volumes, tables and words, of several inputs, and parts of networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_prune.errors import BadInputError
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import read_widths
from tests.properties import leaves
from tests.space.test_cost import count_by_pytorch
from tests.surgery import kill, lively, random_halves


def signals() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 16, 5), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 24, 3),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip


def volumes() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.Conv3d(8, 12, 3),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


def table() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 12), nn.Linear(12, 5)
    )


class Words(nn.Module):
    """Words and a mask by name."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(30, 16), nn.Embedding(7, 16)
        self.a, self.b = nn.Linear(16, 24), nn.Linear(24, 5)

    def forward(self, words: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        x = self.words(words) + self.places(torch.arange(words.shape[1], device=words.device))
        x = torch.relu(self.a(x))
        if mask is not None:
            x = x * mask[..., None]
        return {"scores": self.b(x.sum(1))}


class Two(nn.Module):
    """An image and numbers that belong to it, as two arguments or in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.numbers, self.head = nn.Conv2d(3, 12, 3), nn.Linear(6, 8), nn.Linear(20, 5)

    def forward(self, given: Any, numbers: Tensor | None = None) -> Tensor:
        image, numbers = (given["image"], given["numbers"]) if numbers is None else (given, numbers)
        joined = torch.cat([self.image(image).mean((2, 3)), torch.relu(self.numbers(numbers))], 1)
        return torch.as_tensor(self.head(joined))


WORDS = torch.tensor([[1, 2, 29, 0, 3, 4, 5], [4, 5, 6, 7, 8, 9, 9]])
TWO = (torch.zeros(4, 3, 8, 8), torch.zeros(4, 6))
CASES: dict[str, tuple[Callable[[], nn.Module], Any, tuple[int, ...]]] = {
    "signals": (signals, (2, 64), (16, 24)),
    "volumes": (volumes, (1, 6, 7, 8), (8, 12)),
    "table": (table, (20,), (16, 12)),
    "words": (Words, WORDS, (16, 24)),
    "words by name": (Words, {"words": WORDS, "mask": torch.ones(2, 7)}, (16, 24)),
    "two": (Two, TWO, (12, 8)),
    "two in a dictionary": (Two, (dict(zip(("image", "numbers"), TWO, strict=True)),), (12, 8)),
}


def run(space: SearchSpace, model: nn.Module, count: int = 3) -> list[Tensor]:
    with torch.no_grad():
        return leaves(space.forward.run(model, space.forward.sampled(model, count)))


@pytest.mark.parametrize("name", CASES)
def test_inputs_of_any_kind(name: str, tmp_path: Path) -> None:
    make, example, base = CASES[name]
    space = load_space(make, example)
    assert tuple(sorted(space.base_G)) == tuple(sorted(base))
    for widths in (space.base_G, [3] * len(base), [1] * len(base)):
        cost = space.cost_at(widths)
        assert count_by_pytorch(space, list(widths)) == (cost.params, cost.macs)
    model, kept = lively(space), random_halves(space)
    kill(model, space, kept)
    for one, other in zip(run(space, model), run(space, space.narrow(model, kept)), strict=True):
        assert torch.allclose(one, other, atol=1e-10)
    space.widths([5] * len(base)).write(tmp_path / "widths.json")
    written = read_widths(tmp_path / "widths.json")
    assert written.space == space.reference
    again = load_space(make, written.space.call)
    assert again.build(written, seed=3).state_dict().keys() == model.state_dict().keys()
    assert run(again, again.build(written, seed=3))[0].shape == (3, 5)


def test_what_a_network_takes_is_left_out_of_files_where_it_is_one_tensor() -> None:
    assert set(load_space(signals, (2, 64)).reference.model_dump()) == {
        "name", "input_shape", "num_classes", "width_multiplier", "selections",
    }  # fmt: skip
    content = load_space(Words, WORDS).reference.model_dump(mode="json")
    assert content["input_shape"] == [7]
    assert content["input_spec"]["args"] == [
        {"shape": [7], "kind": "int64", "least": 0, "below": 30, "is_batched": True}
    ]


def test_what_is_no_image_cannot_be_trained_here() -> None:
    with pytest.raises(
        BadInputError, match="must take images .* to be trained here, got Sequential, which takes 2×64"
    ):
        load_space(signals, (2, 64)).check_trainable()
    with pytest.raises(BadInputError, match="which takes 3×8×8 and more"):
        load_space(Two, TWO).check_trainable()


def test_a_number_that_comes_first_is_no_batch() -> None:
    class Timed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 4)

        def forward(self, t: Tensor, x: Tensor) -> Any:
            return self.b(self.a(x) * t)

    space = load_space(Timed, {"t": torch.tensor(3.0), "x": torch.zeros(2, 6)})
    assert space.cost_at([16]).macs == 6 * 16 + 16 * 4


def test_values_that_activations_have_changed_are_known_no_more() -> None:
    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Any:
            y, seen = self.a(x), torch.zeros(3, device=x.device)
            seen[0:1] += y.sum()
            return self.b(y) if seen.sum() > 0 else y

    with pytest.raises(BadInputError, match="name a part that does not"):
        load_space(Loss, (6,))


def test_a_number_that_is_as_large_by_chance_counts_what_it_counted() -> None:
    class Steps(nn.Module):
        half: Any  # of which torch makes a method

        def __init__(self) -> None:
            super().__init__()
            self.half, self.steps = 8, 8
            self.a, self.b = nn.Linear(6, 16), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Any:
            y = self.a(x).view(-1, 2, self.half).sum(1)
            for _ in range(self.steps):
                y = torch.tanh(y) * 1.2
            return self.b(y)

    space = load_space(Steps, (6,))
    assert space.base_G == (8,)
    small: Any = space.build([4], seed=0)
    assert (small.half, small.steps) == (4, 8)


def test_a_scale_behind_the_product_reduces_and_follows_whatever_it_is_called() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (
                nn.Linear(6, 12),
                nn.Linear(6, 12),
                nn.Linear(6, 10),
                nn.Linear(10, 4),
            )
            self.scaling, self.divisor, self.share = 12**-0.5, 12**0.5, 0.25

        def forward(self, x: Tensor) -> Any:
            weights = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2) * self.scaling, -1)
            return self.o(weights @ self.v(x)).mean(1)

    space = load_space(Attending, (7, 6))
    assert {group.name: group.is_reduced for group in space.groups} == {"q": True, "v": False}
    small: Any = space.build([5, 3], seed=0)
    assert (small.scaling, small.divisor, small.share) == (5**-0.5, 5**0.5, 0.25)


class Masked(nn.Module):
    """Branches on values that follow from no activation: on places that are counted, and on a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.a, self.b = nn.Embedding(30, 16), nn.Linear(16, 24), nn.Linear(24, 5)
        self.other = nn.Linear(24, 5)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        x = torch.relu(self.a(self.words(words)))
        places = torch.arange(words.shape[1], device=words.device)[None] * mask.new_ones(1)
        if (places.diff() < 1).any():
            raise AssertionError("places must rise")
        if mask.all():
            return torch.as_tensor(self.b(x.mean(1)))
        kept = (mask[0] > 0).nonzero()[:, 0]
        return torch.as_tensor(self.other(x[:, kept].mean(1)))


def test_code_may_branch_on_what_follows_from_no_activation() -> None:
    all_ones = load_space(Masked, (WORDS, torch.ones(2, 7, dtype=torch.long)))
    assert all_ones.base_G in ((24, 16), (16, 24))
    frozen = {group.name: group.frozen for group in all_ones.graph.groups if group.frozen}
    assert set(frozen) == {"b", "other", "other'"}
    assert "no operation" in str(frozen["other"])  # the way that the example's values take
    some = load_space(Masked, (WORDS, torch.tensor([[0, 1, 1, 1, 0, 0, 1]] * 2)))
    assert (
        next(group.frozen for group in some.graph.groups if group.name == "other") == "the network's output"
    )
    for space in (all_ones, some):
        widths = [7] * 2
        cost = space.cost_at(widths)
        small = space.build(widths, seed=0)
        assert sum(one.numel() for one in small.parameters()) == cost.params


def test_code_must_not_branch_on_activations() -> None:
    class Branching(Masked):
        def forward(self, words: Tensor, mask: Tensor) -> Tensor:
            x = self.a(self.words(words)).mean(1) * mask[:, :1]
            return torch.as_tensor(self.b(x) if x.max() > 0 else self.other(x))

    with pytest.raises(BadInputError, match="name a part that does not"):
        load_space(Branching, (WORDS, torch.ones(2, 7, dtype=torch.long)))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
@pytest.mark.parametrize("settings", [{}, {"num_layers": 2}, {"bidirectional": True}])
def test_recurrent_layers_whose_sizes_are_equal(kind: Any, settings: dict[str, Any]) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.r = nn.Linear(6, 17), kind(17, 17, batch_first=True, **settings)
            self.b = nn.Linear(34 if "bidirectional" in settings else 17, 5)

        def forward(self, x: Tensor) -> Any:
            return self.b(self.r(self.a(x))[0][:, -1])

    space = load_space(Recurrent, (7, 6))
    assert {group.name: group.size for group in space.groups} == {"a": 17, "r": 17}
    small: Any = space.build([3, 4], seed=0)
    assert (small.r.input_size, small.r.hidden_size) == (3, 4)
    assert small(torch.zeros(2, 7, 6)).shape == (2, 5)
    model, kept = lively(space), random_halves(space)
    kill(model, space, kept)
    (whole,), (narrow,) = run(space, model), run(space, space.narrow(model, kept))
    assert torch.allclose(whole, narrow, atol=1e-10)


class Heads(nn.Module):
    """An attention that holds the size of its heads, and counts them by -1; numbers of any name."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.wide, self.each = width, width // heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Any:
        shape = (*x.shape[:-1], -1, self.each)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v))
        weights = torch.softmax(q @ k.transpose(2, 3), -1)
        return self.o((weights @ v).transpose(1, 2).reshape(*x.shape[:-1], -1))


def test_numbers_that_a_module_holds_tie_no_more_than_they_must() -> None:
    net = nn.Sequential(nn.Linear(6, 24), Heads(24, 3), Heads(24, 3), nn.Linear(24, 5))
    space = load_space(lambda: net, (7, 6))
    sizes = {group.name: group.size for group in space.groups}
    assert sizes == {"0": 24, "1.q[0]": 3, "1.q[1]": 8, "1.o": 24, "2.q[0]": 3, "2.q[1]": 8, "2.o": 24}
    small: Any = space.build([5, 2, 3, 7, 1, 4, 6], seed=0)
    assert (small[1].wide, small[1].each, small[2].each) == (24, 3, 4)
    assert small(torch.zeros(2, 7, 6)).shape == (2, 7, 5)


class Counted(nn.Module):
    """An attention whose queries, keys and values of one head are together as wide as the stream it stands in."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(128, 256), nn.Linear(128, 128)
        self.heads, self.of_keys, self.of_values = 2, 32, 64

    def forward(self, x: Tensor) -> Any:
        count, places, width = x.shape
        sizes = [self.of_keys, self.of_keys, self.of_values]
        q, k, v = self.qkv(x).view(count, places, self.heads, sum(sizes)).transpose(1, 2).split(sizes, 3)
        weights = torch.softmax(q @ k.transpose(2, 3), -1)
        return self.o((weights @ v).transpose(1, 2).reshape(count, places, width))


def test_what_is_as_long_by_chance_is_not_tied_first() -> None:
    space = load_space(lambda: nn.Sequential(nn.Linear(6, 128), Counted(), nn.Linear(128, 5)), (7, 6))
    sizes = {group.name: group.size for group in space.groups}
    assert sizes == {"0[0]": 2, "0[1]": 64, "1.qkv": 32, "1.o": 128}
    small: Any = space.build([3, 5, 7, 11], seed=0)
    assert small(torch.zeros(2, 7, 6)).shape == (2, 7, 5)
    assert (small[1].heads, small[1].of_keys, small[1].of_values) == (3, 7, 5)


class ActNorm(nn.Module):
    """Channels moved and stretched so that the first batch has mean 0 and deviation 1; a flag says that it was."""

    is_set: Tensor
    seen: Tensor

    def __init__(self, width: int, *, is_set: bool) -> None:
        super().__init__()
        self.shift, self.stretch = (nn.Parameter(torch.full((1, width, 1, 1), value)) for value in (0.0, 1.0))
        self.register_buffer("is_set", torch.tensor(is_set))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Any:
        if self.training and not self.is_set:
            self.shift.data.copy_(-x.mean((0, 2, 3), keepdim=True))
            self.stretch.data.copy_(1 / (x.std((0, 2, 3), keepdim=True) + 1e-6))
            self.is_set.fill_(value=True)
        self.seen += 1
        return (x + self.shift) * self.stretch if int(self.seen) > 0 else x


@pytest.mark.parametrize("is_set", [True, False])
def test_code_may_branch_on_what_a_buffer_holds(is_set: bool) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 16, 3), ActNorm(16, is_set=is_set), nn.Conv2d(16, 4, 3))

    space = load_space(make, (3, 8, 8))
    assert space.base_G == (16,)
    model = space.build([5], seed=0)
    assert (bool(model[1].is_set), int(model[1].seen)) == (is_set, 0)  # type: ignore[index]
    output = model.train()(torch.randn(8, 3, 8, 8))
    assert output.shape == (8, 4, 4, 4)
    assert bool(model[1].is_set)  # type: ignore[index]
