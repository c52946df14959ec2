"""What a study has taken so far, in training MACs, beside what was planned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH
from nas_prune.study.context import StudyContext
from nas_prune.study.judges.prepare import is_prepared, macs_of_preparing
from nas_prune.study.objective import folder_name
from nas_prune.study.rank_trainings import trained_macs

_OF_TRIALS = 0.5  # of what these took, for a race without a plan: a third of everything, as plans have it

_WHAT = {
    "preparing": "judge's network",
    "judging": "judged trials",
    "training": "trained trials",
    "finalists": "finalists",
}


@dataclass(frozen=True, slots=True)
class Spent:
    """Training MACs by what they were for.

    Attributes:
        preparing: the judge's network, in each directory whose workers took part.
        judging: trials that were judged without training.
        training: trials that were trained; attempts at them that were stopped are not counted.
        finalists: trainings of the best again, as far as they are in this directory.
    """

    preparing: int
    judging: int
    training: int
    finalists: int

    @property
    def total(self) -> int:
        """All together."""
        return self.preparing + self.judging + self.training + self.finalists


def spent(context: StudyContext, trials: Mapping[str, Sequence[FrozenTrial]]) -> Spent:
    """What a study has taken, all its budgets together.

    Args:
        context: the study.
        trials: of each Optuna study, by its name.
    """
    by_judge = {True: 0, False: 0}
    for own in trials.values():
        for is_trained in by_judge:
            by_judge[is_trained] += record.training_macs(
                trial for trial in own if (record.judge_of(trial) == SCRATCH) == is_trained
            )
    places = record.directories(trial for own in trials.values() for trial in own)
    networks = max(len(places), int(is_prepared(context)))
    finalists = sum(trained_macs(context, context.run / "rank" / folder_name(name)) for name in trials)
    return Spent(networks * macs_of_preparing(context), by_judge[False], by_judge[True], finalists)


def pays_for_another(context: StudyContext, trials: Sequence[FrozenTrial]) -> bool:
    """Whether what the plan has for trained trials pays for one more, if that is as dear as was planned.

    Widths within a budget of parameters or of other costs may take more MACs than was planned, and a directory that
    shares the storage alone trains a judge's network of its own. More trials than were planned are somebody's wish.

    Args:
        context: the study.
        trials: of one of its Optuna studies.
    """
    config, plan = context.config, context.config.plan
    is_judged_next = record.next_judge(trials, config.judging, config.judged) != SCRATCH
    if plan is None or config.trials > plan.trials or is_judged_next:
        return True
    own = [trial for trial in trials if record.judge_of(trial) == SCRATCH]
    taken = record.training_macs(own)
    # What a running trial has taken is noted at its end, a moment before it has ended.
    running = sum(
        trial.state == TrialState.RUNNING and record.TRAINING_MACS not in trial.user_attrs for trial in own
    )
    networks = max(0, len(record.directories(trials)) - 1) * plan.preparing
    return plan.studies * (taken + (running + 1) * plan.one_training) + networks <= plan.training


def left_for_finalists(context: StudyContext, trials: Mapping[str, Sequence[FrozenTrial]]) -> int:
    """What judge and trials leave of the plan for the race of one Optuna study; as planned, where trials were added.

    Without a plan, a share of what trials took.
    """
    plan = context.config.plan
    found = spent(context, trials)
    if plan is None:
        return round(_OF_TRIALS * found.training)
    left = plan.total - found.preparing - found.judging - found.training
    is_kept = context.config.trials <= plan.trials
    return max(0, left if is_kept else plan.finalists) // plan.studies


def said_of(context: StudyContext, found: Spent, *, is_all: bool = True) -> list[str]:
    """For people: what was spent, beside the plan where there is one; in trainings of the whole network in full.

    Args:
        context: the study.
        found: what it has taken.
        is_all: whether that is of all its budgets, as the plan is.
    """
    plan = context.config.plan if is_all else None
    planned = None if plan is None else Spent(plan.preparing, plan.judging, plan.training, plan.finalists)
    whole = context.whole_training
    lines = []
    for name, what in _WHAT.items():
        done, wanted = getattr(found, name), 0 if planned is None else getattr(planned, name)
        if done or wanted:
            beside = "" if planned is None else f" (planned {wanted / whole:.2f}x)"
            lines.append(f"  {done / whole:6.2f}x  {what}{beside}")
    bound = f" of {plan.total / whole:.2f}x" if plan is not None else ""
    head = (
        f"Spent: {found.total / whole:.2f}x{bound} training MACs, in trainings of the whole network in full:"
    )
    if plan is not None and found.total > plan.total:
        lines.append(
            "  More than was planned: `study rank` and trials that were asked for are beside the plan."
        )
    return [head, *lines]
