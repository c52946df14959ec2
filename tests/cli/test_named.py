"""RUN is an argument of every command; one of the command's own kind is gone on with, any other is what it is about."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from nas_prune.cli import COMMANDS, app, main
from tests.runs.test_resume import contents

SHORT = ("--epochs", "1", "--max-images", "60")
ONCE = ("--epochs", "1", "--seeds", "1")
TAKES_RUNS = {
    "search": "[RUN]",
    "sparsify": "[RUN]",
    "train": "[RUN|FILE]",
    "guide": "[RUN]...",
    "evaluate": "[RUN]...",
    "compare": "[RUN|FILE]",
    "transfer": "[RUN]",
    "predict": "RUN",
    "export": "RUN",
    "compress": "[RUN]",
    "report": "RUN...",
    "dashboard": "[RUN]",
    "study run": "[RUN|FILE]",
    "study rank": "RUN",
    "study recover": "RUN",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with searches of one and of two budgets, and a training."""
    home = tmp_path_factory.mktemp("named")
    both = ("--budget", "macs<=50%", "--budget", "params<=30%")
    assert main(["search", *SHORT, *both, "--out", str(home / "search")]) == 0
    assert main(["search", *SHORT, *both[:2], "--out", str(home / "single")]) == 0
    assert main(["train", str(home / "single"), *ONCE, "--out", str(home / "trained")]) == 0
    return home


@pytest.fixture(autouse=True)
def there(place: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    yield
    os.chdir(before)


def test_every_command_about_a_run_takes_it_as_its_first_argument() -> None:
    found = {}
    context = click.Context(app)
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {"": command}
        for inner, one in below.items():
            named = [own.make_metavar(context) for own in one.params if isinstance(own, click.Argument)]
            if named and "RUN" in named[0]:
                found[f"{name} {inner}".strip()] = named[0]
    assert found == TAKES_RUNS


def test_options_that_take_a_run_say_so() -> None:
    context = click.Context(app)
    for name, flags in {
        "search": ["--resume"],
        "train": ["--resume", "--from", "--teacher"],
        "compare": ["--resume", "--from", "--study"],
        "evaluate": ["--resume", "--direct"],
        "transfer": ["--resume"],
    }.items():
        command = app.get_command(context, name)
        assert command is not None
        shown = {own.opts[0]: own.make_metavar(context) for own in command.params}
        assert all("RUN" in shown[flag] for flag in flags), name


def test_a_search_is_trained_and_brings_its_budget_images_and_weights() -> None:
    assert main(["train", "search", "--budget", "params<=30%", *ONCE, "--out", "by-run"]) == 0
    file = "search/widths/params-30pct.json"
    assert main(["train", file, *ONCE, "--out", "by-file"]) == 0
    assert main(["train", "--widths", file, *ONCE, "--out", "by-flag"]) == 0
    assert contents(Path("by-run")) == contents(Path("by-file")) == contents(Path("by-flag"))
    settings = yaml.safe_load(Path("by-run/config.yaml").read_text(encoding="utf-8"))
    assert settings["data"]["max_images"] == 60
    assert settings["inherits_from"] is None
    tuned = ["train", "single", "--schedule", "fine-tune", "--epochs", "4", "--seeds", "1", "--out", "tuned"]
    assert main(tuned) == 0
    settings = yaml.safe_load(Path("tuned/config.yaml").read_text(encoding="utf-8"))
    assert settings["inherits_from"] == "../single"


@pytest.mark.parametrize(
    "typed", [["trained"], ["trained", "--resume"], ["--resume", "trained"], ["--resume=trained"]]
)
def test_a_training_is_gone_on_with_however_that_is_said(
    typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(Path("trained"))
    assert main(["train", *typed]) == 0
    assert "Run: trained" in capsys.readouterr().out
    assert contents(Path("trained")) == before


def test_a_search_is_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in (["single"], ["single", "--resume"], ["--resume", "--format", "table", "single"]):
        assert main(["search", *typed]) == 0
        assert (
            capsys.readouterr().out.splitlines()[-1] == "Next:   nas-prune train single --schedule scratch-b"
        )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["train", "search"], "--budget must be one of 'macs<=50%', 'params<=30%', got none. Choose: --budget 'macs"),
        (["train", "search", "--budget", "macs<=10%"], "--budget must be one of 'macs<=50%', 'params<=30%', got macs"),
        (["train", "single", "--widths", "single/widths/macs-50pct.json"], "RUN must name one search or widths file"),
        (["train", "single/widths/macs-50pct.json", "--budget", "macs<=50%"], "--budget must come with a search's"),
        (["train", "."], "widths file must be a file, got the directory"),
        (["train", "nowhere"], "a pattern, or a stopped training, got nowhere, which does not exist"),
        (["train", "trained", "--epochs", "3"], "a run that is gone on with must stand alone, got --epochs"),
        (["train", "--resume"], "--resume must come with one RUN, the run to go on with, got none"),
        (["train", "single", "--resume", "trained"], "--resume must come with one RUN, the run to go on with, got si"),
        (["search", "trained"], "a search, to go on with, got trained, which is the directory of a training"),
        (["search", "nowhere"], "RUN must be a search, to go on with, got nowhere, which does not exist"),
        (["transfer", "search"], "a transfer, to go on with, got search, which is the directory of a search"),
        (["compare", "trained"], "or a comparison to go on with, got trained, which is the directory of a training"),
        (["evaluate", "search", "single", "--resume"], "--resume must come with one RUN"),
        (["dashboard", "search"], "the directory of a study, got search, which is the directory of a search"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else "",
)  # fmt: skip
def test_what_no_run_fits_is_one_line(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    before = sorted(place.iterdir())
    assert main(typed) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(place.iterdir()) == before
