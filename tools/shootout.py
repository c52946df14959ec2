"""Does it give better networks than what people would use instead? Every arm spends the same training, search included.

    IMAGES="--images cifar=cifar10-jpeg --images signs=sign-digits"
    python tools/shootout.py $IMAGES --out shootout --plan
    python tools/shootout.py $IMAGES --out shootout --task cifar-vgg --workers 2

`studies/shootout/plan.yaml` says which tasks and arms; `--plan` prints what they take and trains nothing. Stopped or
killed at any moment, the same command goes on. `--task` and `--only ARM` (both repeatable) do some of it, `--secondary`
adds the arms that are shown and not tested. The folders have `train/CLASS/*` and `test/CLASS/*`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from nas_prune.comparison.charge import total
from nas_prune.comparison.equal_training import epochs_left
from nas_prune.data.config import load_images
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.hardware.measure import measure, resume_measure
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import CONFIG, library_versions, machine_name
from nas_prune.runs.workers import in_workers
from nas_prune.training.job import Inputs
from nas_prune.training.schedules import training_macs
from tools.shootout_arms import found_by, network_of
from tools.shootout_images import half_in, make_images
from tools.shootout_last import trained_last
from tools.shootout_plan import PLAN, SEARCHED, Plan, Unit, read_plan, units


def main() -> None:
    """Plan, or run what is left."""
    options = _options()
    plan = read_plan(options.file)
    tasks = tuple(
        options.task or (name for name, task in plan.tasks.items() if options.secondary or task.arms is None)
    )
    arms = tuple(
        options.only or (name for name, arm in plan.arms.items() if options.secondary or not arm.secondary)
    )
    wanted = units(plan, options.out, tasks, arms)
    if options.plan:
        print("\n".join(_priced(plan, tasks, arms)))
        return
    _prepare(plan, tasks, options)
    left = [unit for unit in wanted if not unit.result.exists()]
    progress = Progress(say=lambda text: print(text, flush=True))
    outcomes = in_workers(_prepared, left, options.workers, progress)
    for unit, outcome in zip(left, outcomes, strict=True):
        if outcome.error:
            print(f"{unit.task}, {unit.arm}, {unit.number}: {outcome.error}")
            unit.folder.mkdir(parents=True, exist_ok=True)
            write_whole(unit.failure, json.dumps({"why": outcome.error}, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=PLAN, help="another plan")
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--task", action="append")
    parser.add_argument("--only", action="append", metavar="ARM")
    parser.add_argument("--secondary", action="store_true")
    parser.add_argument("--half", choices=["first", "second"], default="first", help="of the test images")
    parser.add_argument("--plan", action="store_true", help="say what it takes; train nothing")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _priced(plan: Plan, tasks: tuple[str, ...], arms: tuple[str, ...]) -> list[str]:
    """What each task takes, in training MACs."""
    lines = []
    for name in tasks:
        task = plan.tasks[name]
        space = task.network()
        whole = training_macs(space.cost_at(space.base_G).macs, task.images.train, task.epochs)
        own = units(plan, Path(), (name,), arms)
        wholes = sum(unit.total for unit in own)
        lines.append(
            f"{name}: {len(arms)} arms, {len(own)} repetitions in all, {wholes:g} whole trainings of "
            f"{whole / 1e12:.3g} · 10¹² MACs: {wholes * whole / 1e12:.4g} · 10¹²"
        )
    return lines


def _prepare(plan: Plan, tasks: tuple[str, ...], options: argparse.Namespace) -> None:
    """The images of the tasks and of those that guidelines come from; latency tables."""
    sources = dict(one.split("=", 1) for one in options.images)
    for name in {*tasks, *(plan.tasks[task].guideline_from for task in tasks)}:
        images = plan.tasks[name].images
        if images.data not in sources:
            raise BadInputError(
                f"--images must name a folder for {images.data}, got {', '.join(sources) or 'none'}."
            )
        make_images(
            images,
            Path(sources[images.data]),
            options.out / "images" / name,
            plan.first_seed,
            options.half,
            is_pilot=plan.is_pilot,
        )
    for name in tasks:
        board, task = options.out / "boards" / name, plan.tasks[name]
        if task.target is not None and not (board / "target.yaml").exists():
            space = task.network()
            if (board / CONFIG).exists():
                resume_measure(board, space, progress=Progress(say=print))
            else:
                measure(space, board, target=task.target, progress=Progress(say=print))


def _prepared() -> Callable[[Unit, Progress], None]:
    return _work


def _work(unit: Unit, progress: Progress) -> None:
    began = time.perf_counter()
    space = network_of(unit)
    found = found_by(unit, space)
    searched = load_images(unit.images(SEARCHED), unit.number, SILENT)
    whole = training_macs(space.cost_at(space.base_G).macs, len(searched.train), unit.recipe.epochs)
    behind = found.behind if unit.how.charged else ()
    epochs = epochs_left(unit.total * whole, behind, found.widths.cost.macs, len(searched.train))
    trained, right = trained_last(unit, found.widths, epochs, Inputs(None, space, found.begin))
    content = {
        "task": unit.task,
        "arm": unit.arm,
        "number": unit.number,
        "seed": unit.last_seed,
        "spare" if unit.plan.is_pilot else "test": trained.test_accuracy,
        "validation": trained.val_accuracy,
        "total": unit.total,
        "epochs": epochs,
        "whole": whole,
        "before": total(found.behind),
        "charged": unit.how.charged,
        "last": training_macs(found.widths.cost.macs, len(searched.train), epochs),
        "right": right,
        "precision": unit.plan.precision,
        "half": half_in(unit.images_folder),
        "seconds": round(time.perf_counter() - began, 1),
        "widths": json.loads(found.widths.model_dump_json()),
        "machine": machine_name(),
        "versions": library_versions(),
        "trained": asdict(trained),
    }
    write_whole(unit.result, json.dumps(content, indent=1) + "\n")
    # No test accuracy: nobody looks at a part of the results.
    seen = f"{100 * trained.test_accuracy:.2f} %, " if unit.plan.is_pilot else ""
    progress.say(f"{unit.task} {unit.arm} {unit.number}: {seen}{content['seconds']} s")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
    except NasPruneError as error:
        sys.exit(str(error))
