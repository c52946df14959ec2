"""What each arm of a comparison took: its trainings, and all that had to be trained to have it at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas_prune.cli import main
from nas_prune.space.widths import read_widths

RUNS = Path(__file__).parents[1] / "earlier_runs"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A comparison with a guideline and a study's winner, of runs that are there."""
    home = tmp_path_factory.mktemp("told")
    for name in ("search", "study", "guideline.yaml"):
        (shutil.copytree if (RUNS / name).is_dir() else shutil.copy)(RUNS / name, home / name)
    given = ["--guideline", str(home / "guideline.yaml"), "--study", str(home / "study")]
    arms = [word for arm in ("winner-e", "guided-e", "fine-tuned") for word in ("--arm", arm)]
    small = ["--seeds", "2", "--epochs", "1", "--threads", "1"]
    command = ["compare", str(home / "search"), *given, *arms, *small, "--out", str(home / "run")]
    assert main(command) == 0
    content: dict[str, Any] = json.loads((home / "run" / "result.json").read_text(encoding="utf-8"))
    return home, content


def test_every_arm_is_charged_what_had_to_be_trained_to_have_it(told: tuple[Path, dict[str, Any]]) -> None:
    home, content = told
    arms = {one["arm"]: one for one in content["arms"]}
    widths = read_widths(home / "search" / "widths" / "macs-50pct.json")
    whole, images = widths.base_cost.macs, 90
    search = 3 * whole * images * (widths.epochs or 0)
    assert search > 0
    assert arms["scratch-e"]["search_macs"] == search
    assert arms["scratch-e"]["training_macs"] == 3 * widths.cost.macs * images * 2
    assert arms["fine-tuned"]["search_macs"] == search + 2 * 3 * whole * images * 1
    assert arms["guided-e"]["search_macs"] is None  # a guideline file of before says nothing of its images
    assert arms["winner-e"]["search_macs"] is None  # whose guideline it was


def test_a_winner_is_trained_with_seeds_by_which_it_was_not_chosen(
    told: tuple[Path, dict[str, Any]],
) -> None:
    _, content = told
    arms = {one["arm"]: [each["seed"] for each in one["trained"]] for one in content["arms"]}
    assert len(set(arms["winner-e"])) == 2
    assert not set(arms["winner-e"]) & {0, 1000, 2000}  # of its trials, and of its ranking
    assert arms["scratch-e"] == [0, 1]
