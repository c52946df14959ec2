"""Random networks of the kinds that once went wrong: what they take, hold, pad with, pick and walk over."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as drawn_from
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.properties import leaves
from tests.space.test_cost import count_by_pytorch
from tests.surgery import kill, lively

CLASSES, ROWS = 5, 11
_CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
Width = Annotated[int, st.integers(2, 12)]


@dataclass(frozen=True, slots=True)
class Kind:
    """A description of a network.

    Attributes:
        places: dimensions of its positions: a table of numbers has none, a volume three; "words" are integers, "word"
            is one for each.
        widths: of its layers.
        has_norm: a batch norm stands between them.
        others: how many more inputs of numbers there are, and how they are given.
        constant: what holds values that are not learnt.
        padding: the value put around the maps, or one place at the end.
        ending: how the positions end.
        walk: how the code goes through the images.
    """

    places: Literal[0, 1, 2, 3, "words", "word"]
    widths: tuple[Width, Width]
    has_norm: bool
    others: Literal[0, 1, 2]
    given_as: Literal["arguments", "names", "dictionary"]
    constant: Literal["none", "channels", "places", "order"]
    padding: Annotated[float | None, st.sampled_from((None, 0.0, -0.5, 2.0))]
    ending: Literal["mean", "first", "picked", "max"]
    walk: Literal["none", "iterate", "index", "slice", "split"]

    @property
    def dims(self) -> int:
        return self.places if isinstance(self.places, int) else {"words": 1, "word": 0}[self.places]

    def example(self) -> Any:
        shape = (3, *(4, 5, 6)[: self.dims])
        of_words = {"words": (2, 4), "word": (2,)}.get(str(self.places))
        first = torch.randint(ROWS, of_words) if of_words else torch.zeros(2, *shape)
        named = {
            "first": first,
            **{f"other{number}": torch.zeros(2, 6 + number) for number in range(self.others)},
        }
        return {"arguments": tuple(named.values()), "names": named, "dictionary": (named,)}[self.given_as]


class Made(nn.Module):
    """The network of a description."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        first, second = kind.widths
        self.words = nn.Embedding(ROWS, 3) if "word" in str(kind.places) else None
        layer: Any = _CONVS.get(kind.dims, nn.Linear)
        self.a = layer(3, first, *([1] if kind.dims else []))
        self.norm = _NORMS[kind.dims](first) if kind.has_norm else None
        self.b = layer(first, second, *([1] if kind.dims else []))
        self.beside = nn.ModuleList(nn.Linear(6 + number, second) for number in range(kind.others))
        self.head = nn.Linear(second, CLASSES)
        counted = {"channels": second, "places": 4 if kind.dims else 1, "order": second, "none": 0}[
            kind.constant
        ]
        values = torch.arange(counted).flip(0)
        self.held = nn.Parameter(values if kind.constant == "order" else values + 0.5, requires_grad=False)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        is_dictionary = len(args) == 1 and isinstance(args[0], dict)
        first, *others = args[0].values() if is_dictionary else (*args, *kwargs.values())
        if self.kind.walk == "none":
            return self.scores(first, others)
        count = len(first)
        walks: dict[str, Any] = {
            "iterate": lambda x: [one[None] for one in x],
            "index": lambda x: [x[number].unsqueeze(0) for number in range(count)],
            "slice": lambda x: [x[number : number + 1] for number in range(count)],
            "split": lambda x: x.split(1),
        }
        walk = walks[self.kind.walk]
        return torch.cat(
            [self.scores(one, rest) for one, *rest in zip(walk(first), *map(walk, others), strict=True)]
        )

    def scores(self, x: Tensor, others: list[Tensor]) -> Tensor:
        if self.words is not None:
            x = self.words(x).movedim(-1, 1)
        x = self.a(x)
        if self.norm is not None:
            x = self.norm(x)
        x = torch.relu(x)
        if self.kind.padding is not None and self.kind.dims:
            x = F.pad(x, (0, 1) * self.kind.dims, value=self.kind.padding)
        x = self.b(x)
        if self.kind.constant == "channels":
            x = x * self.held.view(-1, *[1] * self.kind.dims)
        elif self.kind.constant == "order":
            x = x[:, self.held]
        elif self.kind.constant == "places" and self.kind.dims:
            x = x.narrow(2, 0, 4) * self.held.view(-1, *[1] * (self.kind.dims - 1))
        x = self.ended(x)
        for layer, other in zip(self.beside, others, strict=True):
            x = x + layer(other)
        return torch.as_tensor(self.head(x))

    def ended(self, x: Tensor) -> Tensor:
        if not self.kind.dims:
            return x
        x = x.flatten(2)
        endings = {
            "mean": lambda: x.mean(2),
            "first": lambda: x.transpose(1, 2)[:, 0],
            "picked": lambda: x.transpose(1, 2)[torch.arange(len(x), device=x.device), -1],
            "max": lambda: x.amax(2),
        }
        return endings[self.kind.ending]()


def load(kind: Kind) -> SearchSpace:
    """The network's space: something can be narrowed in each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_space(lambda: Made(kind), kind.example())


def all_that_must_hold(kind: Kind, seed: int) -> None:
    # One row alone has no statistics to train a norm with.
    assume(not (kind.has_norm and kind.walk != "none" and kind.dims == 0))
    space = load(kind)
    # What a description makes searchable is so: its layers, but where constants lie along the channels.
    is_fixed = kind.constant in ("channels", "order")
    searchable = {group.name for group in space.groups}
    assert {"a"} <= searchable
    assert is_fixed or {"b"} & {layer for group in space.groups for layer in group.layers}
    rng = np.random.default_rng(seed)
    for widths in ([int(rng.integers(1, base + 1)) for base in space.base_G], space.floor_G, space.base_G):
        cost = space.cost_at(widths)
        assert count_by_pytorch(space, list(widths)) == (cost.params, cost.macs)
        small = space.build(widths, seed=seed)
        scores = space.forward.run(small.train(), space.forward.sampled(small, 3))
        assert scores.shape == (3, CLASSES)
        if kind.constant != "none":
            assert isinstance(small.held, Tensor)
            assert torch.equal(small.held, Made(kind).held)
    kept = [np.sort(rng.permutation(base)[: max(1, base // 2)]) for base in space.base_G]
    model = lively(space)
    kill(model, space, kept)
    inputs = space.forward.sampled(model, 3, seed=seed)
    whole, narrowed = (leaves(space.forward.run(one, inputs)) for one in (model, space.narrow(model, kept)))
    assert torch.allclose(whole[0], narrowed[0], atol=1e-10)


@drawn_from(0)
@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.generate])
@given(st.from_type(Kind), st.integers(0, 2**16))
def test_of_random_kinds(kind: Kind, seed: int) -> None:
    all_that_must_hold(kind, seed)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.from_type(Kind), st.integers(0, 2**16))
def test_of_a_thousand_random_kinds(kind: Kind, seed: int) -> None:
    all_that_must_hold(kind, seed)
