"""AdamW, every augmentation, balanced classes, an average and the best epoch: stopped or killed, to the same bits."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from nas_prune.cli import main
from nas_prune.data import ImageData, load_data
from nas_prune.errors import BadInputError
from nas_prune.space.load import load_space
from nas_prune.training.compute import Compute
from nas_prune.training.loop import Training
from nas_prune.training.recipe import Recipe
from nas_prune.training.resumable import PREVIOUS, train_in
from nas_prune.training.state import TrainState, start
from tests.forking import FORKING
from tests.runs.test_kill import run_in, wait_for
from tests.runs.test_resume import contents
from tests.training.test_checkpoint import rewritten
from tests.training.test_resumable import CHECKPOINT, Restless, files, stopping_at

SETTINGS = {
    "epochs": 4, "batch_size": 64, "learning_rate": 0.01, "schedule": "cosine", "optimizer": "adamw",
    "average": 0.9, "label_smoothing": 0.1, "crop_share": 0.1, "mirror": False, "cutout_share": 0.2,
    "randaugment": {"operations": 2, "magnitude": 7}, "color_jitter": 0.3, "random_erasing": 0.3,
    "mixup": 0.2, "cutmix": 1.0, "balance": "sampling", "patience": 3,
}  # fmt: skip
RECIPE = Recipe.model_validate({"name": "modern", **SETTINGS})
SPACE = load_space("resnet20", (1, 8, 8))


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=300)


def restless() -> TrainState:
    torch.manual_seed(0)
    return start(Restless(), RECIPE)


def resnet() -> TrainState:
    return start(SPACE.build([base // 4 for base in SPACE.base_G], seed=0), RECIPE)


@pytest.mark.parametrize(
    ("make", "is_last", "steps"), [(restless, False, (2, 7, 9, 13)), (resnet, True, (6,))]
)
def test_a_training_stopped_at_any_step_goes_on_to_the_same_bits(
    tmp_path: Path, data: ImageData, make: Callable[[], TrainState], is_last: bool, steps: tuple[int, ...]
) -> None:
    training = Training(data, RECIPE, seed=3, title="digits", compute=Compute(channels_last=is_last))
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = make()
    train_in(tmp_path / "whole", whole, training)
    assert whole.best is not None
    for step in steps:
        with pytest.raises(KeyboardInterrupt, match="digits stopped"):
            train_in(tmp_path / "stopped", make(), training, stopping_at(step, signal.SIGINT))
    again = make()
    train_in(tmp_path / "stopped", again, training)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    assert again.best is not None
    assert again.best.epoch == whole.best.epoch
    assert all(tensor.equal(again.best.weights[name]) for name, tensor in whole.best.weights.items())


@pytest.mark.parametrize("what", ["best.out.weight", "content"])
def test_a_checkpoint_without_the_best_network_is_refused(tmp_path: Path, data: ImageData, what: str) -> None:
    training = Training(data, RECIPE, seed=3)
    train_in(tmp_path, restless(), training)
    (tmp_path / PREVIOUS).unlink()
    rewritten(
        tmp_path / CHECKPOINT,
        lambda content, tensors: content.pop("best") if what == "content" else tensors.pop(what),
    )
    with pytest.raises(BadInputError, match="checkpoint must hold a training's state"):
        train_in(tmp_path, restless(), training)


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("modern.yaml").write_text(yaml.safe_dump({**SETTINGS, "epochs": 5}), encoding="utf-8")
    SPACE.widths([base // 4 for base in SPACE.base_G]).write(Path("widths.json"))
    command = ["train", "--widths", "widths.json", "--data", "digits", "--max-images", "300", "--recipe"]
    command += ["modern.yaml", "--schedule", "scratch-e", "--out"]
    assert main([*command, "whole"]) == 0
    process = FORKING.Process(target=run_in, args=(str(tmp_path), [*command, "killed"]), daemon=False)
    process.start()
    wait_for(tmp_path / "killed" / "seed-0" / "metrics.jsonl")
    time.sleep(0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "killed" / "result.json").exists()
    assert main(["train", "--resume", "killed"]) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
