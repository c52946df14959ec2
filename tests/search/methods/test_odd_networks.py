"""Networks whose layers cannot be watched as most can: their groups stay whole, and nothing fails."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.errors import BadInputError
from nas_prune.search.methods.contract import Scope
from nas_prune.search.methods.registry import METHODS, scorable
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.search.methods.contract import begun, train
from tests.search.methods.evidence import evidence


class Functional(nn.Module):
    """The first convolution's module is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.first.weight, self.first.bias, padding=1))
        x = F.relu(self.second(x)).mean((2, 3))
        return F.linear(x, self.last.weight, self.last.bias)


class Folded(nn.Module):
    """A linear layer sees positions as images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        batch, channels, height, width = x.shape
        x = F.relu(self.inner(x.permute(0, 2, 3, 1).reshape(-1, channels)))
        scores: Tensor = self.last(x.reshape(batch, height * width, -1).mean(1))
        return scores


class PairConv(nn.Conv2d):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


class Pairs(nn.Module):
    """A convolution that puts out two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = PairConv(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(F.relu(self.second(F.relu(self.first(x)[0]))).mean((2, 3)))
        return scores


def normed(norm: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), norm(8), nn.ReLU(), nn.Conv2d(8, 6, 3, padding_mode="reflect", padding=1),
            nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10),
        )  # fmt: skip

    return make


ODD: dict[str, Callable[[], nn.Module]] = {
    "functional": Functional,
    "folded": Folded,
    "pairs": Pairs,
    "instance norm": normed(lambda channels: nn.InstanceNorm2d(channels, affine=True)),
    "bare instance norm": normed(nn.InstanceNorm2d),
    "bare batch norm": normed(lambda channels: nn.BatchNorm2d(channels, affine=False)),
    "group norm": normed(lambda channels: nn.GroupNorm(2, channels)),
}


def space_of(name: str) -> SearchSpace:
    return load_space(ODD[name], (1, 8, 8))


@pytest.mark.parametrize("name", ODD)
def test_every_method_scores_what_it_says_it_can(name: str) -> None:
    space = space_of(name)
    for method in METHODS.values():
        columns = scorable(space, method, "all")
        if not columns:
            continue
        state = begun(method, space, columns)
        train(state, method, space, columns, until=1)
        scores = method.scores(evidence(state.trained, space, columns))
        assert [column for column, values in enumerate(scores) if values is not None] == list(columns)
        if method.sparsity is not None:
            images = torch.rand(3, 1, 8, 8)
            model = state.trained.eval()
            plain = method.sparsity.without_gates(model, space).eval()
            with torch.no_grad():
                assert torch.allclose(plain(images), model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("functional", "sss", ["second"]),
        ("functional", "thinet", ["first"]),
        ("folded", "taylor", ["first"]),
        ("pairs", "taylor", ["second"]),
        ("bare batch norm", "sss", ["3"]),
        ("group norm", "sss", ["0", "3"]),
    ],
)
def test_what_cannot_be_watched_stays_whole(name: str, method: str, expected: list[str]) -> None:
    space = space_of(name)
    columns = scorable(space, METHODS[method], "all")
    assert {space.groups[column].layers[0] for column in columns} == set(expected)


def test_stopping_is_refused_where_no_widths_are_learned() -> None:
    from nas_prune.search.config import SearchConfig, resolve

    def refused(method: str, scope: Scope | None, message: str) -> None:
        with pytest.raises(BadInputError, match=f"--stop or --no-stop must come with {message}"):
            resolve(SearchConfig(space="resnet20", method=method, scope=scope, stop=False))

    for method in ("taylor", "random"):
        refused(method, None, f"a method that uses it, got {method}")
    refused("sss", "local", "--scope global, got sss at scope local")
    refused("l1-norm", None, "--scope global, got l1-norm at scope local")
    assert resolve(SearchConfig(space="resnet20", method="l1-norm", scope="global", stop=False)).stop is False
