"""Where a trained network comes from: the images of its run, how these were split, and its recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from nas_prune.coding.file import SUFFIX
from nas_prune.data import ImageData
from nas_prune.data.config import DataConfig
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.data.tasks import known_task
from nas_prune.errors import BadInputError, DataError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.runs.directory import published
from nas_prune.runs.settings import command_of, read_config
from nas_prune.runs.text import printable
from nas_prune.search.config import SearchConfig
from nas_prune.training.config import RunConfig, TrainConfig
from nas_prune.training.load_network import record_at
from nas_prune.training.recipe import Recipe, default_recipe

TRAINED = "trained.safetensors"  # in the directory of a compression: what is compressed


@dataclass(frozen=True, slots=True)
class Origin:
    """What a network was trained on.

    Attributes:
        data: the images.
        seed: that has split them.
        recipe: how the whole network is trained; None where no run says it.
    """

    data: DataConfig
    seed: int = 0
    recipe: Recipe | None = None


class OfTrained(RunConfig):
    """The settings of a compression that say where its network comes from; the rest lies in a higher room.

    Attributes:
        recipe: how the whole network is trained.
        data_seed: that has split the images.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    command: Literal["compress"] = "compress"
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    data_seed: int = 0

    def network_in(self, run: Path) -> str:
        """As `RunConfig`: that of what is compressed."""
        return record_at(run / TRAINED).widths.space.name


_SETTINGS: dict[str, type[TrainConfig | SearchConfig | SparsifyConfig | OfTrained]] = {
    "train": TrainConfig,
    "search": SearchConfig,
    "sparsify": SparsifyConfig,
    "compress": OfTrained,
}


def origin_of(network: Path, data_name: str | None, why: str, *, task: str) -> Origin:
    """Where the network of a file comes from, by the run that the file is in.

    Args:
        network: the file.
        data_name: where the images are, if they were moved or no run says it.
        why: what the images are for, in words.
        task: what its own file says that it was trained for: where no run does, this is to be learned of the images.

    Raises:
        BadInputError: nothing says which images, or there is no such task.
    """
    beside = (network.with_suffix(""),) if network.suffix == SUFFIX else ()
    for run in (*beside, network.parent, network.parent.parent):
        kind = _SETTINGS.get(command_of(run) or "")
        if kind is not None:
            config = read_config(run, kind)
            seed = config.seed if isinstance(config, (SearchConfig, SparsifyConfig)) else config.data_seed
            return Origin(config.resolved_from(run, data_name).data, seed or 0, config.recipe)
    if data_name is None:
        raise BadInputError(
            f"--data must say on which images {why}, since no run beside {network} does: digits, "
            "folder:PATH, csv:FILE or hf:DIR."
        )
    return Origin(DataConfig(name=data_name, task=known_task(task)))


def check_classes(data: ImageData, known: Preprocessing) -> None:
    """Refuse images of other classes than a network knows.

    Raises:
        DataError: they are of others.
    """
    names = tuple(map(printable, data.class_names))
    if names != known.classes:
        raise DataError(
            f"--data must name images of the classes that the network knows, {_few(known.classes)}, got "
            f"{_few(names)} ({printable(published(data.name))})."
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
