"""Which networks of a study are trained again before one of them is called the best."""

from collections.abc import Sequence
from typing import TypeAlias

from optuna.trial import FrozenTrial

from nas_prune.errors import BadInputError
from nas_prune.study import trial_record as record
from nas_prune.study.parameters import Parametrised
from nas_prune.study.rule_search import Vector, answer_of, logs_of, seen_in

Finalists: TypeAlias = "dict[str, tuple[int | None, Vector]]"  # by name: the trial's number, and the widths


def check_enough(name: str, trials: Sequence[FrozenTrial]) -> None:
    """Refuse a study without complete trials beside its first ones."""
    if not has_others(trials):
        raise BadInputError(
            f"study {name!r} must have complete trials beside its first ones to be ranked, "
            f"got {len(record.best_first(trials))} complete. Run it first."
        )


def has_others(trials: Sequence[FrozenTrial]) -> bool:
    """Whether trials are complete both of those that need no search and of others."""
    return {record.SOURCE in one.user_attrs for one in record.best_first(trials)} == {True, False}


def finalists(trials: Sequence[FrozenTrial], top: int, points: Parametrised | None) -> Finalists:
    """Numbers and widths of the candidates: the guideline's centre and uniform widths, and the best others.

    Of a study with a rule the best are its answer, tried or not, and then those tried that it expects most of; else the
    trials with the best values.
    """
    best = record.best_first(trials)
    tried = {one.number: record.widths_of(one) or () for one in best}
    named: Finalists = {
        str(one.user_attrs[record.SOURCE]): (one.number, tried[one.number])
        for one in reversed(best)
        if record.SOURCE in one.user_attrs
    }
    order = [one.number for one in best]
    if points is not None:
        parameters, rule = answer_of(points, seen_in(trials))
        answer = points.widths_G(parameters)
        of_sources = {vector for _, vector in named.values()}
        if answer not in of_sources:
            named["rule"] = (next((number for number in order if tried[number] == answer), None), answer)
        expected = dict(zip(order, rule.mean_N(logs_of(points, list(tried.values()))).tolist(), strict=True))
        order.sort(key=lambda number: -expected[number])
    taken = {vector for _, vector in named.values()}
    count = len(named) - sum(name in record.SOURCES for name in named)
    for number in order:
        if count < top and tried[number] not in taken:
            named[f"trial {number}"] = (number, tried[number])
            taken.add(tried[number])
            count += 1
    return named
