"""Seconds to price many width vectors exactly.

    python tools/bench_cost.py [--space resnet110] [--vectors 100000] [--repeats 7]

Prints median, smallest and largest over the repeats, and checks ten of the vectors against rebuilt networks.
"""

import argparse
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas_prune.graph.resize import resized
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace


def main() -> None:
    """Measure, check and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="resnet110")
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    started = perf_counter()
    space = load_space(options.space)
    loading = perf_counter() - started
    rng = np.random.default_rng(0)
    widths_NG = rng.integers(1, np.array(space.base_G) + 1, (options.vectors, len(space.groups)))
    for kind in ("macs", "params", "activations"):
        seconds = [_time(space, kind, widths_NG) for _ in range(options.repeats)]
        print(
            f"{options.space}, {options.vectors:,} vectors of {len(space.groups)} widths, {kind}: "
            f"median {median(seconds):.3f} s (n = {options.repeats}, {min(seconds):.3f} to {max(seconds):.3f})"
        )
    print(f"loading the space, tracing and self-check included: {loading:.2f} s")
    _check(space, widths_NG[:10])
    print(f"torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} threads")


def _time(space: SearchSpace, kind: str, widths_NG: np.ndarray) -> float:
    started = perf_counter()
    space.cost.kind(kind)(widths_NG)
    return perf_counter() - started


def _check(space: SearchSpace, widths_NG: np.ndarray) -> None:
    for widths in widths_NG.tolist():
        model = resized(space.template, space.graph, widths).to("meta").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, *space.reference.input_shape, device="meta"))
        cost = space.cost_at(widths)
        assert cost.macs * 2 == counter.get_total_flops()
        assert cost.params == sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(widths_NG)} of them rebuilt and counted by PyTorch: equal")


if __name__ == "__main__":
    main()
