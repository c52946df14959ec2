"""Images out of a person's own code: what comes in is what is trained on, and what cannot be used is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SubsetRandomSampler, TensorDataset

from nas_prune.data import load_data
from nas_prune.data.own_datasets import Datasets, register_data
from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.typed import Typed
from tests.photographs import LEVELS, patches

DIGITS = load_digits()
PIXELS = (DIGITS.images[:, None] * 15).astype(np.uint8)


def digits(count: int = 60) -> list[tuple[Image.Image, int]]:
    return [(Image.fromarray(PIXELS[i, 0]), int(DIGITS.target[i])) for i in range(count)]


def test_pillow_tensors_floats_and_loaders_give_the_same_images() -> None:
    wanted = torch.from_numpy(PIXELS[:60])
    labels = torch.from_numpy(DIGITS.target[:60])
    forms: dict[str, Any] = {
        "pillow": digits(),
        "uint8": TensorDataset(wanted, labels),
        "floats": TensorDataset(wanted.float() / 255, labels),
        "loader": DataLoader(TensorDataset(wanted, labels), 7, shuffle=True),
    }
    for name, form in forms.items():
        register_data(f"test-{name}", Datasets(form, test=digits(20)))
        data = load_data(f"test-{name}", seed=3)
        assert data.image_size == 8
        assert data.in_channels == 1
        assert data.class_names == tuple("0123456789")
        assert len(data.train) + len(data.val) == 60
        assert torch.equal(data.test.images, wanted[:20])  # type: ignore[attr-defined]
        assert torch.equal(data.test.labels, labels[:20])
        both = torch.cat([data.train.images, data.val.images])  # type: ignore[attr-defined]
        assert sorted(both.sum((1, 2, 3)).tolist()) == sorted(wanted.sum((1, 2, 3)).tolist())


def test_without_a_part_for_testing_a_fifth_of_each_class_is_kept() -> None:
    register_data("test-alone", Datasets(digits(200)))
    data = load_data("test-alone")
    assert len(data.test) == 40
    assert set(data.test.labels.tolist()) == set(range(10))


def test_other_sizes_are_cut_to_their_squares_and_masks_with_them() -> None:
    wide = [np.concatenate([patch, patch[:, :10]], axis=1) for patch in patches(12)]
    pairs = [
        (torch.from_numpy(patch).permute(2, 0, 1), torch.from_numpy(np.digitize(patch.mean(axis=2), LEVELS)))
        for patch in wide
    ]
    register_data("test-masks", Datasets(pairs, classes=("dark", "middle", "bright")))
    data = load_data("test-masks", task=task_named("segmentation"), image_size=24)
    means = data.train.images.double().mean(1).numpy()  # type: ignore[attr-defined]
    assert np.array_equal(np.digitize(means, LEVELS), data.train.labels.numpy())


def test_numbers_and_several_classes_have_names() -> None:
    register_data("test-numbers", Datasets([(image, [label, label / 2]) for image, label in digits()]))
    data = load_data("test-numbers", task=task_named("regression"))
    assert data.class_names == ("0", "1")
    assert not data.flip
    flags = [(image, torch.tensor([label % 2, label % 3 == 0])) for image, label in digits()]
    register_data("test-flags", Datasets(flags, classes=["odd", "by three"]))
    assert load_data("test-flags", task=task_named("multi-label")).class_names == ("odd", "by three")


class Shrinking(list[tuple[Image.Image, int]]):
    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        if place == 29:
            self.pop()
        return found


class Random(list[tuple[Image.Image, int]]):
    def __getitem__(self, place: Any) -> Any:
        _, label = super().__getitem__(place)
        return torch.from_numpy(np.random.default_rng().integers(0, 255, (1, 8, 8), dtype=np.uint8)), label


def with_item(place: int, item: Any) -> list[Any]:
    items: list[Any] = [*digits(30)]
    items[place] = item
    return items


IMAGE = digits(1)[0][0]


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (lambda: Shrinking(digits(30)), "must keep its length, got 30 and then 29."),
        (lambda: Random(digits(30)), "must give the same item each time, got another for item 0."),
        (
            lambda: with_item(4, IMAGE),
            "item 4 of test-bad, train must be (image, what is to be learned), got Image.",
        ),
        (lambda: with_item(4, (IMAGE, -1)), "a label must be a class's number from 0"),
        (lambda: with_item(4, (IMAGE, 1.5)), "a label must be a class's number from 0"),
        (lambda: with_item(4, (IMAGE, "cat")), "a label must be a class's number from 0"),
        (lambda: with_item(4, ("a.png", 1)), "an image must be Pillow's or a tensor C×H×W, got str."),
        (lambda: with_item(4, (torch.zeros(4, 8, 8), 1)), "of 1 or 3 channels, got [4, 8, 8]."),
        (lambda: with_item(4, (torch.full((1, 8, 8), -2.0), 1)), "leave out normalising, which is ours."),
        (lambda: with_item(4, (torch.zeros(3, 8, 8), 1)), "must have as many channels, got 1 and 3."),
        (
            lambda: with_item(4, (torch.zeros(1, 8, 8).int(), 1)),
            "pixels must be uint8, or floats from 0 to 1",
        ),
        (lambda: iter(digits(30)), "must be a data set with a length and places, got list_iterator."),
        (list, "test-bad, train must have items, got none."),
        (
            lambda: Datasets(digits(30), classes="abc"),
            "must name all that is learned, got 3 names and 10 classes",
        ),
    ],
)
def test_what_cannot_be_used_is_named(dataset: Callable[[], Any], said: str) -> None:
    made = dataset()
    register_data("test-bad", made if isinstance(made, Datasets) else Datasets(made))
    with pytest.raises((DataError, BadInputError)) as caught:
        load_data("test-bad")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_of_ones_own_is_called_where_a_person_has_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
from tests.data.test_own_datasets import digits
def mine(): return dict(train=digits(40), test=digits(10))
def broken(): return 1 / 0
def other(): return dict(training=digits(40))
"""
    (tmp_path / "own_data_of_tests.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(load_data(Typed("own_data_of_tests:mine")).test) == 10
    for name, said in (
        ("own_data_of_tests:mine", "must be given by you: no code that only a file names is imported."),
        (Typed("own_data_of_tests:broken"), "must make data sets, got ZeroDivisionError: division by zero."),
        (Typed("own_data_of_tests:other"), "must give train, test, val, classes, can_mirror, got training."),
        (Typed("own_data_of_tests:mien"), "got no mien. Did you mean mine?"),
    ):
        with pytest.raises(BadInputError) as caught:
            load_data(name)
        assert said in str(caught.value)


@pytest.mark.parametrize("form", ["255", "1", "bool"])
def test_masks_of_two_levels_are_of_two_classes(form: str) -> None:
    pairs = []
    for patch in patches(12):
        is_bright = patch.mean(axis=2) > 110
        made: dict[str, Any] = {
            "255": Image.fromarray((is_bright * 255).astype(np.uint8)),
            "1": Image.fromarray(is_bright),
            "bool": torch.from_numpy(is_bright),
        }
        pairs.append((Image.fromarray(patch), made[form]))
    register_data("test-two", Datasets(pairs))
    data = load_data("test-two", task=task_named("segmentation"), image_size=24)
    wanted = data.train.images.double().mean(1) > 110  # type: ignore[attr-defined]
    assert data.class_names == ("0", "1")
    assert torch.equal(data.train.labels.bool(), wanted)


def test_a_loader_with_a_sampler_is_not_read_as_if_it_had_none() -> None:
    whole = TensorDataset(torch.from_numpy(PIXELS[:60]), torch.from_numpy(DIGITS.target[:60]))
    register_data("test-bad", Datasets(DataLoader(whole, sampler=SubsetRandomSampler(range(40)))))
    with pytest.raises(BadInputError, match=r"SubsetRandomSampler\. Give the images that are meant"):
        load_data("test-bad")


@pytest.mark.parametrize("how", ["batches", "fewer"])
def test_a_loader_over_some_of_its_images_is_not_read_whole(how: str) -> None:
    items = digits()
    loader: DataLoader[Any]
    if how == "batches":
        loader = DataLoader(
            items,  # type: ignore[arg-type]
            batch_sampler=BatchSampler(SubsetRandomSampler(range(40)), 8, drop_last=False),
        )
    else:
        loader = DataLoader(items, 8, sampler=RandomSampler(items, num_samples=10))  # type: ignore[arg-type]
    register_data("test-some", Datasets(loader, test=digits(20)))
    with pytest.raises(BadInputError, match="a loader over all of its data set"):
        load_data("test-some")


def test_a_name_of_other_images_cannot_be_taken() -> None:
    with pytest.raises(BadInputError, match="got digits, which stands for other images"):
        register_data("digits", Datasets(digits(), test=digits(20)))
    assert len(load_data("digits").train) > 1000


def test_numbers_beyond_float32_are_refused() -> None:
    register_data("test-large", Datasets([(one, 1e39 * (1 + label)) for one, label in digits()]))
    with pytest.raises(DataError, match="each finite in float32"):
        load_data("test-large", task=task_named("regression"))


def test_a_limit_on_images_is_kept_where_they_have_no_class() -> None:
    items = [(one, [float(label), 1.0, 2.0, 3.0, 4.0]) for one, label in digits()]
    register_data("test-five", Datasets(items[:30], test=items[30:40], val=items[40:]))
    data = load_data("test-five", task=task_named("regression"), max_images=3)
    assert len(data.train) + len(data.val) == 3


def test_images_that_are_in_two_parts_are_said() -> None:
    register_data("test-twice", Datasets(digits(60), test=digits(20)))
    assert any("The same pixels are in two parts" in note for note in load_data("test-twice").notes)


def test_pictures_of_other_modes_become_what_files_become(tmp_path: Path) -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    clear = np.zeros((8, 8, 4), dtype=np.uint8)
    for name, image in (("deep", Image.fromarray(deep)), ("clear", Image.fromarray(clear, "RGBA"))):
        pairs = [(image, number % 2) for number in range(20)]
        register_data("test-modes", Datasets(pairs))
        for label in "01":
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for number in range(10):
                image.save(folder / f"{number}.png")
        own = load_data("test-modes", in_channels=3).train
        files = load_data(f"folder:{tmp_path / name}", image_size=8).train
        assert torch.equal(own.images[0], files.images[0])  # type: ignore[attr-defined]
    register_data(
        "test-bad", Datasets([(Image.fromarray(deep.astype(np.float32)), number % 2) for number in range(20)])
    )
    with pytest.raises(DataError, match="32-bit pixels have no known range"):
        load_data("test-bad")
