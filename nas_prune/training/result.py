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
from nas_prune.data.metric import ACCURACY, Metric, metric_in, named_metric
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
    """One training: scores of the network it keeps; test images were used only then.

    Attributes:
        seed: of its first weights and of the order of its images.
        val_score, test_score: of the task's metric, more is better: accuracies as shares, of classification.
        epochs: how many it had.
        macs, params: of its network.
        seconds: that training took.
        kept_epoch: whose network is kept, the best by validation; None for the last.
        val_balanced_accuracy, test_balanced_accuracy: the mean of the accuracies on each class; None where classes are
            of about the same size.
        guess: the test accuracy below which it is hardly better than guessing; None of earlier versions, and of tasks
            in which an image is not of one class.
        metric: what the scores are of.
    """

    seed: int
    val_score: Annotated[float, Field(allow_inf_nan=False)]
    test_score: Annotated[float, Field(allow_inf_nan=False)]
    epochs: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]
    params: Annotated[int, Field(ge=0)]
    seconds: float
    kept_epoch: Annotated[int, Field(ge=1)] | None = None
    val_balanced_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    test_balanced_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    guess: Annotated[float | None, Field(ge=0, le=1)] = None
    metric: Metric = ACCURACY

    @property
    def val_accuracy(self) -> float:
        """The validation score; of classification the accuracy."""
        return self.val_score

    @property
    def test_accuracy(self) -> float:
        """The test score; of classification the accuracy."""
        return self.test_score

    def content(self) -> dict[str, Any]:
        """As files have it, with the metric's own values under its name: `val_accuracy`, `test_mae`."""
        own = asdict(self)
        own.pop("metric")
        scores = {
            self.metric.key(part): self.metric.score(own.pop(f"{part}_score")) for part in ("val", "test")
        }
        seed = own.pop("seed")
        return {"seed": seed, **scores, **own, **named_metric(self.metric)}


def _from_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `Trained.content`; what is none fails where it is checked."""
    own = dict(content)
    metric = metric_in(own)
    for part in ("val", "test"):
        value = own.pop(metric.key(part), None)
        if isinstance(value, (int, float)):
            if metric == ACCURACY and not 0 <= value <= 1:
                raise ValueError("accuracies must be shares")
            own[f"{part}_score"] = metric.score(value)
    return own


_TRAINED = TypeAdapter(Trained)


def write_trained(path: Path, trained: Trained) -> None:
    """Write what a training gave, as JSON."""
    write_whole(path, json.dumps(trained.content(), indent=1) + "\n")


def read_trained(path: Path, **unwritten: int) -> Trained | None:
    """What `write_trained` wrote; None if it is not there, or damaged.

    Args:
        path: the file.
        unwritten: values of fields that files of earlier versions lack.
    """
    try:
        return _TRAINED.validate_python({**unwritten, **_from_content(read_json(path))})
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
        best = max(self.seeds, key=lambda one: one.val_score).seed if seed is None else seed
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
    if own[0].metric != ACCURACY:
        return False
    otherwise = None if num_classes is None else guess_of_classes(num_classes)
    balanced = [one.test_balanced_accuracy for one in own if one.test_balanced_accuracy is not None]
    if otherwise is not None and len(balanced) == len(own) and not guesses(fmean(balanced), otherwise):
        return False  # rare classes are found, at the cost of the largest
    noted = [share for one in own if (share := otherwise if one.guess is None else one.guess) is not None]
    return len(noted) == len(own) and guesses(fmean(one.test_score for one in own), fmean(noted))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the latter with a single value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def summary(result: TrainResult) -> dict[str, Any]:
    """A training's result as plain JSON, for `--format json` and `result.json`."""
    metric = result.seeds[0].metric
    mean, deviation = mean_and_deviation([metric.score(seed.test_score) for seed in result.seeds])
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
        **_of_pattern(result.config),
        **named_metric(metric),
        f"{metric.key('test')}_mean": mean,
        f"{metric.key('test')}_std": deviation,
        "guess": result.seeds[0].guess,
        "classes": result.preprocessing.classes,
        "preprocessing": result.preprocessing.model_dump(mode="json", exclude={"classes"}),
        "seeds": [
            {**_scores(one), "epochs": read_metrics(result.run / f"seed-{one.seed}")} for one in result.seeds
        ],
        "failed": [{"seed": seed, "why": why} for seed, why in result.failed],
    }


def _of_pattern(config: TrainConfig) -> dict[str, Any]:
    """Where weights were left out one by one: by which pattern, and the MACs with those that are there."""
    return {} if config.pattern is None else {"pattern": config.pattern, "pattern_macs": config.pattern_macs}


def _scores(one: Trained) -> dict[str, Any]:
    """One seed's, and what else is known where a recipe asks for it."""
    names = ("val_balanced_accuracy", "test_balanced_accuracy")
    balanced = {name: value for name in names if (value := getattr(one, name)) is not None}
    kept = {} if one.kept_epoch is None else {"kept_epoch": one.kept_epoch, "epochs_done": one.epochs}
    metric = one.metric
    scores = {
        metric.key("val"): metric.score(one.val_score),
        metric.key("test"): metric.score(one.test_score),
    }
    return {"seed": one.seed, **scores, **balanced, **kept}
