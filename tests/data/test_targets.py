"""What is to be learned of images, as it is read: numbers, several classes and masks, cut as their images are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas_prune.data import load_data, train_batches
from nas_prune.data.augment import Augment
from nas_prune.data.targets import TargetScale
from nas_prune.data.tasks import task_named
from nas_prune.errors import BadInputError, DataError
from tests.photographs import LEVELS, SIDE, patches, write_masked, write_table

STILL = Augment(crop_padding=0, flip=False)


def test_numbers_are_learned_with_mean_0_and_deviation_1_and_lead_back(tmp_path: Path) -> None:
    path = write_table(tmp_path, 40)
    data = load_data(f"csv:{path},label=mean+spread", task=task_named("regression"), image_size=SIDE)
    assert data.class_names == ("mean", "spread")
    assert not data.flip
    train = data.train.labels
    assert torch.allclose(train.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(train.std(0, correction=0), torch.ones(2), atol=1e-5)
    assert data.scale is not None
    images = torch.cat([part.images for part in (data.train, data.val, data.test)])  # type: ignore[attr-defined]
    targets = torch.cat([part.labels for part in (data.train, data.val, data.test)])
    means = images.double().mean(dim=(1, 2, 3))
    assert torch.allclose(data.scale.unscaled(targets)[:, 0], means, atol=1e-3)


def test_a_number_that_is_the_same_for_all_stays_so() -> None:
    scale = TargetScale.of(torch.tensor([[5e8, 1.0], [5e8, 2.0]]))
    assert scale.std == (1.0, 0.5)
    assert torch.equal(
        scale.unscaled(scale.scaled(torch.tensor([[5e8, 1.5]]))), torch.tensor([[5e8, 1.5]]).double()
    )


def test_several_classes_are_listed_or_have_a_column_each(tmp_path: Path) -> None:
    path, task = write_table(tmp_path, 40), task_named("multi-label")
    listed = load_data(f"csv:{path},label=tags", task=task, image_size=8)
    flagged = load_data(f"csv:{path},label=bright+red+rough", task=task, image_size=8)
    assert listed.class_names == flagged.class_names == ("bright", "red", "rough")
    for one, other in ((listed.train, flagged.train), (listed.test, flagged.test)):
        assert torch.equal(one.labels, other.labels)
        assert 0 < float(one.labels.mean()) < 1


def test_an_image_that_is_named_once_for_each_label_has_all_of_them(tmp_path: Path) -> None:
    for number, patch in enumerate(patches(12)):
        Image.fromarray(patch).save(tmp_path / f"{number}.png")
    rows = [f"{number}.png,{name}" for number in range(12) for name in ("a", "b")[: 1 + number % 2]]
    (tmp_path / "long.csv").write_text("path,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    data = load_data(f"csv:{tmp_path / 'long.csv'}", task=task_named("multi-label"), image_size=8)
    both = torch.cat([part.labels for part in (data.train, data.val, data.test)])
    assert len(both) == 12
    assert both.sum(0).tolist() == [12, 6]


def test_images_that_are_named_again_with_other_labels_or_in_another_part_are_not_mixed(
    tmp_path: Path,
) -> None:
    for number, patch in enumerate(patches(12)):
        Image.fromarray(patch).save(tmp_path / f"{number}.png")
    flags = [f"{number}.png,{number % 2},1" for number in range(12)]
    (tmp_path / "flags.csv").write_text("\n".join(["path,a,b", *flags, "0.png,1,0", ""]), encoding="utf-8")
    with pytest.raises(DataError, match="an image must have one label, got 1 of 13 rows"):
        load_data(f"csv:{tmp_path / 'flags.csv'},label=a+b", task=task_named("multi-label"), image_size=8)
    rows = [f"{number}.png,{'ab'[number % 2]},{'test' if number > 7 else 'train'}" for number in range(12)]
    text = "\n".join(["path,label,split", *rows, "9.png,a,train", "1.png,a,train", ""])
    (tmp_path / "long.csv").write_text(text, encoding="utf-8")
    data = load_data(f"csv:{tmp_path / 'long.csv'}", task=task_named("multi-label"), image_size=8)
    assert any("Passed over: 1 rows" in note for note in data.notes)
    assert (len(data.train) + len(data.val), len(data.test)) == (9, 3)


def test_folders_of_one_part_are_refused_and_others_said(tmp_path: Path) -> None:
    folder = write_masked(tmp_path, {"train": 20, "test": 4, "spare": 3})
    data = load_data(f"folder:{folder}", task=task_named("segmentation"), image_size=SIDE)
    assert any("Left out beside train, test: spare." in note for note in data.notes)
    write_masked(tmp_path, {"testing": 4})
    with pytest.raises(DataError, match="one folder for each part, got test and testing"):
        load_data(f"folder:{folder}", task=task_named("segmentation"), image_size=SIDE)


def test_masks_are_cut_and_mirrored_as_their_images_are(tmp_path: Path) -> None:
    data = load_data(
        f"folder:{write_masked(tmp_path, {'train': 20, 'test': 4})}",
        task=task_named("segmentation"),
        image_size=SIDE,
    )
    assert data.class_names == ("dark", "middle", "bright")
    batches = train_batches(
        data.train,
        batch_size=9,
        mean=[0.0] * 3,
        std=[1 / 255] * 3,
        augment=Augment(crop_padding=5, flip=True),
        seed=1,
        epoch=0,
    )
    for images, masks in batches:
        counts = masks != 255
        assert 0.5 < float(counts.double().mean()) < 1  # what lies beyond an image counts nowhere
        wanted = torch.from_numpy(np.digitize(images.double().mean(1).numpy(), LEVELS))
        assert torch.equal(masks[counts].long(), wanted[counts])
        assert not images[:, 0][~counts].any()


def test_black_and_white_masks_are_of_two_classes(tmp_path: Path) -> None:
    folder = write_masked(tmp_path, {"": 12})
    (folder / "classes.txt").unlink()
    for path in (folder / "masks").glob("*.png"):
        Image.fromarray(((np.asarray(Image.open(path)) > 0) * 255).astype(np.uint8)).save(path)
    data = load_data(f"folder:{folder}", task=task_named("segmentation"), image_size=16)
    assert data.class_names == ("0", "1")
    assert sorted(data.train.labels.unique().tolist()) == [0, 1]


def test_a_mask_follows_its_photograph_where_that_is_stored_turned(tmp_path: Path) -> None:
    folder = write_masked(tmp_path, {"": 4})
    wide = np.concatenate([patches(1)[0]] * 2, axis=1)[:, :40]
    mask = np.digitize(wide.mean(axis=2), LEVELS).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(4):
        Image.fromarray(wide).save(folder / "images" / f"{number}.png", exif=exif)
        turned = Image.fromarray(mask).transpose(Image.Transpose.ROTATE_270)
        (turned if number % 2 else Image.fromarray(mask)).save(folder / "masks" / f"{number}.png")
    data = load_data(f"folder:{folder}", task=task_named("segmentation"), image_size=SIDE)
    for part in (data.train, data.test):
        wanted = np.digitize(part.images.double().mean(1).numpy(), LEVELS)  # type: ignore[attr-defined]
        assert np.array_equal(part.labels.numpy(), wanted)
    Image.fromarray(patches(1)[0]).save(folder / "images" / "0.png", exif=exif)
    Image.fromarray(mask[:, :SIDE]).save(folder / "masks" / "0.png")
    with pytest.raises(DataError, match="stored turned"):
        load_data(f"folder:{folder}", task=task_named("segmentation"), image_size=SIDE)


def damaged(folder: Path, how: str) -> None:
    mask = folder / "train" / "masks" / "0.png"
    match how:
        case "missing":
            mask.unlink()
        case "smaller":
            Image.open(mask).crop((0, 0, 9, 9)).save(mask)
        case "coloured":
            Image.open(mask).convert("RGB").save(mask)
        case "lossy":
            Image.open(mask).save(mask.with_suffix(".jpg"))
            mask.unlink()
        case "another class":
            Image.new("L", (SIDE, SIDE), 7).save(mask)
        case "no folder":
            mask.parent.rename(mask.parent.with_name("other"))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "must have a mask of its name, got none for 0."),
        ("smaller", "a mask must have the size of its image, 24×24, got 9×9"),
        ("coloured", "a mask must have one channel of 8 bits, of class numbers, got RGB"),
        ("lossy", "masks must be stored without loss, such as PNG, got 0.jpg"),
        ("another class", "must name every class of the masks, got 3 names and a pixel of class 7."),
        ("no folder", "must hold a folder images and a folder masks, got images, other."),
    ],
)
def test_masks_that_are_none_are_named(tmp_path: Path, how: str, said: str) -> None:
    folder = write_masked(tmp_path, {"train": 6, "test": 3})
    damaged(folder, how)
    with pytest.raises(DataError) as caught:
        load_data(f"folder:{folder}", task=task_named("segmentation"), image_size=16)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        ("regression", "csv:{path},label=path", "every label in {path} must be a number, but"),
        ("regression", "csv:{path},label=mean+height", "must be among"),
        ("multi-label", "csv:{path},label=mean+red", "must say 0 or 1, but"),
        (
            "multi-label",
            "csv:{path},label=bright",
            "must be of several classes, some of them, got one for each",
        ),
        (
            "regression",
            "digits",
            "--data must say numbers for this task, got digits, which says one class of each",
        ),
        ("segmentation", "csv:{path},label=tags", "Give folder:PATH, with images and masks."),
    ],
)
def test_what_says_something_else_is_refused(tmp_path: Path, task: str, name: str, said: str) -> None:
    path = write_table(tmp_path, 12)
    with pytest.raises((DataError, BadInputError)) as caught:
        load_data(name.format(path=path), task=task_named(task), image_size=8)
    assert said.format(path=path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parts", [{"": 4}, {"train": 4, "test": 4}])
def test_images_and_masks_are_not_taken_for_two_classes(tmp_path: Path, parts: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"images and masks\. For masks there is --task segmentation"):
        load_data(f"folder:{write_masked(tmp_path, parts)}", image_size=8)


@pytest.mark.parametrize("text", ["nan", "inf", "1e99", "1_000", "", "five"])
def test_numbers_that_are_none_are_named_with_their_line(tmp_path: Path, text: str) -> None:
    path = write_table(tmp_path, 12)
    lines = path.read_text(encoding="utf-8").splitlines()
    fields = lines[5].split(",")
    lines[5] = ",".join([fields[0], text, *fields[2:]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 6"):
        load_data(f"csv:{path},label=mean", task=task_named("regression"), image_size=8)
