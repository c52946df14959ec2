"""The results of trainings, and their files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from torch import nn

from nas_prune.data.guessing import guess_of_classes, guesses
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import NETWORK, published, read_metrics
from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import read_json
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.training.config import TrainConfig
from nas_prune.training.network_file import read_network, set_weights


@dataclass(frozen=True, slots=True)
class Trained:
    """One training: accuracies of the network it keeps, as shares; test images were used only then.

    Attributes:
        seed: of its first weights and of the order of its images.
        epochs: how many it had.
        macs, params: of its network.
        seconds: that training took.
        kept_epoch: whose network is kept, the best by validation; None for the last.
        val_balanced_accuracy, test_balanced_accuracy: the mean of the accuracies on each class; None where classes are
            of about the same size.
        guess: the test accuracy below which it is hardly better than guessing; None of earlier versions.
    """

    seed: int
    val_accuracy: Annotated[float, Field(ge=0, le=1)]
    test_accuracy: Annotated[float, Field(ge=0, le=1)]
    epochs: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]
    params: Annotated[int, Field(ge=0)]
    seconds: float
    kept_epoch: Annotated[int, Field(ge=1)] | None = None
    val_balanced_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    test_balanced_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    guess: Annotated[float | None, Field(ge=0, le=1)] = None


_TRAINED = TypeAdapter(Trained)


def write_trained(path: Path, trained: Trained) -> None:
    """Write what a training gave, as JSON."""
    write_whole(path, json.dumps(asdict(trained), indent=1) + "\n")


def read_trained(path: Path, **unwritten: int) -> Trained | None:
    """What `write_trained` wrote; None if it is not there, or damaged.

    Args:
        path: the file.
        unwritten: values of fields that files of earlier versions lack.
    """
    try:
        return _TRAINED.validate_python({**unwritten, **read_json(path)})
    except (OSError, ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training some widths gave.

    Attributes:
        run: the run's directory.
        config: its settings, with multiplier and epochs as they came out.
        widths: what was trained.
        seeds: one result for each seed that was trained to its end.
        failed: the other seeds, and why they were not.
        space: the network that the widths are of.
        preprocessing: of its images, and the names of its classes.
    """

    run: Path
    config: TrainConfig
    widths: Widths
    seeds: tuple[Trained, ...]
    failed: tuple[tuple[int, str], ...]
    space: SearchSpace
    preprocessing: Preprocessing

    def network(self, seed: int | None = None) -> nn.Module:
        """The trained network of a seed, in evaluation mode, on the CPU.

        Args:
            seed: the one with the best validation accuracy if None.

        Raises:
            BadInputError: no network was trained with this seed.
            DamagedError: its file is damaged.
        """
        best = max(self.seeds, key=lambda one: one.val_accuracy).seed if seed is None else seed
        if best not in [one.seed for one in self.seeds]:
            raise BadInputError(
                f"seed must be one of {', '.join(str(one.seed) for one in self.seeds)}, got {seed}."
            )
        network = self.space.build(self.widths, seed=0)
        set_weights(network, read_network(self.run / f"seed-{best}" / NETWORK, network))
        return network.eval()


def guessing(trained: Mapping[str, Sequence[Trained]], num_classes: int | None = None) -> list[str]:
    """The names of those whose mean test accuracy is hardly better than guessing the largest class.

    Args:
        trained: the trainings of each.
        num_classes: which the rule is by where earlier versions have noted nothing else, and for the mean of the
            accuracies on each class where they are uneven; None for neither.
    """
    return [name for name, own in trained.items() if own and _is_guessing(own, num_classes)]


def _is_guessing(own: Sequence[Trained], num_classes: int | None) -> bool:
    otherwise = None if num_classes is None else guess_of_classes(num_classes)
    balanced = [one.test_balanced_accuracy for one in own if one.test_balanced_accuracy is not None]
    if otherwise is not None and len(balanced) == len(own) and not guesses(fmean(balanced), otherwise):
        return False  # rare classes are found, at the cost of the largest
    noted = [share for one in own if (share := otherwise if one.guess is None else one.guess) is not None]
    return len(noted) == len(own) and guesses(fmean(one.test_accuracy for one in own), fmean(noted))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter with a single value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def summary(result: TrainResult) -> dict[str, Any]:
    """A training's result as plain JSON, for `--format json` and `result.json`."""
    mean, deviation = mean_and_deviation([seed.test_accuracy for seed in result.seeds])
    return {
        "space": result.widths.space.name,
        "budget": result.widths.budget,
        "schedule": result.config.schedule,
        "multiplier": result.config.multiplier,
        "cap": result.config.cap,
        "epochs": result.config.epochs,
        "reference_epochs": result.config.recipe.epochs,
        "data": published(result.config.data.name),
        **result.widths.cost.model_dump(),
        "test_accuracy_mean": mean,
        "test_accuracy_std": deviation,
        "guess": result.seeds[0].guess,
        "classes": result.preprocessing.classes,
        "preprocessing": result.preprocessing.model_dump(mode="json", exclude={"classes"}),
        "seeds": [
            {**_accuracies(one), "epochs": read_metrics(result.run / f"seed-{one.seed}")}
            for one in result.seeds
        ],
        "failed": [{"seed": seed, "why": why} for seed, why in result.failed],
    }


def _accuracies(one: Trained) -> dict[str, Any]:
    """One seed's, and what else is known where a recipe asks for it."""
    names = ("val_balanced_accuracy", "test_balanced_accuracy")
    balanced = {name: value for name in names if (value := getattr(one, name)) is not None}
    kept = {} if one.kept_epoch is None else {"kept_epoch": one.kept_epoch, "epochs_done": one.epochs}
    accuracies = {"val_accuracy": one.val_accuracy, "test_accuracy": one.test_accuracy}
    return {"seed": one.seed, **accuracies, **balanced, **kept}
