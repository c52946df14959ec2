"""A search space: a network, its channel graph and costs, and the limits of its widths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Literal, TypeAlias

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.budget import Budget
from nas_prune.cost import Cost, CostModel, cost_model
from nas_prune.errors import BadInputError, WidthsError
from nas_prune.graph.channels import ChannelGraph, ChannelGroup
from nas_prune.graph.trace import on_meta, structure
from nas_prune.initialise import Init, inits_of, record_inits
from nas_prune.models.densenet import densenet
from nas_prune.models.preresnet import preresnet
from nas_prune.models.resnet import resnet
from nas_prune.models.vgg import vgg
from nas_prune.resize import Kept, fresh, narrowed, resized
from nas_prune.selfcheck import checked
from nas_prune.shipped import shipped
from nas_prune.widths import CostRecord, GroupWidth, SpaceReference, Widths, first_problem

Groups: TypeAlias = Literal["inner", "all"]

FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "preresnet": preresnet,
    "vgg": vgg,
    "densenet": densenet,
}
TORCHVISION = ("resnet18", "resnet50", "vgg16_bn", "densenet121", "mobilenet_v2")


class SpaceFile(BaseModel):
    """One file of `search_spaces/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    family: str
    depth: int
    aliases: tuple[str, ...] = ()
    floor: int = Field(default=1, ge=1)
    divisor: int = Field(default=1, ge=1)
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A network whose widths are searched.

    Attributes:
        reference: what names it in files.
        graph: its channel graph, proved by running resized copies.
        cost: its costs as functions of the searchable groups' widths.
        template: the network's structure; parameters on the meta device.
        inits: how its constructor initialises it.
        floor: the smallest width of any group.
        divisor: widths are multiples of it, or the base width.
    """

    reference: SpaceReference
    graph: ChannelGraph
    cost: CostModel
    template: nn.Module
    inits: tuple[Init, ...]
    floor: int = 1
    divisor: int = 1

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The searchable groups, in the order every width vector has."""
        return tuple(self.graph.groups[number] for number in self.graph.searchable)

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

    def floor_at(self, columns: Sequence[int]) -> tuple[int, ...]:
        """The smallest widths when only some groups are searched, by column; the others keep their base."""
        chosen = set(columns)
        pairs = enumerate(zip(self.base_G, self.floor_G, strict=True))
        return tuple(floor if column in chosen else base for column, (base, floor) in pairs)

    def searched(self, groups: Groups) -> tuple[int, ...]:
        """Columns of the groups that a choice names: `inner` is all but residual streams."""
        return tuple(c for c, group in enumerate(self.groups) if groups == "all" or group.role != "stream")

    def cost_at(self, widths_G: Sequence[int]) -> Cost:
        """The exact cost of one width vector."""
        return self.cost.at(_whole_numbers(widths_G))

    def build(
        self, widths: "Widths | Sequence[int] | None" = None, *, seed: int, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """A fresh network with random weights.

        Args:
            widths: a widths artefact, a width for each searchable group, or None for the whole network.
            seed: fixes the weights.
            device: where the network is to live.

        Raises:
            WidthsError: the widths are of another space.
        """
        return fresh(self.template, self.graph, self.vector(widths), self.inits, seed=seed, device=device)

    def narrow(self, model: nn.Module, kept_G: Kept) -> nn.Module:
        """A trained network of base widths cut to the kept channels of each group, weights inherited."""
        return narrowed(model, self.graph, kept_G)

    def vector(self, widths: "Widths | Sequence[int] | None") -> tuple[int, ...]:
        """A width vector of this space from any form of widths."""
        if widths is None:
            return self.base_G
        if not isinstance(widths, Widths):
            return _whole_numbers(widths)
        if widths.removed_blocks:
            raise WidthsError(
                "removed blocks cannot be rebuilt yet, got " + ", ".join(widths.removed_blocks) + "."
            )
        difference = widths.difference(self.widths(self.base_G))
        if difference is not None:
            raise WidthsError(f"the widths must be of space {self.reference.name}, but {difference}.")
        return widths.vector

    def priced(self, widths: Widths) -> Widths:
        """The artefact with both costs worked out anew, so that an edited file cannot misstate them.

        Raises:
            WidthsError: the widths are of another space.
        """
        costs = {
            "cost": _record(self.cost_at(self.vector(widths))),
            "base_cost": _record(self.cost_at(self.base_G)),
        }
        return widths.model_copy(update=costs)

    def widths(self, vector_G: Sequence[int], **provenance: Any) -> Widths:
        """The artefact of a width vector; keyword arguments are fields of `Widths`."""
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
                )
                for group, width in zip(self.groups, vector_G, strict=True)
            ),
            cost=_record(self.cost_at(vector_G)),
            base_cost=_record(self.cost_at(self.base_G)),
            **provenance,
        )

    def limit(self, budget: Budget, searched: Sequence[int] | None = None) -> int:
        """The largest count a budget allows here; a share is of the whole network's cost.

        Args:
            budget: the bound.
            searched: for a bound on channels, the columns of the groups that are searched (all if None).
        """
        if budget.kind == "channels":
            columns = range(len(self.groups)) if searched is None else searched
            return budget.limit(sum(self.base_G[column] for column in columns))
        return budget.limit(int(self.cost.kind(budget.kind)(self.base_G)))


def _whole_numbers(widths: Sequence[int]) -> tuple[int, ...]:
    for width in widths:
        if not (width >= 1 and float(width).is_integer()):
            raise WidthsError(f"a width must be a whole number of at least 1, got {width}.")
    return tuple(int(width) for width in widths)


def _record(cost: Cost) -> CostRecord:
    return CostRecord(macs=cost.macs, params=cost.params, activations=cost.activations)


def known_spaces() -> dict[str, SpaceFile]:
    """Every shipped search space by name."""
    return {
        path.stem: _read(path.name) for path in sorted(shipped("search_spaces").glob("*.yaml"), key=_natural)
    }


def _natural(path: Any) -> tuple[str, int]:
    name = path.stem.rstrip("0123456789")
    return name, int(path.stem[len(name) :] or 0)


def _read(filename: str) -> SpaceFile:
    content = yaml.safe_load((shipped("search_spaces") / filename).read_text(encoding="utf-8"))
    try:
        return SpaceFile.model_validate(content)
    except ValidationError as error:
        raise BadInputError(f"search space {filename} cannot be used: {first_problem(error)}.") from None


def space_name(name: str) -> str:
    """The full name of a space that may be given by an alias (`resnet` is resnet20).

    Raises:
        BadInputError: no such space; the message lists the known ones.
    """
    known = known_spaces()
    for full, file in known.items():
        if name == full or name in file.aliases:
            return full
    if name.startswith("torchvision:"):
        return name
    listed = ", ".join([*known, *(f"torchvision:{model}" for model in TORCHVISION)])
    raise BadInputError(f"--space must be one of {listed}, got {name!r}. `nas-prune spaces` describes them.")


def load_space(
    model: str | nn.Module | Callable[[], nn.Module],
    input_shape: tuple[int, int, int] | None = None,
    *,
    num_classes: int | None = None,
    width_multiplier: float = 1.0,
) -> SearchSpace:
    """The search space of a network.

    Args:
        model: a name that `nas-prune spaces` lists, `torchvision:NAME`, or a network of your own: a function
            that makes it, so that fresh networks start as its constructor says, or the network itself, whose
            layers then start as their types do.
        input_shape: channels, height and width of one image; (3, 32, 32) if None, (3, 224, 224) for torchvision.
        num_classes: outputs of a named network's classifier; 10 if None, 1000 for torchvision.
        width_multiplier: factor on the width of every searchable group before anything else.

    Raises:
        BadInputError: an unknown name, an image the network cannot take, or a network with nothing to narrow.

    Example:
        >>> load_space("vgg11", (1, 8, 8)).base_G
        (64, 128, 256, 256, 512, 512, 512, 512)
    """
    if not isinstance(model, str):
        if input_shape is None:
            raise BadInputError("input_shape must be given with a network of your own, e.g. (3, 32, 32).")
        if not callable(model):
            raise BadInputError(
                f"a network must be a name, a module or a function that makes one, got {model!r}."
            )
        network, inits = (model, inits_of(model)) if isinstance(model, nn.Module) else record_inits(model)
        name = type(network).__qualname__
        reference = _reference(name, input_shape, num_classes or 1, width_multiplier)
        return _make(reference, network, inits, file=None)
    name = space_name(model)
    is_torchvision = name.startswith("torchvision:")
    shape = input_shape or ((3, 224, 224) if is_torchvision else (3, 32, 32))
    classes = num_classes or (1000 if is_torchvision else 10)
    _check_numbers(shape, classes, width_multiplier)
    file = None if is_torchvision else known_spaces()[name]
    factory = _torchvision(name, shape, classes) if file is None else _family(file, shape, classes)
    network, inits = record_inits(factory)
    return _make(_reference(name, shape, classes, width_multiplier), network, inits, file=file)


def _reference(
    name: str, shape: tuple[int, int, int], classes: int, width_multiplier: float
) -> SpaceReference:
    return SpaceReference(
        name=name, input_shape=shape, num_classes=classes, width_multiplier=width_multiplier
    )


def _check_numbers(shape: tuple[int, int, int], classes: int, width_multiplier: float) -> None:
    if min(shape[1:]) < 8:
        raise BadInputError(f"the image size must be at least 8, got {min(shape[1:])}.")
    if classes < 2:
        raise BadInputError(f"a classifier must have at least 2 classes, got {classes}.")
    if not 0.01 <= width_multiplier <= 100:
        raise BadInputError(f"--width-multiplier must be between 0.01 and 100, got {width_multiplier:g}.")


def _check_macs(
    name: str, template: nn.Module, cost: CostModel, base_G: Sequence[int], shape: tuple[int, int, int]
) -> None:
    """Refuse a network whose MACs at base widths are not what PyTorch counts."""
    model = on_meta(template).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *shape, device="meta"))
    counted, priced = counter.get_total_flops() / 2, cost.at(base_G).macs
    if counted != priced:
        raise BadInputError(
            f"network {name} must be one whose MACs can be priced exactly, got {priced:,} where PyTorch counts "
            f"{counted:,.0f}. Please report it with the network."
        )


def _family(file: SpaceFile, shape: tuple[int, int, int], classes: int) -> Callable[[], nn.Module]:
    settings: Mapping[str, int] = {
        "in_channels": shape[0],
        "num_classes": classes,
        "image_size": min(shape[1:]),
    }
    return lambda: FAMILIES[file.family](file.depth, **settings)


def _torchvision(name: str, shape: tuple[int, int, int], classes: int) -> Callable[[], nn.Module]:
    from torchvision import models

    short = name.removeprefix("torchvision:")
    if short not in models.list_models(module=models):
        raise BadInputError(
            f"--space {name} must name a classification network of torchvision, got {short!r}."
        )
    if shape[0] != 3:
        raise BadInputError(f"--space {name} must have images of 3 channels, got {shape[0]}.")
    return lambda: models.get_model(short, weights=None, num_classes=classes)


def _make(
    reference: SpaceReference, network: nn.Module, inits: tuple[Init, ...], *, file: SpaceFile | None
) -> SearchSpace:
    name, shape, multiplier = reference.name, reference.input_shape, reference.width_multiplier
    template = structure(network)
    if multiplier != 1:
        graph = checked(template, shape)
        wide = [max(1, floor(graph.groups[number].size * multiplier + 0.5)) for number in graph.searchable]
        template = structure(resized(template, graph, wide, device="cpu"))
    graph = checked(template, shape)
    if file is not None:
        graph = graph.freeze(dict.fromkeys(file.frozen, "frozen by the search space's file"))
    if not graph.searchable:
        raise BadInputError(
            f"network {name} must have something to narrow, got none: every channel group is frozen."
        )
    cost = cost_model(graph, [parameter for parameter, _ in template.named_parameters()])
    _check_macs(name, template, cost, [graph.groups[number].size for number in graph.searchable], shape)
    limits = {"floor": file.floor, "divisor": file.divisor} if file else {}
    return SearchSpace(reference, graph, cost, template, inits, **limits)
