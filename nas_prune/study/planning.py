"""One number for a whole study: how many training MACs its judge, its trials and its finalists may take together.

The unit is one training of the whole network in full. The shares below are choices; that of the race costs nothing on a
planted table (tools/bench_shares.py). What is left after the judge and the finalists goes to trials that are trained.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count, pairwise
from math import ceil, floor
from statistics import median
from time import perf_counter

import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.progress import Progress
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.study.config import MOST_TRIALS, SCRATCH, JudgeName, StudyConfig
from nas_prune.study.context import StudyContext
from nas_prune.study.judges.inheriting import NORM_IMAGES
from nas_prune.study.judges.prepare import macs_of_preparing, possible_widths
from nas_prune.study.study_plan import StudyPlan
from nas_prune.training.compute import limited_threads, pick_device, pick_threads
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import Training, fit
from nas_prune.training.ranks import ALONE
from nas_prune.training.schedules import training_macs
from nas_prune.training.state import start

_FINALISTS, _FINALISTS_IN_FULL = 0.25, 0.35  # of everything; the latter where it pays for a verdict, too
_RACE, _VERDICT = 6, 4  # short and full trainings that it must pay for then
_FULL_SEEDS = 3  # at most
_JUDGING = 0.10  # of everything, at most
_PREPARING = 0.25  # of everything: a judge whose network takes more is not worth it
_MOST_JUDGED, _LEAST_JUDGED = 300, 40
_LEAST_TRAINED = 8  # trials, or there is nothing to plan
_TIMED = 12  # steps
_UNKNOWN = 0.1  # seconds, where an epoch is a single step


@dataclass(frozen=True, slots=True)
class Costs:
    """Training MACs of what a study with some judge is made of.

    Attributes:
        judge: its name.
        whole: one training of the whole network in full.
        preparing: the judge's network.
        one_judging: one trial that is judged; one_training: one that is trained; in_full: one network in full.
        studies: how many budgets there are.
        sources: how many networks need no search.
        most_judged: trials that are judged at most.
    """

    judge: JudgeName
    whole: int
    preparing: int
    one_judging: int
    one_training: int
    in_full: int
    studies: int
    sources: int
    most_judged: int = _MOST_JUDGED

    def shared_out(self, total: int) -> StudyPlan:
        """The plan of a budget, which may pay for too little."""
        race, verdict = _RACE * self.one_training, _VERDICT * self.in_full
        has_verdict = self.studies * (race + verdict) <= _FINALISTS_IN_FULL * total
        least = self.studies * (self.sources + 1) * self.one_training  # of a race's first round
        finalists = max(least, round((_FINALISTS_IN_FULL if has_verdict else _FINALISTS) * total))
        judged = 0
        if self.judge != SCRATCH:
            each = max(1, self.studies * self.one_judging)
            judged = min(self.most_judged, floor(_JUDGING * total / each))
        judging = self.studies * judged * self.one_judging
        left = total - self.preparing - finalists - judging
        trained = min(MOST_TRIALS - judged, max(0, floor(left / (self.studies * self.one_training))))
        return StudyPlan(
            whole=self.whole,
            total=total,
            judge=self.judge,
            preparing=self.preparing,
            judged=judged,
            judging=judging,
            trained=trained,
            one_training=self.one_training,
            finalists=total - self.preparing - judging - self.studies * trained * self.one_training,
            full_seeds=_FULL_SEEDS if has_verdict else 0,
            studies=self.studies,
        )

    @property
    def least(self) -> float:
        """The least budget that pays for trials enough, in tenths of a training of the whole network."""
        tenths = next(
            one for one in count(1) if self.shared_out(round(one * self.whole / 10)).trained >= _LEAST_TRAINED
        )
        return tenths / 10


def planned(context: StudyContext, judges: Sequence[JudgeName] = ("inherited", SCRATCH)) -> StudyPlan:
    """Share out a study's budget.

    Args:
        context: the study, with its `budget_training`.
        judges: what may be asked, the first that can be paid; the study's own where its file names one.

    Raises:
        BadInputError: it does not pay for as many trials as a study needs.
    """
    config = context.config
    assert config.budget_training is not None
    total = round(config.budget_training * context.whole_training)
    goes_with_judges = config.own is None and config.seeds == 1 and config.sampler in (None, "rule")
    if not goes_with_judges:
        judges = (SCRATCH,)
    for judge in judges if config.judge is None else (config.judge,):
        costs = costs_of(context, judge)
        plan = costs.shared_out(total)
        if plan.trained >= _LEAST_TRAINED and (judge in (SCRATCH, config.judge) or _is_worth(plan)):
            return plan
    how = ["Raise it"]
    how += ["give trials fewer epochs"] * (config.epochs > 1) + ["name fewer budgets"] * (
        len(config.budgets) > 1
    )
    hours = "" if config.hours is None else f", which is what {config.hours:g} hours pay for here"
    epochs = f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    raise BadInputError(
        f"budget_training must pay for {_LEAST_TRAINED} trials of {epochs} and what belongs to them, "
        f"{costs.least:g}x, got {config.budget_training:g}x{hours}. {', or '.join(how)}."
    )


def costs_of(context: StudyContext, judge: JudgeName) -> Costs:
    """What a study with some judge is made of, by the dearest widths that it could ask for."""
    config = context.config
    asked = replace(context, config=config.model_copy(update={"judge": judge}))
    dearest = max(_dearest(context, budget) for budget in config.budgets)
    one_judging = dearest * passes_of(context, judge)
    return Costs(
        judge,
        context.whole_training,
        macs_of_preparing(asked),
        one_judging,
        config.seeds * context.trainer.macs(dearest, config.epochs) + one_judging,
        context.trainer.macs(dearest, config.full_epochs),
        len(config.studies),
        count_sources(context),
        # What a function of one's own takes to judge is not known: no more than tells something.
        _MOST_JUDGED if config.own is None else _LEAST_JUDGED,
    )


def passes_of(context: StudyContext, judge: JudgeName) -> int:
    """Forward passes of one image that a judge takes for a trial."""
    if judge in ("inherited", "slimmable"):
        return min(NORM_IMAGES, len(context.data.train)) + len(context.data.val)
    return 3 if judge == "synflow" and context.config.own is None else 0


def _dearest(context: StudyContext, budget: Budget) -> int:
    """MACs of the dearest widths within a budget; of some that are drawn, where it bounds another cost."""
    if budget.bounds[0].kind == "macs" and not budget.more:
        return min(context.space.limit(budget), context.space.cost_at(context.space.base_G).macs)
    return max(context.space.cost_at(vector_G).macs for vector_G in possible_widths(context, budget))


def _is_worth(plan: StudyPlan) -> bool:
    return plan.preparing <= _PREPARING * plan.total and plan.judged >= _LEAST_JUDGED


def count_sources(context: StudyContext) -> int:
    """How many trials need no search: uniform widths, and the guideline where it asks for others somewhere."""
    points = [context.parametrised(budget) for budget in context.config.budgets]
    return 1 if all(one.guideline == one.uniform for one in points) else 2


def resolved_plan(context: StudyContext, workers: int, progress: Progress) -> StudyConfig:
    """The settings of a study, with what follows from its one number filled in; unchanged where it has none.

    Args:
        context: the study.
        workers: how many processes work on it, for a budget in hours.
        progress: reports how far the work is.
    """
    config = context.config
    if config.hours is not None and config.plan is None:
        with progress.waiting("measuring how long trainings take"):
            each = seconds_of_whole(context)
        found = max(0.1, round(config.hours * 3600 * workers / each, 1))
        progress.say(
            f"One training of the whole network takes about {each:.2g} s here, so that {config.hours:g} hours "
            f"pay for {found:g}."
        )
        context = replace(context, config=config.model_copy(update={"budget_training": found}))
    if context.config.budget_training is None or context.config.plan is not None:
        return config
    plan = planned(context)
    return with_plan(context, plan if config.hours is None else replace(plan, workers=workers))


def say_plan(config: StudyConfig, progress: Progress) -> None:
    """Report a study's plan, where it has one, and that other trials are asked for than it says."""
    if config.plan is None:
        return
    progress.say("\n".join(config.plan.words))
    each = " for each budget" if len(config.studies) > 1 else ""
    if config.trials < config.plan.trials:
        progress.say(
            f"The study has {config.trials} trials{each}, fewer than its plan: it was ended early, or asked to."
        )
    elif config.trials > config.plan.trials:
        progress.say(
            f"The study is to have {config.trials} trials{each}, {config.plan.trials} were planned: the plan no longer "
            "holds."
        )


def seconds_of_whole(context: StudyContext) -> float:
    """What one training of the whole network in full takes here, by a few steps and one validation of candidates.

    MACs of narrow networks take longer than those of wide ones, and most of a study are theirs.
    """
    config, space, data = context.config, context.space, context.data
    recipe = config.recipe
    columns = space.searched(config.groups)
    widths = [matched(space, columns, budget).widths_G for budget in config.budgets]
    device = pick_device(config.device)
    found = []
    for vector_G in widths:
        started = perf_counter()
        network = space.build(vector_G, seed=0, device=device)
        building = perf_counter() - started
        compute = config.compute(device, ALONE, network, space.reference.image)
        training = Training(data.to(device), recipe.with_epochs(1), 0, compute)
        threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, recipe.batch_size)
        with limited_threads(threads):
            each = seconds_of_step(network, training)
            started = perf_counter()
            evaluate(network, training.data.val, training.data, compute)
            validating = perf_counter() - started
        steps = ceil(len(data.train) / recipe.batch_size)
        taken = building + config.epochs * (steps * each + validating)
        found.append(taken / training_macs(space.cost_at(vector_G).macs, len(data.train), config.epochs))
    return max(found) * context.whole_training


def seconds_of_step(network: nn.Module, training: Training) -> float:
    """One step of a training, the median of several, without any change to what it is given but to the network."""
    times: list[float] = []

    def on_step(_: int, __: int) -> None:
        if training.compute.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter())
        if len(times) > _TIMED:
            raise _EnoughError

    with suppress(_EnoughError):
        fit(start(network, training.recipe), training, on_step=on_step)
    steps = [after - before for before, after in pairwise(times)]
    return median(steps[1:] or steps or [_UNKNOWN])


class _EnoughError(Exception):
    """Enough steps were timed."""


def with_plan(context: StudyContext, plan: StudyPlan) -> StudyConfig:
    """The settings of a study that follow from its plan."""
    config, is_judged = context.config, plan.judge != SCRATCH
    return config.model_copy(
        update={
            "plan": plan,
            "judge": plan.judge,
            "judged": plan.judged + count_sources(context) if is_judged else None,
            "trials": plan.trials,
        }
    )
