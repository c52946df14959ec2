"""The guideline of a rule: what the trials of a study say of widths, to be read, drawn, and carried elsewhere.

Shape suffixes: C stages and roles, D draws, N networks, S searched groups.
"""

from math import log
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_prune.errors import BadInputError
from nas_prune.graph.channels import Role
from nas_prune.guideline.artefact import Cell, Evidence, Guideline, SourceRecord
from nas_prune.guideline.sources import Setting, measure
from nas_prune.runs.directory import published
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.context import StudyContext
from nas_prune.study.location import StudyLocation, read_trials
from nas_prune.study.parameters import ParametrisedNetwork, layout_of
from nas_prune.study.rule import Rule
from nas_prune.study.rule_search import Pool, Seen, Vector, answer_of, drawn_for, logs_of, seen_in
from nas_prune.study.trial_check import check_fit

Floats: TypeAlias = "NDArray[np.float64]"

_FEWEST = 8  # trials
_DRAWS = 200
_CONFIDENCE = 0.9
_WIDER = 0.1  # by which what a stage earns is told
_PLACES = 4


def guideline_of_study(location: StudyLocation, context: StudyContext) -> Guideline:
    """What the rule of all trials of a study has as the best widths, whatever sampler asked for them.

    Raises:
        BadInputError: the study has several budgets or two objectives, or too few complete trials.
    """
    found = read_trials(location)
    if len(found.trials) > 1 or found.config.against is not None:
        raise BadInputError(
            "a study to be made a guideline must have one budget and one objective, got "
            f"{', '.join(found.trials)}{' against ' + found.config.against if found.config.against else ''}."
        )
    ((name, trials),) = found.trials.items()
    check_fit([trials], context.space)
    seen = seen_in(trials)
    if len(seen.values) < _FEWEST:
        raise BadInputError(
            f"a study to be made a guideline must have {_FEWEST} complete trials, got {len(seen.values)} of "
            f"{name!r}. Run it further."
        )
    (budget,) = found.config.studies[name]
    guideline = guideline_of(context.parametrised(budget), seen, name, record.main_judge(trials))
    assert guideline.uniform_keep is not None
    assert guideline.covers_share is not None
    config, reference = context.config, context.space.reference
    factor = "" if config.width_multiplier == 1 else f" ×{config.width_multiplier:g}"
    source = SourceRecord(
        network=f"{reference.name}{factor}",
        input=reference.input_shape[-1],
        data=published(config.data.name),
        method=f"study ({config.sampler})",
        seed=config.seed,
        epochs=config.epochs,
        cost=budget.kind,
        budget=str(budget),
        uniform_keep=guideline.uniform_keep,
        kept_share=guideline.covers_share[0],
        training_macs=record.training_macs(trials),
    )
    return guideline.model_copy(update={"sources": (source,)})


def guideline_of(points: ParametrisedNetwork, seen: Seen, name: str, judge: JudgeName = SCRATCH) -> Guideline:
    """The guideline of the rule of some trials.

    A cell's value is that of the rule's best widths. Its interval is of the best widths of functions drawn from the
    posterior, and all intervals together hold nine tenths of the draws.

    Args:
        points: how parameters become widths.
        seen: the trials.
        name: of the study.
        judge: whose values the trials have.
    """
    parameters, rule = answer_of(points, seen)
    setting = points.setting
    uniform_S = logs_of(points, [points.widths_G(points.uniform)])[0]
    best_S = logs_of(points, [points.widths_G(parameters)])[0]
    draws_DS = _best_drawn(rule, drawn_for(points, rule))
    places = _cells(setting)
    draws_DC = np.column_stack([(draws_DS - uniform_S)[:, own].mean(axis=1) for own in places.values()])
    deviation_C = np.maximum(draws_DC.std(axis=0), 1e-6)
    mean_C = draws_DC.mean(axis=0)
    reach = float(np.quantile((np.abs(draws_DC - mean_C) / deviation_C).max(axis=1), _CONFIDENCE))
    cells = []
    for number, ((stage, role), own) in enumerate(places.items()):
        level, slope = _line(setting, own, best_S - uniform_S)
        ends = mean_C[number] + np.array([-1, 1]) * reach * deviation_C[number]
        cells.append(
            Cell(
                stage=stage,
                role=role,
                log_ratio=round(level, _PLACES),
                low=round(min(level, float(ends[0])), _PLACES),
                high=round(max(level, float(ends[1])), _PLACES),
                spread=round(float(deviation_C[number]), _PLACES),
                slope=round(slope, _PLACES),
            )
        )
    kind = measure(points.budget.kind)
    cost = setting.cost(kind)
    keep = float(np.exp(uniform_S - np.log(setting.base_S)).mean())
    share = float(cost(points.widths_G(parameters)) / cost(setting.space.base_G))
    return Guideline(
        model="stage-role-slope",
        cost=points.budget.kind,
        num_stages=setting.num_stages,
        uniform_keep=keep,
        covers=(keep, keep),
        covers_share=(share, share),
        pattern=Evidence(
            is_found=any((cell.low or 0) > 0 or (cell.high or 0) < 0 for cell in cells),
            test="posterior of a rule",
        ),
        cells=tuple(cells),
        notes=(_from(rule, seen, name, judge), *_earned(points, rule, points.widths_G(parameters), places)),
    )


def _cells(setting: Setting) -> dict[tuple[int, Role], list[int]]:
    places: dict[tuple[int, Role], list[int]] = {}
    for number, group in enumerate(setting.groups_S):
        places.setdefault((group.stage, group.role), []).append(number)
    return dict(sorted(places.items()))


def _line(setting: Setting, own: list[int], ratio_S: Floats) -> tuple[float, float]:
    """Level in the middle and slope of log ratios along a stage."""
    positions = np.array([setting.groups_S[number].position - 0.5 for number in own])
    if np.ptp(positions) == 0:
        return float(ratio_S[own].mean()), 0.0
    slope, level = np.polyfit(positions, ratio_S[own], 1)
    return float(level), float(slope)


def _best_drawn(rule: Rule, pool: Pool) -> Floats:
    """The best log widths of functions drawn from the posterior, DS."""
    mean_N, covariance_NN = rule.joint(pool.logs_NS)
    rng = np.random.default_rng(0)
    drawn_DN = rng.multivariate_normal(mean_N, covariance_NN, _DRAWS, method="eigh", check_valid="ignore")
    return np.asarray(pool.logs_NS[drawn_DN.argmax(axis=1)])


def _from(rule: Rule, seen: Seen, name: str, judge: JudgeName) -> str:
    deviation = f"{100 * float(rule.noise_J[0]):.2g} points"
    how = (
        f"single trainings deviate by {deviation}"
        if judge == SCRATCH
        else f"all were judged by {judge} and none was trained, so that points are of its values; from the rule they "
        f"deviate by {deviation}"
    )
    return f"From {len(seen.values)} trials of the study {name} of {len(set(seen.widths))} different widths; {how}."


def _earned(
    points: ParametrisedNetwork, rule: Rule, best_G: Vector, places: dict[tuple[int, Role], list[int]]
) -> list[str]:
    """What a tenth more channels would earn in each stage and role, and cost: what is to be given up first."""
    best_S = logs_of(points, [best_G])[0]
    elastic_S = layout_of(points.setting, points.budget, best_G).elasticity_S
    said = []
    for (stage, role), own in places.items():
        wider_S = best_S.copy()
        wider_S[own] += log(1 + _WIDER)
        mean, covariance = rule.joint(np.array([best_S, wider_S]))
        gain = 100 * float(mean[1] - mean[0])
        deviation = 100 * float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
        cost = _WIDER * float(elastic_S[own].sum())
        said.append(
            f"A tenth more channels in stage {stage} ({role}) would earn {gain:+.2f} ± {deviation:.2f} points and cost "
            f"{100 * cost:.1f} % of the {'MACs' if points.budget.kind == 'macs' else points.budget.kind}."
        )
    return said
