"""`nas-prune study` and `nas-prune dashboard` as typed."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from nas_prune.cli import main

STUDY = """
question: Does it work?
space: resnet20
data: {name: digits, max_images: 150, val_fraction: 0.4}
epochs: 1
budget: macs<=30%
trials: 3
threads: 1
"""


def refuse(word: str) -> Any:
    raise AssertionError(word)


def test_a_study_is_run_gone_on_with_and_recovered(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_empty_directory / "own.yaml").write_text(STUDY, encoding="utf-8")
    assert main(["study", "run", "own.yaml"]) == 0
    printed = capsys.readouterr()
    assert "own: 3 complete" in printed.out
    assert "nas-prune study rank runs/own" in printed.out
    assert "own, trial 0 (uniform):" in printed.err
    assert main(["study", "run", "runs/own", "--trials", "4", "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out, parse_constant=refuse)
    (study,) = content["studies"]
    assert study["ends"] == {"complete": 4}
    assert all(0 <= trial["val_accuracy"] <= 1 for trial in study["trials"])
    assert main(["study", "recover", "runs/own"]) == 0
    assert capsys.readouterr().out == "Nothing to recover.\n"
    (in_empty_directory / "own.yaml").write_text(STUDY.replace("epochs: 1", "epochs: 2"), encoding="utf-8")
    assert main(["study", "run", "own.yaml"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(
        "nas-prune: the study in runs/own must be continued as it was created, but epochs was 1"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["dashboard", "runs/own", "--port", str(port)]) == 2
    assert f"--port must be free on 127.0.0.1, got {port}" in capsys.readouterr().err


@pytest.mark.parametrize("style", ["table", "json"])
def test_a_study_without_a_finished_trial_is_said_by_the_exit_code_in_either_form(
    style: str, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_empty_directory / "own.yaml").write_text(STUDY, encoding="utf-8")
    assert main(["study", "run", "own.yaml", "--timeout", "1e-9", "--format", style]) == 2
    printed = capsys.readouterr()
    assert "a study must have time for a trial, got none" in printed.err.splitlines()[-1]
    if style == "json":
        assert json.loads(printed.out)["studies"][0]["trials"][0]["fate"] == "waiting"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study", "run", "nothing"], "a study must be a file or one of"),
        (["study", "run", "."], "a run directory must hold config.yaml"),
        (["study", "run", ".", "--sampler", "cma"], "must stand without --sampler"),
        (["study", "run", "own.yaml", "--sampler", "best"], "'best' is not one of"),
        (["study", "rank", "nowhere"], "must be the directory of a study, got nowhere"),
        (["study", "recover", "nowhere"], "must be the directory of a study, got nowhere"),
        (["dashboard"], "RUN must name a study's directory"),
        (["dashboard", "nowhere"], "must be the directory of a study, got nowhere"),
        (["study", "run", "own.yaml", "--storage", "nonsense://x"], "must be a URL that Optuna takes"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], said: str, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_empty_directory / "own.yaml").write_text(STUDY, encoding="utf-8")
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("nas-prune: ")
    assert said in error[-1]
    assert [path.name for path in in_empty_directory.iterdir()] == ["own.yaml"]
