"""What a command prints as the next step is typed as it is printed, and does what is meant."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from nas_prune.cli import main
from nas_prune.runs.stopping import resume_hint
from nas_prune.training.config import resume_command
from nas_prune.training.ranks import ALONE
from tests.conftest import WriteDigits


def next_step(printed: str) -> list[str]:
    (line,) = re.findall(r"^Next: +nas-prune (.*)$", printed, re.MULTILINE)
    return shlex.split(line)


def test_from_a_folder_with_a_space_in_its_name_to_predictions(
    write_digits: WriteDigits, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits("my pictures/train", {"0": 30, "1": 30})
    write_digits("my pictures/test", {"0": 5, "1": 5})
    budgets = ["--budget", "params<=60%", "--budget", "macs<=30%"]
    images = ["--data", "folder:my pictures", "--image-size", "8", "--max-images", "40"]
    assert main(["search", "--epochs", "1", *images, *budgets, "--out", "a run"]) == 0
    step = next_step(capsys.readouterr().out)
    assert step[:4] == ["train", "a run", "--budget", "params<=60%"]  # the first that was asked for
    assert main([*step, "--epochs", "1", "--seeds", "1", "--out", "trained it"]) == 0
    settings = yaml.safe_load(Path("trained it/config.yaml").read_text(encoding="utf-8"))
    assert settings["data"]["name"] == "folder:../my pictures"
    assert settings["data"]["max_images"] == 40
    step = next_step(capsys.readouterr().out)
    assert step == ["predict", "trained it", "IMAGES…"]
    assert main([*step[:2], "my pictures/test"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if ".png" in line]) == 10


@pytest.mark.slow
def test_a_search_by_all_methods_names_the_widths_to_train_next(
    write_digits: WriteDigits, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits("my pictures/train", {"0": 30, "1": 30})
    write_digits("my pictures/test", {"0": 5, "1": 5})
    images = ["--data", "folder:my pictures", "--image-size", "8", "--max-images", "40"]
    typed = ["--epochs", "1", *images, "--budget", "params<=60%", "--budget", "macs<=50%"]
    assert main(["search", "--method", "all", *typed, "--width-multiplier", "0.25", "--out", "a run"]) == 0
    printed = capsys.readouterr().out
    step = next_step(printed)
    assert step == ["train", "a run/uniform", "--budget", "params<=60%", "--schedule", "scratch-b"]
    assert main([*step, "--epochs", "1", "--out", "trained it"]) == 0
    settings = yaml.safe_load(Path("trained it/config.yaml").read_text(encoding="utf-8"))
    assert (settings["data"]["name"], settings["data"]["max_images"]) == ("folder:../my pictures", 40)
    capsys.readouterr()
    assert main(["search", "--resume", "a run"]) == 0
    assert next_step(capsys.readouterr().out) == step


def test_how_to_go_on_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    command = resume_command("search", Path("a run's"), "resnet20", ALONE)
    assert shlex.split(command) == ["nas-prune", "search", "--resume", "a run's"]
    with pytest.raises(KeyboardInterrupt, match="a run"), resume_hint(command):
        raise KeyboardInterrupt("stopped")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["serach"], "got 'serach'. Did you mean search?"),
        (["xyz"], "got 'xyz'. nas-prune --help lists them."),
        (["search", "--data", "cats"], "There is a folder of that name: --data folder:cats"),
        (["train", "--widths", "run"], "got the directory run. It holds run/widths/macs-50pct.json"),
        (["predict", "run"], "IMAGES must be given|which holds none"),
    ],
)
def test_a_mistake_is_answered_with_what_was_meant(
    typed: list[str], said: str, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cats").mkdir()
    Path("run/widths").mkdir(parents=True)
    Path("run/widths/macs-50pct.json").touch()
    assert main(typed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line), line


def test_a_line_for_an_epoch_where_there_is_no_bar(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "search",
                "--epochs",
                "3",
                "--no-stop",
                "--max-images",
                "60",
                "--budget",
                "macs<=50%",
                "--out",
                "run",
            ]
        )
        == 0
    )
    found = re.findall(r"epoch ([13]) of 3, loss [0-9.]+, val\. accuracy [0-9.]+ %", capsys.readouterr().err)
    assert found == ["1", "3"]  # and the second, if it took long
