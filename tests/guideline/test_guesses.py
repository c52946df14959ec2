"""Widths that a network found which is hardly better than guessing say little, and are left out."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from nas_prune.cli import main
from nas_prune.data.guessing import guess_share
from nas_prune.errors import GuidelineError
from nas_prune.guideline.files import read_sources

SEARCH = Path(__file__).parents[1] / "earlier_runs" / "search"


@pytest.mark.parametrize(
    ("counts", "least", "most"),
    [
        ([100] * 10, 0.14, 0.16),  # one and a half classes
        ([26, *[8] * 9], 0.26, 0.40),  # the largest class, and what chance adds to it
        ([259, *[82] * 9], 0.26, 0.30),
        ([5, 5], 0.8, 0.9),
        ([10, 0], 1.0, 1.0),
    ],
)
def test_guessing_is_naming_the_largest_class(counts: list[int], least: float, most: float) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    assert least <= guess_share(labels, len(counts)) <= most


def run_with(tmp_path: Path, name: str, accuracy: float, seed: int) -> Path:
    run = Path(shutil.copytree(SEARCH, tmp_path / name))
    content = json.loads((run / "result.json").read_text())
    content["base"] |= {"val_accuracy": accuracy, "guess": 0.16}
    (run / "result.json").write_text(json.dumps(content))
    for path in (run / "widths").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": seed}))
    return run


def test_runs_that_guess_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    good, bad = run_with(tmp_path, "good", 0.5, 1), run_with(tmp_path, "bad", 0.1, 2)
    found, notes = read_sources([good, bad])
    assert {one.record.seed for one in found} == {1}
    assert "their network is hardly better than guessing" in notes[0]
    assert len(read_sources([good, bad], with_guesses=True)[0]) >= len(found)
    with pytest.raises(GuidelineError, match=r"better than guessing, got \d+ by ones that are not"):
        read_sources([bad])


def test_a_search_that_guesses_is_said_wherever_it_is_shown(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with(in_empty_directory, "bad", 0.1, 0)
    assert main(["report", str(run), "--format", "md"]) == 0
    assert "hardly better than guessing the largest class" in capsys.readouterr().out
    assert main(["guide", str(run)]) == 2
    assert "--with-guesses" in capsys.readouterr().err
    assert main(["guide", str(run), "--with-guesses"]) == 0
