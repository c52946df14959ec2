"""Widths of one search at budgets on MACs, and uniform ones, that are measured to be as fast as those at its latency.

    python tools/at_equal_latency.py RUN --budget 'latency<=50%' --out DIR

RUN is a search with a measured target. Its scores are cut at budgets on MACs in steps of 1 %, as are uniform widths;
every network is timed whole, all of them in turn and that several times over. Writes DIR/latency.json (the search's
widths), DIR/macs.json and DIR/uniform.json (the smallest ones that are not faster: rounding is in their favour), and
DIR/measured.csv. Nothing else should run.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas_prune.hardware.use import aimed, target_in, timer_for
from nas_prune.runs.settings import read_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.result import file_stem
from nas_prune.search.scores_file import read_scores
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut, matched
from nas_prune.space.load import load_referenced
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths

_STEP = 0.01
_TURNS = 3


def candidates(run: Path, space: SearchSpace, lowest: float, highest: float) -> dict[str, list[Widths]]:
    """The search's widths at budgets on MACs, and uniform ones, rising."""
    scores, columns = read_scores(run, space), space.searched(read_config(run, SearchConfig).groups)
    found: dict[str, list[Widths]] = {"macs": [], "uniform": []}
    for share in np.arange(lowest, highest + 1e-9, _STEP):
        budget = Budget("macs", round(float(share), 4))
        found["macs"].append(space.widths(cut(space, scores, budget).widths_G, budget=str(budget)))
        found["uniform"].append(space.widths(matched(space, columns, budget).widths_G, budget=str(budget)))
    return found


def timed(
    space: SearchSpace, target: str, vectors: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    """Milliseconds of each network: the median of several turns through all of them in random order."""
    time = timer_for(space, target)
    if time is None:
        raise SystemExit("the search's table must have been measured on this machine.")
    rng, unique = np.random.default_rng(0), sorted(set(vectors))
    found: dict[tuple[int, ...], list[float]] = {vector: [] for vector in unique}
    for _ in range(_TURNS):
        for number in rng.permutation(len(unique)):
            found[unique[number]].append(time(unique[number], ()))
    return {vector: float(np.median(times)) for vector, times in found.items()}


def main() -> None:
    """Cut, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--budget", type=Budget.parse, default=Budget.parse("latency<=50%"))
    parser.add_argument("--lowest", type=float, default=0.2)
    parser.add_argument("--highest", type=float, default=0.8)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    fast = read_widths(asked.run / "widths" / f"{file_stem(asked.budget)}.json")
    target = str(target_in(asked.run))
    space = aimed(load_referenced(fast.space), target)
    others = candidates(asked.run, space, asked.lowest, asked.highest)
    all_widths = [("latency", fast), *((name, one) for name, own in others.items() for one in own)]
    times = timed(space, target, [one.vector for _, one in all_widths])
    asked.out.mkdir(parents=True)
    fast.write(asked.out / "latency.json")
    for name, own in others.items():
        slower = [one for one in own if times[one.vector] >= times[fast.vector]]
        chosen = min(slower, key=lambda one: one.cost.macs)
        assert chosen.target is not None
        measured = chosen.target.model_copy(update={"measured_ms": times[chosen.vector]})
        chosen.model_copy(update={"target": measured}).write(asked.out / f"{name}.json")
    with (asked.out / "measured.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("widths", "budget", "macs", "params", "predicted_ms", "measured_ms", "slower"))
        for name, one in all_widths:
            assert one.target is not None
            predicted, measured_ms = one.target.cost.latency_ms or 0.0, times[one.vector]
            costs = (one.cost.macs, one.cost.params, f"{predicted:.4f}", f"{measured_ms:.4f}")
            writer.writerow((name, one.budget, *costs, f"{measured_ms / predicted - 1:+.3f}"))


if __name__ == "__main__":
    main()
