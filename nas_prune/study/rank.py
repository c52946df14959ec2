"""The best trials trained again with other seeds, and in full; the winner's widths.

The best of many trials is best partly by luck: its own value is not counted again. A race of short trainings with new
seeds decides the order. The winner and what needs no search are then trained in full with several seeds, which tells
what the search has gained; the other candidates once, which tells whether short training orders networks as full
training does.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial
from threadpoolctl import threadpool_limits

from nas_prune.errors import BadInputError
from nas_prune.runs.files import remove_partial_files, saying_why
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.stopping import resume_hint
from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.candidates_in_time import in_time
from nas_prune.study.config import SCRATCH
from nas_prune.study.context import StudyContext, load_study
from nas_prune.study.finalists import Finalists, check_enough, finalists
from nas_prune.study.location import StudyLocation, StudyResult, command_for, is_alone, read_trials
from nas_prune.study.objective import folder_name
from nas_prune.study.parameters import Parametrised
from nas_prune.study.race import Posterior, Race, Terms, from_trainings, race
from nas_prune.study.rank_budget import Prices, full_trainings, race_share
from nas_prune.study.rank_result import (
    FULL_SEEDS,
    SEEDS,
    TOP,
    Candidate,
    Course,
    Ranking,
    RankTerms,
    Spent,
    baselines_among,
    write_ranking,
)
from nas_prune.study.rank_statistics import Prior
from nas_prune.study.rank_trainings import Trainings, first_seeds
from nas_prune.study.rule_search import Seen, Vector, logs_of, rule_of, seen_in
from nas_prune.study.trainer import Length
from nas_prune.study.trial_check import check_fit
from nas_prune.study.worker_lock import WorkerLock
from nas_prune.training.schedules import Schedule

_WITHOUT_RULE = (
    2  # short trainings of each before one may leave the race: a single one tells nothing of the noise
)
_OF_BASELINES = 2


def rank_study(  # noqa: PLR0913  (all but the first by keyword)
    location: StudyLocation,
    *,
    top: int = TOP,
    seeds: int = SEEDS,
    full_seeds: int = FULL_SEEDS,
    schedule: Schedule = "scratch-e",
    most_macs: int | None = None,
    only: str | None = None,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    loaded: StudyContext | None = None,
    progress: Progress = SILENT,
) -> list[Ranking]:
    """Race the best trials of a study against each other, then train them in full; what is already trained is kept.

    Args:
        location: where the study is.
        top: how many trials, besides the guideline's centre and uniform widths.
        seeds: short trainings of each, at most: those that are hardly the best are not trained again.
        full_seeds: full trainings of the winner, the centre and uniform widths; the others are trained in full once.
            0 for a race alone.
        schedule: of the full trainings: `scratch-e` or `scratch-b`.
        most_macs: multiply-accumulates that all these trainings may take in each Optuna study; None for any number. The
            winner and uniform widths in full, twice each, are paid for before the race, as far as they can be.
        only: the name of one Optuna study; all if None.
        data_name: where the images are now, if they were moved.
        space: the network's name again, if it is one of your own.
        workers: how many are trained at once.
        loaded: what the study needs, where that is there.
        progress: reports how far the work is.

    Returns:
        A ranking for each Optuna study; everything is also in `rank/` in the study's directory.

    Raises:
        NasPruneError: there is no study, or too few trials are complete.
    """
    with progress.waiting("reading the trials"):
        found = read_trials(location)
    found = found if only is None else replace(found, trials={only: found.trials[only]})
    _check(found, seeds, full_seeds)
    context = loaded or load_study(location.run, data_name=data_name, space=space, progress=progress)
    check_fit(found.trials.values(), context.space)
    with (
        resume_hint(command_for(location, "rank", context.config)),
        closing(WorkerLock(location.run)) as worker,
        _alone(location.run),
        threadpool_limits(1, user_api="blas"),
    ):
        if is_alone(location.run, worker):
            remove_partial_files(location.run)
        terms = RankTerms(top, seeds, full_seeds, schedule, most_macs, 0)
        jobs = []
        for name, trials in found.trials.items():
            folder = location.run / "rank" / folder_name(name)
            jobs.append(_job_of(name, trials, Trainings(context, folder, schedule, workers, progress), terms))
        return [job.rank(found.config.studies[job.study][-1]) for job in jobs]


def _job_of(name: str, trials: Sequence[FrozenTrial], trainings: Trainings, terms: RankTerms) -> "_Job":
    context = trainings.context
    has_rule = context.config.sampler == "rule"
    points = context.parametrised(context.config.studies[name][-1]) if has_rule else None
    terms = replace(terms, trials=len(record.of_main_judge(trials)))
    with trainings.progress.waiting(f"{name}: choosing the networks that race"):
        chosen = finalists(trials, terms.top, points)
    first = first_seeds(trials, context.config, {"short": terms.seeds, "full": terms.full_seeds})
    return _Job(name, trainings, chosen, terms, points, seen_in(trials, judge=SCRATCH), first)


class AlreadyRankingError(BadInputError):
    """Another process trains the finalists of the same study."""


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Keep others from training the same networks at once, for the time of the block."""
    folder = run / "rank"
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    lock = FileLock(folder / "lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AlreadyRankingError(
            f"a study must be ranked by one command at a time, got another that is at {run}. Wait for it."
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()


def _check(found: StudyResult, seeds: int, full_seeds: int) -> None:
    """Refuse a study that has no best trial, and a ranking without trainings."""
    if seeds < 1 or full_seeds < 0:
        raise BadInputError(f"seeds must be at least 1 and full_seeds 0, got {seeds} and {full_seeds}.")
    if found.config.against is not None:
        raise BadInputError(
            "a study to be ranked must have one objective, got two: no trial is the best. "
            "Choose one on the Pareto front in the dashboard and train its widths."
        )
    for name, trials in found.trials.items():
        check_enough(name, trials)


def least_trainings(names: Sequence[str], *, has_rule: bool) -> dict[str, int]:
    """How many short trainings each network gets at least, by name."""
    baselines = baselines_among(names)
    others = 1 if has_rule else _WITHOUT_RULE
    return {name: _OF_BASELINES if name in baselines else others for name in names}


@dataclass(frozen=True, slots=True)
class _Job:
    """What ranking one Optuna study needs."""

    study: str
    trainings: Trainings
    chosen: Finalists
    terms: RankTerms
    points: Parametrised | None
    seen: Seen
    first: Mapping[Length, int]

    def rank(self, budget: Budget) -> Ranking:
        """Race, then train in full; what is on the disk is not trained again."""
        chosen = {name: vector for name, (_, vector) in self.chosen.items()}
        own = self.trainings
        for name, one in in_time(chosen, own.context, budget, own.folder, own.progress).items():
            own.keep_widths(name, one)
        widths = {name: self.trainings.widths(name) for name in self.chosen}
        prices = Prices(
            {name: self.trainings.macs(one, "short") for name, one in widths.items()},
            {name: self.trainings.macs(one, "full") for name, one in widths.items()},
        )
        wanted = self.terms
        share = race_share(prices, baselines_among(list(widths)), wanted.full_seeds, wanted.most_macs)
        if len(share.names) < len(widths):
            self.trainings.progress.say(
                f"The budget pays for a race of {len(share.names)} of {len(widths)} networks."
            )
        least = least_trainings(share.names, has_rule=self.points is not None)
        terms = Terms(wanted.seeds, least, most_macs=share.most_macs)
        failed: list[tuple[str, str]] = []
        macs = {name: prices.short[name] for name in share.names}
        found = race(macs, terms, partial(self._round, failed), self._known)
        if found is None:
            raise BadInputError(f"a candidate must be trained to its end, got: {failed[0][1]}")
        short = sum(prices.short[name] * len(values) for name, values in found.values.items())
        order = [list(found.values)[place] for place in np.argsort(-found.posterior.mean_N, kind="stable")]
        self.trainings.progress.say(f"{self.study}: the race is over; now in full, {order[0]} ahead.")
        left = None if wanted.most_macs is None else wanted.most_macs - short
        planned = full_trainings(order, baselines_among(order), prices, share.full_seeds, left)
        first = self.first["full"]
        failed += self.trainings.train(
            [(name, "full", first + number) for name, number in planned], "full trainings"
        )
        candidates = self._candidates(found, order)
        full = sum(prices.full[one.name] * len(one.full) for one in candidates)
        ranking = Ranking(
            self.study,
            candidates,
            self.trainings.folder,
            self.trainings.schedule,
            tuple(failed),
            Course(found.rounds, found.ended, terms.bound, terms.most),
            Spent(short, full, self.trainings.whole_macs(candidates[0].widths)),
            wanted,
            self._priors(found, order[0]),
            self.trainings.context.trainer.guess,
        )
        write_ranking(ranking, self.trainings.context.config)
        return ranking

    def _round(
        self, failed: list[tuple[str, str]], number: int, tasks: Sequence[tuple[str, int]]
    ) -> list[float | None]:
        """Train the networks of one round; the accuracies, and those that failed added to others."""
        first = self.first["short"]
        if any(self.trainings.result((name, "short", first + place)) is None for name, place in tasks):
            self.trainings.progress.say(
                f"Round {number} of the race: {len(tasks)} of {len(self.chosen)} networks, one short training each."
            )
        failed.extend(
            self.trainings.train([(name, "short", first + place) for name, place in tasks], f"round {number}")
        )
        found = [self.trainings.result((name, "short", first + place)) for name, place in tasks]
        return [None if one is None else one.score for one in found]

    def _known(self, values: Mapping[str, Sequence[float]]) -> Posterior:
        """By the rule of all trials and short trainings, or without one by the latter."""
        if self.points is None:
            return from_trainings(list(values.values()))[0]
        # Those that were trained: at a budget on latency they may be narrower than what was chosen.
        trained = {name: self.trainings.widths(name).vector for name in values}
        again: list[tuple[Vector, float]] = [
            (trained[name], value) for name, own in values.items() for value in own
        ]
        with self.trainings.progress.waiting(f"{self.study}: weighing what the trainings say"):
            seen = self.seen.with_more([vector for vector, _ in again], [value for _, value in again])
            logs_NS = logs_of(self.points, list(trained.values()))
            rule = rule_of(self.points, seen)
            return Posterior(*rule.joint(logs_NS), rule.freedom)

    def _priors(self, found: Race, winner: str) -> dict[str, Prior]:
        """What is known of the winner's gain over each baseline before the full trainings."""
        names = list(found.values)
        others = [name for name in baselines_among(names) if name != winner]
        if self.points is None:
            _, spread = from_trainings(list(found.values.values()))
            return {name: Prior(0.0, 2 * spread, is_by_rule=False) for name in others}
        place = names.index(winner)
        return {
            name: Prior(*found.posterior.as_normal(place, names.index(name)), is_by_rule=True)
            for name in others
        }

    def _candidates(self, found: Race, order: Sequence[str]) -> tuple[Candidate, ...]:
        """The networks that raced, with what their trainings gave."""
        places = {name: place for place, name in enumerate(found.values)}
        best_N = found.posterior.best_N().tolist()
        first = self.first["full"]
        candidates = []
        for name in order:
            results = [
                one
                for seed in range(first, first + self.terms.full_seeds)
                if (one := self.trainings.result((name, "full", seed))) is not None
            ]
            candidates.append(
                Candidate(
                    name,
                    self.chosen[name][0],
                    self.trainings.widths(name),
                    found.values[name],
                    tuple(one.score for one in results),
                    tuple(one.test for one in results if one.test is not None),
                    float(found.posterior.mean_N[places[name]]),
                    best_N[places[name]],
                )
            )
        return tuple(candidates)
