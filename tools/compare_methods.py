"""Every width method on some networks, searched several times, each find trained several times from scratch.

    python tools/compare_methods.py studies/width-methods/plan.yaml --data folder:cifar10-jpeg --workers 2 --out methods

The plan says which networks, arms, epochs and seeds. Writes `table.md` and `result.json` below `--out`; stopped at any
moment, the same command goes on. `--arm NAME` does only some, `--report` only makes the tables of what is there.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nas_prune.data.config import load_images
from nas_prune.errors import NasPruneError, NothingToSearchError
from nas_prune.hardware.use import network_for
from nas_prune.runs.directory import RESULT
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import load_yaml
from nas_prune.runs.settings import CONFIG
from nas_prune.runs.workers import in_workers
from nas_prune.search.all_methods import settings_of
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import LoadedInputs
from nas_prune.search.run import resume_search, search, trains_as_usual
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import Inputs
from nas_prune.training.result import read_trained
from nas_prune.training.run import train_member
from tools.methods_plan import FIRST, STUDY, WHOLE, Plan, Unit, first_alike
from tools.methods_study import find_by_study
from tools.methods_table import write_tables


def main() -> None:
    """Search, train, write the tables."""
    options = _options()
    plan = Plan.model_validate(load_yaml(options.plan.read_text(encoding="utf-8")))
    units = [
        Unit(plan, network, number, options.data, options.out / network.name / str(number))
        for number in range(plan.searches)
        for network in plan.networks
    ]
    if not options.report:
        progress = Progress(say=lambda text: print(text, flush=True))
        arms = tuple(options.arms or plan.arms)
        outcomes = in_workers(partial(_worker, arms), units, options.workers, progress)
        for unit, outcome in zip(units, outcomes, strict=True):
            if outcome.error:
                print(f"{unit.network.name}, search {unit.number}: {outcome.error}")
    write_tables(plan, units, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arm", dest="arms", action="append", help="only this one; may be repeated")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _worker(arms: tuple[str, ...]) -> Callable[[Unit, Progress], None]:
    return partial(_work, arms)


def _work(arms: tuple[str, ...], unit: Unit, progress: Progress) -> None:
    """Search with every arm, then train what was found; equal widths are trained once."""
    loaded = LoadedInputs()
    for arm in (FIRST, *arms):
        if arm != WHOLE and unit.widths_of(arm) is None:
            _search(unit, arm, loaded)
            progress.say(f"{unit.network.name} {unit.number}: {arm} searched")
    config = _train_config(unit, unit.plan.seeds(unit.number)[0])
    data = load_images(config.data, config.data_seed, SILENT)
    space = network_for(_search_config(unit, FIRST), data)
    for arm in arms:
        widths = unit.widths_of(arm)
        if widths is None or first_alike(unit, arm) != arm:
            continue
        for seed in unit.plan.seeds(unit.number):
            result = unit.trained_in(arm, seed)
            if read_trained(result) is None:
                train_member(
                    _train_config(unit, seed), widths, result.parent, Inputs(data, space), result=result
                )
        progress.say(f"{unit.network.name} {unit.number}: {arm} trained")


def _search_config(unit: Unit, arm: str) -> SearchConfig:
    plan, changes = unit.plan, dict(unit.plan.arms[arm])
    config = SearchConfig(
        space=unit.network.space,
        width_multiplier=unit.network.width_multiplier,
        data=plan.data(unit.data),
        budgets=(plan.budget,),
        recipe=plan.schedule,
        epochs=plan.epochs,
        stop=False,
        seed=unit.number,
        threads=1,
    )
    method = method_named(str(changes.pop("method", arm)))
    return settings_of(config, method).model_copy(update=changes)


def _search(unit: Unit, arm: str, loaded: LoadedInputs) -> None:
    """One search; methods that train as usual share the first one's network."""
    if STUDY in unit.plan.arms[arm]:
        find_by_study(unit, arm)
        return
    config, folder = _search_config(unit, arm), unit.found_in(arm)
    if (folder / CONFIG).exists():
        resume_search(folder, space=config.space, loaded=loaded)
        return
    shared = None
    if trains_as_usual(config):
        usual = [other for other in unit.plan.arms if other != WHOLE and _is_usual(unit, other)]
        shared = next((found for other in usual if (found := unit.found_in(other) / RESULT).exists()), None)
    try:
        search(config, folder, trained=shared and shared.parent, loaded=loaded)
    except NothingToSearchError:
        return


def _is_usual(unit: Unit, arm: str) -> bool:
    if STUDY in unit.plan.arms[arm]:
        return False
    try:
        return trains_as_usual(_search_config(unit, arm))
    except NasPruneError:
        return False


def _train_config(unit: Unit, seed: int) -> TrainConfig:
    return TrainConfig(
        data=unit.plan.data(unit.data),
        recipe=unit.plan.schedule,
        schedule="scratch-e",
        seeds=(seed,),
        threads=1,
    )


if __name__ == "__main__":
    main()
