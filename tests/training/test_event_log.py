"""TensorBoard's events are those of metrics.jsonl, also after a kill, and change no result."""

import builtins
import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nas_prune.cli import main
from nas_prune.data import ImageData, load_data
from nas_prune.runs.directory import read_metrics
from nas_prune.runs.progress import Progress
from nas_prune.training.event_log import events_folder, events_in
from nas_prune.training.loop import Training
from nas_prune.training.recipe import changed, recipe_named
from nas_prune.training.resumable import train_in
from tests.training.test_resumable import CHECKPOINT, restless

RECIPE = changed(recipe_named("digits"), epochs=3)
TAGS = {
    "loss/train": "train_loss",
    "loss/val": "val_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/val": "val_accuracy",
    "learning_rate": "learning_rate",
}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=300)


def check_events(folder: Path, lines: list[dict[str, Any]]) -> None:
    """What TensorBoard reads is what the lines say, each epoch once."""
    read = EventAccumulator(str(folder))
    read.Reload()
    assert set(read.Tags()["scalars"]) == set(TAGS)
    for tag, name in TAGS.items():
        events = read.Scalars(tag)
        assert [event.step for event in events] == [line["epoch"] for line in lines]
        assert [event.value for event in events] == pytest.approx([line[name] for line in lines], rel=1e-6)


def test_every_epoch_is_read_back(tmp_path: Path, data: ImageData) -> None:
    train_in(tmp_path, restless(RECIPE), Training(data, RECIPE, 0, log_to=tmp_path / "tb"))
    lines = read_metrics(tmp_path)
    assert len(lines) == 3
    check_events(tmp_path / "tb", lines)


def test_epochs_that_no_checkpoint_covers_are_not_read_twice(tmp_path: Path, data: ImageData) -> None:
    training = Training(data, RECIPE, 0, log_to=tmp_path / "tb")

    def stop(_: str, done: int, __: int) -> None:
        if done == 5:  # within the second epoch
            raise OSError("killed")  # as a kill, it writes nothing more

    with pytest.raises(OSError, match="killed"):
        train_in(tmp_path, restless(RECIPE), training, Progress(update=stop))
    early = (tmp_path / CHECKPOINT).read_bytes()
    train_in(tmp_path, restless(RECIPE), training)  # events of epochs 2 and 3
    (tmp_path / CHECKPOINT).write_bytes(early)
    (tmp_path / "checkpoint.previous.safetensors").unlink(missing_ok=True)
    train_in(tmp_path, restless(RECIPE), training)  # and again, from the checkpoint after epoch 1
    assert len(list((tmp_path / "tb").iterdir())) == 3
    check_events(tmp_path / "tb", read_metrics(tmp_path))


def test_epochs_of_before_are_written_first_where_there_are_no_events(
    tmp_path: Path, data: ImageData
) -> None:
    train_in(tmp_path, restless(RECIPE), Training(data, RECIPE, 0))
    lines = read_metrics(tmp_path)
    with events_in(tmp_path / "tb", 2, lines[:2]) as events:
        events(lines[2])
    check_events(tmp_path / "tb", lines)


ARGUMENTS = ["search", "--epochs", "2", "--max-images", "200", "--budget", "macs<=50%", "--no-stop"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--log", "tensorboard", "--out", "run"]) == 0
    return tmp_path / "run"


def test_a_search_and_its_training_write_them_and_give_the_same_results(run: Path) -> None:
    check_events(events_folder(run, 0), read_metrics(run))
    assert main([*ARGUMENTS, "--out", "plain"]) == 0
    names = ("metrics.jsonl", "network.safetensors", "widths/macs-50pct.json")
    assert all((run / name).read_bytes() == (run.parent / "plain" / name).read_bytes() for name in names)
    train = ["train", "--widths", "run/widths/macs-50pct.json", "--seeds", "2", "--epochs", "1"]
    assert main([*train, "--schedule", "scratch-e", "--log", "tensorboard", "--out", "trained"]) == 0
    for seed in (0, 1):
        folder = run.parent / "trained"
        check_events(events_folder(folder, seed), read_metrics(folder / f"seed-{seed}"))


def test_without_the_library_one_line_says_so_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any, **given: Any) -> Any:
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **given)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "__import__", refusing)
    assert main([*ARGUMENTS, "--log", "tensorboard", "--out", "run"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        (
            "nas-prune: --log tensorboard must have TensorBoard installed, got none. "
            "pip install 'nas-prune[tensorboard]'"
        )
    ]
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*ARGUMENTS, "--log", "tensorboard", "--out", "run", "--keep-checkpoints"]) == 0
    shutil.rmtree("run/tensorboard")
    (tmp_path / "run" / "tensorboard").write_text("in the way")
    for name in ("network.safetensors", "result.json", "scores.json"):
        (tmp_path / "run" / name).unlink()
    capsys.readouterr()
    assert main(["search", "--resume", "run"]) == 2
    assert "must be written, which failed" in capsys.readouterr().err.splitlines()[-1]
