"""An arm of `tools/compare_methods.py` that is a study: its winner is what was found."""

import json
from pathlib import Path
from typing import Any

from nas_prune.errors import NasPruneError
from nas_prune.runs.directory import RESULT, WIDTHS
from nas_prune.runs.settings import CONFIG
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths, stage_means
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.location import StudyLocation, StudyResult
from nas_prune.study.objective import artefact
from nas_prune.study.rank_result import summary
from nas_prune.study.run import resume_study, run_study
from tools.methods_plan import STUDY, Unit


def find_by_study(unit: Unit, arm: str) -> None:
    """Run an arm's study, or go on with it, and write its winner as a search writes what it found.

    The winner is that of the finalists where the study trains these, else the trial with the best value.
    """
    folder = unit.found_in(arm)
    run = folder / STUDY
    if (run / CONFIG).exists():
        result = resume_study(StudyLocation(run), data_name=unit.data)
    else:
        result = run_study(_study_config(unit, arm), run)
    widths = _winner(result, run, unit)
    context = load_study(run, data_name=unit.data)
    columns = context.space.groups_in(context.space.searched(context.config.groups))
    assert result.spent is not None
    budget = Budget.parse(unit.plan.budget)
    (folder / "widths").mkdir(exist_ok=True)
    widths.write(folder / "widths" / f"{file_stem(budget)}.json")
    content = {
        "kind": STUDY,
        "epochs": result.config.epochs,
        "sparsity": None,
        "spent": result.spent.total / context.whole_training,
        "study": _said(result),
        "budgets": [{"keep_by_stage": {str(key): one for key, one in stage_means(widths, columns).items()}}],
    }
    (folder / RESULT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _said(result: StudyResult) -> dict[str, Any]:
    """What the study itself made of its trials: how many were judged and trained, and of its race the verdict."""
    (trials,) = result.trials.values()
    judges = [record.judge_of(trial) for trial in trials]
    said: dict[str, Any] = {"trained": judges.count(SCRATCH), "judged": len(judges) - judges.count(SCRATCH)}
    if result.rankings:
        ranked = summary(result.rankings[0], result.config)
        said |= {name: ranked[name] for name in ("winner", "probability", "race", "shrunk")}
    return said


def _study_config(unit: Unit, arm: str) -> StudyConfig:
    plan = unit.plan
    return StudyConfig.model_validate(
        {
            "name": f"{unit.network.name}-{arm}-{unit.number}",
            "space": unit.network.space,
            "width_multiplier": unit.network.width_multiplier,
            "data": plan.data(unit.data),
            "recipe": plan.schedule,
            "budgets": (plan.budget,),
            "seed": unit.number,
            "threads": 1,
            **plan.arms[arm][STUDY],
        }
    )


def _winner(result: StudyResult, run: Path, unit: Unit) -> Widths:
    if result.rankings:
        return read_widths(result.rankings[0].folder / WIDTHS)
    (trials,) = result.trials.values()
    best = record.widths_of(record.best_first(trials)[0])
    if best is None:
        raise NasPruneError(f"the study in {run} must have a trial with widths, got none.")
    context = load_study(run, data_name=unit.data)
    return artefact(context, best, result.config.budgets[0])
