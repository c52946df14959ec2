"""The weights that a pattern is about: those of a network's convolutions and linear layers, and what each costs.

Norms, biases and parameters of other shapes stay as they are; what holds many numbers and is none of these layers'
weights is named, so that nothing is left dense in silence.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Atom, atoms_of, length
from nas_prune.graph.channels import BATCH, Layer
from nas_prune.graph.tensors import constant_parameters
from nas_prune.patterns.direct import taken_as_they_are
from nas_prune.space.search_space import SearchSpace

KINDS = ("conv", "linear")
_WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """A layer whose weights may be masked one by one.

    Attributes:
        name: of the parameter, e.g. `features.0.weight`.
        path: of the layer.
        kind: `conv` or `linear`.
        shape: of the weight.
        stage: rank of the layer's output size among all groups'; 0 is the highest resolution. A layer without positions
            in the midst of others that have some (squeeze-and-excitation) is of the stage of the layer that follows.
        uses: how many multiply-accumulates of one image each weight takes part in.
        out_dim: which dimension counts filters; 1 for transposed convolutions, and for matrices that a network's own
            code stores so, 0 for all others.
        is_first: whether no convolution or linear layer of the network runs before it.
    """

    name: str
    path: str
    kind: str
    shape: tuple[int, ...]
    stage: int
    uses: int
    out_dim: int = 0
    is_first: bool = False

    @property
    def size(self) -> int:
        """How many weights there are."""
        return prod(self.shape)

    @property
    def kernel(self) -> tuple[int, ...]:
        """Height and width of a kernel; (1, 1) for a linear layer."""
        return self.shape[2:] or (1, 1)


@dataclass(frozen=True, slots=True)
class WeightLayers:
    """All that may be masked in a network, and what stays dense.

    Attributes:
        layers: in order of execution.
        dense: names of other parameters of two dimensions or more, which stay whole.
        dense_macs: multiply-accumulates of one image that no such weight has a part in.
        dense_params: parameters that stay whole, norms and biases included.
    """

    layers: tuple[WeightLayer, ...]
    dense: tuple[str, ...]
    dense_macs: int
    dense_params: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many weights each layer has."""
        return tuple(layer.size for layer in self.layers)


def weight_layers(space: SearchSpace, keep: Sequence[str] = ()) -> WeightLayers:
    """The layers of a network whose weights may be masked.

    A layer that runs several times, or shares its weight with another, is one; its weights are used as often. Weights
    that take no gradient, and those that a network computes something from before it multiplies by that, stay dense: a
    zero would not be one, or not mean that nothing is there.

    Args:
        space: the network.
        keep: paths of layers that stay dense.

    Raises:
        BadInputError: there is none.
    """
    parameters = dict(space.template.named_parameters(remove_duplicate=True))
    names = {id(parameter): name for name, parameter in parameters.items()}
    macs = _macs_by_path(space)
    total, uses = sum(macs.values()), defaultdict[str, int](int)
    chosen: dict[str, Layer] = {}
    for path, layer in _calls(space).items():
        weight = _weight_of(space, path)
        name = None if weight is None else names.get(id(weight))
        if name is None or weight is None or path in keep:
            continue
        if macs[path] % weight.numel() or not macs[path]:
            continue  # the layer does more with its weights than use each equally often
        uses[name] += macs[path] // weight.numel()
        chosen.setdefault(name, layer)
    plain = taken_as_they_are(space, {name: layer.path for name, layer in chosen.items()})
    chosen = {name: layer for name, layer in chosen.items() if name in plain}
    if not chosen:
        raise BadInputError(
            f"--space {space.reference.name} must have convolutions or linear layers whose weights may go, got none."
        )
    stages = _stages(space)
    first = next(layer.path for layer in space.graph.layers if layer.kind in KINDS)
    layers = tuple(
        WeightLayer(
            name=name,
            path=layer.path,
            kind=layer.kind,
            shape=tuple(parameters[name].shape),
            stage=stages[layer.path],
            uses=uses[name],
            out_dim=out_dim(space, layer),
            is_first=layer.path == first,
        )
        for name, layer in chosen.items()
    )
    masked = sum(layer.size for layer in layers)
    return WeightLayers(
        layers,
        dense=tuple(name for name, one in parameters.items() if one.dim() > 1 and name not in chosen),
        dense_macs=total - sum(layer.size * layer.uses for layer in layers),
        dense_params=sum(one.numel() for one in parameters.values()) - masked,
    )


def _calls(space: SearchSpace) -> dict[str, Layer]:
    """The first call of each convolution and linear layer, by path; where other products run there, none."""
    found: dict[str, Layer] = {}
    calls = Counter(layer.path for layer in space.graph.layers if layer.kind in KINDS)
    products = Counter(path for path, _ in space.graph.products)
    for layer in space.graph.layers:
        if layer.kind in KINDS and calls[layer.path] == products[layer.path]:
            found.setdefault(layer.path, layer)
    return found


def _module_at(space: SearchSpace, path: str) -> nn.Module | None:
    """The layer's module; None where a network's own code multiplies by a parameter of the network itself."""
    try:
        return space.template.get_submodule(path)
    except AttributeError:
        return None


def _weight_of(space: SearchSpace, path: str) -> nn.Parameter | None:
    """The weight of a layer that learns one, and no other matrix."""
    module = _module_at(space, path)
    weight = getattr(module, _WEIGHT, None)
    if module is None or not isinstance(weight, nn.Parameter):
        return None
    matrices = [parameter for parameter in module.parameters(recurse=False) if parameter.dim() > 1]
    is_own = len(matrices) == 1 and matrices[0] is weight
    return weight if is_own and id(weight) not in constant_parameters(space.template) else None


def _stages(space: SearchSpace) -> dict[str, int]:
    """The stage of each convolution and linear layer, by path: of its first call."""
    groups, found = space.graph.groups, dict[str, int]()
    known = {group.output_size: group.stage for group in groups}
    following: int | None = None
    for layer in reversed([layer for layer in space.graph.layers if layer.kind in KINDS]):
        own = [groups[atom.index].stage for atom in atoms_of(layer.channels) if atom != BATCH]
        stage = min(own) if own else max(known.values())  # of tokens, and of what comes after all positions
        if prod(layer.output_size) > 1:
            stage = following = known.get(layer.output_size, stage)
        found[layer.path] = stage if following is None else following
    return found


def _macs_by_path(space: SearchSpace) -> dict[str, int]:
    """Multiply-accumulates of one image, by the path of the module that causes them."""

    def size(atom: Atom) -> int:
        return 1 if atom == BATCH else space.graph.groups[atom.index].size

    found = defaultdict[str, int](int)
    for path, axes in space.graph.products:
        found[path] += prod(length(axis, size) for axis in axes)
    return found


def out_dim(space: SearchSpace, layer: Layer) -> int:
    """Which dimension of a layer's weight counts its filters."""
    module = _module_at(space, layer.path)
    if layer.kind == "conv":
        return int(isinstance(module, nn.modules.conv._ConvTransposeNd))  # noqa: SLF001
    axes = space.graph.parameters.get(f"{layer.path}.{_WEIGHT}", ())
    return int(axes != (layer.channels, layer.read) and axes == (layer.read, layer.channels))
