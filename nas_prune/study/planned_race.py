"""The race at the end of a planned study: of the best trials, within what the plan has left for it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial

from nas_prune.runs.progress import Progress
from nas_prune.study import trial_record as record
from nas_prune.study.clock import Clock
from nas_prune.study.context import StudyContext
from nas_prune.study.finalists import has_others
from nas_prune.study.location import StudyLocation, command_for
from nas_prune.study.objective import folder_name
from nas_prune.study.rank import rank_study
from nas_prune.study.rank_result import Ranking, read_terms
from nas_prune.study.spending import left_for_finalists
from nas_prune.study.worker_lock import directory_identity


def race_of_plan(
    location: StudyLocation,
    context: StudyContext,
    trials: Mapping[str, Sequence[FrozenTrial]],
    clock: Clock,
    progress: Progress,
) -> tuple[Ranking, ...]:
    """Train the best again; nothing without a plan, while another worker does, or where another directory does.

    What the same trials were ranked by before holds: the verdict of `study rank` is not replaced by a shorter one.
    """
    config, run = context.config, location.run
    if config.plan is None:
        return ()
    homes = {record.home_of(own) for own in trials.values()}
    if homes != {directory_identity(run)}:
        progress.say(
            "The finalists are trained where the first trial was; to train them here, too: "
            f"{command_for(location, 'rank', config.space)}"
        )
        return ()
    if not all(has_others(own) for own in trials.values()):
        progress.say("There are too few trials for a race of the best.")
        return ()
    folder = run / "rank"
    folder.mkdir(exist_ok=True)
    known = [read_terms(folder / folder_name(name)) for name in trials]
    counts = [len(record.of_main_judge(own)) for own in trials.values()]
    before = next((one for one in known if one is not None), None)
    if before is not None and [one and one.trials for one in known] == counts:
        terms = {key: one for key, one in asdict(before).items() if key != "trials"}
    else:
        left = left_for_finalists(context, trials)
        in_time = clock.pays_for([one for own in trials.values() for one in own])
        most = left if in_time is None else min(left, in_time // len(trials))
        terms = {"full_seeds": config.plan.full_seeds, "most_macs": most}
    try:
        with FileLock(folder / "lock", timeout=0, fallback_to_soft=False):
            return tuple(
                rank_study(
                    location,
                    **terms,
                    data_name=config.data.name,
                    space=config.space,
                    workers=clock.workers,
                    progress=progress,
                )
            )
    except Timeout:
        progress.say("Another worker trains the finalists.")
        return ()
