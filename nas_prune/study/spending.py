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
        preparing: the judge's network.
        judging: trials that were judged without training.
        training: trials that were trained; attempts at them that were stopped are not counted.
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
    return [head, *lines]
