"""Distances between widths, against arithmetic by hand."""

from pathlib import Path

import pytest

from nas_prune.space.load import load_space
from tools.width_distance import distances

SPACE = load_space("vgg11", (1, 8, 8), width_multiplier=0.25)


def found(run: Path, share: float) -> Path:
    """A search's directory with widths of one share of every layer."""
    (run / "widths").mkdir(parents=True)
    SPACE.widths([int(base * share) for base in SPACE.base_G]).write(run / "widths" / "a.json")
    return run


def test_distances_are_means_of_differences_to_the_mean_of_the_others(tmp_path: Path) -> None:
    of = [found(tmp_path / name, share) for name, share in (("one", 0.25), ("two", 0.5), ("three", 1.0))]
    to = [found(tmp_path / "four", 0.75)]
    told = list(distances("a.json", of, to).values())
    assert told == pytest.approx([0.5, 0.125, 0.625, 0.75 - 1.75 / 3])
