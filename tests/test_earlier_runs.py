"""Runs, widths, guidelines, studies and comparisons of before the rooms were rebuilt are still read and resumed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas_prune.cli import main

RUNS = Path(__file__).parent / "earlier_runs"


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, as the current directory."""
    place = tmp_path / "earlier"
    shutil.copytree(RUNS, place)
    monkeypatch.chdir(place)
    return place


def result_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return content


def holds(before: object, now: object) -> bool:
    """Whether all that stood in a result still stands there; later versions say more."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(key in now and holds(value, now[key]) for key, value in before.items())
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(holds, before, now))
    return before == now


def test_every_kind_is_reported(earlier: Path) -> None:
    kinds = ["search", "train", "evaluate", "study", "compare", "transfer"]
    assert main(["report", *kinds, "guideline.yaml", "--out", "report.json"]) == 0
    runs = json.loads((earlier / "report.json").read_text(encoding="utf-8"))["runs"]
    assert [run["kind"] for run in runs] == [*kinds, "guideline"]
    assert all(run["numbers"] for run in runs)


def test_a_stopped_search_goes_on_and_a_finished_one_writes_its_network(earlier: Path) -> None:
    assert main(["search", "--resume", "search-stopped"]) == 0
    assert result_of(earlier / "search-stopped")["epochs"] == 12
    before = result_of(earlier / "search")
    assert main(["search", "--resume", "search"]) == 0
    after = result_of(earlier / "search")
    assert after["base"].pop("guess") == pytest.approx(0.29, abs=0.01)
    assert after == before
    assert (earlier / "search" / "network.safetensors").exists()


def test_fine_tuning_from_a_search_without_its_network_says_how_to_write_it(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--resume", "train-fine-tune"]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(
        "nas-prune: a search whose weights are used must hold network.safetensors, got search."
    )
    assert said.endswith("Write it: nas-prune search --resume search")
    before = result_of(earlier / "train-fine-tune")
    assert main(["search", "--resume", "search"]) == 0
    assert main(command) == 0
    after = result_of(earlier / "train-fine-tune")
    accuracies = [{key: one[key] for key in before["seeds"][0]} for one in after["seeds"]]
    assert {**{key: after[key] for key in before}, "seeds": accuracies} == before


def test_a_stopped_training_goes_on(earlier: Path) -> None:
    assert main(["train", "--resume", "train-stopped"]) == 0
    assert len((earlier / "train-stopped" / "seed-0" / "metrics.jsonl").read_text().splitlines()) == 12


def test_a_study_takes_more_trials_and_keeps_its_ranking(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "run", "study", "--trials", "4", "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [trial["number"] for trial in printed["studies"][0]["trials"]] == [0, 1, 2, 3]
    before = result_of(earlier / "study" / "rank" / "study")
    assert main(["study", "rank", "study", "--top", "2", "--seeds", "1", "--full-seeds", "1"]) == 0
    assert result_of(earlier / "study" / "rank" / "study").keys() >= before.keys()


@pytest.mark.parametrize("kind", ["compare", "transfer"])
def test_a_comparison_takes_more_seeds(kind: str, earlier: Path) -> None:
    before = result_of(earlier / kind)
    assert main([kind, "--resume", kind, "--seeds", "2"]) == 0
    now = result_of(earlier / kind)
    assert now.keys() >= before.keys()
    assert now["test"] == before["test"] == "t"
    assert now["seeds"] == 2


def test_a_comparison_file_and_an_evaluation_go_on(earlier: Path) -> None:
    before = result_of(earlier / "compare-file" / "compare")
    assert main(["compare", "compare.yaml", "--out", "compare-file"]) == 0
    now = result_of(earlier / "compare-file" / "compare")
    said = before.pop("sentences")
    assert {one for one in said if "guessing" not in one} <= set(now["sentences"])
    assert any(
        "hardly better than guessing the largest class" in one for one in now["sentences"]
    )  # in other words
    assert holds(before, now)
    assert not holds({"arms": [{"arm": "scratch-a"}]}, before)
    assert main(["evaluate", "--resume", "evaluate"]) == 0
    assert (earlier / "evaluate" / "random-macs" / "001" / "result.json").exists()


def test_a_guideline_is_applied(earlier: Path) -> None:
    space = ["--space", "resnet20", "--width-multiplier", "0.125", "--image-size", "8", "--in-channels", "1"]
    options = ["--guideline", "guideline.yaml", *space, "--budget", "macs<=50%", "--out", "applied.json"]
    assert main(["apply", *options]) == 0
    assert (earlier / "applied.json").exists()


@pytest.mark.slow
def test_a_stopped_search_by_all_methods_goes_on(earlier: Path) -> None:
    assert main(["search", "--resume", "search-all"]) == 0
    assert len(list((earlier / "search-all").glob("*/result.json"))) > 10
