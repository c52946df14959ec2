"""How far the widths of some searches are from those of others, as mean differences of keep ratios over layers.

    python tools/width_distance.py macs-50pct.json --of whole-0 whole-1 whole-2 --to short-0 short-1 short-2

For each search of `--to` it prints the mean over all channel groups of |keep ratio - mean of those of `--of`|; for each
of `--of` the same with the mean of the others. The file is the name that a budget's widths have in `RUN/widths/`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas_prune.space.widths import read_widths


def keep_ratios(run: Path, file: str) -> np.ndarray:
    """The keep ratio of each channel group that a search found."""
    return np.array([group.keep_ratio for group in read_widths(run / "widths" / file).groups])


def distances(file: str, of: Sequence[Path], to: Sequence[Path]) -> dict[str, float]:
    """Of each search, in the order given; of those of `of` to the others."""
    own = [keep_ratios(run, file) for run in of]
    found = {}
    for place, run in enumerate(of):
        others = [ratios for other, ratios in enumerate(own) if other != place]
        found[str(run)] = float(np.abs(own[place] - np.mean(others, axis=0)).mean())
    for run in to:
        found[str(run)] = float(np.abs(keep_ratios(run, file) - np.mean(own, axis=0)).mean())
    return found


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="such as macs-50pct.json")
    parser.add_argument(
        "--of", type=Path, nargs="+", required=True, help="searches that are compared with, at least two"
    )
    parser.add_argument("--to", type=Path, nargs="*", default=[], help="searches that are compared")
    asked = parser.parse_args()
    if len(asked.of) < 2:
        parser.error("--of must name at least two searches")
    for run, distance in distances(asked.file, asked.of, asked.to).items():
        print(f"{run}  {distance:.3f}")


if __name__ == "__main__":
    main()
