"""How long the networks of a shoot-out take for one image: each timed whole, in turn, several times over.

    python tools/shootout_latency.py --out shootout

Reads the widths of all repetitions that are done, times the networks of a task in ONNX Runtime on one thread, beside
the whole network, and writes `latency-TASK.json` for `tools/shootout_report.py`. Nothing else should run. A network of
random weights is as fast as a trained one. A file that is there and has all networks is left as it is.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from nas_prune.hardware.measure import measured_in_turn
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import library_versions, machine_name
from tools.shootout_plan import PLAN, Plan, read_plan
from tools.shootout_results import TaskResult, latencies, read_results, vector_of

TARGET, PASSES = "cpu-onnxruntime", 5


def timed(plan: Plan, result: TaskResult, out: Path) -> None:
    """Time what is not timed yet of a task; all of it anew, so that one file is of one hour."""
    wanted = sorted({vector_of(row) for rows in result.rows.values() for row in rows})
    known = latencies(out, result.task)
    if not wanted or set(wanted) <= known.keys():
        return
    task = plan.tasks[result.task]
    space = task.network()
    vectors = [space.base_G, *wanted]
    times_PN = measured_in_turn(space, np.array(vectors), TARGET, passes=PASSES, progress=Progress(say=print))
    rows: list[dict[str, Any]] = [
        {"widths": list(vector), "ms": [round(float(ns) / 1e6, 5) for ns in times_P]}
        for vector, times_P in zip(vectors, times_PN.T, strict=True)
    ]
    head = {"target": TARGET, "threads": 1, "machine": machine_name(), "versions": library_versions()}
    write_whole(
        out / f"latency-{result.task}.json", json.dumps({**head, "networks": rows}, indent=None) + "\n"
    )


def main() -> None:
    """Time the networks of every task of which something is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=PLAN, help="another plan")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plan = read_plan(options.file)
    for result in read_results(plan, options.out):
        timed(plan, result, options.out)


if __name__ == "__main__":
    main()
