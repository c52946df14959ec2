"""The race at the end of a planned study: of the best trials, within what the plan has left for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from optuna.trial import FrozenTrial

from nas_prune.runs.directory import RESULT, WIDTHS
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import Progress
from nas_prune.study import trial_record as record
from nas_prune.study.clock import Clock
from nas_prune.study.context import StudyContext
from nas_prune.study.finalists import has_others
from nas_prune.study.location import StudyLocation, command_for
from nas_prune.study.objective import folder_name
from nas_prune.study.rank import AlreadyRankingError, rank_study
from nas_prune.study.rank_result import FULL_SEEDS, SEEDS, TOP, Ranking, RankTerms, read_terms
from nas_prune.study.spending import left_for_finalists
from nas_prune.study.worker_lock import directory_identity

_PLANNED = "planned.json"  # the terms of a planned race, from when it begins


def race_of_plan(
    location: StudyLocation,
    context: StudyContext,
    trials: Mapping[str, Sequence[FrozenTrial]],
    clock: Clock,
    progress: Progress,
) -> tuple[Ranking, ...]:
    """Train the best of each budget again; nothing without a plan, or while another worker does.

    Args:
        location: where the study is.
        context: what it is of.
        trials: of its Optuna studies, by name.
        clock: how much time there is.
        progress: reports how far the work is.
    """
    config = context.config
    is_wanted = config.plan is not None or (config.own is not None and config.own.ranks)
    if not is_wanted:
        return ()
    rankings: list[Ranking] = []
    for number, (name, own) in enumerate(trials.items()):
        if not has_others(own):
            progress.say(f"{name} has too few trials for a race of the best.")
            continue
        if record.home_of(own) not in (None, directory_identity(location.run)):
            progress.say(
                f"The finalists of {name} are trained where its first trial was; to train them here, too: "
                f"{command_for(location, 'rank', config)}"
            )
            continue
        terms = asdict(_terms(context, trials, name, clock, len(trials) - number, progress))
        del terms["trials"]
        try:
            rankings += rank_study(
                location,
                **terms,
                only=name,
                data_name=config.data.name,
                space=config.space,
                workers=clock.workers,
                loaded=context if config.own is not None else None,
                progress=progress,
            )
        except AlreadyRankingError:
            progress.say("Another worker trains the finalists.")
            return ()
    return tuple(rankings)


def _terms(
    context: StudyContext,
    trials: Mapping[str, Sequence[FrozenTrial]],
    name: str,
    clock: Clock,
    races: int,
    progress: Progress,
) -> RankTerms:
    """By what a study's race goes: by what it was begun with, as long as there are no more trials.

    So a verdict of `study rank` is not replaced by a shorter one, and a race that was killed takes the same course.
    """
    folder, count = context.run / "rank" / folder_name(name), len(record.of_main_judge(trials[name]))
    for known in (read_terms(folder), read_terms(folder, _PLANNED)):
        if known is not None and known.trials == count:
            return known
    _set_aside(folder, progress)
    plan = context.config.plan
    left = left_for_finalists(context, trials)
    in_time = clock.pays_for([one for own in trials.values() for one in own])
    most = left if in_time is None else min(left, in_time // races)
    terms = RankTerms(TOP, SEEDS, FULL_SEEDS if plan is None else plan.full_seeds, "scratch-e", most, count)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / _PLANNED, json.dumps({"terms": asdict(terms)}) + "\n")
    return terms


def _set_aside(folder: Path, progress: Progress) -> None:
    """Keep the verdict of fewer trials beside the one to come."""
    before = read_terms(folder)
    if before is None:
        return
    for file in (RESULT, WIDTHS):
        path = folder / file
        path.replace(path.with_stem(f"{path.stem}-of-{before.trials}-trials"))
    progress.say(f"The verdict of {before.trials} trials is kept in {folder}.")
