"""What each arm of a shoot-out trains in the end, and what that took."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from nas_prune.comparison.charge import Charge, search_behind, searches_behind
from nas_prune.comparison.lengths import lengths
from nas_prune.comparison.narrow import SHARE, found_narrowly
from nas_prune.comparison.own_each import cut_of_whole
from nas_prune.comparison.torch_pruning import Way
from nas_prune.comparison.winner import study_behind
from nas_prune.data import ImageData
from nas_prune.data.config import load_images
from nas_prune.guideline.apply import apply_guideline
from nas_prune.guideline.artefact import read_guideline
from nas_prune.guideline.fit import fit_guideline
from nas_prune.hardware.use import network_for
from nas_prune.runs.directory import RESULT
from nas_prune.runs.progress import SILENT
from nas_prune.runs.settings import CONFIG
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.result import file_stem
from nas_prune.search.run import resume_search, search
from nas_prune.space.budget import Budget
from nas_prune.space.cut import feasible_range, matched
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import MethodRecord, Widths, read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.location import StudyLocation, StudyResult, read_trials
from nas_prune.study.run import run_study
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import Inputs
from nas_prune.training.schedules import training_macs
from nas_prune.training.starts import inherited
from tools.shootout_peers import GROWTH_BUDGETS, grown, sparse_cut, sparsely_trained
from tools.shootout_plan import SEARCHED, Unit


@dataclass(frozen=True)
class Found:
    """What an arm trains in the end.

    Attributes:
        widths: of the network.
        behind: what had to be trained for it.
        begin: makes the network before its first step; random weights if None.
    """

    widths: Widths
    behind: tuple[Charge, ...] = ()
    begin: Callable[[], nn.Module] | None = None


def network_of(unit: Unit) -> SearchSpace:
    """The network of a unit's task, with its target."""
    return network_for(_searching(unit), load_images(unit.images(SEARCHED), unit.number, SILENT))


def found_by(unit: Unit, space: SearchSpace) -> Found:
    """Search as the unit's arm does; what is done is kept."""
    return _WAYS[unit.how.how](unit, space)


def _budget(unit: Unit) -> Budget:
    return Budget.parse(unit.what.budget)


def _searching(unit: Unit, task: str | None = None) -> SearchConfig:
    """A search on the images of the unit's task or, for a guideline, of another, which bounds MACs."""
    what = unit.what
    return SearchConfig(
        space=what.space,
        width_multiplier=what.width_multiplier,
        data=unit.images(SEARCHED, task),
        budgets=(what.budget if task is None else _share_of_macs(unit),),
        recipe=unit.recipe,
        stop=False,
        seed=unit.seed,
        threads=1,
        precision=unit.plan.precision,
        target=str(unit.board) if what.target is not None and task is None else None,
    )


def _share_of_macs(unit: Unit) -> str:
    share = _budget(unit).share
    assert share is not None
    return str(Budget("macs", share))


def _uniform(unit: Unit, space: SearchSpace) -> Found:
    return _matched(unit, space, "uniform", None)


def _random(unit: Unit, space: SearchSpace) -> Found:
    return _matched(unit, space, "random", np.random.default_rng(unit.seed))


def _matched(unit: Unit, space: SearchSpace, name: str, rng: np.random.Generator | None) -> Found:
    groups = _searching(unit).model_copy(update=dict(unit.how.settings)).groups
    cut = matched(space, space.searched(groups), _budget(unit), rng)
    method = MethodRecord(name=name, is_automatic=False)
    return Found(space.widths(cut.widths_G, budget=unit.what.budget, method=method))


def _search(unit: Unit, space: SearchSpace) -> Found:
    """The widths of one search, trained from random weights or from those that the search left."""
    config = _searching(unit).model_copy(update=dict(unit.how.settings))
    result = _finished(config, unit.folder / "search")
    widths = read_widths(unit.folder / "search" / "widths" / f"{file_stem(_budget(unit))}.json")
    begin = None if unit.how.start == "scratch" else inherited(result, widths, space=config.space)
    return Found(space.priced(widths), (search_behind(widths),), begin)


def _finished(config: SearchConfig, run: Path) -> Path:
    """The directory of a search that is made, or gone on with."""
    if not (run / RESULT).exists():
        if (run / CONFIG).exists():
            resume_search(run, space=config.space)
        else:
            search(resolve(config), run)
    return run


def _study(unit: Unit, space: SearchSpace) -> Found:
    """The winner of the study that `nas-prune compare --equal-training` makes."""
    data, run = load_images(unit.images(SEARCHED), unit.number, SILENT), unit.folder / "study"
    widths = found_narrowly(_searching(unit), space, data, _budget(unit), total=SHARE * unit.total, study=run)
    charges = study_behind(run).charges
    return Found(space.priced(widths), charges or (Charge(what="the study"),))


def _sampled(unit: Unit, space: SearchSpace) -> Found:
    """The best trial of one of Optuna's samplers, as somebody would take it who uses Optuna alone."""
    uniform, what = _uniform(unit, space).widths, unit.what
    total, share = unit.how.share * unit.total, uniform.cost.macs / uniform.base_cost.macs
    epochs = lengths(total, share, unit.recipe.epochs)["epochs"]
    config = StudyConfig.model_validate(
        {
            "name": f"{unit.task}-{unit.arm}-{unit.number}",
            "space": what.space,
            "width_multiplier": what.width_multiplier,
            "data": unit.images(SEARCHED),
            "recipe": unit.recipe,
            "budgets": (what.budget,),
            "seed": unit.seed,
            "threads": 1,
            "precision": unit.plan.precision,
            "target": None if what.target is None else str(unit.board),
            "epochs": epochs,
            "trials": int(total * unit.recipe.epochs / (share * epochs)),
            **unit.how.settings,
        }
    )
    run = unit.folder / "study"
    return _best_trial(run_study(config, run), run, space, unit)


def _best_trial(result: StudyResult, run: Path, space: SearchSpace, unit: Unit) -> Found:
    """The trial with the best value, as somebody would take it who uses Optuna alone."""
    (trials,) = read_trials(StudyLocation(run)).trials.values()
    best = record.widths_of(record.best_first(trials)[0])
    assert best is not None
    assert result.spent is not None
    method = MethodRecord(name="study", is_automatic=True)
    widths = space.widths(best, budget=unit.what.budget, method=method)
    return Found(widths, (Charge(what=f"{len(trials)} trials", macs=result.spent.total),))


def _guideline(unit: Unit, space: SearchSpace) -> Found:
    """A guideline of a search on another task's images."""
    narrow = unit.how.width_multiplier * unit.what.width_multiplier
    config = _searching(unit, unit.what.guideline_from).model_copy(update={"width_multiplier": narrow})
    return _guided(unit, space, config.model_copy(update=dict(unit.how.settings)))


def _narrower(unit: Unit, space: SearchSpace) -> Found:
    """A guideline of a search in the same network, narrower by a factor, on the same images."""
    config = _narrower_search(unit)
    return _guided(unit, space, config.model_copy(update=dict(unit.how.settings)))


def _narrower_search(unit: Unit) -> SearchConfig:
    narrow = unit.how.width_multiplier * unit.what.width_multiplier
    return _searching(unit, unit.task).model_copy(update={"width_multiplier": narrow})


def _guided(unit: Unit, space: SearchSpace, config: SearchConfig) -> Found:
    path, charges = _guideline_of(unit, config)
    applied = apply_guideline(read_guideline(path), space, _budget(unit), groups=config.groups)
    return Found(applied.artefact("guideline"), charges)


def _guideline_of(unit: Unit, config: SearchConfig) -> tuple[Path, tuple[Charge, ...]]:
    """The guideline of a search, and what that took."""
    run = _finished(config, unit.folder / "search")
    path = unit.folder / "guideline.yaml"
    if not path.exists():
        fit_guideline([run]).write(path)
    return path, searches_behind(read_guideline(path))


def _torch_pruning(unit: Unit, space: SearchSpace) -> Found:
    data = load_images(unit.images(SEARCHED), unit.number, SILENT)
    settings = TrainConfig(
        data=unit.images(SEARCHED),
        recipe=unit.recipe,
        schedule="scratch-e",
        seeds=(unit.seed,),
        data_seed=unit.number,
        threads=1,
        precision=unit.plan.precision,
    )
    inputs = Inputs(data, space)
    way = Way(**unit.how.settings)
    widths, begin = cut_of_whole(settings, inputs, _budget(unit), folder=unit.folder / "whole", way=way)
    return Found(widths, (_one_training(unit, space, data),), begin)


def _torch_pruning_sparse(unit: Unit, space: SearchSpace) -> Found:
    data = load_images(unit.images(SEARCHED), unit.number, SILENT)
    network = sparsely_trained(
        space, data, unit.recipe, unit.seed, unit.folder / "whole", bf16=unit.plan.precision == "bf16"
    )
    widths, begin = sparse_cut(space, network, _budget(unit))
    return Found(widths, (_one_training(unit, space, data),), begin)


def _one_training(unit: Unit, space: SearchSpace, data: ImageData) -> Charge:
    macs = space.cost_at(space.base_G).macs
    return Charge(what="a whole network", macs=training_macs(macs, len(data.train), unit.recipe.epochs))


def _growth(unit: Unit, space: SearchSpace) -> Found:
    """Widths by each layer's own law of growth, fitted to the cuts of one search by the Taylor criterion."""
    searching = _searching(unit).model_copy(update={**unit.how.settings, "target": None, "stop": None})
    columns = space.searched(searching.groups)
    budgets = tuple(one for one in map(Budget.parse, GROWTH_BUDGETS) if _is_feasible(space, one, columns))
    run = _finished(searching.model_copy(update={"budgets": budgets}), unit.folder / "search")
    files = [run / "widths" / f"{file_stem(one)}.json" for one in budgets]
    found = grown(space, columns, [run / "widths" / "whole.json", *files], _budget(unit))
    method = MethodRecord(name="growth", is_automatic=True)
    widths = space.widths(found.widths_G, budget=unit.what.budget, method=method)
    return Found(widths, (search_behind(read_widths(files[0])),))


def _is_feasible(space: SearchSpace, budget: Budget, columns: tuple[int, ...]) -> bool:
    least, _ = feasible_range(space, budget, columns)
    return least <= space.limit(budget, columns)


_WAYS: dict[str, Callable[[Unit, SearchSpace], Found]] = {
    "uniform": _uniform,
    "random": _random,
    "search": _search,
    "study": _study,
    "sampled": _sampled,
    "guideline": _guideline,
    "narrower": _narrower,
    "torch-pruning": _torch_pruning,
    "torch-pruning-sparse": _torch_pruning_sparse,
    "growth": _growth,
}
