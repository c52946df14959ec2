"""One number for a whole study: how many training MACs its judge, its trials and its finalists may take together.

The unit is one training of the whole network in full. The shares below are choices, measured in
`studies/study-under-noise`; what is left after the judge and the finalists goes to trials that are trained.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import ceil, floor
from statistics import median
from time import perf_counter

import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.progress import Progress
from nas_prune.space.cut import matched
from nas_prune.study.config import SCRATCH, JudgeName, StudyConfig
from nas_prune.study.context import StudyContext
from nas_prune.study.judges.inheriting import NORM_IMAGES
from nas_prune.study.judges.prepare import macs_of_preparing, narrow_of
from nas_prune.study.study_plan import StudyPlan
from nas_prune.training.compute import limited_threads, pick_device, pick_threads
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
    wanted = judges if config.judge == SCRATCH else (config.judge,)
    for judge in wanted:
        plan = _with_judge(context, judge)
        if plan.trained >= _LEAST_TRAINED and (judge in (SCRATCH, config.judge) or _is_worth(plan)):
            return plan
    least = (
        _LEAST_TRAINED * plan.studies * plan.one_training / (1 - _FINALISTS) + plan.preparing
    ) / plan.whole
    raise BadInputError(
        f"budget_training must pay for {_LEAST_TRAINED} trials of {config.epochs} epochs and what belongs to them, "
        f"{ceil(10 * least) / 10:g}x, got {config.budget_training:g}x. Raise it, or give trials fewer epochs."
    )


def _with_judge(context: StudyContext, judge: JudgeName) -> StudyPlan:
    """The plan with a judge."""
    config, space, images = context.config, context.space, len(context.data.train)
    assert config.budget_training is not None
    whole = context.whole_training
    total = round(config.budget_training * whole)
    studies = len(config.studies)
    asked = replace(context, config=config.model_copy(update={"judge": judge}))
    dearest = max(space.cost_at(vector_G).macs for vector_G in narrow_of(asked).drawn)
    passes = min(NORM_IMAGES, images) + len(context.data.val)
    one_judging = 0 if judge == SCRATCH else dearest * passes
    one_training = training_macs(dearest, images, config.epochs) + one_judging
    in_full = training_macs(dearest, images, config.recipe.epochs)
    has_verdict = studies * (_RACE * one_training + _VERDICT * in_full) <= _FINALISTS_IN_FULL * total
    preparing = macs_of_preparing(asked)
    finalists = round((_FINALISTS_IN_FULL if has_verdict else _FINALISTS) * total)
    judged = 0
    if judge != SCRATCH:
        judged = min(_MOST_JUDGED, floor(_JUDGING * total / (studies * one_judging)))
    left = total - preparing - finalists - studies * judged * one_judging
    trained = max(0, floor(left / (studies * one_training)))
    return StudyPlan(
        whole=whole,
        total=total,
        judge=judge,
        preparing=preparing,
        judged=judged,
        judging=studies * judged * one_judging,
        trained=trained,
        one_training=one_training,
        finalists=total - preparing - studies * (judged * one_judging + trained * one_training),
        full_seeds=_FULL_SEEDS if has_verdict else 0,
        studies=studies,
    )


def _is_worth(plan: StudyPlan) -> bool:
    return plan.preparing <= _PREPARING * plan.total and plan.judged >= _LEAST_JUDGED


def count_sources(config: StudyConfig) -> int:
    """How many trials need no search: uniform widths, and the guideline where there is one."""
    return 1 if config.guideline is None else 2


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
            f"One training of the whole network takes about {each:.0f} s here, so that {config.hours:g} hours "
            f"pay for {found:g}."
        )
        context = replace(context, config=config.model_copy(update={"budget_training": found}))
    if context.config.budget_training is None or context.config.plan is not None:
        return config
    return with_plan(context.config, planned(context))


def seconds_of_whole(context: StudyContext) -> float:
    """What one training of the whole network in full takes here, from a few steps of candidates.

    MACs of narrow networks take longer than those of wide ones, and most of a study are theirs.
    """
    config, space, data = context.config, context.space, context.data
    recipe = config.recipe
    columns = space.searched(config.groups)
    widths = [matched(space, columns, budget).widths_G for budget in config.budgets]
    device = pick_device(config.device)
    found = []
    for vector_G in widths:
        network = space.build(vector_G, seed=0, device=device)
        compute = config.compute(device, ALONE, network, space.reference.input_shape)
        training = Training(data.to(device), recipe.with_epochs(1), 0, compute)
        threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, recipe.batch_size)
        with limited_threads(threads):
            each = seconds_of_step(network, training)
        macs = training_macs(space.cost_at(vector_G).macs, recipe.batch_size, 1)
        found.append(each / macs)
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


def with_plan(config: StudyConfig, plan: StudyPlan) -> StudyConfig:
    """The settings of a study that follow from its plan."""
    is_judged = plan.judge != SCRATCH
    return config.model_copy(
        update={
            "plan": plan,
            "judge": plan.judge,
            "judged": plan.judged + count_sources(config) if is_judged else None,
            "trials": plan.judged + plan.trained,
        }
    )
