"""`--groups selections` as a user types it: searched, inspected, trained from the file, fine-tuned, resumed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from nas_prune.cli import main
from tests.runs.test_resume import contents

SPACE = ("--space", "tests.networks:preresnet20")
WIDTHS = "search/widths/channels-40pct.json"
TRAIN = ("train", *SPACE, "--widths", WIDTHS, "--max-images", "200", "--epochs", "1", "--seeds", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished search of selections in it."""
    place = tmp_path_factory.mktemp("selections")
    short = ("--epochs", "2", "--max-images", "200", "--budget", "macs<=50%", "--budget", "channels<=40%")
    assert main(["search", *SPACE, "--groups", "selections", *short, "--out", str(place / "search")]) == 0
    return place


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def groups_of(path: str) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))["groups"]
    return groups


def test_a_search_writes_the_channels_whose_scales_are_largest() -> None:
    weights = load_file("search/network.safetensors")
    kept = json.loads(Path("search/kept.json").read_text(encoding="utf-8"))["channels-40pct"]
    groups = groups_of(WIDTHS)
    selections = [column for column, group in enumerate(groups) if group["role"] == "selection"]
    assert len(selections) == 7
    assert any(groups[column]["indices"] != list(range(groups[column]["width"])) for column in selections)
    for column in selections:
        group = groups[column]
        scale = weights[group["name"].replace(".select", ".norm.weight")].abs().numpy()
        best = np.sort(np.argsort(-scale, kind="stable")[: group["width"]])
        assert group["indices"] == best.tolist() == kept[column]
    whole = [group for group in groups_of("search/widths/whole.json") if group["role"] == "selection"]
    assert all(group["indices"] == list(range(group["base"])) for group in whole)


@pytest.mark.slow
def test_a_search_goes_on_to_the_same_files() -> None:
    before = contents(Path("search"))
    assert main(["search", "--resume", "search", *SPACE]) == 0
    assert contents(Path("search")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [("--schedule", "scratch-e"), ("--schedule", "fine-tune", "--from", "search")],
    ids=lambda how: how[1],
)
def test_what_is_trained_reads_the_selected_channels(how: tuple[str, ...]) -> None:
    run = f"trained-{how[1]}"
    assert main([*TRAIN, *how, "--out", run]) == 0
    weights = load_file(Path(run, "seed-0/network.safetensors"))
    for group in groups_of(WIDTHS):
        if group["role"] == "selection":
            assert weights[f"{group['name']}.indices"].tolist() == group["indices"]
    before = contents(Path(run))
    assert main(["train", "--resume", run, *SPACE]) == 0
    assert contents(Path(run)) == before


def test_fine_tuning_refuses_the_same_widths_of_other_channels(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(Path(WIDTHS).read_text(encoding="utf-8"))
    group = max(content["groups"], key=lambda group: group["base"] - group["width"])
    group["indices"] = sorted(set(range(group["base"])) - set(group["indices"]))[: group["width"]]
    assert len(group["indices"]) == group["width"]
    Path("other.json").write_text(json.dumps(content), encoding="utf-8")
    tuned = [
        "train",
        *SPACE,
        "--widths",
        "other.json",
        "--schedule",
        "fine-tune",
        "--from",
        "search",
        "--epochs",
        "1",
    ]
    assert main(tuned) == 2
    assert "must be the search that found the widths" in capsys.readouterr().err


def test_inspect_shows_selections_and_what_they_leave_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *SPACE, "--groups", "selections", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["space"]["selections"]
    assert sum(group["role"] == "selection" for group in facts["groups"]) == 7
    assert list(facts["feasible"]) == ["selections"]
    assert main(["inspect", *SPACE, "--groups", "all"]) == 0
    out = capsys.readouterr().out
    assert "selected from" not in out
    assert "--groups all" in out
    assert "--groups inner" not in out


def test_a_network_without_streams_to_select_from_is_refused_before_anything_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["search", "--space", "vgg11", "--groups", "selections", "--out", "nothing"]) == 2
    assert "network vgg11 must have batch norms that read a residual stream" in capsys.readouterr().err
    assert not Path("nothing").exists()
