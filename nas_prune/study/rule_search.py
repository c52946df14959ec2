"""The rule of a study's trials: what it asks for next, and its answer among all widths that the budget allows.

Vector are looked for among parameters drawn everywhere and, again and again, near the best by the rule's mean: nothing
is trained for that, so that many can be.

Shape suffixes: N networks, S searched groups, P parameters, M centres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas_prune.study import trial_record as record
from nas_prune.study.acquisition import knowledge_gain
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.leads import lead_of
from nas_prune.study.parameters import Parameters, Parametrised
from nas_prune.study.rule import Rule, Trials, fit_rule

Floats: TypeAlias = "NDArray[np.float64]"
Vector: TypeAlias = "tuple[int, ...]"

AWAY = 2.0  # units, the standard deviation of what is drawn everywhere
_NEAR = 0.5  # of what is drawn near good ones at first
_UNITS = 12  # of offsets and slopes, from one end of their ranges to the other
_DRAWN = 256
_MOST_JUDGED = 300  # trials of a cheaper judge that a rule is fitted to
_KEPT = 16  # good ones that others are drawn near to
_ANSWERS, _CHANCE = 64, 24  # the best by mean, and chance: among them the answer is, and what is asked next


@dataclass(frozen=True, slots=True)
class Seen:
    """The trials of a study as a rule sees them.

    Attributes:
        widths: of each that has ended with a value of its own.
        values: these, as shares.
        running: widths of trials that others are at.
        cheaper: widths and values of trials that a cheaper judge was asked about, by its name.
        most: how many of those that have ended a rule is fitted to, of more evenly chosen ones; all if None.
    """

    widths: tuple[Vector, ...]
    values: tuple[float, ...]
    running: tuple[Vector, ...]
    cheaper: Mapping[str, tuple[tuple[Vector, ...], tuple[float, ...]]] = field(default_factory=dict)
    most: int | None = None

    @property
    def thinned(self) -> "Seen":
        """The same with no more trials that have ended than a rule is fitted to."""
        if self.most is None or len(self.widths) <= self.most:
            return self
        some = np.linspace(0, len(self.widths) - 1, self.most).round().astype(int).tolist()
        return replace(
            self, widths=tuple(self.widths[at] for at in some), values=tuple(self.values[at] for at in some)
        )

    @property
    def ended(self) -> "Seen":
        """The same without what is running."""
        return replace(self, running=())

    def with_more(self, widths: Sequence[Vector], values: Sequence[float]) -> "Seen":
        """The same with further values, of none that is running."""
        return replace(self, widths=(*self.widths, *widths), values=(*self.values, *values), running=())


def seen_in(trials: Sequence[FrozenTrial], but: int | None = None, judge: JudgeName | None = None) -> Seen:
    """What has been seen in a study.

    Args:
        trials: of the study.
        but: the number of a trial that is left out.
        judge: whose values the rule is about; trainings where there are any, if None.
    """
    judge = judge or record.main_judge(trials)
    values: dict[str, list[tuple[Vector, float]]] = {judge: []}
    running = []
    for trial in trials:
        vector, own = record.widths_of(trial), record.judge_of(trial)
        if vector is None or trial.number == but:
            continue
        if trial.state == TrialState.COMPLETE and record.REPEAT_OF not in trial.user_attrs:
            values.setdefault(own, []).append((vector, float(trial.values[0])))
        elif trial.state == TrialState.RUNNING and own == judge:
            running.append(vector)
    split = {
        name: (tuple(vector for vector, _ in pairs), tuple(value for _, value in pairs))
        for name, pairs in values.items()
    }
    widths, accuracies = split.pop(judge)
    if judge == SCRATCH:
        return Seen(widths, accuracies, tuple(running), split)
    # Trainings are never what a cheaper judge goes by; of its many trials, hundreds tell enough.
    return Seen(widths, accuracies, tuple(running), most=_MOST_JUDGED)


def rule_of(points: Parametrised, seen: Seen) -> Rule:
    """The rule of what has been seen; what is running counts with the value that is expected of it."""
    layout, seen = points.layout, seen.thinned
    found = (lead_of(layout, logs_of(points, own[0]), own[1]) for own in seen.cheaper.values())
    leads = [lead for lead in found if lead is not None]
    rule = fit_rule(layout, _trials(points, seen.widths, seen.values), leads)
    if not seen.running:
        return rule
    expected = rule.mean_N(logs_of(points, seen.running)).tolist()
    both = _trials(points, (*seen.widths, *seen.running), (*seen.values, *expected))
    return fit_rule(layout, both, leads)


def logs_of(points: Parametrised, vectors: Sequence[Vector]) -> Floats:
    """Log widths of the searched groups, NS."""
    return np.log(np.array(vectors, dtype=np.float64)[:, list(points.columns)])


def _trials(points: Parametrised, vectors: Sequence[Vector], values: Sequence[float]) -> Trials:
    return Trials(logs_of(points, vectors), np.array(values), np.zeros(len(values), dtype=np.int64))


class Pool:
    """Parameters drawn around others, with their log widths.

    Attributes:
        values_NP: parameters, in the order of the ranges.
        logs_NS: log widths of the searched groups.
    """

    def __init__(self, points: Parametrised, rng: np.random.Generator) -> None:
        self.points, self._rng = points, rng
        self._ends_P2 = np.array(list(points.ranges.values()))
        self.values_NP: Floats = np.zeros((0, len(self._ends_P2)))
        self.logs_NS: Floats = np.zeros((0, len(points.columns)))

    def add(self, values_NP: Floats, logs_NS: "Floats | None" = None) -> None:
        """Add parameters, with their log widths where these are known."""
        own_NS = self.points.logs_NS(values_NP) if logs_NS is None else logs_NS
        self.values_NP = np.vstack([self.values_NP, values_NP])
        self.logs_NS = np.vstack([self.logs_NS, own_NS])

    def add_around(self, centres_MP: Floats, units: float, count: int) -> None:
        """Draw so many times around each centre, normally distributed and within the ranges."""
        low_P, high_P = self._ends_P2.T
        deviation_P = units * (high_P - low_P) / _UNITS
        centres_NP = np.repeat(centres_MP, count, axis=0)
        self.add(np.clip(self._rng.normal(centres_NP, deviation_P), low_P, high_P))

    def refine(self, rule: Rule, rounds: int) -> None:
        """Draw nearer and nearer to the best by mean."""
        for number in range(rounds):
            best_M = np.argsort(-rule.likeliest.mean_N(self.logs_NS), kind="stable")[:_KEPT]
            self.add_around(self.values_NP[best_M], _NEAR / 2**number, _DRAWN // _KEPT)

    def parameters(self, place: int) -> Parameters:
        """One of them by name."""
        return dict(zip(self.points.ranges, self.values_NP[place].tolist(), strict=True))

    def some(self, count: int) -> list[int]:
        """Places by chance."""
        chosen: list[int] = self._rng.choice(
            len(self.values_NP), min(count, len(self.values_NP)), replace=False
        ).tolist()
        return chosen


def in_order(points: Parametrised, *parameters: Mapping[str, float]) -> Floats:
    """Parameters as rows, in the order of the ranges."""
    return np.array([[own[name] for name in points.ranges] for own in parameters])


def asked_next(
    seen: Seen, known: Mapping[Vector, Parameters], pool: Pool, *, repeats: bool = True
) -> Parameters:
    """Parameters of the widths whose value would change the answer most.

    Args:
        seen: the trials so far.
        known: parameters of their widths.
        pool: nothing yet; widths are drawn into it.
        repeats: whether widths that were tried may be asked for again.
    """
    points = pool.points
    rule = rule_of(points, seen)
    if known:
        pool.add(in_order(points, *known.values()), logs_of(points, list(known)))
    pool.add_around(in_order(points, points.guideline, points.uniform), AWAY, _DRAWN)
    pool.refine(rule, rounds=3)
    best = np.argsort(-rule.mean_N(pool.logs_NS), kind="stable").tolist()
    answers = _distinct(pool, best, _ANSWERS)
    places = _distinct(
        pool, [*answers, *range(len(known)), *pool.some(2 * _CHANCE)], len(answers) + len(known) + _CHANCE
    )
    mean_N, covariance_NN = rule.joint(pool.logs_NS[places])
    tried = _tried(points, seen)
    asked = [
        number
        for number, place in enumerate(places)
        if repeats or pool.logs_NS[place].round(9).tobytes() not in tried
    ]
    if not asked:
        return pool.parameters(places[0])
    gain_N = knowledge_gain(mean_N, covariance_NN, asked, float(rule.noise_J[0]))
    return pool.parameters(places[asked[int(gain_N.argmax())]])


def best_by_lead(points: Parametrised, seen: Seen, pool: Pool) -> Parameters:
    """Parameters of the best widths by what a cheaper judge says, of those not tried yet, where there is a lead."""
    widths, values = next(iter(seen.cheaper.values()))
    judged = Seen(widths, values, (), most=_MOST_JUDGED)
    rule = rule_of(points, judged)
    pool.add_around(in_order(points, points.guideline, points.uniform), AWAY, _DRAWN)
    pool.refine(rule, rounds=3)
    tried = _tried(points, seen)
    order = np.argsort(-rule.likeliest.mean_N(pool.logs_NS), kind="stable").tolist()
    return pool.parameters(
        next((place for place in order if pool.logs_NS[place].round(9).tobytes() not in tried), order[0])
    )


def _tried(points: Parametrised, seen: Seen) -> set[bytes]:
    """Log widths that were tried or are running, as `_distinct` compares them."""
    vectors = (*seen.widths, *seen.running)
    return {one.tobytes() for one in logs_of(points, vectors).round(9)} if vectors else set()


def drawn_for(points: Parametrised, rule: Rule, seed: int = 0, most: int = 400) -> Pool:
    """Widths among which the best of any function that the trials allow should be: good ones by mean, and others."""
    pool = Pool(points, np.random.default_rng(seed))
    pool.add(in_order(points, points.guideline, points.uniform))
    pool.add_around(in_order(points, points.guideline, points.uniform), AWAY, 2 * _DRAWN)
    pool.refine(rule, rounds=3)
    order = np.argsort(-rule.mean_N(pool.logs_NS), kind="stable").tolist()
    places = _distinct(pool, [*order[: most // 2], *pool.some(len(order))], most)
    chosen = Pool(points, np.random.default_rng(seed))
    chosen.add(pool.values_NP[places], pool.logs_NS[places])
    return chosen


def _distinct(pool: Pool, places: Sequence[int], count: int) -> list[int]:
    """The first so many of the places whose widths are not those of one before."""
    seen: dict[bytes, int] = {}
    for place in places:
        seen.setdefault(pool.logs_NS[place].round(9).tobytes(), place)
        if len(seen) == count:
            break
    return list(seen.values())


def answer_of(points: Parametrised, seen: Seen, seed: int = 0) -> tuple[Parameters, Rule]:
    """The parameters with the best mean among all that the budget allows, tried or not, and the rule."""
    rule = rule_of(points, seen.ended)
    pool = Pool(points, np.random.default_rng(seed))
    pool.add(in_order(points, points.guideline, points.uniform))
    pool.add_around(in_order(points, points.guideline, points.uniform), AWAY, 4 * _DRAWN)
    pool.refine(rule, rounds=6)
    return pool.parameters(int(rule.mean_N(pool.logs_NS).argmax())), rule
