"""Train every network of the tabular benchmark: 4 groups of 4 widths, 256 trainings for each seed.

    python tools/make_tabular.py digits --seeds 6
    python tools/make_tabular.py cifar10 --data folder:PATH --seeds 3

With `--networks 8,8,8,16 8,8,8,32 --first-seed 100 --seeds 24 --out studies/tabular/again` some of them again, by seeds
that the table does not have: a check of what is concluded from it.

Each training is one line of `studies/tabular/NAME.jsonl`: widths, seed, validation accuracy after each epoch, and test
accuracy at the end. What stands there already is not trained again, so that the program may be stopped at any time.
The first line says what was trained, how, and on what.
"""

import argparse
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from nas_prune.data.config import DataConfig, load_images
from nas_prune.runs.directory import published, read_metrics
from nas_prune.runs.progress import SILENT
from nas_prune.runs.settings import library_versions
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import Inputs
from nas_prune.training.recipe import Recipe
from nas_prune.training.run import train_one
from tools.tabular_space import cells, small_space

_FOLDER = Path(__file__).parent.parent / "studies" / "tabular"


@dataclass(frozen=True)
class _Leg:
    """One data set of the benchmark."""

    data: DataConfig
    recipe: Recipe
    in_channels: int


LEGS = {
    "digits": _Leg(
        DataConfig(name="digits", val_fraction=0.3),
        Recipe(
            name="tabular-digits",
            epochs=10,
            batch_size=32,
            learning_rate=0.05,
            schedule="one-cycle",
            nesterov=True,
            mirror=False,
        ),
        1,
    ),
    "cifar10": _Leg(
        DataConfig(name="cifar10", image_size=16, max_images=5000, val_fraction=0.4),
        Recipe(
            name="tabular-cifar",
            epochs=8,
            batch_size=128,
            learning_rate=0.2,
            schedule="one-cycle",
            nesterov=True,
            weight_decay=5e-4,
        ),
        3,
    ),
}


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("leg", choices=LEGS)
    parser.add_argument("--data", help="the same images under another name, e.g. folder:PATH")
    parser.add_argument("--out", type=Path, default=_FOLDER)
    parser.add_argument("--seeds", type=int, default=3, help="how many trainings of each network")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--networks", nargs="*", help="widths of some networks instead of all: 8,8,8,32")
    parser.add_argument("--limit", type=int, help="stop after so many trainings")
    options = parser.parse_args()
    leg = LEGS[options.leg]
    data = load_images(leg.data.at(options.data or leg.data.name), 0, SILENT, in_channels=leg.in_channels)
    space = small_space(data.in_channels, data.image_size, data.num_classes)
    head = {
        "data": published(leg.data.name),
        "images": [len(data.train), len(data.val), len(data.test)],
        "input_shape": list(space.reference.input_shape),
        "num_classes": data.num_classes,
        "recipe": leg.recipe.model_dump(mode="json", exclude_defaults=True),
        "versions": library_versions(),
        "threads": 1,
    }
    path = options.out / f"{options.leg}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _done(path, head)
    # Seed by seed, so that a table half done holds every cell.
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    wanted = (
        cells() if options.networks is None else [tuple(map(int, one.split(","))) for one in options.networks]
    )
    waiting = [(widths, seed) for seed in seeds for widths in wanted if (widths, seed) not in done]
    started = perf_counter()
    for count, (vector, seed) in enumerate(waiting[: options.limit], start=1):
        config = TrainConfig(
            data=leg.data, recipe=leg.recipe, schedule="scratch-e", seeds=(seed,), threads=1, device="cpu"
        )
        folder = Path(tempfile.mkdtemp(prefix="tabular-"))
        try:
            result = train_one(config, space.widths(vector), folder, Inputs(data, space))
            curve = [round(line["val_accuracy"], 4) for line in read_metrics(folder / f"seed-{seed}")]
        finally:
            shutil.rmtree(folder)
        _append(
            path,
            {
                "widths": vector,
                "seed": seed,
                "val": curve,
                "test": round(result.test_accuracy, 4),
                "seconds": round(result.seconds, 1),
            },
        )
        each = (perf_counter() - started) / count
        print(f"{len(done) + count} of {len(wanted) * len(seeds)}, {each:.1f} s each", flush=True)


def _done(path: Path, head: dict[str, Any]) -> set[tuple[tuple[int, ...], int]]:
    """What a table holds already; a line that was not written to its end is cut off."""
    if not path.exists():
        _append(path, head)
        return set()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if not lines[-1].endswith("\n"):
        lines.pop()
        path.write_text("".join(lines), encoding="utf-8")
    if not lines or json.loads(lines[0]) != json.loads(json.dumps(head)):
        raise SystemExit(f"{path} is of other settings or versions; move it away, or use --out")
    trained = [json.loads(line) for line in lines[1:]]
    return {(tuple(line["widths"]), line["seed"]) for line in trained}


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


if __name__ == "__main__":
    main()
