"""How well a latency table predicts networks of random widths, beside how well a second measurement does.

    python tools/latency_study.py --space resnet20 --target cpu-onnxruntime --threads 1 --out DIR
    python tools/latency_study.py --space vgg16 --image-size 64 --target cpu-torch --table TABLE --out DIR
    python tools/latency_study.py --again DIR --out NEW

Measures a table in DIR/table (or takes another), then times networks of random widths, all of them once and then all of
them again: half of them with every width of every group equally likely, half at one number of MACs. Prints, and writes
to DIR/study.json, the relative errors of the prediction and of the second measurement (median, 90th percentile), and at
equal MACs the rank correlation with what was measured. Nothing else should run on the machine. `--again` measures
nothing: it predicts what an earlier run has timed once more, from the table of that run, by the prediction of today.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas_prune.hardware.latency import Latency, latency_cost
from nas_prune.hardware.measure import DEFAULT, Plan, measure, measured_in_turn
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import library_versions, machine_name
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.load import load_space
from nas_prune.space.networks import network_named
from nas_prune.space.search_space import SearchSpace


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--space")
    which.add_argument("--again", type=Path, metavar="DIR")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--target", default="cpu-onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", type=Path, help="a table that is there")
    parser.add_argument("--vectors", type=int, default=100)
    parser.add_argument(
        "--macs", type=float, default=0.3, help="share of the MACs at which ranks are compared"
    )
    parser.add_argument("--networks", type=int, default=DEFAULT.networks)
    parser.add_argument("--passes", type=int, default=DEFAULT.passes)
    parser.add_argument("--bursts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True)
    found = _measured(options) if options.again is None else _predicted_again(options.again)
    (options.out / "study.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for key, value in found.items():
        if not (key == "widths" or key.endswith("_ns")):
            print(f"{key}: {value}")


def _predicted_again(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "study.json").read_text(encoding="utf-8"))
    latency = latency_cost(load_space(found["space"], tuple(found["input_shape"])), run / "table")
    predicted_N, measured_2N = latency(found["widths"]), np.array(found["measured_ns"])
    return {
        **found,
        **told(predicted_N, measured_2N, len(predicted_N) // 2),
        "predicted_ns": predicted_N.tolist(),
    }


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    space = _space(options.space, options.image_size)
    began = perf_counter()
    latency = _latency(space, options)
    seconds = perf_counter() - began
    vectors_NG = drawn(space, options.vectors, options.macs, np.random.default_rng(options.seed))
    times_PN = measured_in_turn(
        space, vectors_NG, options.target, options.threads, passes=2 * options.bursts, seed=options.seed
    )
    measured_2N = _twice(times_PN)
    return {
        "space": options.space,
        "input_shape": list(space.reference.input_shape),
        "target": options.target,
        "threads": options.threads,
        "machine": machine_name(),
        "versions": library_versions(("nas-prune", "torch", "onnxruntime", "numpy")),
        "table_seconds": None if options.table else round(seconds, 1),
        **told(latency(vectors_NG), measured_2N, len(vectors_NG) // 2),
        "widths": vectors_NG.tolist(),
        "predicted_ns": latency(vectors_NG).tolist(),
        "measured_ns": measured_2N.tolist(),
    }


def _space(name: str, size: int | None) -> SearchSpace:
    channels, height, width = network_named(name).input_shape
    return load_space(name, (channels, size or height, size or width))


def _latency(space: SearchSpace, options: argparse.Namespace) -> Latency:
    if options.table is not None:
        return latency_cost(space, options.table)
    return measure(
        space,
        options.out / "table",
        target=options.target,
        threads=options.threads,
        plan=Plan(networks=options.networks, passes=options.passes),
        progress=Progress(say=print),
    ).latency


def drawn(space: SearchSpace, count: int, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Width vectors over all searchable groups: half drawn evenly, the others at one share of the MACs."""
    columns = tuple(range(len(space.groups)))
    even = [[int(rng.choice(allowed)) for allowed in space.allowed_G] for _ in range(count // 2)]
    budget = Budget("macs", share)
    return np.array(
        even + [list(matched(space, columns, budget, rng).widths_G) for _ in range(count - len(even))]
    )


def _twice(times_PN: NDArray[Any]) -> NDArray[np.int64]:
    """Two measurements of every network, the quickest of the first half of passes and of the second."""
    half = len(times_PN) // 2
    return np.rint(np.stack([times_PN[:half].min(axis=0), times_PN[half:].min(axis=0)])).astype(np.int64)


def told(predicted_N: NDArray[np.int64], measured_2N: NDArray[np.int64], evenly: int) -> dict[str, Any]:
    """Errors of all, and rank correlations of those behind the first `evenly`, which have equal MACs."""
    first_N, second_N = measured_2N
    off_N, again_N = np.abs(predicted_N / first_N - 1), np.abs(second_N / first_N - 1)

    def ranks(one: NDArray[Any], other: NDArray[Any]) -> float:
        return round(float(spearmanr(one[evenly:], other[evenly:]).statistic), 4)

    return {
        "vectors": len(predicted_N),
        "error_median": round(float(np.median(off_N)), 4),
        "error_p90": round(float(np.quantile(off_N, 0.9)), 4),
        "twice_median": round(float(np.median(again_N)), 4),
        "twice_p90": round(float(np.quantile(again_N, 0.9)), 4),
        "at_equal_macs": {
            "vectors": len(predicted_N) - evenly,
            "error_median": round(float(np.median(off_N[evenly:])), 4),
            "spread": round(float(first_N[evenly:].max() / first_N[evenly:].min()), 3),
            "rank_predicted": ranks(predicted_N, first_N),
            "rank_twice": ranks(second_N, first_N),
        },
    }


if __name__ == "__main__":
    main()
