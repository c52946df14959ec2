"""Guided search beside raw TPE and random search at equal total training MACs, repeated; winners trained again.

    python tools/compare_arms.py studies/vgg16-guided.yaml --data folder:cifar10-jpeg --search-epochs 8 --trials 12 \
        --repetitions 3 --out arms [--repetition 0] [--report]

One repetition is a search (network slimming) on the images of the study, the guideline fitted to what it found, and
three studies with one seed: `guided` by that guideline (the study file's own sampler), `raw-tpe` and `random` with one
parameter for each channel group. The MACs of the search are charged to `guided`: the other two get as many trials more.

The best of many trials is the luckiest as well, and its test accuracy shares that luck with the validation accuracy
that chose it. So the winner of each arm, the guideline's centre and uniform widths are then trained again, like trials,
with seeds that no trial had, and these test accuracies alone are compared. A repetition is one observation: the mean
over its new seeds.

Stopped at any moment, the same command goes on; with `--repetition` it does one of them only, so that several can run
side by side. `--report` reads what is there and writes `result.json` and `curves.png`.
"""

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import t as student

from nas_prune.errors import BadInputError
from nas_prune.guideline.fit import fit_guideline
from nas_prune.runs.directory import WIDTHS, read_metrics
from nas_prune.runs.figure import BLACK, BLUE, VERMILION, save
from nas_prune.runs.progress import Progress
from nas_prune.search.config import SearchConfig
from nas_prune.search.run import resume_search, search
from nas_prune.space.widths import read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig, read_study
from nas_prune.study.context import load_study
from nas_prune.study.location import StudyLocation, read_trials
from nas_prune.study.objective import artefact, trial_folder
from nas_prune.study.rank_trainings import Task, read_result, train_task
from nas_prune.study.run import run_study
from nas_prune.training.result import mean_and_deviation
from nas_prune.training.schedules import training_macs

ARMS: dict[str, dict[str, Any]] = {
    "guided": {},
    "raw-tpe": {"parameters": "layers", "sampler": "tpe"},
    "random": {"parameters": "layers", "sampler": "random"},
}
FIRST_NEW_SEED = 1000  # of no trial: these have the repetition's number
_AGAIN = "retrained"
_LOOKS = {"guided": (BLUE, "-"), "raw-tpe": (VERMILION, "--"), "random": (BLACK, ":")}


def main() -> None:
    """Run what is asked for, or report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("--data")
    parser.add_argument("--search-epochs", type=int, default=8)
    parser.add_argument("--trials", type=int, help="of the guided arm, if not as many as the study says")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--repetition", type=int)
    parser.add_argument(
        "--new-seeds", type=int, default=3, help="trainings of each winner, with seeds of no trial"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if options.report:
        report(options)
        return
    progress = Progress(say=lambda text: print(text, flush=True))
    wanted = range(options.repetitions) if options.repetition is None else [options.repetition]
    for repetition in wanted:
        run(options, repetition, progress)


def run(options: argparse.Namespace, repetition: int, progress: Progress) -> None:
    """One repetition: search, guideline, and the three studies."""
    folder = options.out / f"repetition-{repetition}"
    config = read_study(options.study, data_name=options.data, trials=options.trials)
    config = config.model_copy(update={"seed": repetition})
    found = folder / "search"
    if (found / "config.yaml").exists():
        resume_search(found, data_name=options.data, progress=progress)
    else:
        search(_search_config(config, options.search_epochs), found, progress=progress)
    guideline = folder / "guideline.yaml"
    if not guideline.exists():
        fit_guideline([found]).write(guideline)
    spent = search_macs(found)
    widths = next(iter(sorted((found / "widths").glob("macs*.json"))))
    trial = training_macs(read_widths(widths).cost.macs, _images(found), config.epochs)
    more = ceil(spent / trial)
    for arm, changes in ARMS.items():
        own = {
            **changes,
            "name": arm,
            "guideline": str(guideline) if arm == "guided" else None,
            "trials": config.trials + (0 if arm == "guided" else more),
        }
        run_study(config.model_copy(update=own), folder / arm, progress=progress)
    retrain(folder, options.new_seeds, progress, data_name=options.data)


def retrain(folder: Path, seeds: int, progress: Progress, *, data_name: str | None = None) -> None:
    """Train the winner of each arm, the guideline's centre and uniform widths as trials are, with new seeds.

    What is trained already is kept.
    """
    context = load_study(folder / "guided", data_name=data_name, progress=progress)
    for name, vector in chosen(folder).items():
        own = folder / _AGAIN / name
        if not (own / WIDTHS).exists():
            own.mkdir(parents=True, exist_ok=True)
            artefact(context, vector, context.config.studies[context.config.name][-1]).write(own / WIDTHS)
        for seed in range(FIRST_NEW_SEED, FIRST_NEW_SEED + seeds):
            task: Task = (name, "short", seed)
            if read_result(own.parent, task, "scratch-e") is None:
                train_task(
                    task,
                    folder=own.parent,
                    config=context.config,
                    schedule="scratch-e",
                    progress=progress,
                    space=context.space,
                    trainer=context.trainer,
                )


def chosen(folder: Path) -> dict[str, tuple[int, ...]]:
    """The widths that are compared: of the arms' winners by validation accuracy, and of what needs no search."""
    found: dict[str, tuple[int, ...]] = {}
    for arm in ARMS:
        (trials, *_) = read_trials(StudyLocation(folder / arm)).trials.values()
        found[arm] = record.widths_of(record.best_first(trials)[0]) or ()
        for trial in trials:
            if arm == "guided" and record.SOURCE in trial.user_attrs:
                found[trial.user_attrs[record.SOURCE]] = record.widths_of(trial) or ()
    return found


def retrained(folder: Path) -> dict[str, list[float]]:
    """Test accuracies of those, as shares: one for each new seed, the same for all of them.

    Raises:
        BadInputError: some were not trained to their end.
    """
    found = {}
    for name in chosen(folder):
        seeds = sorted(
            int(path.parent.name) for path in (folder / _AGAIN / name / "short").glob("*/result.json")
        )
        read = [read_result(folder / _AGAIN, (name, "short", seed), "scratch-e") for seed in seeds]
        found[name] = [one.test_accuracy for one in read if one is not None]
    if len({len(one) for one in found.values()}) > 1 or not all(found.values()):
        counts = ", ".join(f"{name} {len(one)}" for name, one in found.items())
        raise BadInputError(
            f"all winners must be trained again before they are compared, got {counts} trainings in {folder}. "
            "Run it once more without --report."
        )
    return found


def _search_config(config: StudyConfig, epochs: int) -> SearchConfig:
    return SearchConfig(
        space=config.space,
        width_multiplier=config.width_multiplier,
        groups=config.groups,
        data=config.data,
        recipe=config.recipe,
        epochs=epochs,
        budgets=config.budgets,
        seed=config.seed,
        threads=config.threads,
    )


def _images(found: Path) -> int:
    widths = read_widths(next(iter((found / "widths").glob("*.json"))))
    assert widths.data is not None
    return widths.data.num_train


def search_macs(found: Path) -> int:
    """What a search has spent: it trains the whole network."""
    widths = read_widths(next(iter((found / "widths").glob("*.json"))))
    return training_macs(widths.base_cost.macs, _images(found), len(read_metrics(found)))


@dataclass(frozen=True)
class Curve:
    """The best so far of one study: after each trial the MACs spent, and its accuracies, as shares.

    Attributes:
        spent: total training MACs, the search's among them.
        val: validation accuracy of the best trial so far, by which it was chosen.
        test: its test accuracy, of the same training, whose luck took part in the choice: too high.
    """

    spent: list[int]
    val: list[float]
    test: list[float]


def curve(folder: Path, charged: int) -> Curve:
    """The curve of a study."""
    result = read_trials(StudyLocation(folder))
    (name, trials), *_ = result.trials.items()
    spent, best, vals, tests, costs = charged, (-1.0, 0.0), [], [], []
    ended = [trial for trial in trials if trial.values is not None and trial.datetime_complete is not None]
    for trial in sorted(ended, key=lambda one: one.datetime_complete.timestamp()):  # type: ignore[union-attr]
        spent += int(trial.user_attrs[record.TRAINING_MACS])
        told = trial.user_attrs.get(record.REPEAT_OF)
        line = record.line_of(trial if told is None else trials[told])
        read = json.loads((trial_folder(folder, name, line) / "result.json").read_text(encoding="utf-8"))
        best = max(best, (trial.values[0], float(np.mean(read["test"]))), key=lambda pair: pair[0])
        costs.append(spent)
        vals.append(best[0])
        tests.append(best[1])
    return Curve(costs, vals, tests)


@dataclass(frozen=True)
class Repetition:
    """One observation.

    Attributes:
        charged: MACs of the search.
        curves: of each arm.
        first_trials: what the centre and uniform widths reached in the study, by the trials' seed.
        tests: test accuracies by new seeds: of the arms' winners, `guideline` and `uniform`.
    """

    charged: int
    curves: dict[str, Curve]
    first_trials: dict[str, dict[str, float]]
    tests: dict[str, list[float]]


def gathered(folder: Path) -> Repetition:
    """A repetition that is done."""
    charged = search_macs(folder / "search")
    curves = {arm: curve(folder / arm, charged if arm == "guided" else 0) for arm in ARMS}
    return Repetition(charged, curves, _sources(folder / "guided"), retrained(folder))


def compared(found: Sequence[Repetition]) -> dict[str, Any]:
    """What the repetitions say: of new seeds alone, beside what the chosen trials seemed to be."""
    names = list(found[0].tests)
    ends = {name: [float(np.mean(one.tests[name])) for one in found] for name in names}
    seemed = {arm: [one.curves[arm].test[-1] for one in found] for arm in ARMS}
    return {
        "retrained_test": {name: _summary(own) for name, own in ends.items()},
        "guided_minus": {
            name: _paired(ends["guided"], own) for name, own in ends.items() if name != "guided"
        },
        "over_uniform": {
            name: _paired(own, ends["uniform"]) for name, own in ends.items() if name != "uniform"
        },
        "selected_test": {arm: _summary(own) for arm, own in seemed.items()},
        "selected_minus_retrained": {arm: _paired(own, ends[arm]) for arm, own in seemed.items()},
    }


def _summary(values: list[float]) -> dict[str, Any]:
    mean, deviation = mean_and_deviation(values)
    return {"mean": mean, "std": deviation, "each": values}


def report(options: argparse.Namespace) -> None:
    """Gather all repetitions that are there."""
    folders = [one for one in sorted(options.out.glob("repetition-*")) if (one / _AGAIN).exists()]
    found = [gathered(folder) for folder in folders]
    if not found:
        raise BadInputError(f"a repetition must be done before it is reported, got none in {options.out}.")
    config = read_study(options.study)
    content = {
        "study": config.name,
        "repetitions": len(found),
        "new_seeds": len(found[0].tests["uniform"]),
        **compared(found),
        "search_macs": [one.charged for one in found],
        "first_trials": [one.first_trials for one in found],
        "retrained": [one.tests for one in found],
        "widths": [{name: list(vector) for name, vector in chosen(folder).items()} for folder in folders],
        "curves": {arm: [asdict(one.curves[arm]) for one in found] for arm in ARMS},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} cores, torch {torch.__version__}",
    }
    (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _draw({arm: [one.curves[arm] for one in found] for arm in ARMS}, options.out / "curves.png", config)
    print(json.dumps({key: content[key] for key in compared(found)}, indent=1))


def _sources(folder: Path) -> dict[str, dict[str, float]]:
    """What the guideline's centre and uniform widths reached without any search."""
    (name, trials), *_ = read_trials(StudyLocation(folder)).trials.items()
    found = {}
    for trial in trials:
        source = trial.user_attrs.get(record.SOURCE)
        path = trial_folder(folder, name, record.line_of(trial)) / "result.json"
        if source and trial.values and path.exists():
            test = json.loads(path.read_text(encoding="utf-8"))["test"]
            found[source] = {"val": trial.values[0], "test": float(np.mean(test))}
    return found


def _paired(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Mean difference over repetitions, with its 90 % interval (Student's t)."""
    differences = np.array(ours) - np.array(theirs)
    half = np.nan
    if len(differences) > 1:
        scale = differences.std(ddof=1) / np.sqrt(len(differences))
        half = float(student.ppf(0.95, len(differences) - 1) * scale)
    mean = float(differences.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(differences)}


def _draw(curves: dict[str, list[Curve]], path: Path, config: StudyConfig) -> None:
    figure = Figure(figsize=(9.6, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharex=True)
    last = min((one.spent[-1] for own in curves.values() for one in own), default=1)
    grid = np.linspace(0, last, 200)
    for axes, kind, label in zip(
        panels,
        ("val", "test"),
        ("validation, by which it is chosen", "test, lucky by that choice"),
        strict=True,
    ):
        for arm, own in curves.items():
            values_RX = np.array([_at(one, getattr(one, kind), grid) for one in own]) * 100
            seen = ~np.isnan(values_RX).any(axis=0)
            colour, line = _LOOKS[arm]
            mean_X = values_RX[:, seen].mean(axis=0)
            axes.plot(
                grid[seen] / 1e12, mean_X, color=colour, linestyle=line, label=f"{arm} (n = {len(own)})"
            )
            if len(own) > 1:
                half_X = (
                    student.ppf(0.95, len(own) - 1)
                    * values_RX[:, seen].std(axis=0, ddof=1)
                    / np.sqrt(len(own))
                )
                axes.fill_between(
                    grid[seen] / 1e12, mean_X - half_X, mean_X + half_X, color=colour, alpha=0.15
                )
        axes.set_xlabel("total training MACs spent (10¹²)")
        axes.set_title(f"accuracy of the best trial so far: {label}", fontsize=9)
        axes.grid(color="0.9")
    panels[0].set_ylabel("accuracy (%)")
    panels[0].legend(fontsize=8, loc="lower right")
    bound = config.budgets[0]
    figure.suptitle(
        f"{config.space} ×{config.width_multiplier:g}, {bound}; mean and 90 % interval", fontsize=10
    )
    save(figure, path)


def _at(one: Curve, values: list[float], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best so far at each number of MACs; NaN before the first trial."""
    places = np.searchsorted(np.array(one.spent), grid, side="right") - 1
    return np.where(places < 0, np.nan, np.array(values)[np.maximum(places, 0)])


if __name__ == "__main__":
    main()
