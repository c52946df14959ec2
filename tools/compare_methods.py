"""Every width method on one network and one budget: what is found, at what cost, and how good it is from scratch.

    python tools/compare_methods.py --space vgg16 --width-multiplier 0.5 --data folder:cifar10-jpeg --image-size 16 \
        --max-images 10000 --epochs 10 --train-epochs 8 --seeds 3 --out vgg16

Searches by all methods, trains each width vector found (Scratch-E, equal ones once; the whole network beside them) and
writes `table.md` and `table.json` below `--out`. Stopped at any moment, the same command goes on.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch

from nas_prune.data.config import DataConfig
from nas_prune.runs.progress import Progress
from nas_prune.search.all_methods import AllResult, resume_all, search_all
from nas_prune.search.config import SearchConfig
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import recipe_named
from nas_prune.training.result import summary as summary_of_training
from nas_prune.training.run import resume_train, train

WHOLE = "whole"


def main() -> None:
    """Search, train, write the table."""
    options = _options()
    progress = Progress(say=lambda text: print(text, flush=True))
    found = _search(options, progress)
    stem = file_stem(Budget.parse(options.budget))
    widths = {WHOLE: read_widths(found.run / next(iter(found.found)) / "widths" / "whole.json")}
    controls_first = sorted(found.found, key=lambda name: found.found[name]["kind"] != "control")
    widths |= {name: read_widths(found.run / name / "widths" / f"{stem}.json") for name in controls_first}
    trained: dict[tuple[Any, ...], dict[str, Any]] = {}
    rows = []
    for name, one in widths.items():
        shape = (one.vector, one.removed_blocks)
        if shape not in trained:
            trained[shape] = {"name": name, **_train(options, name, one, progress)}
        rows.append(_row(name, one, found, trained[shape]))
        print(_line(rows[-1]), flush=True)
    _write(options, rows, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", required=True)
    parser.add_argument("--width-multiplier", type=float, default=1.0)
    parser.add_argument("--data", required=True)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--max-images", type=int)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=int, default=10, help="of the search")
    parser.add_argument("--train-epochs", type=int, default=8, help="of Scratch-E")
    parser.add_argument("--budget", default="macs<=50%")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _data(options: argparse.Namespace) -> DataConfig:
    return DataConfig(name=options.data, image_size=options.image_size, max_images=options.max_images)


def _search(options: argparse.Namespace, progress: Progress) -> AllResult:
    run = options.out / "search"
    if run.exists():
        return resume_all(run, space=options.space, progress=progress)
    config = SearchConfig(
        space=options.space,
        width_multiplier=options.width_multiplier,
        method="all",
        data=_data(options),
        budgets=(options.budget,),
        recipe=recipe_named(options.recipe),
        epochs=options.epochs,
        threads=options.threads,
    )
    return search_all(config, run, progress=progress)


def _train(options: argparse.Namespace, name: str, widths: Widths, progress: Progress) -> dict[str, Any]:
    run = options.out / "train" / name
    if run.exists():
        return summary_of_training(resume_train(run, space=options.space, progress=progress))
    config = TrainConfig(
        data=_data(options),
        recipe=recipe_named(options.recipe).with_epochs(options.train_epochs),
        schedule="scratch-e",
        seeds=tuple(range(options.seeds)),
        threads=options.threads,
    )
    return summary_of_training(train(config, widths, run, space=options.space, progress=progress))


def _row(name: str, widths: Widths, found: AllResult, trained: dict[str, Any]) -> dict[str, Any]:
    search = found.found.get(name)
    return {
        "method": name,
        "kind": search["kind"] if search else "–",
        "keep_by_stage": search["budgets"][0]["keep_by_stage"] if search else {},
        "removed_blocks": list(widths.removed_blocks),
        "macs": widths.cost.macs,
        "params": widths.cost.params,
        "epochs": search["epochs"] if search else 0,
        "seconds": found.seconds.get(name),
        "trained_as": trained["name"],
        "test_accuracies": [seed["test_accuracy"] for seed in trained["seeds"]],
        "test_mean": trained["test_accuracy_mean"],
        "test_deviation": trained["test_accuracy_std"],
    }


def _line(row: dict[str, Any]) -> str:
    stages = " / ".join(f"{share:.2f}" for share in row["keep_by_stage"].values()) or "–"
    gone = f", {len(row['removed_blocks'])} blocks gone" if row["removed_blocks"] else ""
    seconds = "–" if row["seconds"] is None else f"{row['seconds']:.0f}"
    deviation = "" if row["test_deviation"] is None else f" ± {100 * row['test_deviation']:.2f}"
    same = "" if row["trained_as"] == row["method"] else f" (as {row['trained_as']})"
    cells = [
        row["method"],
        row["kind"] + gone,
        stages,
        f"{row['macs'] / 1e6:.2f}",
        f"{row['params'] / 1e3:,.0f}",
        str(row["epochs"] or "–"),
        seconds,
        f"{100 * row['test_mean']:.2f}{deviation}{same}",
    ]
    return f"| {' | '.join(cells)} |"


def _write(options: argparse.Namespace, rows: list[dict[str, Any]], found: AllResult) -> None:
    head = [
        "| method | widths | kept by stage | M MACs | K params | epochs | search, s | test accuracy, % |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    left_out = [f"Left out: {name}. {why}" for name, why in found.left_out.items()]
    machine = (
        f"{platform.processor() or platform.machine()}, {options.threads} thread, torch {torch.__version__}"
    )
    text = "\n".join([*head, *map(_line, rows), "", *left_out, machine])
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
