"""The images that an export is checked on are test images of its run, evenly spread, and called by their files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas_prune.cli import main
from nas_prune.data import load_data
from nas_prune.data.config import DataConfig, load_images
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.errors import BadInputError, DataError
from nas_prune.export.images import CheckImages, check_images
from nas_prune.runs.progress import SILENT
from nas_prune.training.load_network import network_in, record_at
from tests.export.conftest import NETS


def images_of(run: Path, count: int, data: str | None = None) -> CheckImages:
    path = network_in(run)
    return check_images(path, record_at(path).preprocessing, count, data, SILENT)


def test_of_digits_they_are_test_images_and_those_for_calibration_are_none(trained: Path) -> None:
    data, found = load_data("digits"), images_of(trained, 36)
    places = [place * len(data.test) // 36 for place in range(36)]
    assert found.places == tuple(places)
    assert places[-1] > 0.95 * len(data.test)
    assert torch.equal(found.images, data.test.sample()[places])
    assert torch.equal(found.labels, data.test.labels[places])
    assert found.called(1) == f"test image {places[1]} of digits"
    training = {bytes(image.numpy().tobytes()) for image in data.train.sample()}
    assert {bytes(image.numpy().tobytes()) for image in found.for_calibration(20)} <= training
    assert len(found.for_calibration(20)) == 20
    assert len(images_of(trained, 10**6)) == len(data.test)


def test_a_file_without_its_run_is_tried_on_what_it_was_trained_for(tmp_path: Path) -> None:
    from PIL import Image

    rows = ["path,label,split"]
    for number in range(20):
        Image.new("L", (8, 8), 10 * number).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{50 + number / 10},{'test' if number >= 14 else 'train'}")
    (tmp_path / "all.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    data = DataConfig(name=f"csv:{tmp_path / 'all.csv'}", task="regression")
    known = preprocessing_of(load_images(data, 0, SILENT))
    found = check_images(tmp_path / "network.safetensors", known, 10, data.name, SILENT)
    assert (len(found), found.task.name, found.scale) == (6, "regression", known.scale)
    for task, message in (("other", "--task must be one of"), ("pkg:task", "must be given by you")):
        other = known.model_copy(update={"task": task})
        with pytest.raises(BadInputError, match=message):
            check_images(tmp_path / "network.safetensors", other, 10, data.name, SILENT)


@pytest.fixture(scope="module")
def of_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with photographs of two classes, without a part for testing, and a search on them."""
    from PIL import Image

    home = tmp_path_factory.mktemp("photographs")
    for name, colour in (("a 'cat'", 40), ("dog\n", 200)):
        (home / "images" / name).mkdir(parents=True)
        for number in range(15):
            Image.new("RGB", (9, 8), (colour, 10 * number, 0)).save(
                home / "images" / name / f"{number:02}.png"
            )
    words = ["--data", f"folder:{home / 'images'}", "--image-size", "8", "--epochs", "1", "--threads", "1"]
    assert main(["search", "--space", f"{NETS}:Small", *words, "--out", str(home / "run")]) == 0
    return home


def test_of_a_folder_they_are_those_kept_for_testing_by_their_names(of_folder: Path) -> None:
    found = images_of(of_folder / "run", 1000)
    assert len(found) == 6  # a fifth of each class
    assert all(Path(name).resolve().is_relative_to(of_folder.resolve() / "images") for name in found.names)
    assert {found.called(number).rpartition("/")[0].rpartition("/")[2] for number in range(6)} == {
        "a 'cat'",
        "dog\\n",
    }
    assert found.data_name == "folder:images"


def test_a_folder_that_was_moved_is_named_again(of_folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (of_folder / "images").rename(moved)
    try:
        with pytest.raises(DataError, match="which does not exist"):
            images_of(of_folder / "run", 5)
        assert len(images_of(of_folder / "run", 5, f"folder:{moved}")) == 5
    finally:
        moved.rename(of_folder / "images")


def test_an_image_that_cannot_be_read_is_named(of_folder: Path, write_digits: Callable[..., Path]) -> None:
    path = Path(images_of(of_folder / "run", 1).names[0])
    before = path.read_bytes()
    path.write_bytes(b"none")
    try:
        with pytest.raises(DataError, match=path.name):
            images_of(of_folder / "run", 1000)
    finally:
        path.write_bytes(before)
