"""Which arms a comparison has: those asked for, if what they are made from is given."""

from dataclasses import dataclass

from nas_prune.comparison.arms import Kind, chosen_arms
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.equal_training import check_equal
from nas_prune.comparison.parents import source_for
from nas_prune.comparison.plan import check_guided, is_of_target, plan_widths, why_not_comparable
from nas_prune.comparison.statistics import check_test
from nas_prune.comparison.torch_pruning import torch_pruning
from nas_prune.comparison.winner import UNKNOWN, Chosen
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.guideline.apply import Pattern
from nas_prune.runs.directory import published
from nas_prune.search.config import SearchConfig
from nas_prune.space.names import space_name
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be compared, and what is given for it.

    Attributes:
        arms: their names; all that can be trained if none are named.
        guideline: its name, and the guideline.
        winner: widths of a study.
        chosen: how that study chose them.
    """

    arms: tuple[str, ...] = ()
    guideline: tuple[str, Pattern] | None = None
    winner: Widths | None = None
    chosen: Chosen = UNKNOWN


ALL = Wanted()


def with_source(config: CompareConfig, search: SearchConfig | None, widths: Widths) -> CompareConfig:
    """The settings with how whole networks are trained, or why none are.

    Raises:
        BadInputError: the search is of another network than the widths.
    """
    why = "no search is known that trained a network for these widths (name its directory, or --from RUN)"
    source = None
    if search is not None:
        _check_source(search, widths)
        try:
            source = source_for(search, config, config.recipe, other_weights=_has_others(search, widths))
        except BadInputError as error:
            why = str(error)
    missing = {} if source is not None else {name: why for name, arm in config.known.items() if arm.inherits}
    return config.model_copy(update={"source": source, "search": search, "left_out": missing})


def _has_others(search: SearchConfig, widths: Widths) -> bool:
    """Whether a search's whole networks are to start from other weights than it started from itself."""
    own = None if widths.method is None else widths.method.settings.get("weights")
    return search.weights != own


def _check_source(search: SearchConfig, widths: Widths) -> None:
    """Refuse a search of another network: whole networks could not be trained as it trains."""
    space = widths.space
    theirs = (space_name(search.space), search.width_multiplier, search.groups == "selections")
    of_widths = (space.name, space.width_multiplier, space.selections)
    if theirs != of_widths:
        of, got = (
            f"{name} ×{factor:g}{' with selections' * selects}"
            for name, factor, selects in (of_widths, theirs)
        )
        raise BadInputError(f"--from must be a search of the widths' network, {of}, got one of {got}.")


def extended(
    config: CompareConfig, widths: Widths, network: SearchSpace, wanted: Wanted
) -> tuple[CompareConfig, dict[Kind, Widths]]:
    """The settings with the arms that are asked for, and why others are left out; nothing is written.

    Raises:
        BadInputError: a named arm is not known, or what it is made from is not given.
    """
    known, given = config.known, _given(config, widths, network, wanted)
    there = (
        {known[name].kind for name in config.arms}
        | set(given.widths)
        | ({"guided"} if given.has_guided else set())
        | ({"uniform-target"} if is_of_target(widths, network) else set())
    )
    absent = {name for name, arm in known.items() if arm.kind in _FLAGS and arm.kind not in there}
    is_given = config.source is not None and config.source.weights is not None
    ungiven = set() if is_given else {name for name, arm in known.items() if arm.start == "given"}
    left = {name: why for name, why in config.left_out.items() if known[name].kind not in _FLAGS}
    left |= {name: given.reasons[known[name].kind] for name in known if known[name].kind in given.reasons}
    for name in wanted.arms:
        if name in absent and known[name].kind not in given.reasons:
            raise BadInputError(f"--arm {name} must come with {_FLAGS[known[name].kind]}, got none.")
        if name in ungiven:
            raise BadInputError(
                f"--arm {name} must come with a search from given weights (--weights), got none."
            )
        if name in left:
            raise BadInputError(f"--arm {name} cannot be trained here: {left[name].rstrip('.')}.")
    asked = [*wanted.arms]
    if asked or config.arms:  # a run keeps its arms, and newly given ones are added
        asked += [
            *config.arms,
            *(name for name, arm in known.items() if arm.kind in _FLAGS and arm.kind in there),
        ]
    chosen = chosen_arms(asked, absent | ungiven | set(left), known)
    if any(known[name].kind == "torch-pruning" for name in chosen):
        torch_pruning()
    planned = sum(known[name].beside is not None for name in chosen)
    check_test(config.test, config.seeds, planned, config.searches)
    notes = tuple(dict.fromkeys((*config.notes, *given.notes)))
    changes: dict[str, object] = {"arms": chosen, "left_out": left, "notes": notes}
    if "winner" in given.widths:
        changes |= {"winner_seed": wanted.chosen.first_seed(), "winner_charges": wanted.chosen.charges}
    found = config.model_copy(update=changes)
    pattern = None if wanted.guideline is None else wanted.guideline[1]
    check_equal(found, widths, pattern, found.winner_charges)
    return found, given.widths


def what_is_trained(asked: tuple[str, ...], before: tuple[str, ...], config: CompareConfig) -> str:
    """Which arms a comparison trains where some were asked for by name, in words: with each comes its other arm.

    Args:
        asked: their names.
        before: the arms that the run has had.
        config: the settings with all its arms.
    """
    new = [name for name in config.arms if name not in before]
    named = [name for name in new if name in asked]
    beside = [name for name in new if name not in asked]
    verb = "Adds" if before else "Trains"
    if not new:
        return f"The run has {', '.join(dict.fromkeys(asked))} already; it keeps its {len(before)} arms."
    they = "it is" if len(named) == 1 else "they are"
    more = f" and {', '.join(beside)}, which {they} compared with" if beside and named else ""
    kept = f"{',' * bool(more)} to the run's {len(before)} arms" if before else ""
    return f"{verb} {', '.join(named or new)}{more}{kept}."


_MATCHED: tuple[Kind, ...] = ("uniform-params", "uniform-macs", "uniform-target", "random")
_FLAGS: dict[Kind, str] = {
    "guided": "--guideline",
    "winner": "--study",
    "uniform-target": "widths found at a budget of their target (latency, memory or size)",
}


@dataclass(frozen=True, slots=True)
class _GivenArms:
    """The widths that the given inputs have on this network, or why there are none."""

    widths: dict[Kind, Widths]
    has_guided: bool
    reasons: dict[Kind, str]
    notes: tuple[str, ...] = ()


def _given(config: CompareConfig, widths: Widths, network: SearchSpace, wanted: Wanted) -> _GivenArms:
    found: dict[Kind, Widths] = {}
    reasons: dict[Kind, str] = {}
    guessed: tuple[str, ...] | str | None = None
    if wanted.guideline is not None:
        guessed = check_guided(widths, network, wanted.guideline)
        if isinstance(guessed, str):
            reasons["guided"] = guessed
    if wanted.winner is not None:
        why = why_not_comparable(wanted.winner, widths, network, published(config.data.name))
        if why is None:
            found["winner"] = network.priced(wanted.winner)
        else:
            reasons["winner"] = why
    same: list[str] = []
    for kind in _MATCHED:
        try:
            planned = plan_widths(kind, 0, widths, network, data_seed=config.data_seed)
        except NasPruneError as error:
            reasons[kind] = f"no such widths meet the cost of those found: {error}"
        else:
            same += [kind] * (planned.vector == widths.vector and not widths.removed_blocks)
    notes = guessed if isinstance(guessed, tuple) else ()
    return _GivenArms(found, isinstance(guessed, tuple), reasons, (*notes, *_are_same(same, network)))


def _are_same(kinds: list[str], network: SearchSpace) -> tuple[str, ...]:
    """A note where controls have the very widths found, so that a comparison with them says nothing."""
    if not kinds or not (network.target or network.divisor > 1):
        return ()
    by = f"target {network.target}" if network.target else f"divisor {network.divisor}"
    said = (
        f"The widths found are also those of {', '.join(kinds)} (of random ones, at least of the first): with the {by} "
        "there are few others of that cost. Comparing them says nothing of widths."
    )
    return (said,)
