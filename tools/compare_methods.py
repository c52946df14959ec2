"""Every width method on some networks, searched several times, each find trained several times from scratch.

    python tools/compare_methods.py studies/width-methods/plan.yaml --data folder:cifar10-jpeg --workers 2 --out methods

The plan says which networks, arms, epochs and seeds. Writes `table.md` and `result.json` below `--out`; stopped at any
moment, the same command goes on. `--arm NAME` does only some, `--report` only makes the tables of what is there.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nas_prune.data.config import DataConfig, load_images
from nas_prune.errors import NasPruneError, NothingToSearchError
from nas_prune.runs.directory import RESULT
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import CONFIG, load_yaml
from nas_prune.runs.workers import in_workers
from nas_prune.search.all_methods import settings_of
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import LoadedInputs
from nas_prune.search.result import file_stem
from nas_prune.search.run import resume_search, search, trains_as_usual
from nas_prune.space.budget import Budget
from nas_prune.space.load import network_for
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import Recipe, recipe_named
from nas_prune.training.result import read_trained
from nas_prune.training.run import Inputs, train_member
from tools.methods_table import write_tables

WHOLE, FIRST = "whole", "uniform"


class Network(BaseModel):
    """A network of the plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: str
    width_multiplier: float = 1.0

    @property
    def name(self) -> str:
        """What its directory is called."""
        return self.space if self.width_multiplier == 1 else f"{self.space}-{self.width_multiplier:g}"


class Plan(BaseModel):
    """What is searched and trained; `studies/width-methods/plan.yaml` explains each field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    networks: tuple[Network, ...]
    image_size: int
    max_images: int
    recipe: str
    epochs: int
    budget: str
    searches: int
    trainings: int
    arms: Mapping[str, Mapping[str, Any]]

    @property
    def schedule(self) -> Recipe:
        """How every network is trained."""
        return recipe_named(self.recipe).with_epochs(self.epochs)

    def data(self, name: str) -> DataConfig:
        """The images."""
        return DataConfig(name=name, image_size=self.image_size, max_images=self.max_images)

    def seeds(self, number: int) -> range:
        """Of the trainings of what one search found: none that those of another have."""
        return range(number * self.trainings, (number + 1) * self.trainings)


@dataclass(frozen=True)
class Unit:
    """One search of every arm on one network, and the trainings of what they found."""

    plan: Plan
    network: Network
    number: int
    data: str
    folder: Path

    def found_in(self, arm: str) -> Path:
        """The directory of a search."""
        return self.folder / "search" / arm.replace(" ", "-")

    def widths_of(self, arm: str) -> Widths | None:
        """What an arm's search found; None where it has not been searched."""
        searched = self.found_in(FIRST if arm == WHOLE else arm)
        stem = "whole" if arm == WHOLE else file_stem(Budget.parse(self.plan.budget))
        path = searched / "widths" / f"{stem}.json"
        return read_widths(path) if (searched / RESULT).exists() else None

    def trained_in(self, arm: str, seed: int) -> Path:
        """The file of a training's result."""
        return self.folder / "train" / arm.replace(" ", "-") / str(seed) / RESULT


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


def first_alike(unit: Unit, arm: str) -> str:
    """The first arm of the plan that found the same network, whose trainings stand for both."""
    own = unit.widths_of(arm)
    assert own is not None
    for other in unit.plan.arms:
        widths = unit.widths_of(other)
        if widths is not None and (widths.vector, widths.removed_blocks) == (own.vector, own.removed_blocks):
            return other
    return arm


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
