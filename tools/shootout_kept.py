"""Keep what a shoot-out has found beside its plan, and go on from there on another machine.

    python tools/shootout_kept.py --out shootout

One line for each repetition, in `studies/shootout/repetitions/TASK.jsonl`: all that `shootout_report.py` reads. What is
done in `--out` and not kept is kept; what is kept and not in `--out` is put there, so that `shootout.py` does not train
it again. Latencies, and the tables that budgets of latency were held to, go the same way. No accuracy is printed.
"""

import argparse
import json
import shutil
from pathlib import Path

from nas_prune.errors import BadInputError
from nas_prune.runs.files import write_whole
from tools.shootout_plan import PLAN, Unit, read_plan, units

KEPT = PLAN.parent / "repetitions"
BOARD = ("latency.csv", "networks.csv", "target.yaml")  # of a latency table; the last is written last


def merge(own: list[Unit], kept: Path) -> tuple[int, int]:
    """Exchange the repetitions of a task.

    Args:
        own: all that the plan has of it.
        kept: a file with a line for each; what is there stays as it is.

    Returns:
        How many were kept now, and how many were put back.

    Raises:
        BadInputError: a repetition was done twice, and not to the same end.
    """
    rows = {(row["arm"], row["number"]): row for row in _rows(kept)}
    taken = given = 0
    for unit in own:
        key = (unit.arm, unit.number)
        if unit.result.exists():
            row = json.loads(unit.result.read_text(encoding="utf-8"))
            if key not in rows:
                rows[key] = row
                taken += 1
            elif rows[key] != row:
                raise BadInputError(
                    f"{unit.result} must be what {kept} has of {unit.arm}, {unit.number}, and differs. "
                    "Take another --out."
                )
        elif key in rows:
            unit.folder.mkdir(parents=True, exist_ok=True)
            write_whole(unit.result, json.dumps(rows[key], indent=1) + "\n")
            given += 1
    order = {(unit.arm, unit.number): place for place, unit in enumerate(own)}
    if taken:
        kept.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(rows[key], separators=(",", ":")) for key in sorted(rows, key=order.__getitem__))
        write_whole(kept, "".join(f"{line}\n" for line in lines))
    return taken, given


def _rows(kept: Path) -> list[dict[str, object]]:
    if not kept.exists():
        return []
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def exchange_files(out: Path, kept: Path, task: str) -> None:
    """Exchange the latency table of a task, and the latencies of its networks."""
    board = Path("boards") / task
    is_whole = any((home / board / BOARD[-1]).exists() for home in (out, kept))
    names = [board / name for name in BOARD] if is_whole else []
    for name in [*names, Path(f"latency-{task}.json")]:
        here, there = (out / name, kept / name) if (out / name).exists() else (kept / name, out / name)
        if here.exists() and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, there)


def main() -> None:
    """Exchange both ways, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=PLAN, help="another plan")
    parser.add_argument("--kept", type=Path, default=KEPT, help="another place to keep them")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plan = read_plan(options.file)
    for task in plan.tasks:
        own = units(plan, options.out, (task,), tuple(plan.arms))
        taken, given = merge(own, options.kept / f"{task}.jsonl")
        exchange_files(options.out, options.kept, task)
        done = sum(unit.result.exists() for unit in own)
        print(f"{task}: {done} of {len(own)} done; {taken} kept now, {given} put back")


if __name__ == "__main__":
    main()
