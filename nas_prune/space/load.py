"""Search spaces from networks: traced, proved by running resized copies, priced, and the prices checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from math import floor
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.data import ImageData
from nas_prune.data.config import DataConfig, load_images
from nas_prune.errors import BadInputError
from nas_prune.graph.axes import Atom
from nas_prune.graph.channels import ChannelGraph
from nas_prune.graph.check import checked
from nas_prune.graph.examples import call_like
from nas_prune.graph.inputs import CallSpec, Forward, plain
from nas_prune.graph.resize import resized
from nas_prune.graph.tensors import HOLDS, on_meta, structure
from nas_prune.graph.trace import made_where_it_runs, slow_attention
from nas_prune.runs.progress import Progress
from nas_prune.runs.text import first_line
from nas_prune.space.cost import CostModel, cost_model
from nas_prune.space.initialise import Init, fresh, inits_of, record_inits
from nas_prune.space.limits import Limits
from nas_prune.space.names import check_trusted, is_own, known_spaces, space_name
from nas_prune.space.networks import NamedNetwork, Shape, image_channels, meant_size, network_named
from nas_prune.space.outputs import Output
from nas_prune.space.part import call_of_part, check_whole, first_name
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.selections import renamed, selectable, with_selections
from nas_prune.space.widths import MOST_OUTPUTS, SpaceReference

_OF_MAPS = 4  # dimensions


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of a network: the arguments of `load_space` but the network itself."""

    call: CallSpec | None
    num_classes: int | None
    width_multiplier: float
    selections: bool
    part: str


def load_space(
    model: str | nn.Module | Callable[[], nn.Module],
    example_input: Any = None,
    *,
    num_classes: int | None = None,
    width_multiplier: float = 1.0,
    selections: bool = False,
    part: str = "",
) -> SearchSpace:
    """The search space of a network.

    Args:
        model: a name as `--space` takes it (`package.module:factory` is imported), or a network of your own: a
            function that makes it, so that fresh networks start as its constructor says, or the network itself,
            whose layers then start as their types do, and other parameters like the values they hold.
        example_input: what the network takes: the shape of one input without the batch dimension, such as channels,
            height and width of an image; a batch as a tensor, of which only shape and type count; a tuple of several
            inputs by position, or a dictionary of them by name. None for the named network's own image (32 or 224
            pixels a side, mostly).
        num_classes: outputs of a named network's classifier; the network's own if None.
        width_multiplier: factor on the width of every searchable group before anything else. Where channels are
            (heads × size) or (groups × channels), it is the larger factor that is multiplied.
        selections: let each reader of a stream or a concatenation select its channels, in front of its batch norm;
            what is selected from stays whole.
        part: the path of the module that is searched, where the whole network cannot be watched (a detector branches
            on what it sees) or only its part matters. The network is run for real, as far as the part, with two images
            and with three to see what this is given, and to its end around a narrowed one. All costs are the part's;
            what it puts out keeps its shape, and the whole is rebuilt around it.

    Raises:
        BadInputError: an unknown name, an input the network cannot take, or a network with nothing to narrow.

    Example:
        >>> load_space("vgg11", (1, 8, 8)).base_G
        (64, 128, 256, 256, 512, 512, 512, 512)
    """
    call = example_input
    if call is not None and not isinstance(call, CallSpec):
        call = call_like(example_input, has_batch=not part)
    asked = _Asked(call, num_classes, width_multiplier, selections, part)
    _check_numbers(asked)
    if isinstance(model, str):
        name = space_name(model)
        _check_image(asked, is_own(name))
        return (_loaded if is_own(name) else _loaded_once)(name, asked)
    if call is None:
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
    named = NamedNetwork(type(network).__qualname__, (1, 1, 1), num_classes, lambda: network)
    return _make(named, network, inits, asked)


def _loaded(name: str, asked: _Asked) -> SearchSpace:
    image = None if asked.call is None else _image_of(asked.call)
    takes_images = asked.call is None or image is not None
    named = network_named(name, image, asked.num_classes, takes_images=takes_images)
    network, inits = record_inits(named.make)
    return _make(named, network, inits, asked)


@lru_cache(maxsize=32)
def _loaded_once(name: str, asked: _Asked) -> SearchSpace:
    """The space of a named network, loaded once in a process; it never changes, so that all can share it.

    The arguments are the key, and decide what the network is. A user's own code may be another the next time.
    """
    return _loaded(name, asked)


def load_referenced(
    reference: SpaceReference, typed: str | None = None, where: str = "the widths file"
) -> SearchSpace:
    """The search space that a widths file is of.

    Args:
        reference: the network.
        typed: what the user gave as `--space`; None if nothing.
        where: the file.

    Raises:
        BadInputError: as `load_space`; or the network is code of the user's own, and was not named.
    """
    return load_space(
        check_trusted(reference.name, typed, where),
        reference.call,
        num_classes=reference.num_classes,
        width_multiplier=reference.width_multiplier,
        selections=reference.selections,
        part=reference.part,
    )


def images_for(name: str, data: DataConfig, seed: int, progress: Progress) -> ImageData:
    """The images of a data set as a named network takes them: in its channels, and a folder's at its own size."""
    return load_images(data, seed, progress, in_channels=image_channels(name), meant_size=meant_size(name))


def named_of(reference: SpaceReference, typed: str | None = None) -> NamedNetwork | None:
    """The named network that a space is of, as it is made without any widths; None for a module that was given.

    Args:
        reference: names it.
        typed: what the user gave as `--space`; None if nothing.

    Raises:
        BadInputError: it is code of the user's own that was not named, or is not there.
    """
    if ":" not in reference.name and reference.name not in known_spaces():
        return None
    name, image = check_trusted(reference.name, typed, "the run"), _image_of(reference.call)
    return network_named(name, image, reference.num_classes, takes_images=image is not None)


def _image_of(call: CallSpec) -> Shape | None:
    """Channels, height and width where a network is called with images alone."""
    if not call.is_plain or len(call.shape) != 3:
        return None
    channels, height, width = call.shape
    return channels, height, width


def _check_numbers(asked: _Asked) -> None:
    if asked.num_classes is not None and asked.num_classes < 1:
        raise BadInputError(f"a network must have at least 1 output, got {asked.num_classes}.")
    if not 0.01 <= asked.width_multiplier <= 100:
        raise BadInputError(
            f"--width-multiplier must be between 0.01 and 100, got {asked.width_multiplier:g}."
        )


def _check_image(asked: _Asked, is_own: bool) -> None:  # noqa: FBT001
    image = None if asked.call is None else _image_of(asked.call)
    if asked.call is not None and image is None and not is_own:
        raise BadInputError(
            "example_input of a named network must be channels, height and width of an image, got "
            f"{list(asked.call.shape)}{'' if asked.call.is_plain else ' and more'}."
        )
    if image is not None and min(image[1:]) < 8:
        raise BadInputError(f"the image size must be at least 8, got {min(image[1:])}.")


def _made_by(factory: Callable[[], nn.Module]) -> nn.Module:
    """Call a user's function; what it fails on is the user's to mend."""
    try:
        return factory()
    except Exception as error:
        raise BadInputError(
            f"a network's function must make it, got {type(error).__name__}: {first_line(error)}."
        ) from error


def _make(named: NamedNetwork, network: nn.Module, inits: tuple[Init, ...], asked: _Asked) -> SearchSpace:
    call = plain(named.input_shape) if asked.call is None else asked.call
    _refuse_scripted(named, network)
    part = first_name(network, asked.part) if asked.part else ""
    forward = Forward(call_of_part(network, inits, call, part) if part else call, part)
    template = structure(network)
    if asked.width_multiplier != 1:
        graph = checked(template, forward)
        template = structure(resized(template, graph, _scaled(graph, asked.width_multiplier), device="cpu"))
    if asked.selections:
        paths = selectable(template, forward)
        if not paths:
            raise BadInputError(
                f"network {named.name} must have batch norms that read a residual stream or a concatenation for "
                "convolutions or linear layers alone where channels are to be selected (--groups selections), got none."
            )
        template, inits = with_selections(template, paths), renamed(inits, paths)
    graph = checked(template, forward)
    if named.file is not None:
        graph = graph.freeze(dict.fromkeys(named.file.frozen, "frozen by the search space's file"))
    if not graph.searchable:
        raise BadInputError(
            f"network {named.name} must have something to narrow, got none: {_why_none(graph)}"
        )
    cost = cost_model(graph, [parameter for parameter, _ in template.named_parameters()])
    outputs, puts_out = _check_run(named, template, cost, graph, forward)
    if (count := named.num_classes or outputs) > MOST_OUTPUTS:
        raise BadInputError(
            f"network {named.name} must put out at most {MOST_OUTPUTS:,} numbers, got {count:,}."
        )
    reference = SpaceReference(
        name=named.name,
        input_shape=call.shape,
        input_spec=None if call.is_plain else call,
        part=part,
        num_classes=count,
        width_multiplier=asked.width_multiplier,
        selections=asked.selections,
    )
    if part:
        base_G = [graph.groups[number].size for number in graph.searchable]
        half_G = [max(graph.least, size // 2) for size in base_G]
        whole, half = (fresh(template, graph, widths, inits, seed=0) for widths in (base_G, half_G))
        check_whole(whole, half, call, part)
    return SearchSpace(
        reference,
        graph,
        cost,
        template,
        inits,
        forward,
        puts_out=puts_out,
        floor=named.file.floor if named.file else 1,
        divisor=named.file.divisor if named.file else 1,
    )


def _refuse_scripted(named: NamedNetwork, network: nn.Module) -> None:
    scripted = next(
        (path for path, part in network.named_modules() if isinstance(part, torch.jit.ScriptModule)), None
    )
    if scripted is not None:
        part = f" as its part {scripted}" if scripted else ""
        raise BadInputError(
            f"network {named.name} must be a Python module, got a scripted one{part}, which cannot be watched."
        )


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
    hint = ""
    if any(reason.startswith("parameter ") and HOLDS in reason for reason in reasons):
        hint = " A parameter that takes no gradient is a constant: set requires_grad where its layer is to be searched."
    return f"every channel group is frozen ({'; '.join(listed) or 'it has no layers'}).{hint}"


def _check_run(
    named: NamedNetwork, template: nn.Module, cost: CostModel, graph: ChannelGraph, forward: Forward
) -> tuple[int, Output]:
    """Refuse a network whose MACs or classes are not what they should be.

    Returns:
        How many classes it puts out, and in which form.
    """
    counted, output = _counted(on_meta(template).eval().requires_grad_(requires_grad=False), named, forward)
    priced = cost.at([graph.groups[number].size for number in graph.searchable]).macs
    if counted != priced:
        raise BadInputError(
            f"network {named.name} must be one whose MACs can be priced exactly, got {priced:,} where PyTorch "
            f"counts {counted:,.0f}. Please report it with the network."
        )
    first = next((leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)), None)
    if first is None:
        raise BadInputError(f"network {named.name} must put out a tensor, got {type(output).__name__}.")
    outputs = int(first.shape[1]) if first.dim() > 1 else 1
    if forward.part:
        return outputs, "other"
    if named.num_classes is not None and outputs != named.num_classes:
        raise BadInputError(
            f"network {named.name} must put out {named.num_classes} classes, got {outputs}. "
            "Let its factory take num_classes, or use images of as many classes."
        )
    if isinstance(output, (Tensor, tuple, list)) and first.dim() == 2:
        return outputs, "row"
    is_map = isinstance(output, (Tensor, tuple, list, Mapping)) and first.dim() == _OF_MAPS
    return outputs, "map" if is_map else "other"


def _counted(model: nn.Module, named: NamedNetwork, forward: Forward) -> tuple[float, Any]:
    """MACs of one image as PyTorch counts them, and what the network puts out."""

    def run(images: int) -> tuple[float, Any]:
        blank = forward.blank(model, images)
        with FlopCounterMode(display=False) as counter, torch.no_grad(), slow_attention():
            output = forward.run(model, blank)
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
        limits: what else bounds its widths.
    """

    @property
    def space(self) -> str: ...  # noqa: D102

    @property
    def width_multiplier(self) -> float: ...  # noqa: D102

    @property
    def groups(self) -> Groups: ...  # noqa: D102

    @property
    def limits(self) -> Limits: ...  # noqa: D102


def load_network(config: NamesNetwork, data: ImageData) -> SearchSpace:
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
    ).limited(config.limits)
