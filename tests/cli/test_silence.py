"""Where there are no bars, nobody waits long without a word."""

import shutil
import time
from pathlib import Path

import pytest

from nas_prune.cli import main, output
from nas_prune.cli.output import showing_progress


def test_a_silence_is_broken_by_what_is_going_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_SILENCE", 0.1)
    with showing_progress() as progress:
        progress.update("training", 3, 10)
        time.sleep(0.35)
        progress.update("training", 10, 10)
        with progress.waiting("weighing"):
            time.sleep(0.2)
        time.sleep(0.2)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("training: 3 of 10, after ")]
    assert [line for line in said if line.startswith("weighing, after ")]
    assert [line for line in said if line.startswith("still at work, after ")]
    assert len(said) <= 8  # not more often than that


def test_nothing_is_added_where_something_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_SILENCE", 0.3)
    with showing_progress() as progress:
        for number in range(10):
            progress.say(f"{number}")
            time.sleep(0.05)
    assert capsys.readouterr().err.splitlines() == [f"{number}" for number in range(10)]


@pytest.mark.slow
def test_a_ranking_says_what_it_does(in_empty_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(Path(__file__).parents[1] / "earlier_runs" / "study", "own")
    shutil.rmtree("own/rank")
    assert main(["study", "rank", "own", "--top", "1", "--seeds", "1", "--full-seeds", "1"]) == 0
    said = capsys.readouterr().err
    assert "Round 1 of the race" in said
    assert "short, seed 1000: epoch 1 of 1" in said
    assert "study: the race is over; now in full, " in said
    assert "full, seed 2000: epoch " in said
