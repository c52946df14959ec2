"""A study as plain JSON, for programs."""

from dataclasses import asdict
from typing import Any

from optuna.trial import FrozenTrial

from nas_prune.data.metric import ACCURACY, Metric, named_metric
from nas_prune.runs.directory import published
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH
from nas_prune.study.doubts import doubts_about
from nas_prune.study.location import StudyResult
from nas_prune.study.rank_result import summary as ranked


def summary(result: StudyResult) -> dict[str, Any]:
    """What a study holds, for `--format json`."""
    config = result.config
    return {
        "run": str(result.location.run),
        "name": config.name,
        "space": config.space,
        "width_multiplier": config.width_multiplier,
        **({"data": published(config.data.name)} if config.own is None else {}),
        **(named_metric(config.metric) if config.own is None else {"metric": asdict(config.metric)}),
        "guideline": config.guideline,
        "sampler": config.sampler,
        "judge": config.judging,
        "budget_training": config.budget_training,
        "plan": None if config.plan is None else asdict(config.plan),
        "spent": None if result.spent is None else {**asdict(result.spent), "total": result.spent.total},
        "stopping": config.stopping,
        "epochs": config.epochs,
        "seed": config.seed,
        "studies": [
            {
                "name": name,
                "budget": " to ".join(map(str, config.studies[name])),
                "ends": record.tally(trials),
                "doubts": doubts_about(trials, config),
                **_known(result, name),
                "trials": [
                    trial_summary(trial, fate, config.metric)
                    for trial, fate in zip(trials, record.fates(trials), strict=True)
                ],
            }
            for name, trials in result.trials.items()
        ],
    }


def _known(result: StudyResult, name: str) -> dict[str, Any]:
    known = result.known.get(name)
    ranking = next((one for one in result.rankings if one.study == name), None)
    return {
        "expected": [] if known is None else [asdict(one) for one in known.expected],
        "main_judge": record.main_judge(result.trials[name]),
        "agreements": [] if known is None else [one.plain() for one in known.agreements],
        "ranking": None if ranking is None else ranked(ranking, result.config),
    }


def trial_summary(trial: FrozenTrial, fate: record.Fate, metric: Metric = ACCURACY) -> dict[str, Any]:
    """One trial as plain JSON; values as shares, or as the metric has them."""
    kept = {key: one for key, one in trial.user_attrs.items() if key.startswith("kept ")}
    values, judge = trial.values or [None], record.judge_of(trial)
    own = record.metric_of(judge, metric)
    return {
        "number": trial.number,
        "line": record.line_of(trial),
        "fate": str(fate),
        "why": record.reason_of(trial) if fate == record.Fate.FAILED else None,
        "source": trial.user_attrs.get(record.SOURCE),
        "judge": judge,
        "value": values[0] if values[0] is None else own.score(values[0]),
        "val_accuracy": values[0] if judge == SCRATCH and metric == ACCURACY else None,
        "widths": record.widths_of(trial),
        "macs": trial.user_attrs.get(record.MACS),
        "params": trial.user_attrs.get(record.PARAMS),
        "latency_ms": trial.user_attrs.get(record.LATENCY),
        "training_macs": trial.user_attrs.get(record.TRAINING_MACS),
        "seconds": trial.user_attrs.get(record.SECONDS),
        "params_drawn": trial.params,
        **kept,
    }
