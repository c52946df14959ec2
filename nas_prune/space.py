"""A search space: a network, its channel graph and costs, and the limits of its widths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.blocks import Block, removable_blocks, without
from nas_prune.budget import Budget
from nas_prune.cost import Cost, CostModel, Switched, cost_inside, cost_model
from nas_prune.errors import BadInputError, WidthsError
from nas_prune.graph.axes import Atom
from nas_prune.graph.channels import ChannelGraph, ChannelGroup
from nas_prune.graph.selection import ChannelSelection, spread
from nas_prune.graph.trace import (
    blank_images,
    first_line,
    made_where_it_runs,
    on_meta,
    slow_attention,
    structure,
)
from nas_prune.initialise import Init, inits_of, record_inits
from nas_prune.networks import NamedNetwork, Shape, network_named
from nas_prune.resize import Kept, fresh, narrowed, resized
from nas_prune.selections import renamed, selectable, with_selections
from nas_prune.selfcheck import checked
from nas_prune.widths import CostRecord, GroupWidth, SpaceReference, Widths

Groups: TypeAlias = Literal["inner", "all", "selections"]
_BLOCKS: WeakKeyDictionary[nn.Module, tuple[Block, ...]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A network whose widths are searched.

    Attributes:
        reference: what names it in files.
        graph: its channel graph, proved by running resized copies.
        cost: its costs as functions of the searchable groups' widths.
        template: the network's structure; parameters on the meta device.
        inits: how its constructor initialises it.
        is_classifier: it puts out a row of scores for each image.
        floor: the smallest width of any group.
        divisor: widths are multiples of it, or the base width.
    """

    reference: SpaceReference
    graph: ChannelGraph
    cost: CostModel
    template: nn.Module
    inits: tuple[Init, ...]
    is_classifier: bool = True
    floor: int = 1
    divisor: int = 1

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The searchable groups, in the order every width vector has."""
        return tuple(self.graph.groups[number] for number in self.graph.searchable)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The residual blocks that can be taken out; found when first asked for, which takes a run of the network."""
        if self.template not in _BLOCKS:
            shape = self.reference.input_shape
            _BLOCKS[self.template] = removable_blocks(partial(self.build, seed=0), self.graph, shape)
        return _BLOCKS[self.template]

    @property
    def base_G(self) -> tuple[int, ...]:
        """The width of each searchable group in the whole network."""
        return tuple(group.size for group in self.groups)

    @property
    def floor_G(self) -> tuple[int, ...]:
        """The smallest width of each searchable group."""
        return tuple(
            min(group.size, max(self.floor, self.divisor, self.graph.least)) for group in self.groups
        )

    def searched(self, groups: Groups) -> tuple[int, ...]:
        """Columns of the groups that a choice names; all but residual streams, unless it is `all`."""
        return tuple(c for c, group in enumerate(self.groups) if groups == "all" or group.role != "stream")

    def size_at(self, column: int) -> int:
        """How many channels a column's group has; 1 for a block."""
        return self.groups[column].size if column < len(self.groups) else 1

    def groups_in(self, columns: Sequence[int]) -> tuple[int, ...]:
        """Places of the groups that some columns stand for; a column behind the last group is a block's."""
        count = len(self.groups)
        own = [(column,) if column < count else self.blocks[column - count].columns for column in columns]
        return tuple(sorted({group for groups in own for group in groups}))

    def cost_at(self, widths_G: Sequence[int], removed: Sequence[str] = ()) -> Cost:
        """The exact cost of one width vector, without some blocks."""
        widths = _whole_numbers(widths_G)
        cost = self.cost.at(widths)
        for path in removed:
            inside = self._inside(path).at(widths)
            cost = Cost(
                cost.macs - inside.macs, cost.params - inside.params, cost.activations - inside.activations
            )
        return cost

    def switched(self, kind: str) -> Switched:
        """One of the costs by its name in a budget, as a function of widths and of which blocks are there."""
        return Switched(
            self.cost.kind(kind), tuple(self._inside(block.path).kind(kind) for block in self.blocks)
        )

    def _inside(self, path: str) -> CostModel:
        return cost_inside(self.graph, [name for name, _ in self.template.named_parameters()], path)

    def build(
        self,
        widths: "Widths | Sequence[int] | None" = None,
        *,
        seed: int,
        removed: Sequence[str] = (),
        device: torch.device | str = "cpu",
    ) -> nn.Module:
        """A fresh network with random weights.

        Args:
            widths: a widths artefact, a width for each searchable group, or None for the whole network.
            seed: fixes the weights.
            removed: blocks to leave out, by path; those of a widths artefact are left out anyhow.
            device: where the network is to live.

        Raises:
            WidthsError: the widths are of another space.
        """
        vector_G = self.vector(widths)
        model = fresh(self.template, self.graph, vector_G, self.inits, seed=seed, device=device)
        chosen_G = (
            [one.indices for one in widths.groups] if isinstance(widths, Widths) else self._spread(vector_G)
        )
        for group, indices in zip(self.groups, chosen_G, strict=True):
            if indices is not None:
                selection = model.get_submodule(group.layers[0])
                assert isinstance(selection, ChannelSelection)
                selection.choose(indices)
        return without(model, widths.removed_blocks if isinstance(widths, Widths) else removed)

    def _spread(self, vector_G: Sequence[int]) -> "list[tuple[int, ...] | None]":
        """For widths alone, the channels that each selection takes, spread evenly; None for other groups."""
        pairs = list(zip(self.groups, vector_G, strict=True))
        for group, width in pairs:
            if group.role == "selection" and width > group.size:
                raise WidthsError(
                    f"a selection's width must be at most its base {group.size}, got {width} (group {group.name})."
                )
        return [
            tuple(spread(group.size, width).tolist()) if group.role == "selection" else None
            for group, width in pairs
        ]

    def check_trainable(self) -> None:
        """Refuse to train what is no classifier, or has no parameter that learns.

        Raises:
            BadInputError: it is so.
        """
        name = self.reference.name
        if not self.is_classifier:
            raise BadInputError(
                f"--space {name} must put out a row of class scores for each image to be trained here, got maps or "
                "named outputs. It can be inspected, built and narrowed."
            )
        if not any(parameter.requires_grad for parameter in self.template.parameters()):
            raise BadInputError(f"--space {name} must have parameters that require gradients, got none.")

    def narrow(self, model: nn.Module, kept_G: Kept, removed: Sequence[str] = ()) -> nn.Module:
        """A trained network of base widths cut to the kept channels of each group, weights inherited.

        Args:
            model: the network; it is not changed.
            kept_G: the indices kept of each group.
            removed: blocks to take out, by path.
        """
        return without(narrowed(model, self.graph, kept_G), removed)

    def vector(self, widths: "Widths | Sequence[int] | None") -> tuple[int, ...]:
        """A width vector of this space from any form of widths."""
        if widths is None:
            return self.base_G
        if not isinstance(widths, Widths):
            return _whole_numbers(widths)
        difference = widths.difference(self.widths(self.base_G))
        if difference is not None:
            raise WidthsError(f"the widths must be of space {self.reference.name}, but {difference}.")
        if widths.removed_blocks:
            known = [block.path for block in self.blocks]
            unknown = [path for path in widths.removed_blocks if path not in known]
            if unknown:
                raise WidthsError(
                    f"removed_blocks must be blocks of {self.reference.name} that can go, "
                    f"got {', '.join(unknown)}. Those can: {', '.join(known) or 'none'}."
                )
        return widths.vector

    def priced(self, widths: Widths) -> Widths:
        """The artefact with both costs worked out anew, so that an edited file cannot misstate them.

        Raises:
            WidthsError: the widths are of another space.
        """
        costs = {
            "cost": _record(self.cost_at(self.vector(widths), widths.removed_blocks)),
            "base_cost": _record(self.cost_at(self.base_G)),
        }
        return widths.model_copy(update=costs)

    def widths(
        self,
        vector_G: Sequence[int],
        kept_G: "Kept | None" = None,
        removed: Sequence[str] = (),
        **provenance: Any,
    ) -> Widths:
        """The artefact of a width vector; keyword arguments are fields of `Widths`.

        Args:
            vector_G: a width for each searchable group.
            kept_G: the channels kept of each, of which those that selections take count; spread evenly if None.
            removed: blocks that are left out, by path.
            provenance: where the widths come from.
        """
        chosen_G = self._spread(vector_G)
        if kept_G is not None:
            pairs = zip(chosen_G, kept_G, strict=True)
            chosen_G = [None if indices is None else tuple(kept.tolist()) for indices, kept in pairs]
        return Widths(
            space=self.reference,
            groups=tuple(
                GroupWidth(
                    name=group.name,
                    width=width,
                    base=group.size,
                    stage=group.stage,
                    role=group.role,
                    position=group.position,
                    layers=group.layers,
                    indices=indices,
                )
                for group, width, indices in zip(self.groups, vector_G, chosen_G, strict=True)
            ),
            removed_blocks=tuple(removed),
            cost=_record(self.cost_at(vector_G, removed)),
            base_cost=_record(self.cost_at(self.base_G)),
            **provenance,
        )

    def limit(self, budget: Budget, searched: Sequence[int] | None = None) -> int:
        """The largest count a budget allows here; a share is of the whole network's cost.

        Args:
            budget: the bound.
            searched: for a bound on channels, the columns that are searched (all groups if None).
        """
        if budget.kind == "channels":
            columns = range(len(self.groups)) if searched is None else self.groups_in(searched)
            return budget.limit(sum(self.base_G[column] for column in columns))
        return budget.limit(int(self.cost.kind(budget.kind)(self.base_G)))


def _whole_numbers(widths: Sequence[int]) -> tuple[int, ...]:
    for width in widths:
        if not (width >= 1 and float(width).is_integer()):
            raise WidthsError(f"a width must be a whole number of at least 1, got {width}.")
    return tuple(int(width) for width in widths)


def _record(cost: Cost) -> CostRecord:
    return CostRecord(macs=cost.macs, params=cost.params, activations=cost.activations)


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
        named = network_named(model, shape, num_classes)
        network, inits = record_inits(named.make)
        return _make(named, network, inits, width_multiplier, selections=selections)
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
    if isinstance(network, torch.jit.ScriptModule):
        raise BadInputError(
            f"network {named.name} must be a Python module, got a scripted one, which cannot be watched."
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
    """The reasons for which every group is frozen, the most frequent ones first."""
    reasons = [group.frozen for group in graph.groups if group.frozen]
    listed = sorted(set(reasons), key=reasons.count, reverse=True)[:2]
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
