"""Are widths that a target wants at least as fast as others of the same MACs? Pairs of random networks, timed whole.

    python tools/aligned_or_not.py --space torchvision:resnet18 --image-size 64 --target cpu-onnxruntime --out FILE.csv

Each pair has the same random shares of its groups, cut to one number of MACs: once in the target's multiples, once in
single channels. Networks are timed in passes, every time in another order; of each the quickest pass counts. Prints the
quotient of the times, aligned over not, with a 95 % interval over pairs. Nothing else should run on the machine.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from nas_prune.hardware.measure import measured_latency
from nas_prune.hardware.use import aimed
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.load import load_space
from nas_prune.space.networks import network_named
from nas_prune.space.search_space import SearchSpace

_PASSES = 3


def pairs(space: SearchSpace, target: str, share: float, count: int) -> list[tuple[tuple[int, ...], ...]]:
    """Widths in the target's multiples and in single channels, of the same random shares and at most as many MACs."""
    found = []
    for seed in range(count):
        columns, bound = tuple(range(len(space.groups))), Budget("macs", share)
        wanted = matched(aimed(space, target), columns, bound, np.random.default_rng(seed))
        same = Budget("macs", absolute=wanted.count)
        other = matched(space, columns, same, np.random.default_rng(seed))
        found.append((wanted.widths_G, other.widths_G))
    return found


def timed(space: SearchSpace, each: Sequence[tuple[int, ...]], target: str, threads: int) -> list[float]:
    """Milliseconds of each network: the quickest of several passes."""
    found = np.full((_PASSES, len(each)), np.inf)
    for turn in range(_PASSES):
        for number in np.random.default_rng(turn).permutation(len(each)):
            timing = measured_latency(space, each[number], target, threads, bursts=1)
            found[turn, number] = timing.median_ns / 10**6
    return [float(best) for best in found.min(axis=0)]


def main() -> None:
    """Draw, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", required=True)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--target", default="cpu-onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--macs", type=float, default=0.3)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    channels, height, width = network_named(asked.space).input_shape
    space = load_space(asked.space, (channels, asked.image_size or height, asked.image_size or width))
    drawn = pairs(space, asked.target, asked.macs, asked.pairs)
    times = timed(space, [widths for pair in drawn for widths in pair], asked.target, asked.threads)
    own, other = np.array(times[::2]), np.array(times[1::2])
    with asked.out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("pair", "aligned_ms", "other_ms", "aligned_macs", "other_macs"))
        for number, pair in enumerate(drawn):
            macs = (space.cost_at(widths).macs for widths in pair)
            writer.writerow((number, f"{own[number]:.4f}", f"{other[number]:.4f}", *macs))
    logs = np.log(own / other)
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    print(
        f"{asked.space} on {asked.target}, {asked.threads} thread{'s' * (asked.threads > 1)}: aligned widths take "
        f"{np.exp(logs.mean()):.3f} of the time of others of the same MACs (95 % interval {np.exp(low):.3f} to "
        f"{np.exp(high):.3f}, n = {len(logs)} pairs; single pairs {np.exp(logs.min()):.2f} to {np.exp(logs.max()):.2f})"
    )


if __name__ == "__main__":
    main()
