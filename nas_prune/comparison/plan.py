"""Which widths the arms of a comparison have: all of them are written before anything is trained."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nas_prune.comparison.arms import OWN_EACH, Arm, Kind, path_of
from nas_prune.errors import NasPruneError, WidthsError
from nas_prune.guideline.apply import Pattern, apply_guideline
from nas_prune.runs.files import saying_why
from nas_prune.space.bounds import bounds_of
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.quantities import COUNTED, shown
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.widths import MethodRecord, Widths

NEAR = 0.05  # costs that differ by more than this share are not equal


def driving_axis(widths: Widths, space: SearchSpace) -> str:
    """The cost at which controls are matched: what bounded the search if it is parameters, or known of the target.

    Otherwise it is MACs. Of several bounds it is the one that the widths use up most.
    """
    if not widths.budget:
        return "macs"
    budget = Budget.parse(widths.budget)
    if not budget.is_own and all(
        one.kind in COUNTED or one.kind in space.target_costs for one in budget.bounds
    ):
        bounds = bounds_of(space, budget, columns_of(widths, space))
        kind = bounds.tightest(space.vector(widths)).kind if not widths.removed_blocks else budget.kind
        return kind if kind == "params" or kind in space.target_costs else "macs"
    return "macs"


def is_of_target(widths: Widths, space: SearchSpace) -> bool:
    """Whether controls are matched at a cost of the target."""
    return driving_axis(widths, space) in space.target_costs


def bound_of(axis: str, found: Widths, space: SearchSpace) -> Budget:
    """What controls may cost: as much as the widths found."""
    return Budget(axis, absolute=space.count(axis, space.vector(found), found.removed_blocks))


def groups_of(widths: Widths) -> Groups:
    """Which groups a search that found some widths narrowed."""
    if widths.space.selections:
        return "selections"
    left = set(widths.left_whole or ())
    streams = [group for group in widths.groups if group.role == "stream"]
    if widths.left_whole is None:
        return "all" if any(group.width < group.base for group in streams) else "inner"
    return "all" if any(group.name not in left for group in streams) else "inner"


def columns_of(widths: Widths, space: SearchSpace) -> tuple[int, ...]:
    """The places of the groups that a search narrowed."""
    if widths.left_whole is None:
        return space.searched(groups_of(widths))
    return tuple(c for c, group in enumerate(space.groups) if group.name not in widths.left_whole)


def planned(arm: Arm, seeds: int) -> Iterator[tuple[Kind, int]]:
    """The kinds and seeds of the widths that an arm needs before anything is trained."""
    if arm.kind in OWN_EACH:
        return
    for seed in range(seeds) if arm.kind == "random" else (0,):
        yield arm.kind, seed


def plan_widths(
    kind: Kind,
    seed: int,
    found: Widths,
    space: SearchSpace,
    *,
    data_seed: int = 0,
    pattern: tuple[str, Pattern] | None = None,
) -> Widths:
    """The widths of a kind that need no file of their own.

    Args:
        kind: all but `winner` and `direct`.
        seed: of random ones.
        found: the widths whose cost the others have.
        space: the network.
        data_seed: with `seed` it fixes random widths.
        pattern: the guideline with its name, for `guided`.
    """
    if kind == "found":
        return space.priced(found)
    if kind == "whole":
        return space.widths(space.base_G)
    is_named = kind in ("uniform-params", "uniform-macs")
    bound = bound_of(kind.removeprefix("uniform-") if is_named else driving_axis(found, space), found, space)
    if kind == "guided":
        assert pattern is not None
        return apply_guideline(pattern[1], space, bound, groups=groups_of(found)).artefact(pattern[0])
    rng = np.random.default_rng((data_seed, seed)) if kind == "random" else None
    cut = matched(space, columns_of(found, space), bound, rng)
    name = "random" if kind == "random" else "uniform"
    return space.widths(cut.widths_G, budget=str(bound), method=MethodRecord(name=name, is_automatic=False))


def why_not_comparable(other: Widths, found: Widths, space: SearchSpace, data_name: str) -> str | None:
    """Why other widths cannot be compared with the found ones, in one line; None if they can."""
    try:
        space.vector(other)
    except WidthsError as error:
        return str(error)
    if other.data is not None and other.data.name != data_name:
        return f"they are of a study on {other.data.name}, not on {data_name}"
    axis = driving_axis(found, space)
    mine, theirs = (space.count(axis, one.vector, one.removed_blocks) for one in (found, other))
    if abs(theirs / mine - 1) > NEAR:
        return f"they cost {shown(axis, theirs)}, the widths found {shown(axis, mine)}: only equal costs are compared"
    return None


def write_plan(
    run: Path,
    arms: tuple[Arm, ...],
    seeds: int,
    found: Widths,
    space: SearchSpace,
    *,
    data_seed: int,
    pattern: tuple[str, Pattern] | None,
    given: dict[Kind, Widths],
) -> None:
    """Write the widths that arms need and do not have yet."""
    for arm in arms:
        for kind, seed in planned(arm, seeds):
            path = path_of(run, kind, seed)
            if path.exists():
                continue
            with saying_why(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            widths = given.get(kind) or plan_widths(
                kind, seed, found, space, data_seed=data_seed, pattern=pattern
            )
            widths.write(path)


def check_guided(found: Widths, space: SearchSpace, pattern: tuple[str, Pattern]) -> tuple[str, ...] | str:
    """What the guideline had to guess on this network; or, as a plain line, why it gives no widths here."""
    bound = bound_of(driving_axis(found, space), found, space)
    try:
        return apply_guideline(pattern[1], space, bound, groups=groups_of(found)).notes
    except NasPruneError as error:
        return str(error)
