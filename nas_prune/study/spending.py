"""What a study has taken so far, in training MACs, beside what was planned."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from nas_prune.runs.directory import RESULT
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH
from nas_prune.study.context import StudyContext
from nas_prune.study.judges.prepare import is_prepared, macs_of_preparing


@dataclass(frozen=True, slots=True)
class Spent:
    """Training MACs by what they were for.

    Attributes:
        preparing: the judge's network.
        judging: trials that were judged without training.
        training: trials that were trained, and attempts at them that were stopped are not counted.
        finalists: trainings of the best again.
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
        for trial in own:
            is_trained = record.judge_of(trial) == SCRATCH
            by_judge[is_trained] += int(trial.user_attrs.get(record.TRAINING_MACS, 0))
    preparing = macs_of_preparing(context) if is_prepared(context) else 0
    return Spent(preparing, by_judge[False], by_judge[True], _of_finalists(context.run))


def _of_finalists(run: Path) -> int:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.glob(f"rank/*/{RESULT}"))]
    return sum(
        one["training_macs"]["short"] + one["training_macs"]["full"] for one in results if "race" in one
    )


def said_of(context: StudyContext, found: Spent) -> list[str]:
    """For people: what was spent, beside the plan where there is one; in trainings of the whole network in full."""
    plan = context.config.plan
    planned = {}
    if plan is not None:
        planned = {
            "judge's network": plan.preparing,
            "judged trials": plan.judging,
            "trained trials": plan.training,
            "finalists": plan.finalists,
        }
    done = {
        "judge's network": found.preparing,
        "judged trials": found.judging,
        "trained trials": found.training,
        "finalists": found.finalists,
    }
    whole = context.whole_training
    lines = [
        f"  {macs / whole:6.2f}x  {what}" + (f" (planned {planned[what] / whole:.2f}x)" if planned else "")
        for what, macs in done.items()
        if macs or planned.get(what)
    ]
    bound = f" of {plan.total / whole:.2f}x" if plan is not None else ""
    head = (
        f"Spent: {found.total / whole:.2f}x{bound} training MACs, in trainings of the whole network in full:"
    )
    return [head, *lines]
