"""`nas-prune train` as a user types it: schedules, teachers, workers, and what each refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from nas_prune.cli import main
from tests.runs.test_resume import contents

TRAIN = (
    "train",
    "--widths",
    "search/widths/macs-50pct.json",
    "--max-images",
    "300",
    "--epochs",
    "4",
    "--seeds",
    "1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished search in it."""
    place = tmp_path_factory.mktemp("place")
    search = (
        "search",
        "--epochs",
        "2",
        "--max-images",
        "300",
        "--budget",
        "macs<=50%",
        "--budget",
        "macs<=30%",
    )
    assert main([*search, "--out", str(place / "search")]) == 0
    return place


@pytest.fixture(autouse=True)
def there(place: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    yield
    os.chdir(before)


def settings(run: str) -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load(Path(run, "config.yaml").read_text(encoding="utf-8"))
    return content


def test_fine_tuning_starts_from_the_weights_that_the_search_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--schedule", "fine-tune", "--from", "search", "--out", "tuned"]) == 0
    assert "fine-tune on digits: 1 epoch (the recipe's 4 × 0.25)" in capsys.readouterr().out
    assert settings("tuned")["inherits_from"] == "../search"
    search, tuned = (load_file(Path(run, "network.safetensors")) for run in ("search", "tuned/seed-0"))
    stream = "bn1.weight"  # of the residual stream, which was left whole
    assert float((search[stream] - tuned[stream]).abs().max()) < 0.02
    assert tuned["layer3.0.conv1.weight"].shape < search["layer3.0.conv1.weight"].shape
    assert main(["train", "--resume", "tuned"]) == 0


def test_rewinding_repeats_the_recipe_from_them() -> None:
    assert main([*TRAIN, "--schedule", "rewind", "--from", "search", "--out", "rewound"]) == 0
    assert json.loads(Path("rewound/result.json").read_text())["epochs"] == 4
    last = json.loads(Path("rewound/seed-0/metrics.jsonl").read_text().splitlines()[-1])
    assert last["learning_rate"] < 0.01  # one rise and fall


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--from", "search"), "--from must come with --schedule fine-tune or rewind, got scratch-b"),
        (
            ("--schedule", "rewind", "--from", "nowhere"),
            "--from must be the directory of a search, got nowhere",
        ),
        (
            ("--schedule", "rewind", "--cap", "2", "--from", "search"),
            "--cap must come with --schedule scratch-b",
        ),
        (("--teacher", "nowhere"), "--teacher must be the directory of a search or a training, got nowhere"),
        (
            ("--recipe", "none.yaml"),
            "--recipe must be a recipe's file, got none.yaml, which does not exist",
        ),
        (("--stream",), "--stream must come with --data folder:PATH"),
        (("--workers", "0"), "'--workers': 0 is not in the range"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, *flags, "--out", "refused"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert why in said[0]
    assert not Path("refused").exists()


def test_a_file_that_has_left_its_search_does_not_say_what_it_inherits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy("search/widths/macs-50pct.json", "alone.json")
    tuned = ["train", "alone.json", *TRAIN[3:], "--schedule", "fine-tune", "--out", "from-alone"]
    assert main(tuned) == 2
    assert "--schedule fine-tune must come with --from RUN" in capsys.readouterr().err
    assert main([*tuned, "--from", "search"]) == 0


def test_widths_that_a_search_did_not_find_are_refused_as_a_start(capsys: pytest.CaptureFixture[str]) -> None:
    whole = [*TRAIN[:2], "search/widths/whole.json", *TRAIN[3:]]
    assert main([*whole, "--schedule", "rewind", "--from", "search", "--out", "refused"]) == 2
    assert "--from must be the search that found the widths, got search, which found others" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_teacher_changes_what_is_learnt_and_is_found_again() -> None:
    for name, flags in (("alone", ()), ("taught", ("--teacher", "search"))):
        assert main([*TRAIN, "--schedule", "scratch-e", *flags, "--out", name]) == 0
    alone, taught = (Path(run, "seed-0", "metrics.jsonl").read_text() for run in ("alone", "taught"))
    assert alone != taught
    assert settings("taught")["teacher"] == "../search"
    assert main(["train", "--resume", "taught"]) == 0
    assert main([*TRAIN, "--schedule", "scratch-e", "--teacher", "taught", "--out", "generation"]) == 0


def test_libraries_that_changed_since_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--schedule", "scratch-e", "--out", "old"]) == 0
    path = Path("old/config.yaml")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["versions"]["torch"] = "1.0"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    capsys.readouterr()
    assert main(["train", "--resume", "old"]) == 0
    assert "Last digits may differ from those of a run that was not stopped: torch 1.0 then, " in (
        capsys.readouterr().err
    )


def test_what_the_machine_was_told_is_written_down() -> None:
    assert settings("search")["channels_last"] is True
    assert (
        main(
            [
                *TRAIN,
                "--schedule",
                "scratch-e",
                "--no-channels-last",
                "--precision",
                "float32",
                "--out",
                "told",
            ]
        )
        == 0
    )
    assert (settings("told")["channels_last"], settings("told")["precision"]) == (False, "float32")


def test_a_network_of_your_own_learns_from_a_shipped_one_and_is_told_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("small.py").write_text(
        "from torch import nn\n"
        "def make(num_classes=10):\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),"
        " nn.Flatten(), nn.Linear(8, num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    own = ("--space", "small:make", "--max-images", "300", "--epochs", "1")
    assert main(["search", *own, "--budget", "macs<=80%", "--out", "own"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].endswith(
        "nas-prune train own --schedule scratch-b --space small:make"
    )
    assert "If it is stopped: nas-prune search --resume own --space small:make" in printed.err
    taught = [
        "train",
        "--widths",
        "own/widths/macs-80pct.json",
        *own,
        "--teacher",
        "search",
        "--out",
        "pupil",
    ]
    assert main(taught) == 0


def test_a_teacher_that_is_not_what_its_files_say_or_not_finished_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree("search", "mixed")
    whole = json.loads(Path("mixed/widths/whole.json").read_text())
    whole["space"]["name"] = "resnet32"
    Path("mixed/widths/whole.json").write_text(json.dumps(whole))
    assert main([*TRAIN, "--teacher", "mixed", "--out", "refused"]) == 2
    assert "checkpoint must be of this network" in capsys.readouterr().err
    Path("mixed/result.json").unlink()
    assert main([*TRAIN, "--teacher", "mixed", "--out", "refused"]) == 2
    assert "--teacher must be the directory of a finished search or training" in capsys.readouterr().err


def test_what_a_killed_run_with_workers_leaves_is_swept() -> None:
    assert main([*TRAIN, "--schedule", "scratch-e", "--out", "swept"]) == 0
    left = Path("swept", ".abc.part")
    left.mkdir()
    (left / "train-images.npy").touch()
    assert main(["train", "--resume", "swept"]) == 0
    assert not left.exists()


@pytest.mark.slow
def test_workers_give_the_bits_of_one_process() -> None:
    flags = ("--schedule", "scratch-e", "--seeds", "3", "--threads", "1")
    assert main([*TRAIN, *flags, "--out", "one"]) == 0
    assert main([*TRAIN, *flags, "--out", "two", "--workers", "2"]) == 0
    assert contents(Path("one")) == contents(Path("two"))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_seed_only_and_resume_makes_it_up() -> None:
    flags = ("--schedule", "scratch-e", "--seeds", "2", "--threads", "1", "--epochs", "20")
    command = [sys.executable, "-m", "nas_prune", *TRAIN, *flags, "--workers", "2", "--out", "hurt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not all(Path(f"hurt/seed-{seed}/metrics.jsonl").exists() for seed in (0, 1)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
        os.kill(workers[0], signal.SIGKILL)
        said = process.communicate()[0]
    assert process.returncode == 1
    assert "was not trained to its end: its process was ended by SIGKILL, perhaps for lack of memory" in said
    assert "Try it again: nas-prune train --resume hurt" in said
    assert not Path("hurt/result.json").exists()
    assert main([*TRAIN, *flags, "--out", "unhurt"]) == 0
    assert main(["train", "--resume", "hurt", "--workers", "2"]) == 0
    assert contents(Path("hurt")) == contents(Path("unhurt"))
