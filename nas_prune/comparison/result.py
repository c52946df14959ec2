"""What a comparison gave, whether it is finished or not: the accuracies of each arm, and what it has spent."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nas_prune.comparison.arms import SEEDS_OF_A_SEARCH, path_of
from nas_prune.comparison.charge import search_behind
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.differences import Difference, compared
from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.runs.directory import RESULT
from nas_prune.runs.reading import read_json
from nas_prune.runs.settings import read_config
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.result import Trained, read_trained
from nas_prune.training.schedules import training_macs

# In the directory of a comparison file: what it says, and its comparison.
FILE, COMPARED = "file.yaml", "compare"


@dataclass(frozen=True, slots=True)
class CompareResult:
    """What a comparison gave.

    Attributes:
        run: its directory.
        config: its settings.
        widths: those it is about.
        arms: the trainings of each arm that are done, by seed.
        parents_done: how many whole networks were trained for arms that inherit.
        num_train: images of the training part.
        failed: trainings that did not finish in their last try, and why.
        more_found: the widths of the searches after the first that are done.
    """

    run: Path
    config: CompareConfig
    widths: Widths
    arms: Mapping[str, tuple[Trained, ...]]
    parents_done: int
    num_train: int
    failed: tuple[tuple[str, str], ...] = ()
    more_found: tuple[Widths, ...] = ()

    @property
    def metric(self) -> Metric:
        """What networks are compared by; accuracy where none is trained yet."""
        return next((one.metric for own in self.arms.values() for one in own), ACCURACY)

    def compared(self) -> dict[str, Difference]:
        """Each arm compared with its other arm, where both were trained."""
        return compared(self.config, self.arms)

    def training_macs(self) -> dict[str, int]:
        """Multiply-accumulates spent by this run on each arm, forward and backward, and on what they need.

        `parents` are the whole networks that arms inherit from, `search` is a search of its own, and `searches` those
        after the first. What was trained before is not in it: `costs.arm_costs` has all of that.
        """
        spent = {
            name: sum(training_macs(one.macs, self.num_train, one.epochs) for one in own)
            for name, own in self.arms.items()
        }
        if self.parents_done:
            whole = self.widths.base_cost.macs
            spent["parents"] = self.parents_done * training_macs(
                whole, self.num_train, self.config.recipe.epochs
            )
        searched = search_macs(self)
        more = [search_behind(one).macs or 0 for one in self.more_found]
        spent |= {} if searched is None else {"search": searched}
        return spent | ({"searches": sum(more)} if more else {})


def search_macs(result: CompareResult) -> int | None:
    """MACs of the search on the new images, forward and backward; None where there was none."""
    try:
        content = read_json(search_of(result.run) / RESULT)
        epochs = int(content["epochs"])
    except (OSError, ValueError, KeyError, TypeError):  # not finished yet, or damaged
        return None
    return training_macs(result.widths.base_cost.macs, result.num_train, epochs)


def search_of(run: Path) -> Path:
    """The search that was made for a comparison: inside a transfer, next to a comparison from a file."""
    return (run.parent if (run.parent / FILE).exists() and run.name == COMPARED else run) / "search"


def note_of_failure(run: Path, name: str, seed: int) -> Path:
    """The file that says why a training did not finish; there is none if it finished or did not start."""
    return run / "failed" / f"{name}-seed-{seed}.json"


def read_failures(run: Path) -> tuple[tuple[str, str], ...]:
    """Trainings that did not finish in their last try, and why."""
    found = []
    for path in sorted((run / "failed").glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = read_json(path)
            found.append((str(content["training"]), str(content["why"])))
    return tuple(found)


def read_comparison(run: Path) -> CompareResult:
    """What a comparison holds by now; nothing is trained.

    Raises:
        BadInputError: the directory is not that of a comparison.
    """
    config = read_config(run, CompareConfig)
    widths = read_widths(path_of(run, config.about, 0))
    found = {
        arm.name: tuple(
            one
            for seeds in config.seeds_of(arm)
            for seed in seeds
            if (one := read_trained(run / "arms" / arm.name / f"seed-{seed}" / RESULT)) is not None
        )
        for arm in config.chosen
    }
    parents = sum((folder / RESULT).exists() for folder in (run / "parents").glob("seed-*"))
    paths = [path_of(run, "found", SEEDS_OF_A_SEARCH * number) for number in range(1, config.searches)]
    more = tuple(read_widths(path) for path in paths if path.exists())
    return CompareResult(run, config, widths, found, parents, config.num_train, read_failures(run), more)
