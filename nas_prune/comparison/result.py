"""What a comparison gave, whether it is finished or not: accuracies of each arm, paired differences, plain words."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isnan, nan
from pathlib import Path
from typing import Any

from nas_prune.comparison.arms import Arm, path_of
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.statistics import LEVEL, Paired, detectable, holm, paired
from nas_prune.runs.directory import RESULT, published
from nas_prune.runs.files import write_whole
from nas_prune.runs.settings import read_config
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.result import Trained, mean_and_deviation, read_trained
from nas_prune.training.schedules import training_macs

# In the directory of a comparison file: what it says, and its comparison.
FILE, COMPARED = "file.yaml", "compare"
_GUESSING = 1.5


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm and the one it is compared with.

    Attributes:
        beside: the name of the other arm.
        paired: the differences of test accuracy over the seeds that both have.
        holm: the p value after Holm's correction over all arms; NaN where nothing could be tested.
        detectable: the smallest true difference that would be found in four of five repeats, as a share.
    """

    beside: str
    paired: Paired
    holm: float
    detectable: float

    @property
    def verdict(self) -> str:
        """In words."""
        if isnan(self.holm):
            return "one seed: not tested" if self.paired.n < 2 else "no spread: not tested"
        if self.holm > LEVEL:
            return "no detectable difference"
        return "better" if self.paired.difference > 0 else "worse"


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
    """

    run: Path
    config: CompareConfig
    widths: Widths
    arms: Mapping[str, tuple[Trained, ...]]
    parents_done: int
    num_train: int
    failed: tuple[tuple[str, str], ...] = ()

    def compared(self) -> dict[str, Difference]:
        """Each arm compared with its other arm, where both have a seed in common."""
        pairs: dict[str, tuple[Arm, Paired]] = {}
        for arm in self.config.chosen:
            mine, other = (
                {one.seed: one.test_accuracy for one in self.arms.get(name or "", ())}
                for name in (arm.name, arm.beside)
            )
            common = sorted(set(mine) & set(other))
            if common:
                found = paired(
                    [mine[seed] for seed in common], [other[seed] for seed in common], self.config.test
                )
                pairs[arm.name] = arm, found
        planned = sum(arm.beside is not None for arm in self.config.chosen)
        corrected = holm([one.p_value for _, one in pairs.values()], planned)
        return {
            name: Difference(
                arm.beside or "", one, p, nan if isnan(p) else detectable(one.deviation, one.n, planned)
            )
            for (name, (arm, one)), p in zip(pairs.items(), corrected, strict=True)
        }

    def training_macs(self) -> dict[str, int]:
        """Multiply-accumulates spent on each arm, forward and backward; `parents` are the whole networks."""
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
        return spent if searched is None else {**spent, "search": searched}


def sentences(result: CompareResult) -> list[str]:
    """What the differences say about structure and weights, in words; only for arms that were trained."""
    found, said = result.compared(), []
    about = {
        "unpruned": "The whole network",
        "fine-tuned": "Inherited weights, fine-tuned at a hundredth of the rate",
        "rewound": "Inherited weights, trained again by the whole recipe",
        "lottery": "Initial weights of the channels kept",
        "scratch-e": "The widths found, for the whole network's epochs only (Scratch-E)",
        "uniform-params-b": "Uniform widths of the same parameters",
        "uniform-macs-b": "Uniform widths of the same MACs",
        "random-b": "Random widths of the same cost",
        "guided-b": "The guideline's widths",
        "winner-b": "The study's widths",
        "uniform-params": "Uniform widths of the same parameters",
        "uniform-macs": "Uniform widths of the same MACs",
        "direct": "Widths of a search on these images",
    }
    for name, words in about.items():
        if name in found:
            said.append(f"{words}: {_in_words(found[name])}.")
    accuracies = {
        name: mean_and_deviation([one.val_accuracy for one in result.arms[name]])[0]
        for name in ("fine-tuned", "rewound")
        if result.arms.get(name)
    }
    if len(set(accuracies.values())) == 2:
        best = max(accuracies, key=lambda name: accuracies[name])
        said.append(f"By validation accuracy the better way to use inherited weights is {best}.")
    if result.config.command == "transfer":
        said += saved(result)
    return said + _guessing(result)


def _guessing(result: CompareResult) -> list[str]:
    """A warning where the arm that others are compared with has learned next to nothing."""
    own = result.arms.get("scratch-b") or result.arms.get("guided") or ()
    classes = result.widths.space.num_classes
    if not own or mean_and_deviation([one.test_accuracy for one in own])[0] > _GUESSING / classes:
        return []
    return [
        f"The widths get hardly more right than guessing among {classes} classes: differences say little. Train longer."
    ]


def search_macs(result: CompareResult) -> int | None:
    """MACs of the search on the new images, forward and backward; None where there was none."""
    try:
        content = json.loads((search_of(result.run) / RESULT).read_text(encoding="utf-8"))
        epochs = int(content["epochs"])
    except (OSError, ValueError, KeyError, TypeError):  # not finished yet, or damaged
        return None
    return training_macs(result.widths.base_cost.macs, result.num_train, epochs)


def search_of(run: Path) -> Path:
    """The search that was made for a comparison: inside a transfer, next to a comparison from a file."""
    return (run.parent if (run.parent / FILE).exists() and run.name == COMPARED else run) / "search"


def saved(result: CompareResult) -> list[str]:
    """What the transfer of the guideline saved and what it cost, in words."""
    spent = search_macs(result)
    if spent is None:
        whole = training_macs(result.widths.base_cost.macs, result.num_train, result.config.recipe.epochs)
        return [
            f"The transfer saved a search: {whole / 1e12:.3g} · 10¹² training MACs, at as many epochs as the recipe's.",
            "To see what that cost in accuracy: --resume RUN --direct.",
        ]
    own = result.training_macs().get("guided", 0) / max(1, len(result.arms.get("guided", ())))
    share = f", {spent / own:.1f} times what one training of the guideline's widths takes" if own else ""
    said = [f"The transfer saved a search of {spent / 1e12:.3g} · 10¹² training MACs{share}."]
    found = result.compared().get("direct")
    if found is not None:
        one = found.paired
        interval = (
            "" if one.n < 2 else f", 95 % interval {0 - 100 * one.high:+.2f} to {0 - 100 * one.low:+.2f}"
        )
        verdict = {"better": "the search is better", "worse": "the guideline is better"}.get(
            found.verdict, found.verdict
        )
        said.append(
            f"Guideline minus search: {0 - 100 * one.difference:+.2f} points of test accuracy{interval}, n = {one.n}: "
            f"{verdict}."
        )
    return said


def _in_words(one: Difference) -> str:
    beside = {
        "scratch-b": "than the widths found from scratch (Scratch-B)",
        "scratch-e": "than the widths found from scratch (Scratch-E)",
        "guided": "than the guideline's widths",
    }[one.beside]
    points = f"{100 * abs(one.paired.difference):.2f} points"
    if one.verdict in ("better", "worse"):
        return f"{points} {one.verdict} {beside}"
    side = "better" if one.paired.difference > 0 else "worse"
    said = (
        f"{points} {side} {beside}"
        if one.paired.difference
        else f"as good on average as {beside[len('than ') :]}"
    )
    if isnan(one.holm):
        return f"{said}; {one.verdict}"
    limit = (
        "so few seeds could show none"
        if one.detectable > 1
        else f"{100 * one.detectable:.2f} points would be found in four of five repeats"
    )
    return f"no detectable difference ({said}; {limit})"


def summary(result: CompareResult) -> dict[str, Any]:
    """A comparison as plain JSON, for `--format json` and `result.json`."""
    config, widths = result.config, result.widths
    return {
        "command": config.command,
        "space": widths.space.name,
        "width_multiplier": widths.space.width_multiplier,
        "data": published(config.data.name),
        "image_size": widths.space.input_shape[1],
        "num_train": result.num_train,
        "budget": widths.budget,
        "method": None if widths.method is None else widths.method.name,
        "epochs": config.recipe.epochs,
        "cap": config.cap,
        "seeds": config.seeds,
        "test": config.test,
        "arms": [_arm(arm, result) for arm in config.chosen],
        "comparisons": [
            {
                "arm": name,
                "beside": one.beside,
                **{key: _number(value) for key, value in asdict(one.paired).items()},
                "p_holm": _number(one.holm),
                "detectable": _number(one.detectable),
                "verdict": one.verdict,
            }
            for name, one in result.compared().items()
        ],
        "sentences": sentences(result),
        "training_macs": result.training_macs(),
        "search_macs": search_macs(result),
        "left_out": config.left_out,
        "notes": list(config.notes),
        "failed": [{"training": name, "why": why} for name, why in result.failed],
    }


def _number(value: float) -> float | None:
    return None if isnan(value) else value


def _arm(arm: Arm, result: CompareResult) -> dict[str, Any]:
    own = result.arms.get(arm.name, ())
    row: dict[str, Any] = {"arm": arm.name, "what": arm.words, "schedule": arm.schedule, "start": arm.start}
    if own:
        for kind in ("val_accuracy", "test_accuracy"):
            row[f"{kind}_mean"], row[f"{kind}_std"] = mean_and_deviation([getattr(one, kind) for one in own])
    return {**row, "trained": [asdict(one) for one in own]}


def note_of_failure(run: Path, name: str, seed: int) -> Path:
    """The file that says why a training did not finish; there is none if it finished or did not start."""
    return run / "failed" / f"{name}-seed-{seed}.json"


def read_failures(run: Path) -> tuple[tuple[str, str], ...]:
    """Trainings that did not finish in their last try, and why."""
    found = []
    for path in sorted((run / "failed").glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(path.read_text(encoding="utf-8"))
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
            for seed in range(config.seeds)
            if (one := read_trained(run / "arms" / arm.name / f"seed-{seed}" / RESULT)) is not None
        )
        for arm in config.chosen
    }
    parents = sum((folder / RESULT).exists() for folder in (run / "parents").glob("seed-*"))
    return CompareResult(run, config, widths, found, parents, config.num_train, read_failures(run))


def write_comparison(result: CompareResult) -> None:
    """Write `result.json`."""
    write_whole(result.run / RESULT, json.dumps(summary(result), indent=1) + "\n")
