"""What is taken from earlier runs: teachers of the same classes and images, and which channels a search kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nas_prune.data import load_data
from nas_prune.data.config import DataConfig
from nas_prune.data.preprocessing import Preprocessing, preprocessing_of
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import seed_folders
from nas_prune.space.load import load_space
from nas_prune.training.compute import Compute
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import Inputs
from nas_prune.training.load_network import load_network
from nas_prune.training.recipe import recipe_named
from nas_prune.training.run import train
from nas_prune.training.starts import load_teacher, read_kept, write_kept

SPACE = load_space("lenet5", (1, 8, 8))
WIDTHS = SPACE.widths(SPACE.base_G)
DATA = load_data("digits", max_images=200)
KNOWN = preprocessing_of(DATA)
CONFIG = TrainConfig(
    data=DataConfig(max_images=200),
    recipe=recipe_named("digits").with_epochs(1),
    schedule="scratch-e",
    threads=1,
)
PIXELS = torch.randint(0, 256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training of two networks, one of which is the better."""
    run = tmp_path_factory.mktemp("teacher") / "run"
    train(CONFIG.model_copy(update={"seeds": (10, 2)}), WIDTHS, run, inputs=Inputs(data=DATA))
    return run


def scores(run: Path, like: Preprocessing) -> Tensor:
    return load_teacher(run, like, Compute())(like.batch(PIXELS))


def test_a_teacher_is_the_network_of_the_lowest_seed(teacher: Path) -> None:
    assert [folder.name for folder in seed_folders(teacher)] == ["seed-2", "seed-10"]
    with torch.no_grad():
        wanted = load_network(teacher, seed=2)(KNOWN.batch(PIXELS))
    assert torch.equal(scores(teacher, KNOWN), wanted)


def test_a_teacher_says_the_classes_in_the_order_of_its_pupil(teacher: Path) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    other = KNOWN.model_copy(update={"classes": tuple(KNOWN.classes[k] for k in order)})
    assert torch.equal(scores(teacher, other), scores(teacher, KNOWN)[:, order])


def test_a_teacher_sees_images_as_its_own_training_had_them(teacher: Path) -> None:
    other = KNOWN.model_copy(update={"mean": (0.1,), "std": (0.7,)})
    assert not torch.allclose(other.batch(PIXELS), KNOWN.batch(PIXELS), atol=0.1)
    assert torch.allclose(scores(teacher, other), scores(teacher, KNOWN), atol=1e-4)


def test_a_teacher_of_other_classes_is_refused(teacher: Path, tmp_path: Path) -> None:
    names = (*DATA.class_names[:9], "ten")
    taught = CONFIG.model_copy(update={"teacher": str(teacher)})
    with pytest.raises(
        BadInputError, match="the classes of the images, ten, 0, 1, 2 and 6 more, got 9, 0, 1"
    ):
        train(taught, WIDTHS, tmp_path / "run", inputs=Inputs(data=replace(DATA, class_names=names)))
    assert not (tmp_path / "run").exists()
    with pytest.raises(BadInputError, match="the same kind of task"):
        scores(teacher, KNOWN.model_copy(update={"kind": "classes", "task": "signs"}))


def test_kept_channels_are_read_as_they_were_written_however_many(tmp_path: Path) -> None:
    few = {"macs-50pct": [np.array([0, 2, 5]), np.array([], dtype=np.int64)]}
    write_kept(tmp_path, few)
    assert '"macs-50pct": [[0, 2, 5], []]' in (tmp_path / "kept.json").read_text()
    every = np.arange(60_000)
    many = {f"macs-{n}": [every[n % 2 :: 1 + n % 2], every[:0]] for n in range(24)}
    assert sum(len(one) for kept in many.values() for one in kept) > 1_000_000
    write_kept(tmp_path, many)
    for name, kept in read_kept(tmp_path).items():
        assert all(np.array_equal(mine, own) for mine, own in zip(kept, many[name], strict=True))
        assert kept[0].dtype == np.int64
