"""What must hold for any network: of random ones, at random widths."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as drawn_from
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Atom, channel_at
from nas_prune.graph.check import failure
from nas_prune.space.cost import Cost
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.graph.random_networks import (
    ACTS,
    Attention,
    Chain,
    ChannelsLast,
    Concat,
    Detour,
    Does,
    Excitation,
    Grouped,
    Halves,
    Place,
    Rescale,
    Residual,
    SelfAttention,
    Separable,
    Shuffle,
    Style,
    Width,
)
from tests.restricted import restricted_outputs
from tests.space.test_cost import count_by_pytorch
from tests.surgery import images_of, kill, lively, outputs

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, *_NORMS)
CLASSES = 5
_SEEDS = st.integers(0, 2**16)


@dataclass(frozen=True, slots=True)
class Tail:
    """From the last map to the classes, through at most one more linear layer."""

    kind: Literal["pool", "mean", "max", "two by two", "flatten", "view", "closure"]
    hidden: Width | None
    style: Style

    def make(self, at: Place) -> nn.Module:
        places = {"two by two": 4, "flatten": at.size**2, "view": at.size**2, "closure": at.size**2}
        features = at.channels * places.get(self.kind, 1)
        classify: list[nn.Module] = [nn.Linear(self.hidden or features, CLASSES)]
        if self.hidden:
            classify = [nn.Linear(features, self.hidden), ACTS[self.style.act](), *classify]
        return nn.Sequential(self._vector(features), *classify)

    def _vector(self, features: int) -> nn.Module:
        return {
            "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "mean": Does(lambda x: x.mean((2, 3))),
            "max": Does(lambda x: x.amax(dim=(-2, -1))),
            "two by two": Does(lambda x: F.adaptive_avg_pool2d(x, (2, 2)).flatten(1)),
            "flatten": nn.Flatten(),
            "view": Does(lambda x: x.reshape(x.size(0), -1)),
            "closure": Does(lambda x: x.reshape(-1, features)),
        }[self.kind]


Block: TypeAlias = (
    Chain | Residual | Concat | Detour | Separable | Grouped | Shuffle | Halves | Excitation | SelfAttention
    | ChannelsLast | Rescale
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Network:
    """A description of a whole network."""

    image: Annotated[tuple[int, int, int], st.sampled_from(((3, 8, 8), (1, 12, 12)))]
    stem: Width
    style: Style
    blocks: tuple[Block, ...]
    tail: Tail

    def make(self) -> nn.Module:
        at = Place(self.stem, self.image[-1])
        layers: list[nn.Module] = [self.style.conv(self.image[0], self.stem)]
        for block in self.blocks:
            layer, at = block.make(at)
            layers.append(layer)
        return nn.Sequential(*layers, self.tail.make(at))


def networks(most_blocks: int) -> st.SearchStrategy[Network]:
    """Descriptions of networks."""
    blocks = st.lists(st.one_of(*map(st.from_type, get_args(Block))), min_size=1, max_size=most_blocks)
    return st.builds(Network, blocks=blocks.map(tuple))


@dataclass(frozen=True, slots=True)
class Example:
    """A network's space, and where the random numbers of a property come from."""

    network: Network
    space: SearchSpace
    seed: int

    def widths(self) -> list[int]:
        """Some widths from the smallest that are allowed up to the base."""
        pairs = zip(self.space.floor_G, self.space.base_G, strict=True)
        rng = self._rng
        return [int(rng.integers(low, base + 1)) for low, base in pairs]

    def wider(self) -> list[int]:
        """Some widths above the base."""
        rng = self._rng
        return [base + int(rng.integers(1, 6)) for base in self.space.base_G]

    def kept(self) -> list[NDArray[np.int64]]:
        """Some channels of each group, fewer than it has where fewer are allowed."""
        rng = self._rng
        pairs = list(zip(self.space.floor_G, self.space.base_G, strict=True))
        widths = [int(rng.integers(low, max(low + 1, base))) for low, base in pairs]
        return [
            np.sort(rng.permutation(base)[:width]) for (_, base), width in zip(pairs, widths, strict=True)
        ]

    @property
    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)


def load(network: Network) -> SearchSpace | None:
    """The network's space; None if all of it is frozen, the one thing that may be refused."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # as an error it would be taken for the network's, which is then frozen
        try:
            return load_space(network.make, network.image)
        except BadInputError as error:
            assert "must have something to narrow" in str(error)  # noqa: PT017
            return None


known = lru_cache(maxsize=64)(load)  # the properties of the default run are checked on the same networks


@contextmanager
def layers_of(model: nn.Module, seen: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Tell of every call of a convolution, linear or norm layer: its path and output."""
    handles = [
        module.register_forward_hook(lambda _, __, output, path=path: seen(path, output))
        for path, module in model.named_modules()
        if isinstance(module, _LAYERS)
    ]
    yield
    for handle in handles:
        handle.remove()


def costs_of(space: SearchSpace, widths: list[int]) -> Cost:
    """All costs, counted on a network that was built."""
    params, macs = count_by_pytorch(space, widths)
    sizes: list[int] = []
    model = space.build(widths, seed=0).eval()
    with layers_of(model, lambda _, output: sizes.append(output.numel())), torch.no_grad():
        model(torch.zeros(1, *space.reference.input_shape))
    return Cost(macs, params, sum(sizes))


def costs_are_exact(example: Example) -> None:
    for widths in (example.widths(), list(example.space.floor_G), list(example.space.base_G)):
        assert example.space.cost_at(widths) == costs_of(example.space, widths)


def rebuilt_networks_run(example: Example) -> None:
    for widths in (example.widths(), list(example.space.floor_G)):
        runs(example.space.build(widths, seed=0), example.space)


def runs(model: nn.Module, space: SearchSpace) -> None:
    images = images_of(space).float()
    for training in (False, True):
        with torch.no_grad():
            scores = model.train(training)(images)
        assert scores.shape == (len(images), CLASSES)
        assert scores.isfinite().all()


def modules_know_their_sizes(example: Example) -> None:
    for module in example.space.build(example.widths(), seed=0).modules():
        if isinstance(module, nn.ConvTranspose2d):
            outer = module.out_channels // module.groups
            assert module.weight.shape[:2] == (module.in_channels, outer)
            assert module.in_channels % module.groups == module.out_channels % module.groups == 0
        elif isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
            assert module.in_channels % module.groups == module.out_channels % module.groups == 0
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
        elif isinstance(module, nn.LayerNorm):
            assert module.weight.shape == module.normalized_shape
        elif isinstance(module, nn.GroupNorm):
            assert module.weight.shape == (module.num_channels,)
            assert module.num_channels % module.num_groups == 0
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.weight.shape == module.running_mean.shape == (module.num_features,)


def dead_channels_go_unnoticed_and_live_ones_do_not(example: Example) -> None:
    space, kept = example.space, example.kept()
    assume(not any(map(is_ambiguous, space.template.modules())))
    model = livelier(space)
    count = 37  # no other number: some random widths are 3 as well
    before, narrowed = outputs(model, space, count), outputs(space.narrow(model, kept), space, count)
    if have_a_say(model, space, kept):
        assert (narrowed - before).abs().max() > 1e-9 * before.abs().max()
    kill(model, space, kept)
    expected, how = restricted_outputs(model, space, kept, images_of(space, count))
    assume(not how.is_lost)
    narrowed = outputs(space.narrow(model, kept), space, count)
    assert (narrowed - expected).abs().max() < 1e-10 * max(1.0, float(expected.abs().max()))


def is_ambiguous(module: nn.Module) -> bool:
    """Whether `restricted_outputs` cannot tell a head's 1/√size from a number of heads."""
    if not isinstance(module, Attention):
        return False
    heads, size = module.num_heads, module.head_dim
    return size in (heads, heads**2) or heads == size**2


def livelier(space: SearchSpace) -> nn.Module:
    """`lively`, with scales and shifts of all kinds of norms that differ from channel to channel."""
    model = lively(space)
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)) and module.weight is not None:
            with torch.no_grad():
                module.weight.uniform_(0.3, 0.9, generator=generator)
                module.bias.uniform_(0.2, 1.2, generator=generator)
    return model


def have_a_say(model: nn.Module, space: SearchSpace, kept: list[NDArray[np.int64]]) -> bool:
    """Whether the output changes with some parameter of the channels that are not kept."""
    model.zero_grad()
    scores = model(images_of(space))
    (scores * torch.arange(1.0, CLASSES + 1)).sum().backward()
    model_slopes = {name: parameter.grad for name, parameter in model.named_parameters()}
    for column, indices in enumerate(kept):
        removed = np.setdiff1d(np.arange(space.base_G[column]), indices)
        atom = Atom(space.graph.searchable[column])
        for name, slope in model_slopes.items():
            for dim, axis in enumerate(space.graph.parameters[name]):
                channels = channel_at(axis, atom, lambda other: space.graph.groups[other.index].size)
                places = torch.from_numpy(np.isin(channels, removed).nonzero()[0])
                if slope is not None and bool((slope.index_select(dim, places).abs() > 1e-4).any()):
                    return True
    return False


def networks_can_be_widened(example: Example) -> None:
    space, widths = example.space, example.wider()
    runs(space.build(widths, seed=0), space)
    assert space.cost_at(widths) == costs_of(space, widths)


def graphs_are_the_same_every_time(example: Example) -> None:
    again = load(example.network)
    assert again is not None
    assert again.graph.groups == example.space.graph.groups
    assert again.graph.parameters == example.space.graph.parameters
    assert again.graph.layers == example.space.graph.layers


def groups_are_in_the_order_of_execution(example: Example) -> None:
    space, calls = example.space, list[str]()
    model = space.build(seed=0).eval()
    with layers_of(model, lambda path, _: calls.append(path)), torch.no_grad():
        model(torch.zeros(1, *space.reference.input_shape))
    producers = [group.layers[0] for group in space.groups]
    order = [calls.index(path) for path in producers]
    assert order == sorted(order)
    for group in space.groups:
        assert group.name.rstrip("'").partition("[")[0] in calls


PROPERTIES = (
    costs_are_exact,
    rebuilt_networks_run,
    modules_know_their_sizes,
    dead_channels_go_unnoticed_and_live_ones_do_not,
    networks_can_be_widened,
    graphs_are_the_same_every_time,
    groups_are_in_the_order_of_execution,
)


# Half of an axis of two pieces that are equal at half of all widths: two random vectors did not tell.
HALVES_OF_PIECES = Network(
    image=(3, 8, 8),
    stem=9,
    style=Style(norm="batch", act="relu"),
    blocks=(
        Separable(8, 1, 2, Style()),
        Separable(8, 2, 2, Style(norm="group")),
        Halves(3, Style(act="relu"), spelling="slice"),
        Rescale("nearest", 4, 3),
    ),
    tail=Tail("mean", None, Style()),
)


def test_a_network_that_runs_by_chance_only_is_found_out() -> None:
    space, rng = load(HALVES_OF_PIECES), np.random.default_rng(0)
    assert space is not None
    for _ in range(100):
        widths = [int(rng.integers(1, base + 1)) for base in space.base_G]
        assert failure(space.template, space.graph, space.reference.input_shape, widths) is None


# One seed for all properties, so that all get the same networks, each loaded once. Shrinking takes minutes: it is left
# to the slow run.
@pytest.mark.parametrize("holds", PROPERTIES)
@drawn_from(0)
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(networks(most_blocks=3), _SEEDS)
def test_of_random_networks(holds: Callable[[Example], None], network: Network, seed: int) -> None:
    space = known(network)
    assume(space is not None)
    assert space is not None
    holds(Example(network, space, seed))


@pytest.mark.slow
@settings(max_examples=400, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(networks(most_blocks=5), _SEEDS)
def test_of_hundreds_of_random_networks(network: Network, seed: int) -> None:
    space = load(network)
    assume(space is not None)
    assert space is not None
    for holds in PROPERTIES:
        holds(Example(network, space, seed))
