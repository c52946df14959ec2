"""Widths files as a guideline sees them: keep ratios by place, and those of the uniform network of equal cost.

Shape suffixes: G searchable groups of a space, S those of them that were searched, N width vectors of one space.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import GuidelineError
from nas_prune.graph.channels import ChannelGroup, Role
from nas_prune.graph.inputs import is_within
from nas_prune.guideline.artefact import Match, SourceRecord
from nas_prune.space.budget import Budget
from nas_prune.space.cost import CostFunction, Polynomial, cost_inside
from nas_prune.space.load import load_referenced
from nas_prune.space.quantities import COUNTED, MEASURED
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import SpaceReference, Widths
from nas_prune.training.schedules import macs_of_search

Floats: TypeAlias = "NDArray[np.float64]"
_HALVINGS = 60
_USUAL: dict[str, object] = {"groups": "inner", "scope": "global", "cost": None, "iterations": 1}
_Key: TypeAlias = "tuple[SpaceReference, tuple[int, ...], tuple[str, ...]]"
_OWN_COST = "channels"  # what widths of a method's own choice are measured in


@dataclass(frozen=True, eq=False)
class Setting:
    """A network and which of its groups are searched.

    Attributes:
        space: the network.
        columns: those groups, by place; none in a removed block.
        removed: blocks that are not there, by path.
    """

    space: SearchSpace
    columns: tuple[int, ...]
    removed: tuple[str, ...] = ()

    @cached_property
    def groups_S(self) -> tuple[ChannelGroup, ...]:
        """The searched groups."""
        groups = self.space.groups
        return tuple(groups[column] for column in self.columns)

    @cached_property
    def base_S(self) -> Floats:
        """Their base widths."""
        return np.array([group.size for group in self.groups_S], dtype=np.float64)

    @cached_property
    def base_G(self) -> Floats:
        """The base widths of all groups of the network."""
        return np.array(self.space.base_G, dtype=np.float64)

    @cached_property
    def num_stages(self) -> int:
        """How many stages there are up to the last one with a searched group, or with one in a removed block."""
        groups = self.space.groups
        inside = (
            [n for block in self.space.blocks if block.path in self.removed for n in block.columns]
            if self.removed
            else []
        )
        return 1 + max(groups[number].stage for number in (*self.columns, *inside))

    @cached_property
    def depth(self) -> int:
        """How many convolutions and linear layers there are."""
        return len(
            {
                layer.path
                for layer in self.space.graph.layers
                if layer.kind in ("conv", "linear") and not self.is_removed(layer.path)
            }
        )

    def is_removed(self, layer: str) -> bool:
        """Whether a layer lies in a removed block."""
        return any(is_within(layer, block) for block in self.removed)

    def count(self, kind: str, keep_NS: Floats) -> Floats:
        """A cost at real-valued keep ratios of the searched groups, the others whole."""
        widths = np.broadcast_to(self.base_G, (*keep_NS.shape[:-1], len(self.base_G))).copy()
        widths[..., self.columns] *= keep_NS
        return self.cost(kind).real(widths)

    def cost(self, kind: str) -> CostFunction:
        """A cost as a function of all groups' widths; channels are those of the searched groups.

        Raises:
            BudgetError: nobody has said what it is for this network.
        """
        if kind == "channels":
            return self._channels
        is_there = bool(self.removed) and kind in COUNTED
        return self._there(kind) if is_there else self.space.cost_function(kind)

    def _there(self, kind: str) -> Polynomial:
        """A cost less what is caused within removed blocks; worked out once for each kind."""
        if kind not in self._of_kinds:
            names = [name for name, _ in self.space.template.named_parameters()]
            whole = self.space.cost.kind(kind)
            inside = [cost_inside(self.space.graph, names, path).kind(kind) for path in self.removed]
            self._of_kinds[kind] = Polynomial(
                whole.quadratic_GG - sum(part.quadratic_GG for part in inside),
                (*whole.higher, *((monomial, -count) for part in inside for monomial, count in part.higher)),
            )
        return self._of_kinds[kind]

    @cached_property
    def _of_kinds(self) -> dict[str, Polynomial]:
        return {}

    @cached_property
    def _channels(self) -> Polynomial:
        return Polynomial.of({(column,): 1 for column in self.columns}, len(self.base_G))

    def within(self, budget: Budget, log_ratio_NS: Floats) -> Floats:
        """The log factor on each pattern of widths that meets all bounds of a budget, with no group above its base."""
        size = len(log_ratio_NS)
        factors = [
            self.scaled(one.kind, log_ratio_NS, np.full(size, float(self.space.limit(one, self.columns))))
            for one in budget.bounds
        ]
        return np.asarray(np.min(factors, axis=0))

    def scaled(self, kind: str, log_ratio_NS: Floats, limit_N: Floats) -> Floats:
        """The log factor on each pattern of widths that gives the cost asked for, with no group above its base.

        Args:
            kind: which cost.
            log_ratio_NS: patterns.
            limit_N: costs; one above the whole network gives a factor that leaves all groups whole.
        """
        low_N = -log_ratio_NS.max(-1) - 30.0
        high_N = -log_ratio_NS.min(-1)
        for _ in range(_HALVINGS):
            middle_N = (low_N + high_N) / 2
            keep_NS = np.exp(np.minimum(0.0, middle_N[..., None] + log_ratio_NS))
            fits_N = self.count(kind, keep_NS) <= limit_N
            low_N, high_N = np.where(fits_N, middle_N, low_N), np.where(fits_N, high_N, middle_N)
        return np.asarray(low_N)


@dataclass(frozen=True, eq=False)
class Source:
    """One widths file.

    Attributes:
        record: what goes into the guideline's own file.
        keys: network, data set, method and run, in which it is nested.
        setting: its space and which groups were searched.
        log_keep_S: log keep ratios of the searched groups.
        log_uniform: log keep ratio of the uniform network of the same cost.
        limit: that cost.
    """

    record: SourceRecord
    keys: tuple[str, ...]
    setting: Setting
    log_keep_S: Floats
    log_uniform: float
    limit: float

    @property
    def log_ratio_S(self) -> Floats:
        """Log keep ratios over the uniform network's."""
        return self.log_keep_S - self.log_uniform

    @property
    def cost(self) -> str:
        """Which cost it is measured in."""
        return measure(self.record.cost)

    @cached_property
    def rounding(self) -> dict[tuple[int, Role | None], float]:
        """Variance of the mean log width of each stage and role, and stage, from rounding widths."""
        variances: dict[tuple[int, Role | None], list[float]] = defaultdict(list)
        for group, variance in zip(self.setting.groups_S, 1 / 12 / self.widths_S**2, strict=True):
            variances[group.stage, group.role].append(float(variance))
            variances[group.stage, None].append(float(variance))
        return {place: sum(own) / len(own) ** 2 for place, own in variances.items()}

    @cached_property
    def widths_S(self) -> Floats:
        """The widths themselves."""
        return np.exp(self.log_keep_S) * self.setting.base_S


def measure(driver: str) -> str:
    """The cost to compare networks in, from what drove them: its first word; channels for a method's own choice.

    What a target's costs drove is compared at equal MACs, which every network has on every machine.
    """
    first = driver.split(" ", maxsplit=1)[0]
    return {"own": _OWN_COST, **dict.fromkeys(MEASURED, "macs")}.get(first, first)


def driver_of(widths: Widths, searched: "Sequence[int] | None" = None) -> str:
    """Which cost drove a search: the budget's, and the one that weighted the channels if that is another.

    Of several bounds it is the one that the widths use up most.

    Args:
        widths: what was found.
        searched: the columns that were searched: a bound on channels is on those; all if None.
    """
    bound = (widths.budget or "channels").split("<=")[0]
    if "," in (widths.budget or ""):
        bound = _tightest(widths, Budget.parse(str(widths.budget)), searched)
    pulled = widths.method.settings.get("cost") if widths.method else None
    return bound if pulled in (None, bound) else f"{bound} (channels weighted by {pulled})"


def _tightest(widths: Widths, budget: Budget, searched: "Sequence[int] | None") -> str:
    shares = {
        one.kind: counts[0] / max(1, one.limit(counts[1]))
        for one in budget.bounds
        if (counts := _counts(widths, one.kind, searched)) is not None
    }
    return max(shares, key=lambda kind: shares[kind], default=budget.kind)


def _counts(widths: Widths, kind: str, searched: "Sequence[int] | None") -> tuple[int, int] | None:
    """A cost as a bound on it counts, and that of the whole network; None where it is not known."""
    if kind != "channels" or searched is None:
        return widths.counts(kind)
    groups = [widths.groups[column] for column in searched]
    kept = sum(group.width for group in groups if not widths.is_gone(group))
    return kept, sum(group.base for group in groups)


def sources_of(
    found: Sequence[Widths], *, names: Sequence[str] = (), spaces: Sequence[str] = ()
) -> tuple[list[Source], list[str]]:
    """The sources that some widths are, and notes about those left out; `names` say where each comes from."""
    settings: dict[_Key, Setting] = {}
    loaded: dict[SpaceReference, SearchSpace] = {}
    reasons: Counter[str] = Counter()
    kept: dict[_Key, list[Widths]] = {}
    for number, widths in enumerate(found):
        reason = _useless(widths)
        if reason:
            reasons[reason] += 1
            continue
        if widths.space not in loaded:
            name = widths.space.name
            typed = next((one for one in spaces if one == name), None)
            where = names[number] if names else "a widths file"
            loaded[widths.space] = load_referenced(widths.space, typed, where)
        space = loaded[widths.space]
        space.vector(widths)  # refuses one of another network
        key = (widths.space, searched_in(space, widths), tuple(sorted(widths.removed_blocks)))
        settings.setdefault(key, Setting(space, *key[1:]))
        kept.setdefault(key, []).append(widths)
    sources = [one for key, members in kept.items() for one in sources_in(settings[key], members)]
    unique = {
        (*one.keys, one.record.budget, one.record.cost, one.log_keep_S.tobytes()): one for one in sources
    }
    if len(unique) < len(sources):
        reasons["it is given twice"] += len(sources) - len(unique)
    notes = [f"{count} of {len(found)} widths left out: {why}." for why, count in reasons.items()]
    shallower = sum(bool(one.setting.removed) for one in unique.values())
    if shallower:
        notes.append(
            f"{shallower} of {len(found)} widths have blocks removed: they stand for the widths of the blocks left."
        )
    if not unique:
        raise GuidelineError(
            f"a guideline must have at least one source, got {' '.join(notes).rstrip('.') or 'none'}. "
            "Name runs of `nas-prune search` with a method that finds widths."
        )
    return list(unique.values()), notes


def _useless(widths: Widths) -> str | None:
    """Why widths say nothing about a pattern; None if they do."""
    method = widths.method
    if widths.removed_blocks and all(
        group.width == group.base or widths.is_gone(group) for group in widths.groups
    ):
        return "only blocks were removed, and a guideline speaks of widths, not of depth"
    if method is not None and method.name == "guideline":
        return "a guideline made them, no search"
    if method is not None and method.name in ("uniform", "random"):
        return f"{method.name} widths are a control, found by nothing"
    if method is not None and not method.is_automatic:
        return "every group was cut by the same share (--scope local), so that nothing was found"
    if widths.vector == tuple(group.base for group in widths.groups):
        return "nothing was cut"
    return None


def searched_in(space: SearchSpace, widths: Widths) -> tuple[int, ...]:
    """Columns of the groups that a search decided, but for those in removed blocks.

    If its file does not say which, they are all except whole streams.
    """
    gone = {column for column, group in enumerate(widths.groups) if widths.is_gone(group)}
    return tuple(column for column in _decided(space, widths) if column not in gone)


def _decided(space: SearchSpace, widths: Widths) -> tuple[int, ...]:
    if widths.left_whole is not None:
        whole = set(widths.left_whole)
        return tuple(column for column, group in enumerate(space.groups) if group.name not in whole)
    if widths.method is not None and "groups" in widths.method.settings:
        groups = widths.method.settings["groups"]
        return space.searched("all" if groups == "all" else "inner")
    streams_are_cut = any(group.role == "stream" and group.width < group.base for group in widths.groups)
    return space.searched("all" if streams_are_cut else "inner")


def sources_in(setting: Setting, members: Sequence[Widths]) -> list[Source]:
    """What widths of one network say about its searched groups, relative to uniform networks of equal cost."""
    columns = list(setting.columns)
    base_S = setting.base_S
    keep_NS = np.array([widths.vector for widths in members], dtype=np.float64)[:, columns] / base_S
    drivers = [driver_of(widths, _decided(setting.space, widths)) for widths in members]
    limit_N, log_uniform_N, share_N = np.zeros(len(members)), np.zeros(len(members)), np.zeros(len(members))
    for kind in {measure(driver) for driver in drivers}:
        own = np.array([measure(driver) == kind for driver in drivers])
        limit_N[own] = setting.count(kind, keep_NS[own])
        share_N[own] = limit_N[own] / setting.count(kind, np.ones_like(base_S))
        log_uniform_N[own] = setting.scaled(kind, np.zeros_like(keep_NS[own]), limit_N[own] * (1 + 1e-12))
    return [
        Source(
            _record(widths, driver, float(np.exp(log_uniform)), float(share)),
            _keys(widths),
            setting,
            np.log(keep_S),
            float(log_uniform),
            float(limit),
        )
        for widths, driver, keep_S, log_uniform, share, limit in zip(
            members, drivers, keep_NS, log_uniform_N, share_N, limit_N, strict=True
        )
    ]


def _record(widths: Widths, driver: str, uniform_keep: float, share: float) -> SourceRecord:
    return SourceRecord(
        network=_network(widths),
        input=(*widths.space.input_shape, 1)[min(1, len(widths.space.input_shape))],
        data=widths.data.name if widths.data else "unknown",
        method=widths.method.name if widths.method else "by hand",
        seed=widths.seed,
        epochs=widths.epochs,
        cost=driver,
        budget=widths.budget or "as given",
        uniform_keep=min(1.0, uniform_keep),
        kept_share=min(1.0, share),
        training_macs=macs_of_search(widths),
        removed_blocks=len(widths.removed_blocks),
    )


def _network(widths: Widths) -> str:
    factor, part = widths.space.width_multiplier, widths.space.part
    name = f"{widths.space.name} ({part})" if part else widths.space.name
    return name if factor == 1 else f"{name} ×{factor:g}"


def _keys(widths: Widths) -> tuple[str, ...]:
    """In what a search is nested: its network, its data set at its size, its method, and the run itself."""
    data, method = widths.data, widths.method
    images = f"{data.name} {widths.space.num_classes}" if data else "unknown"
    settings: Mapping[str, object] = method.settings if method else {}
    told = {name: settings.get(name, usual) for name, usual in _USUAL.items()}
    how = [f"{name}={value}" for name, value in told.items() if value != _USUAL[name]]
    recipe = (widths.recipe or {}).get("name"), widths.epochs, data.num_train if data else None
    start = f" {settings['weights']}" if settings.get("weights") else ""
    return (
        _network(widths),
        f"{images} {widths.space.input_shape}",
        " ".join([method.name if method else "by hand", *how]),
        f"{widths.seed} {recipe}{start}",
    )


def aligned(stage: int, num_stages: int, others: int, match: Match) -> int:
    """The stage among `others` that one of `num_stages` corresponds to, counted from either end; may lie outside.

    Example:
        >>> aligned(0, 5, 3, "input"), aligned(4, 5, 3, "output"), aligned(0, 5, 3, "output")
        (0, 2, -2)
    """
    return stage if match == "input" else stage - num_stages + others
