"""How often a guideline's test finds a pattern that was planted, and makes one up: figures of `nas_prune/guideline`.

    python tools/measure_guidelines.py

Takes some ten minutes of one core; `--tries N` takes fewer than the 200 and 400 of the page.
"""

import argparse

from tests.guideline.test_levels import DESIGNS, made_up
from tests.guideline.test_power import quarters

SEEDS = (2, 3, 5, 8)
WITHOUT = ("two networks", "two networks, cells unlike", "two networks, one cell far")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=200)
    tries = parser.parse_args().tries
    for seeds in SEEDS:
        found, smallest = quarters(seeds, tries)
        print(
            f"patterns of a quarter, {seeds} seeds: found in {found:.1%} of {tries}; else smallest {smallest:.2f}"
        )
    for name in WITHOUT:
        print(
            f"no pattern, {name}: one made up in {made_up(DESIGNS[name], 2 * tries, seed=2):.2%} of {2 * tries}"
        )


if __name__ == "__main__":
    main()
