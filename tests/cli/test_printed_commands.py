"""Every command that is printed to be typed is one that can be typed, also where names hold spaces and quotes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from nas_prune.cli import main
from tests.cli.printed import PLACE, SHORT, STUDY, Runner, check, expect, printed_in, run, words_of

FILLED = {"IMAGES…": "a b.png", "folder:PATH": "digits", "RUN": "study"}
BUDGETS = ("--budget", "macs<=50%", "--budget", "params<=60%")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / PLACE
    home.mkdir()
    monkeypatch.chdir(home)
    Path("small.yaml").write_text(STUDY, encoding="utf-8")
    Image.new("L", (8, 8)).save("a b.png")
    return home


@pytest.fixture
def typed(place: Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Runs a command, and checks all that it prints."""

    def runs(*words: str, code: int = 0) -> list[str]:
        found = run(capsys, code, *words)
        for command in found:
            check(command, FILLED)
        return found

    return runs


@pytest.mark.slow
def test_searches_and_trainings_print_what_can_be_typed(typed: Runner) -> None:
    found = typed("search", *SHORT, *BUDGETS, "--out", "a search's")
    expect(found, "nas-prune train 'a search'\"'\"'s' --budget 'macs<=50%'", "nas-prune search --resume")
    found = typed(*words_of(found[0], FILLED), "--epochs", "1", "--seeds", "1", "--out", "a training's")
    expect(found, "nas-prune predict 'a training'\"'\"'s' IMAGES…", "nas-prune train --resume")
    assert main(words_of(found[0], FILLED)) == 0
    found = typed("apply", "--guideline", "erk", "--space", "vgg11", *BUDGETS[:2], "--image-size", "8",
                  "--in-channels", "1", "--out", "its widths.json")  # fmt: skip
    expect(found, "nas-prune train 'its widths.json' --data folder:PATH")
    Path("a search's/network.safetensors").unlink()
    tuned = ("train", "a search's", *BUDGETS[:2], "--schedule", "fine-tune", "--epochs", "4", "--seeds", "1")
    (again,) = typed(*tuned, code=2)
    typed(*words_of(again, FILLED))
    assert Path("a search's/network.safetensors").exists()
    Path("a training's/seed-0/network.safetensors").unlink()
    expect(typed("predict", "a training's", "a b.png", code=2), "nas-prune train --resume 'a training'")


def test_studies_print_what_can_be_typed(typed: Runner) -> None:
    found = typed("study", "run", "small.yaml", "--out", "a study's")
    assert {command.split()[2 if " study " in command else 1] for command in found} == {"rank", "dashboard"}
    expect(typed("train", "a study's", code=2), "nas-prune study rank 'a study'")
    expect(typed("compare", "a study's", code=2), "nas-prune study rank 'a study'")
    with Path("a study's/journal.log").open("a", encoding="utf-8") as journal:
        journal.write('{"op_code": 4, "worker_id": "x", "trial')
        journal.write("\n{}\n")
    (mending,) = typed("study", "rank", "a study's", code=2)
    assert words_of(mending, FILLED) == ["study", "recover", str(Path("a study's").absolute())]
    assert main(words_of(mending, FILLED)) == 0
    shutil.move("a study's/journal.log", "else where.log")
    with Path("else where.log").open("a", encoding="utf-8") as journal:
        journal.write('{"op_code": 4, "worker_id": "x", "trial\n{}\n')
    shutil.copytree("a study's", "study")
    (mending,) = typed("report", "study", "--storage", "else where.log", "--out", "r.html", code=2)
    assert words_of(mending, {})[:4] == ["study", "recover", "RUN", "--storage"]


@pytest.mark.slow
def test_a_stopped_search_prints_what_goes_on_with_it(place: Path, typed: Runner) -> None:
    words = (
        "search",
        "--epochs",
        "300",
        "--no-stop",
        "--max-images",
        "60",
        *BUDGETS[:2],
        "--out",
        "it's stopped",
    )
    with subprocess.Popen(
        [sys.executable, "-m", "nas_prune", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not Path("it's stopped/metrics.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130
    found = printed_in(said)
    expect(found, "nas-prune search --resume 'it'\"'\"'s stopped'")  # before and after the stop
    check(found[0], FILLED)
    assert said.count(found[0]) == 2


@pytest.mark.parametrize(
    "text",
    ["Next: nas-prune train 'run'", "Or: torchrun --nproc-per-node 2 -m nas_prune train x"],
)
def test_commands_are_found(text: str) -> None:
    assert len(printed_in(f"before\n{text}\nafter")) == 1
    assert printed_in("`nas-prune guide RUN` writes one; a run of nas-prune search. nas-prune: no") == []


def test_what_cannot_be_typed_is_noticed(place: Path) -> None:
    with pytest.raises(AssertionError, match="no nowhere"):
        check("nas-prune train nowhere", {})
    with pytest.raises(Exception, match="unexpected extra argument"):
        check("nas-prune study rank a study's'", {})
    with pytest.raises(AssertionError):
        check("nas-prune search --resume nowhere", {})


@pytest.mark.slow
def test_all_that_is_printed_is_typed_and_runs(typed: Runner) -> None:
    once = ("--seeds", "1", *SHORT)
    found = typed("search", "--method", "all", *SHORT, *BUDGETS[:2], "--out", "by all")
    found += typed("search", *SHORT, *BUDGETS[:2], "--out", "a search's")
    found += typed("guide", "a search's", "--with-guesses", "--out", "the guideline.yaml")
    guided = ("--guideline", "the guideline.yaml", "--space", "resnet20", *BUDGETS[:2])
    found += typed("apply", *guided, "--image-size", "8", "--in-channels", "1", "--out", "its widths.json")
    found += typed("evaluate", *guided, "--networks", "2", *SHORT, "--out", "an evaluation")
    found += typed("compare", "a search's", *once, "--arm", "uniform-params-b", "--out", "a comparison")
    found += typed("transfer", *guided, *once, "--out", "a transfer")
    found += typed("study", "run", "small.yaml", "--out", "a study")
    found += typed("study", "rank", "a study", "--top", "1", "--seeds", "2", "--full-seeds", "1")
    found += typed("report", "a search's", "a comparison", "a transfer", "--out", "the report.html")
    about = {words_of(command, {})[0] for command in found}
    assert about == {"search", "train", "evaluate", "compare", "transfer", "study", "dashboard"}
    for command in dict.fromkeys(found):
        if " dashboard " not in command:  # it serves until Ctrl-C
            assert main(words_of(command, FILLED)) == 0, command
