"""Guidelines without a fit: rules from the literature, as baselines and for people without runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.graph.axes import Atom, atoms_of
from nas_prune.guideline.sources import Setting
from nas_prune.space.search_space import SearchSpace

Floats: TypeAlias = "NDArray[np.float64]"
_FIRST_STAGE = 0.5


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that gives every searched group of any network its log ratio to uniform, up to a common constant.

    Attributes:
        summary: one line.
        citation: where it comes from.
        log_ratio_S: what it gives.
    """

    summary: str
    citation: str
    log_ratio_S: Callable[[Setting], Floats]


def smart_ratio(setting: Setting) -> Floats:
    """Weights kept in layer l of L in proportion to (L - l + 1)² + (L - l + 1), the root of that for widths.

    A layer's weights are as many as its input times its output channels; if both keep the same share, that is the
    root of the weights' share.
    """
    layers = _weighted_layers(setting.space)
    count = len(layers)
    density = {path: float((count - n) ** 2 + (count - n)) for n, path in enumerate(layers)}
    return _of_layers(setting, density)


def erk(setting: Setting) -> Floats:
    """Weights kept in proportion to (inputs + outputs + kernel height + width) over their product.

    The root of that for widths, as in `smart_ratio`.
    """
    density = {}
    for path in _weighted_layers(setting.space):
        shape = _weight_shape(setting.space, path)
        density[path] = sum(shape) / prod(shape)
    return _of_layers(setting, density)


def bottleneck_first(setting: Setting) -> Floats:
    """The stage of the highest resolution half as wide as the others."""
    first = min(group.stage for group in setting.groups_S)
    return np.array([log(_FIRST_STAGE) if group.stage == first else 0.0 for group in setting.groups_S])


def uniform(setting: Setting) -> Floats:
    """The same share of every group."""
    return np.zeros(len(setting.columns))


def _weighted_layers(space: SearchSpace) -> list[str]:
    """Paths of the convolutions and linear layers, each once, in order of execution."""
    return list(dict.fromkeys(layer.path for layer in space.graph.layers if layer.kind in ("conv", "linear")))


def _weight_shape(space: SearchSpace, path: str) -> tuple[int, ...]:
    weights = [p for p in space.template.get_submodule(path).parameters(recurse=False) if p.dim() > 1]
    return tuple(weights[0].shape) if weights else (1, 1)


def _of_layers(setting: Setting, density: dict[str, float]) -> Floats:
    """Half the mean log density of the layers that produce each searched group."""
    graph = setting.space.graph
    producers: dict[int, list[float]] = {}
    for layer in graph.layers:
        if layer.path in density:
            for atom in set(atoms_of(layer.channels)):
                producers.setdefault(atom.index, []).append(log(density[layer.path]))
    numbers = [graph.searchable[column] for column in setting.columns]
    assert all(Atom(number).index == number for number in numbers)
    found: Sequence[float] = [float(np.mean(producers.get(number, [0.0]))) / 2 for number in numbers]
    return np.array(found)


RULES: dict[str, Rule] = {
    "uniform": Rule("the same share of every group", "the baseline of Liu et al., ICLR 2019", uniform),
    "smart-ratio": Rule(
        "fewer channels the deeper a layer, by the square of its place from the end",
        "Su et al., Sanity-Checking Pruning Methods, NeurIPS 2020",
        smart_ratio,
    ),
    "erk": Rule(
        "more of small layers, by inputs + outputs + kernel over their product",
        "Evci et al., Rigging the Lottery, ICML 2020",
        erk,
    ),
    "bottleneck-first": Rule(
        "the first stage half as wide as the others",
        "what TAS finds under a MACs budget (Dong & Yang, NeurIPS 2019)",
        bottleneck_first,
    ),
}
