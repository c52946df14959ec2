"""A search space: a network, its channel graph and costs, and the limits of its widths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import lcm
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from nas_prune.errors import BadInputError, BudgetError, WidthsError
from nas_prune.graph.channels import ChannelGraph, ChannelGroup
from nas_prune.graph.inputs import Forward, is_within
from nas_prune.graph.resize import Kept, narrowed
from nas_prune.graph.selection import ChannelSelection, spread
from nas_prune.space.blocks import Block, removable_blocks, without
from nas_prune.space.budget import Budget
from nas_prune.space.cost import Cost, CostFunction, CostModel, Switched, cost_inside
from nas_prune.space.cost_record import CostRecord, TargetCosts, TargetRecord
from nas_prune.space.initialise import Init, fresh
from nas_prune.space.limits import NO_LIMITS, Limits
from nas_prune.space.outputs import Output, check_outputs
from nas_prune.space.quantities import COUNTED, unknown_cost
from nas_prune.space.vectors import narrowed_widths, whole_numbers
from nas_prune.space.widths import GroupWidth, SpaceReference, Widths

Groups: TypeAlias = Literal["inner", "all", "selections"]


@dataclass(frozen=True)
class SearchSpace:
    """A network whose widths are searched.

    Attributes:
        reference: what names it in files.
        graph: its channel graph, proved by running resized copies.
        cost: its costs as functions of the searchable groups' widths.
        template: the network's structure; parameters on the meta device.
        inits: how its constructor initialises it.
        forward: what is run of it to be searched, and on what.
        puts_out: for each image a row of numbers, such as class scores; maps of them; or something else.
        floor: the smallest width of any group.
        divisor: widths are multiples of it, or the base width.
        limits: what was asked of the widths; floor and divisor follow from it.
        target: what the widths are meant for, by name; None for no device in particular.
        target_typed: how a person named it, for commands that are printed.
        steps_G: for each searchable group, what the target wants its width to be a multiple of; empty for nothing.
        least_G: for each, how many channels the target needs at least; empty for nothing.
        target_costs: what widths cost there beside the costs of all devices, by their names in budgets.
    """

    reference: SpaceReference
    graph: ChannelGraph
    cost: CostModel
    template: nn.Module
    inits: tuple[Init, ...]
    forward: Forward
    puts_out: Output = "row"
    floor: int = 1
    divisor: int = 1
    limits: Limits = NO_LIMITS
    target: str | None = None
    target_typed: str | None = None
    steps_G: tuple[int, ...] = ()
    least_G: tuple[int, ...] = ()
    target_costs: Mapping[str, CostFunction] = field(default_factory=dict)

    def aimed(
        self,
        target: str,
        steps_G: Sequence[int],
        costs: Mapping[str, CostFunction],
        least_G: Sequence[int] = (),
    ) -> "SearchSpace":
        """The same network, its widths meant for a target.

        Args:
            target: its name.
            steps_G: what it wants each searchable group's width to be a multiple of.
            costs: what widths cost there, by their names in budgets.
            least_G: how many channels it needs at least of each; a narrower group stays whole.
        """
        assert {len(steps_G), len(least_G or steps_G)} == {len(self.groups)}
        return replace(
            self, target=target, steps_G=tuple(steps_G), least_G=tuple(least_G), target_costs=costs
        )

    def limited(self, limits: Limits | None) -> "SearchSpace":
        """The same network, its widths within some limits.

        Raises:
            BadInputError: a pattern of layers to keep matches none, or all that could be narrowed.
        """
        if not limits:
            return self
        limits.check_known(layer.path for layer in self.graph.layers)
        found = replace(
            self,
            floor=limits.min_width or self.floor,
            divisor=limits.divisor or self.divisor,
            limits=limits,
        )
        if len(found.left_whole) == len(self.groups):
            raise BadInputError(
                f"--keep must leave something to search, got {', '.join(limits.keep)}, which is every group of "
                f"{self.reference.name}."
            )
        return found

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The searchable groups, in the order every width vector has."""
        return tuple(self.graph.groups[number] for number in self.graph.searchable)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The residual blocks that can be taken out; found when first asked for, which takes a run of the network."""
        return removable_blocks(partial(self.build, seed=0), self.graph, self.forward)

    @cached_property
    def left_whole(self) -> frozenset[int]:
        """Columns of the groups that the limits leave whole."""
        return frozenset(c for c, group in enumerate(self.groups) if self.limits.keeps(group.layers))

    @property
    def base_G(self) -> tuple[int, ...]:
        """The width of each searchable group in the whole network."""
        return tuple(group.size for group in self.groups)

    @property
    def floor_G(self) -> tuple[int, ...]:
        """The smallest width of each searchable group."""
        return tuple(allowed[0] for allowed in self.allowed_G)

    @cached_property
    def allowed_G(self) -> tuple[tuple[int, ...], ...]:
        """The widths that each searchable group may have, rising: multiples of its step, and its base."""
        floor = max(self.floor, self.graph.least)
        leasts_G = self.least_G or [1] * len(self.groups)
        return tuple(
            (*(width for width in range(step, group.size, step) if width >= max(floor, least)), group.size)
            for group, step, least in zip(self.groups, self.multiples_G, leasts_G, strict=True)
        )

    @property
    def multiples_G(self) -> tuple[int, ...]:
        """What each group's width is a multiple of, by the target and the divisor together."""
        return tuple(lcm(self.divisor, step) for step in self.steps_G or [1] * len(self.groups))

    def searched(self, groups: Groups) -> tuple[int, ...]:
        """Columns of the groups that a choice names and the limits allow; all but streams, unless it is `all`."""
        return tuple(
            column
            for column, group in enumerate(self.groups)
            if (groups == "all" or group.role != "stream") and column not in self.left_whole
        )

    def removable(self) -> tuple[int, ...]:
        """Columns of the blocks that can go, behind those of all groups; not of those with layers that are kept."""
        return tuple(
            column
            for column, block in enumerate(self.blocks, start=len(self.groups))
            if not self.limits.keeps(one.path for one in self.graph.layers if is_within(one.path, block.path))
        )

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
        widths = whole_numbers(widths_G)
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
            removed: blocks to leave out, by path; those of a widths artefact are always left out.
            device: where the network is put.

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

    def check_trainable(self, wanted: Output = "row") -> None:
        """Refuse to train what does not put out what is to be learned, or has no parameter that learns.

        Args:
            wanted: what it must put out for each image.

        Raises:
            BadInputError: it is so.
        """
        name = self.reference.name
        _ = self.reference.image  # or it says why not
        check_outputs(name, self.puts_out, wanted)
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
            return whole_numbers(widths, len(self.groups))
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
        costs: dict[str, Any] = {
            "cost": CostRecord.of(self.cost_at(self.vector(widths), widths.removed_blocks)),
            "base_cost": CostRecord.of(self.cost_at(self.base_G)),
        }
        if (
            own := self._on_target(self.vector(widths), widths.removed_blocks, widths.budget or "")
        ) is not None:
            measured = None if widths.target is None else widths.target.measured_ms
            costs["target"] = own.model_copy(update={"measured_ms": measured})
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

        Raises:
            WidthsError: they are not one whole number for each group, from 1 to its base.
        """
        vector_G = narrowed_widths(vector_G, self.groups)
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
            cost=CostRecord.of(self.cost_at(vector_G, removed)),
            base_cost=CostRecord.of(self.cost_at(self.base_G)),
            target=self._on_target(vector_G, removed, str(provenance.get("budget") or "")),
            **{"limits": self.limits or None, **provenance},
        )

    def _on_target(
        self, vector_G: Sequence[int], removed: Sequence[str], budget: str = ""
    ) -> TargetRecord | None:
        """What a width vector costs on the target; without one, what the budget bounds of that."""
        kinds = [kind for kind in self.target_costs if self.target is not None or kind in budget]
        if not kinds:
            return None
        cost, base = (
            {kind: self.count(kind, widths_G, gone) for kind in kinds}
            for widths_G, gone in ((vector_G, removed), (self.base_G, ()))
        )
        return TargetRecord(name=self.target, cost=TargetCosts.of(cost), base_cost=TargetCosts.of(base))

    def limit(self, budget: Budget, searched: Sequence[int] | None = None) -> int:
        """The most that the first bound of a budget allows here; a share is of the whole network's cost.

        Args:
            budget: the bound.
            searched: for a bound on channels, the columns that are searched (all groups if None).
        """
        if budget.kind == "channels":
            columns = range(len(self.groups)) if searched is None else self.groups_in(searched)
            return budget.limit(sum(self.base_G[column] for column in columns))
        return budget.limit(int(self.cost_function(budget.kind)(self.base_G)))

    def cost_function(self, kind: str) -> CostFunction:
        """One of the costs by its name in a budget, as a function of widths.

        Raises:
            BudgetError: it is one of a target, and nobody has said what it is for this network.
        """
        if kind in COUNTED:
            return self.cost.kind(kind)
        if kind in self.target_costs:
            return self.target_costs[kind]
        raise BudgetError(unknown_cost(kind, self.reference.name, self.reference.options, self.target))

    def count(self, kind: str, widths_G: Sequence[int], removed: Sequence[str] = ()) -> int:
        """One of the costs by its name in a budget, at one width vector, without some blocks.

        Raises:
            BudgetError: as `cost_function`.
        """
        if kind in self.target_costs:
            there = [int(block.path not in removed) for block in self.blocks] if removed else []
            return int(self.target_costs[kind]([*widths_G, *there]))
        if kind == "channels":
            gone = [block.columns for block in self.blocks if block.path in removed] if removed else []
            left = set(range(len(self.groups))) - {column for columns in gone for column in columns}
            return sum(int(widths_G[column]) for column in left)
        self.cost_function(kind)
        return int(getattr(self.cost_at(widths_G, removed), kind))
