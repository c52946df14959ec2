"""What ranking an Optuna study gave, and its file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from nas_prune.data.guessing import guesses
from nas_prune.data.metric import Metric, named_metric
from nas_prune.runs.directory import RESULT, WIDTHS, published
from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import read_json
from nas_prune.space.widths import Widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.race import Ended
from nas_prune.study.rank_statistics import (
    Correlation,
    Gain,
    Interval,
    Prior,
    Shrunk,
    correlation,
    gain_among,
    interval,
    shrunk,
)
from nas_prune.training.schedules import Schedule, plan_training


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that is trained again.

    Attributes:
        name: `trial 7`, `rule`, `guideline` or `uniform`.
        number: of its trial; None where it was none.
        widths: its widths.
        short: validation accuracies after short training, one for each new seed.
        full: the same after full training; full_test: test accuracies of these.
        expected: by the rule of all trials and short trainings; without a rule the mean of its short trainings, drawn
            towards that of all networks.
        probability: of being the best of these, by the same.
    """

    name: str
    number: int | None
    widths: Widths
    short: tuple[float, ...]
    full: tuple[float, ...]
    full_test: tuple[float, ...]
    expected: float
    probability: float

    @property
    def interval(self) -> Interval:
        """The mean of its short trainings, and its interval."""
        return interval(self.short)


TOP, SEEDS = 5, 5  # trials that race, and short trainings of each at most, where nobody says how many
FULL_SEEDS = 3  # full trainings of the winner and of what needs no search, likewise


@dataclass(frozen=True, slots=True)
class RankTerms:
    """By which an Optuna study is ranked.

    Attributes:
        top: how many trials raced, besides what needs no search.
        seeds: short trainings of each at most; full_seeds: full ones of the winner and of what needs no search.
        schedule: of the full trainings.
        most_macs: that all may take; None for any number.
        trials: how many with a value there were.
    """

    top: int
    seeds: int
    full_seeds: int
    schedule: Schedule
    most_macs: int | None
    trials: int


def read_terms(folder: Path, file: str = RESULT) -> RankTerms | None:
    """By which the ranking of a folder was made; None where there is none, or one of before terms were written."""
    try:
        content = read_json(folder / file)
        return RankTerms(**content["terms"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Course:
    """How a race went.

    Attributes:
        rounds: how many there were.
        ended: why there were no more.
        bound: a network that was the best with a lower probability left.
        most: short trainings of each, at most.
    """

    rounds: int
    ended: Ended
    bound: float
    most: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Multiply-accumulates of trainings.

    Attributes:
        short, full: of the trainings of a ranking.
        whole_network: of one training of the whole network in full.
    """

    short: int
    full: int
    whole_network: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """What ranking one Optuna study gave.

    Attributes:
        study: its name.
        candidates: the best first.
        folder: where the winner's `widths.json` is.
        schedule: of the full trainings.
        failed: trainings that did not finish, and why.
        course: of the race.
        spent: what the trainings took.
        terms: by which it was raced and trained.
        priors: by baseline, what is known of the winner's gain over it without full trainings.
        guess: the validation accuracy below which a network is hardly better than guessing.
    """

    study: str
    candidates: tuple[Candidate, ...]
    folder: Path
    schedule: Schedule
    failed: tuple[tuple[str, str], ...]
    course: Course
    spent: Spent
    terms: RankTerms
    priors: dict[str, Prior]
    guess: float | None = None

    @property
    def winner(self) -> Candidate:
        """The best."""
        return self.candidates[0]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of what needs no search, where it was trained: the guideline's and uniform widths."""
        return baselines_among([one.name for one in self.candidates])

    @property
    def centre(self) -> Candidate | None:
        """The first of the baselines; None where none was trained."""
        return next((one for one in self.candidates if one.name in self.baselines[:1]), None)

    @property
    def correlation(self) -> Correlation:
        """Between short and full training."""
        short = {one.name: one.interval.mean for one in self.candidates}
        return correlation(short, {one.name: interval(one.full).mean for one in self.candidates if one.full})

    def gain(self, kind: Literal["full", "full_test"], over: str | None = None) -> Gain | None:
        """Of the winner over a baseline (the centre), in full; None where there is nothing to compare.

        Not in short training, by which the winner was chosen: the best of several seems better than it is. The
        validation images took part in that choice, so test accuracies are what to judge by.
        """
        values: dict[str, tuple[float, ...]] = {one.name: getattr(one, kind) for one in self.candidates}
        centre = None if self.centre is None else self.centre.name
        return gain_among(values, self.winner.name, over or centre)

    def shrunk(self, over: str) -> Shrunk | None:
        """The gain over a baseline by full validation and what was known before; None where nothing is known."""
        if over not in self.priors:
            return None
        return shrunk(self.priors[over], self.gain("full", over))


def epochs_in_full(widths: Widths, config: StudyConfig, schedule: Schedule) -> int:
    """Epochs of one training of some widths in full: by `scratch-b` more than the recipe's, the more the fewer MACs."""
    is_own = config.own is not None
    return config.full_epochs if is_own else plan_training(widths, config.recipe, schedule).recipe.epochs


def range_in_full(ranking: Ranking, config: StudyConfig) -> tuple[int, int]:
    """The fewest and the most epochs of the trainings in full."""
    found = [epochs_in_full(one.widths, config, ranking.schedule) for one in ranking.candidates]
    return min(found), max(found)


def words_in_full(ranking: Ranking, config: StudyConfig) -> str:
    """How long the trainings in full are, for people."""
    low, high = range_in_full(ranking, config)
    return config.length_words(low) if low == high else f"{low} to {high} epochs"


def baselines_among(names: Sequence[str]) -> tuple[str, ...]:
    """Those that need no search, uniform widths last."""
    return tuple(name for name in record.SOURCES if name in names)


def better_in_full(ranking: Ranking) -> list[Candidate]:
    """Those that full training puts above the winner, which short trainings have chosen; the best first."""
    if not ranking.winner.full:
        return []
    limit = fmean(ranking.winner.full)
    found = [one for one in ranking.candidates if one.full and fmean(one.full) > limit]
    return sorted(found, key=lambda one: -fmean(one.full))


def notes_on(ranking: Ranking, config: StudyConfig) -> list[str]:
    """What the order is by, what longer trainings say against it, and whether networks guess, in words."""
    short, full = config.length_words(config.epochs), words_in_full(ranking, config)
    metric = config.metric
    said = []
    better, winner = better_in_full(ranking), ranking.winner
    if better:
        first = better[0]
        said.append(
            f"In full ({full}), {' and '.join(one.name for one in better)} did better than the winner: {first.name} "
            f"{_mean(first.full, metric)} beside {winner.name} "
            f"{_mean(winner.full, metric)}. The order is that of the short trainings "
            f"({short}), which all rows have; rows with fewer full trainings are not to be ordered by these."
        )
    lengths: tuple[Literal["short", "full"], ...] = ("short", "full")
    for kind in lengths:
        known = [fmean(own) for one in ranking.candidates if (own := getattr(one, kind))]
        if known and all(guesses(accuracy, ranking.guess) for accuracy in known):
            said.append(
                f"Every network is hardly better than guessing the largest class after {kind} training "
                f"({short if kind == 'short' else full}): the order says little. Give a study's trials more epochs."
            )
    return said


def _mean(scores: Sequence[float], metric: Metric) -> str:
    return f"{metric.shown(metric.score(fmean(scores)))} (n = {len(scores)})"


def write_ranking(ranking: Ranking, config: StudyConfig) -> None:
    """Write the winner's widths, and everything as JSON."""
    ranking.winner.widths.write(ranking.folder / WIDTHS)
    write_whole(ranking.folder / RESULT, json.dumps(summary(ranking, config), indent=1) + "\n")


def summary(ranking: Ranking, config: StudyConfig) -> dict[str, Any]:
    """A ranking as plain JSON."""
    found = ranking.correlation
    over = [name for name in ranking.baselines if name != ranking.winner.name]
    return {
        "study": ranking.study,
        **_of_what(config),
        "short_epochs": config.epochs,
        "full_epochs": epochs_in_full(ranking.winner.widths, config, ranking.schedule),
        "schedule": ranking.schedule,
        "ordered_by": "short",
        "better_in_full": [one.name for one in better_in_full(ranking)],
        "guess": ranking.guess,
        "notes": notes_on(ranking, config),
        "winner": ranking.winner.name,
        "centre": None if ranking.centre is None else ranking.centre.name,
        "probability": ranking.winner.probability,
        "candidates": [_plain(one) for one in ranking.candidates],
        "correlation": None if found.rho != found.rho else asdict(found),
        "gain": _gains(ranking, None),
        "gains": {name: _gains(ranking, name) for name in over},
        "shrunk": {
            name: None if (found_one := ranking.shrunk(name)) is None else found_one.plain() for name in over
        },
        "race": asdict(ranking.course),
        "terms": asdict(ranking.terms),
        "training_macs": asdict(ranking.spent),
        "widths": WIDTHS,
        "failed": [{"training": name, "why": why} for name, why in ranking.failed],
    }


def _of_what(config: StudyConfig) -> dict[str, Any]:
    """The images; or, where one's own function trains, the metric: scores are its negative where less is better."""
    if config.own is None:
        return {"data": published(config.data.name), **named_metric(config.metric)}
    return {"metric": asdict(config.own.metric)}


def _plain(one: Candidate) -> dict[str, Any]:
    return {
        "name": one.name,
        "trial": one.number,
        "short": list(one.short),
        "short_mean": one.interval.mean,
        "expected": one.expected,
        "probability": one.probability,
        "short_interval": [one.interval.low, one.interval.high] if one.interval.n > 1 else None,
        "full": list(one.full),
        "full_test": list(one.full_test),
        "widths": list(one.widths.vector),
        **one.widths.cost.model_dump(),
    }


def _gains(ranking: Ranking, over: str | None) -> dict[str, Any]:
    found = {"full": ranking.gain("full", over), "full_test": ranking.gain("full_test", over)}
    return {kind: None if one is None else one.plain() for kind, one in found.items()}
