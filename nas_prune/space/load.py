"""Search spaces from networks: traced, proved by running resized copies, priced, and the prices checked."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import floor
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Atom
from nas_prune.graph.channels import ChannelGraph
from nas_prune.graph.check import checked
from nas_prune.graph.resize import resized
from nas_prune.graph.trace import (
    blank_images,
    first_line,
    made_where_it_runs,
    on_meta,
    slow_attention,
    structure,
)
from nas_prune.space.cost import CostModel, cost_model
from nas_prune.space.initialise import Init, inits_of, record_inits
from nas_prune.space.networks import NamedNetwork, Shape, is_own, network_named, space_name
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.selections import renamed, selectable, with_selections
from nas_prune.space.widths import SpaceReference


def load_space(
    model: str | nn.Module | Callable[[], nn.Module],
    example_input: Shape | Tensor | None = None,
    *,
    num_classes: int | None = None,
    width_multiplier: float = 1.0,
    selections: bool = False,
) -> SearchSpace:
    """The search space of a network.

    Args:
        model: a name as `--space` takes it (`package.module:factory` is imported), or a network of your own: a
            function that makes it, so that fresh networks start as its constructor says, or the network itself,
            whose layers then start as their types do, and other parameters like the values they hold.
        example_input: channels, height and width of one image, or a batch of images of which only the shape
            counts; None for the named network's own (32 or 224 pixels a side, mostly).
        num_classes: outputs of a named network's classifier; the network's own if None.
        width_multiplier: factor on the width of every searchable group before anything else. Where channels are
            (heads × size) or (groups × channels), it is the larger factor that is multiplied.
        selections: let each reader of a stream or a concatenation select its channels, in front of its batch norm;
            what is selected from stays whole.

    Raises:
        BadInputError: an unknown name, an image the network cannot take, or a network with nothing to narrow.

    Example:
        >>> load_space("vgg11", (1, 8, 8)).base_G
        (64, 128, 256, 256, 512, 512, 512, 512)
    """
    shape = _image_shape(example_input)
    if isinstance(model, str):
        _check_numbers(shape, num_classes, width_multiplier)
        load = _loaded if is_own(model) else _loaded_once
        image = None if shape is None else (shape[0], shape[1], shape[2])  # lists have no place in a cache
        return load(space_name(model), image, num_classes, width_multiplier, selections)
    if shape is None:
        raise BadInputError("example_input must be given with a network of your own, e.g. (3, 32, 32).")
    if not callable(model):
        raise BadInputError(
            f"a network must be a name, a module or a function that makes one, got {model!r}."
        )
    network, inits = (
        (model, inits_of(model)) if isinstance(model, nn.Module) else record_inits(partial(_made_by, model))
    )
    if not isinstance(network, nn.Module):
        raise BadInputError(
            f"a network's function must make a torch.nn.Module, got {type(network).__name__}."
        )
    named = NamedNetwork(type(network).__qualname__, shape, num_classes, lambda: network)
    return _make(named, network, inits, width_multiplier, selections=selections)


def _loaded(
    name: str,
    shape: Shape | None,
    num_classes: int | None,
    width_multiplier: float,
    selections: bool,  # noqa: FBT001
) -> SearchSpace:
    named = network_named(name, shape, num_classes)
    network, inits = record_inits(named.make)
    return _make(named, network, inits, width_multiplier, selections=selections)


@lru_cache(maxsize=32)
def _loaded_once(
    name: str,
    shape: Shape | None,
    num_classes: int | None,
    width_multiplier: float,
    selections: bool,  # noqa: FBT001
) -> SearchSpace:
    """The space of a named network, loaded once in a process; it never changes, so that all can share it.

    The arguments are the key, and decide what the network is. A user's own code may be another the next time.
    """
    return _loaded(name, shape, num_classes, width_multiplier, selections)


def load_referenced(reference: SpaceReference) -> SearchSpace:
    """The search space that a widths file is of; its name must have been found trusted.

    Raises:
        BadInputError: as `load_space`.
    """
    return load_space(
        reference.name,
        reference.input_shape,
        num_classes=reference.num_classes,
        width_multiplier=reference.width_multiplier,
        selections=reference.selections,
    )


def _image_shape(example_input: "Shape | Tensor | None") -> Shape | None:
    if isinstance(example_input, Tensor):
        if example_input.dim() != 4:
            raise BadInputError(
                f"example_input must be a batch of images (N×C×H×W), got {list(example_input.shape)}."
            )
        _, channels, height, width = example_input.shape
        return channels, height, width
    if example_input is not None and len(example_input) != 3:
        raise BadInputError(
            "example_input must be the channels, height and width of one image, as yet the only inputs that widths "
            f"files can name, got {list(example_input)}."
        )
    return example_input


def _check_numbers(shape: Shape | None, classes: int | None, width_multiplier: float) -> None:
    if shape is not None and min(shape[1:]) < 8:
        raise BadInputError(f"the image size must be at least 8, got {min(shape[1:])}.")
    if classes is not None and classes < 2:
        raise BadInputError(f"a classifier must have at least 2 classes, got {classes}.")
    if not 0.01 <= width_multiplier <= 100:
        raise BadInputError(f"--width-multiplier must be between 0.01 and 100, got {width_multiplier:g}.")


def _made_by(factory: Callable[[], nn.Module]) -> nn.Module:
    """Call a user's function; what it fails on is the user's to mend."""
    try:
        return factory()
    except Exception as error:
        raise BadInputError(
            f"a network's function must make it, got {type(error).__name__}: {first_line(error)}."
        ) from error


def _make(
    named: NamedNetwork,
    network: nn.Module,
    inits: tuple[Init, ...],
    width_multiplier: float,
    *,
    selections: bool,
) -> SearchSpace:
    shape = named.input_shape
    scripted = next(
        (path for path, part in network.named_modules() if isinstance(part, torch.jit.ScriptModule)), None
    )
    if scripted is not None:
        part = f" as its part {scripted}" if scripted else ""
        raise BadInputError(
            f"network {named.name} must be a Python module, got a scripted one{part}, which cannot be watched."
        )
    template = structure(network)
    if width_multiplier != 1:
        graph = checked(template, shape)
        template = structure(resized(template, graph, _scaled(graph, width_multiplier), device="cpu"))
    if selections:
        paths = selectable(template, shape)
        if not paths:
            raise BadInputError(
                f"network {named.name} must have batch norms that read a residual stream or a concatenation for "
                "convolutions or linear layers alone where channels are to be selected (--groups selections), got none."
            )
        template, inits = with_selections(template, paths), renamed(inits, paths)
    graph = checked(template, shape)
    if named.file is not None:
        graph = graph.freeze(dict.fromkeys(named.file.frozen, "frozen by the search space's file"))
    if not graph.searchable:
        raise BadInputError(
            f"network {named.name} must have something to narrow, got none: {_why_none(graph)}"
        )
    cost = cost_model(graph, [parameter for parameter, _ in template.named_parameters()])
    outputs, is_classifier = _check_run(
        named, template, cost, [graph.groups[number].size for number in graph.searchable]
    )
    reference = SpaceReference(
        name=named.name,
        input_shape=shape,
        num_classes=named.num_classes or outputs,
        width_multiplier=width_multiplier,
        selections=selections,
    )
    limits = {"floor": named.file.floor, "divisor": named.file.divisor} if named.file else {}
    return SearchSpace(reference, graph, cost, template, inits, is_classifier=is_classifier, **limits)


def _scaled(graph: ChannelGraph, multiplier: float) -> list[int]:
    """Every searchable width times a factor; of a product of widths, only the largest is multiplied."""
    size = {Atom(number): graph.groups[number].size for number in graph.searchable}
    whole: set[Atom] = set()
    runs = (run for axes in graph.parameters.values() for axis in axes for run in axis)
    for run in runs:
        factors = [factor for factor in run if isinstance(factor, Atom) and factor in size]
        whole.update(set(factors) - {max(factors, key=size.__getitem__)} if factors else ())
    return [
        width if atom in whole else max(1, floor(width * multiplier + 0.5)) for atom, width in size.items()
    ]


def _why_none(graph: ChannelGraph) -> str:
    """The reasons for which every group is frozen, the most frequent ones first, then in order of the groups."""
    reasons = [group.frozen for group in graph.groups if group.frozen]
    listed = sorted(dict.fromkeys(reasons), key=reasons.count, reverse=True)[:2]
    return f"every channel group is frozen ({'; '.join(listed) or 'it has no layers'})."


def _check_run(
    named: NamedNetwork, template: nn.Module, cost: CostModel, base_G: Sequence[int]
) -> tuple[int, bool]:
    """Refuse a network whose MACs or classes are not what they should be.

    Returns:
        How many classes it puts out, and whether that is a row of scores for each image.
    """
    counted, output = _counted(on_meta(template).eval().requires_grad_(requires_grad=False), named)
    priced = cost.at(base_G).macs
    if counted != priced:
        raise BadInputError(
            f"network {named.name} must be one whose MACs can be priced exactly, got {priced:,} where PyTorch "
            f"counts {counted:,.0f}. Please report it with the network."
        )
    first = next((leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)), None)
    if first is None:
        raise BadInputError(f"network {named.name} must put out a tensor, got {type(output).__name__}.")
    outputs = int(first.shape[1]) if first.dim() > 1 else 1
    if named.num_classes is not None and outputs != named.num_classes:
        raise BadInputError(
            f"network {named.name} must put out {named.num_classes} classes, got {outputs}. "
            "Let its factory take num_classes, or use images of as many classes."
        )
    is_classifier = isinstance(output, (Tensor, tuple, list)) and first.dim() == 2
    return outputs, is_classifier


def _counted(model: nn.Module, named: NamedNetwork) -> tuple[float, Any]:
    """MACs of one image as PyTorch counts them, and what the network puts out."""

    def run(images: int) -> tuple[float, Any]:
        blank = blank_images(model, images, named.input_shape)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), slow_attention():
            output = model(blank)
        return counter.get_total_flops() / 2 / images, output

    try:
        return made_where_it_runs(partial(run, 1))
    except Exception:  # noqa: BLE001  (some networks take no single image)
        try:
            return made_where_it_runs(partial(run, 2))
        except Exception as error:
            said = first_line(error)
            raise BadInputError(f"network {named.name} must run on 2 images, got: {said}.") from error


class NamesNetwork(Protocol):
    """A configuration that names a network.

    Attributes:
        space, width_multiplier, groups: the network, and which of its groups are narrowed.
    """

    @property
    def space(self) -> str: ...  # noqa: D102

    @property
    def width_multiplier(self) -> float: ...  # noqa: D102

    @property
    def groups(self) -> Groups: ...  # noqa: D102


def network_for(config: NamesNetwork, data: ImageData) -> SearchSpace:
    """The network that a configuration names, for its images.

    Raises:
        BadInputError: as `load_space`.
    """
    return load_space(
        config.space,
        (data.in_channels, data.image_size, data.image_size),
        num_classes=data.num_classes,
        width_multiplier=config.width_multiplier,
        selections=config.groups == "selections",
    )
