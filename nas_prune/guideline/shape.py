"""What a guideline says about each group of a network, and what it had to guess.

Shape suffixes: S searched groups of a network, N budgets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from nas_prune.graph.channels import ChannelGroup
from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.guideline.sources import Setting, aligned

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class Shape:
    """A guideline on one network.

    Attributes:
        level_S, trend_S: of each searched group, with the cell's slope and shape in it.
        bend_S: how much of that is the cell's shape.
        reference: log uniform keep ratio at which levels hold; None where they hold at every budget.
        covers: log uniform keep ratios of the sources' smallest budget and of their largest.
        base_S: base widths of the groups.
        cells_S: which cells are used for each group; several where their mean had to be taken.
        notes: what had to be guessed.
    """

    level_S: Floats
    trend_S: Floats
    bend_S: Floats
    reference: float | None
    covers: tuple[float, float] | None
    base_S: Floats
    cells_S: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]

    def log_ratio_NS(self, log_uniform_N: Floats) -> Floats:
        """Log ratios at some budgets, each given by the log keep ratio of the uniform network of the same cost.

        They shrink to zero towards the whole network, which is not narrowed anywhere. Below the smallest budget of the
        sources the odds of every keep ratio there fall by one factor, that of the uniform network.
        """
        if self.reference is None:
            return np.broadcast_to(self.level_S, (*log_uniform_N.shape, len(self.level_S)))
        low, high = self.covers or (self.reference, self.reference)
        inside_N = np.maximum(log_uniform_N, low)
        shape_NS = self.level_S + self.trend_S * (np.minimum(inside_N, high) - self.reference)[..., None]
        shape_NS = np.asarray(shape_NS * (inside_N / self.reference)[..., None])
        is_below_N = log_uniform_N < inside_N
        return np.where(is_below_N[..., None], self._below_NS(shape_NS, low, log_uniform_N), shape_NS)

    def _below_NS(self, shape_NS: Floats, low: float, log_uniform_N: Floats) -> Floats:
        """Log ratios below the smallest budget, from those there.

        A width at its base says only "at least this": its log ratio is no measure of how wide it stays. Channels are
        cut in the order of their importance by one threshold; where importance is spread alike in all groups, logistic,
        a lower budget moves the logits of all keep ratios by the same amount. A whole group is taken as half a channel
        short of whole.
        """
        half_S = 0.5 / self.base_S
        keep_NS = np.clip(np.exp(low + shape_NS), half_S, 1 - half_S)
        there_N = np.minimum(log_uniform_N, low)
        moved_N = logit(np.exp(there_N)) - logit(exp(low))
        return np.asarray(np.log(expit(logit(keep_NS) + moved_N[..., None])) - there_N[..., None])

    def growth(self, log_uniform: float) -> float:
        """What levels are multiplied by at a budget; below the sources' smallest one as there."""
        if self.reference is None:
            return 1.0
        return max(log_uniform, (self.covers or (self.reference,))[0]) / self.reference


def bend_of(shape: Shape, setting: Setting, log_uniform: float) -> Floats:
    """How much of the log ratios at a budget is the shape along stages: what no line along a cell gives."""
    grown_S = shape.bend_S * shape.growth(log_uniform)
    if shape.reference is None or log_uniform >= (shape.covers or (shape.reference,))[0]:
        return grown_S
    at = np.array(log_uniform)
    line_S = replace(shape, level_S=shape.level_S - shape.bend_S).log_ratio_NS(at)
    return bend_beside(setting, shape.log_ratio_NS(at), line_S)


def bend_beside(setting: Setting, log_ratio_S: Floats, nearly_S: "Floats | None" = None) -> Floats:
    """What of some log ratios no level and slope of each stage and role gives.

    Args:
        setting: the network and which of its groups are narrowed.
        log_ratio_S: of the searched groups.
        nearly_S: what levels and slopes are fitted to; the log ratios themselves if None.
    """
    line_S = np.array(log_ratio_S if nearly_S is None else nearly_S)
    for place in {(group.stage, group.role) for group in setting.groups_S}:
        own = np.array([(group.stage, group.role) == place for group in setting.groups_S])
        x = np.array([group.position for group in setting.groups_S])[own]
        line_S[own] = np.polyval(np.polyfit(x, line_S[own], 1 if np.ptp(x) else 0), x)
    return np.asarray(np.round(log_ratio_S - line_S, 12))  # a line's rounding is no shape


def shape_on(guideline: Guideline, setting: Setting) -> Shape:
    """A guideline on a network."""
    notes: dict[str, None] = {}
    if guideline.cells and guideline.num_stages not in (0, setting.num_stages):
        notes[
            f"The network has {setting.num_stages} stages, the guideline {guideline.num_stages}: counted from the "
            f"{guideline.match}."
        ] = None
    cells_S = tuple(_cells_for(guideline, group, setting, notes) for group in setting.groups_S)
    if guideline.model == "hand":
        beyond = sorted(
            {cell.stage for cell in guideline.cells} - set(range(guideline.num_stages or setting.num_stages))
        )
        notes |= dict.fromkeys(
            f"The network has no stage {stage}, which the guideline names." for stage in beyond
        )
    if guideline.depths is not None and not guideline.depths[0] <= setting.depth <= guideline.depths[1]:
        low, high = guideline.depths
        notes[
            f"Extrapolated: the network has {setting.depth} layers, those of the guideline {low} to {high}."
        ] = None
    positions_S = [group.position for group in setting.groups_S]
    covers = guideline.covers
    pairs = list(zip(cells_S, positions_S, strict=True))
    bend_S = np.array([_mean([cell.bend_at(x) for cell in cells]) for cells, x in pairs])
    deeper = 0.0 if guideline.depth is None else log(setting.depth) - log(guideline.depth)
    level_S = [
        _mean([cell.log_ratio_at(x) + cell.depth_slope * deeper for cell in cells]) for cells, x in pairs
    ]
    return Shape(
        np.array(level_S),
        np.array([_mean([cell.trend for cell in cells]) for cells in cells_S]),
        bend_S,
        None if guideline.uniform_keep is None else log(guideline.uniform_keep),
        None if covers is None else (log(covers[0]), log(covers[1])),
        setting.base_S,
        cells_S,
        tuple(notes),
    )


def _by_hand(
    guideline: Guideline, stage: int, group: ChannelGroup, notes: dict[str, None]
) -> tuple[Cell, ...]:
    """What a guideline written by hand says about a group; what it does not name is meant to be uniform."""
    here = [cell for cell in guideline.cells if cell.stage == stage]
    exact = [cell for cell in here if cell.role == group.role] or [cell for cell in here if cell.role is None]
    if not exact:
        role = f" ({group.role})" if here else ""
        notes[f"The guideline does not name stage {group.stage}{role}: as wide as uniform."] = None
    return tuple(exact)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _cells_for(
    guideline: Guideline, group: ChannelGroup, setting: Setting, notes: dict[str, None]
) -> tuple[Cell, ...]:
    """The cells for a group: those of its stage and role, or of what is nearest to that."""
    if not guideline.cells:
        return ()
    num_stages = guideline.num_stages or setting.num_stages
    stage = aligned(group.stage, setting.num_stages, num_stages, guideline.match)
    if guideline.model == "hand":
        return _by_hand(guideline, stage, group, notes)
    known = sorted({cell.stage for cell in guideline.cells})
    nearest = min(known, key=lambda other: (abs(other - stage), other))
    if nearest != stage:
        notes[f"Stage {group.stage} has no counterpart: taken like the guideline's stage {nearest}."] = None
    here = [cell for cell in guideline.cells if cell.stage == nearest]
    exact = [cell for cell in here if cell.role == group.role] or [cell for cell in here if cell.role is None]
    if exact:
        return tuple(exact)
    elsewhere = [cell for cell in guideline.cells if cell.role == group.role]
    others = "/".join(sorted({str(cell.role) for cell in here}))
    notes[
        f"Nothing is known of role {group.role} in stage {group.stage}: taken like {others} of that stage"
        f"{'' if elsewhere else ' (the sources have no such role)'}."
    ] = None
    return tuple(here)
