"""A training in a directory: stopped anywhere it goes on to the same bits, and what is damaged is named."""

import json
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError, FileError
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import Progress
from nas_prune.space.load import load_space
from nas_prune.training import resumable as keeping
from nas_prune.training.checkpoint import read_checkpoint
from nas_prune.training.compute import Compute
from nas_prune.training.loop import Training
from nas_prune.training.recipe import Recipe, recipe_named
from nas_prune.training.resumable import PREVIOUS, train_in
from nas_prune.training.state import TrainState, start
from tests.conftest import WriteDigits

RECIPE = recipe_named("digits").model_copy(update={"epochs": 3, "average": 0.9, "cutout_share": 0.3})
SPACE = load_space("resnet20", (1, 8, 8))
CHECKPOINT = "checkpoint.safetensors"


class Restless(nn.Module):
    """Draws from every generator that a network might use."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.drop, self.out = nn.Linear(64, 32), nn.Dropout(0.5), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.hidden(x.flatten(1)).relu())
        if self.training:
            x = x * (1 + 0.1 * random.random() + 0.1 * float(np.random.rand()))
        scores: Tensor = self.out(x)
        return scores


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=400)


def restless(recipe: Recipe = RECIPE) -> TrainState:
    torch.manual_seed(0)
    return start(Restless(), recipe)


def resnet() -> TrainState:
    return start(SPACE.build(seed=0), RECIPE)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != PREVIOUS}


def stopping_at(step: int, number: signal.Signals = signal.SIGINT) -> Progress:
    def progress(_: str, done: int, __: int) -> None:
        if done == step:
            signal.raise_signal(number)

    return Progress(update=progress)


@pytest.mark.parametrize(
    ("make", "is_last", "steps", "number"),
    [
        (restless, False, (1, 8), signal.SIGINT),
        (restless, False, (4, 5, 18), signal.SIGTERM),
        (resnet, True, (8,), signal.SIGINT),
    ],
)
def test_a_training_stopped_at_any_step_goes_on_to_the_same_bits(
    tmp_path: Path,
    data: ImageData,
    make: Callable[[], TrainState],
    is_last: bool,
    steps: tuple[int, ...],
    number: signal.Signals,
) -> None:
    training = Training(data, RECIPE, seed=3, title="digits", compute=Compute(channels_last=is_last))
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    train_in(tmp_path / "whole", make(), training)
    for step in steps:
        with pytest.raises(
            KeyboardInterrupt, match=r"digits stopped: \d of 3 epochs are done(, and \d+ steps? of the next)?"
        ):
            train_in(tmp_path / "stopped", make(), training, stopping_at(step, number))
    train_in(tmp_path / "stopped", make(), training)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_the_bits_depend_on_all_three_generators(tmp_path: Path, data: ImageData) -> None:
    """The twin of the test above: what it compares would differ if a generator were forgotten."""
    training = Training(data, RECIPE, seed=3)
    train_in(tmp_path, restless(), training)
    whole = files(tmp_path)
    for spoil in (torch.rand, lambda _: random.random(), np.random.rand):
        for name in (CHECKPOINT, PREVIOUS, "metrics.jsonl"):
            (tmp_path / name).unlink(missing_ok=True)

        def progress(_: str, done: int, __: int, spoil: Callable[[int], object] = spoil) -> None:
            if done == 4:
                spoil(1)

        train_in(tmp_path, restless(), training, Progress(update=progress))
        assert files(tmp_path) != whole


def test_what_was_drawn_before_does_not_matter(tmp_path: Path, data: ImageData) -> None:
    found = []
    for number in (1, 2):
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        state = restless()
        torch.manual_seed(number)
        (tmp_path / str(number)).mkdir()
        train_in(tmp_path / str(number), state, Training(data, RECIPE.with_epochs(1), 0))
        found.append(files(tmp_path / str(number)))
        assert random.random() == random.Random(number).random()  # nor is anything drawn from it
    assert found[0] == found[1]


def test_two_stops_at_once_do_not_wait_for_the_step(tmp_path: Path, data: ImageData) -> None:
    def progress(_: str, done: int, __: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        train_in(tmp_path, restless(), Training(data, RECIPE, 0), Progress(update=progress))
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_cluster_that_asks_after_ctrl_c_does_not_make_it_urgent(tmp_path: Path, data: ImageData) -> None:
    def progress(_: str, done: int, __: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt, match="0 of 3 epochs are done, and 1 step of the next"):
        train_in(tmp_path, restless(), Training(data, RECIPE, 0), Progress(update=progress))
    assert (tmp_path / CHECKPOINT).exists()


def test_a_resumed_training_says_how_far_it_was(tmp_path: Path, data: ImageData) -> None:
    said: list[str] = []
    training = Training(data, RECIPE, 0, title="digits")
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, restless(), training, stopping_at(8))
    train_in(tmp_path, restless(), training, Progress(say=said.append))
    assert said == ["digits: 1 of 3 epochs are done, and 2 steps of the next"]


def stopped(folder: Path, data: ImageData) -> Training:
    """A training with two checkpoints, the last at step 8."""
    training = Training(data, RECIPE, 0, title="digits")
    for step in (7, 8):
        with pytest.raises(KeyboardInterrupt):
            train_in(folder, restless(), training, stopping_at(step))
    return training


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(bytes(raw))


def edit_the_state(path: Path) -> None:
    raw = path.read_bytes()
    edited = raw.replace(b'\\"steps_done\\": 2', b'\\"steps_done\\": 3')
    assert edited != raw
    path.write_bytes(edited)


DAMAGES = [
    (truncate, "must be whole"),
    (flip_a_bit, "whose checksum differs"),
    (edit_the_state, "whose checksum differs"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, data: ImageData, damage: Callable[[Path], None], why: str
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "damaged").mkdir()
    training = stopped(tmp_path / "damaged", data)
    train_in(tmp_path / "whole", restless(), training)
    damage(tmp_path / "damaged" / CHECKPOINT)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):  # the sound one must not be pushed out by the damaged one
        train_in(tmp_path / "damaged", restless(), training, Progress(stopping_at(9).update, said.append))
    assert why in said[0]
    assert said[0].endswith("Going on from checkpoint.previous.safetensors.")
    assert said[1] == "digits: 1 of 3 epochs are done, and 1 step of the next"
    read_checkpoint(tmp_path / "damaged" / PREVIOUS, restless())
    train_in(tmp_path / "damaged", restless(), training)
    assert files(tmp_path / "damaged") == files(tmp_path / "whole")


@pytest.mark.parametrize(("damage", "why"), DAMAGES[:2])
def test_two_damaged_checkpoints_are_refused_and_left(
    tmp_path: Path, data: ImageData, damage: Callable[[Path], None], why: str
) -> None:
    training = stopped(tmp_path, data)
    for name in (CHECKPOINT, PREVIOUS):
        damage(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BadInputError, match=rf"{why}.*{PREVIOUS}.*Start the run again"):
        train_in(tmp_path, restless(), training)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_of_another_network_or_run_is_refused(tmp_path: Path, data: ImageData) -> None:
    training = stopped(tmp_path, data)
    before = files(tmp_path)
    with pytest.raises(BadInputError, match="must be of this network, got checkpoint.safetensors"):
        train_in(tmp_path, resnet(), training)
    with pytest.raises(BadInputError, match=r"must be of this run.*where seed is 0, not 1"):
        train_in(tmp_path, restless(), Training(data, RECIPE, 1))
    with pytest.raises(BadInputError, match=r"must be of this run.*where epochs is 3, not 9"):
        train_in(tmp_path, restless(), Training(data, RECIPE.with_epochs(9), 0))
    assert files(tmp_path) == before


@contextmanager
def files_no_larger_than(count: int) -> Iterator[None]:
    """The kernel refuses to write more, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_leaves_the_last_good_state(tmp_path: Path, data: ImageData) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "full").mkdir()
    training = stopped(tmp_path / "full", data)
    train_in(tmp_path / "whole", restless(), training)
    before = (tmp_path / "full" / CHECKPOINT).read_bytes()
    with (
        files_no_larger_than(1000),
        pytest.raises(FileError, match=r"checkpoint\.safetensors must be written"),
    ):
        train_in(tmp_path / "full", restless(), training)
    assert (tmp_path / "full" / CHECKPOINT).read_bytes() == before
    assert not list((tmp_path / "full").glob(".*"))
    train_in(tmp_path / "full", restless(), training)
    assert files(tmp_path / "full") == files(tmp_path / "whole")


def test_metrics_torn_by_a_full_disk_are_cut_back(tmp_path: Path, data: ImageData) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "torn").mkdir()
    training = stopped(tmp_path / "torn", data)
    train_in(tmp_path / "whole", restless(), training)
    with (tmp_path / "torn" / "metrics.jsonl").open("a") as stream:
        stream.write('{"epoch": 2, "epo')
    train_in(tmp_path / "torn", restless(), training)
    assert files(tmp_path / "torn") == files(tmp_path / "whole")
    rows = [json.loads(line) for line in (tmp_path / "torn" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_metrics_that_were_lost_or_spoilt_are_said_and_cost_nothing_else(
    tmp_path: Path, data: ImageData
) -> None:
    training = Training(data, RECIPE, 0, title="digits")
    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, restless(), training, stopping_at(14))
    (tmp_path / "metrics.jsonl").write_bytes(
        b'\xff\xfe\n[]\n{"epoch": "x"}\n{"epoch": 2, "a": 1}\n{"epoch": 2}\n'
    )
    said: list[str] = []
    train_in(tmp_path, restless(), training, Progress(say=said.append))
    assert said[1] == "metrics.jsonl has lost 1 of these epochs; the training itself has not."
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [2, 3]


def test_other_images_or_settings_are_refused(tmp_path: Path, data: ImageData) -> None:
    training = stopped(tmp_path, data)
    with pytest.raises(BadInputError, match=r"where images is 360 \+ 40 \(\w+\), not 270 \+ 30"):
        train_in(tmp_path, restless(), replace(training, data=load_data("digits", max_images=300)))
    with pytest.raises(BadInputError, match="where images is 360"):
        train_in(tmp_path, restless(), replace(training, data=load_data("digits", max_images=400, seed=1)))
    with pytest.raises(BadInputError, match="where sparsity is None, not 1"):
        train_in(tmp_path, restless(), replace(training, settings={"sparsity": 1}))
    with pytest.raises(BadInputError, match="where channels_last is False, not True"):
        train_in(tmp_path, restless(), replace(training, compute=Compute(channels_last=True)))


def test_weights_that_are_no_numbers_never_push_out_good_ones(tmp_path: Path, data: ImageData) -> None:
    training, state = stopped(tmp_path, data), restless()
    before = files(tmp_path)

    def spoil(_: str, done: int, __: int) -> None:
        with torch.no_grad():
            next(state.model.parameters()).fill_(float("nan"))
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_in(tmp_path, state, training, Progress(update=spoil))
    assert files(tmp_path) == before


@pytest.mark.slow
def test_streamed_images_are_resumed_as_exactly(tmp_path: Path, write_digits: WriteDigits) -> None:
    write_digits("images/train", {"0": 40, "1": 40})
    folder = f"folder:{write_digits('images/test', {'0': 5, '1': 5}) / 'images'}"
    recipe = RECIPE.model_copy(update={"batch_size": 16, "epochs": 2})
    for name, stream, steps in (("memory", False, ()), ("streamed", True, ()), ("stopped", True, (2, 6))):
        data = load_data(folder, image_size=8, in_channels=1, stream=stream)
        (tmp_path / name).mkdir()
        for step in steps:
            with pytest.raises(KeyboardInterrupt):
                train_in(tmp_path / name, restless(recipe), Training(data, recipe, 0), stopping_at(step))
        train_in(tmp_path / name, restless(recipe), Training(data, recipe, 0))
    assert files(tmp_path / "memory") == files(tmp_path / "streamed") == files(tmp_path / "stopped")


def test_a_directory_held_by_another_process_is_refused(
    tmp_path: Path, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0.0)

    def progress(_: str, done: int, __: int) -> None:
        if done == 1:
            with pytest.raises(BadInputError, match="written by one process at a time"):
                train_in(tmp_path, restless(), Training(data, RECIPE, 0))

    train_in(tmp_path, restless(), Training(data, RECIPE.with_epochs(1), 0), Progress(update=progress))
    train_in(tmp_path, restless(), Training(data, RECIPE.with_epochs(1), 0))


def test_long_epochs_are_kept_within(
    tmp_path: Path, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_WITHIN_EPOCH", 0.0)
    monkeypatch.setattr(keeping, "_SHARE", 1e9)
    kept: list[int] = []

    def progress(_: str, done: int, __: int) -> None:
        if (tmp_path / CHECKPOINT).exists():
            state = restless()
            read_checkpoint(tmp_path / CHECKPOINT, state)
            kept.append(state.epochs_done * 6 + state.steps_done)

    train_in(tmp_path, restless(), Training(data, RECIPE, 0), Progress(update=progress))
    assert kept == list(range(1, 18))


def test_a_write_that_fails_between_renames_leaves_one_whole(tmp_path: Path) -> None:
    old, older = tmp_path / "a", tmp_path / "b"
    write_whole(old, "1", previous=older)
    assert not older.exists()
    write_whole(old, "2", previous=older)
    assert (old.read_text(), older.read_text()) == ("2", "1")
