import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from nas_prune.data import ImageData, load_data
from nas_prune.errors import DataError

WriteDigits = Callable[..., Path]


def load(path: Path, **settings: int | float) -> ImageData:
    return load_data(f"folder:{path}", **settings)  # type: ignore[arg-type]


def counts(data: ImageData, part: str) -> list[int]:
    labels = getattr(data, part).labels.tolist()
    return [labels.count(label) for label in range(data.num_classes)]


def test_train_and_test_folders_are_the_parts(write_digits: WriteDigits) -> None:
    write_digits("train", {"3": 20, "5": 30}, suffix=".jpg")
    data = load(write_digits("test", {"3": 4, "5": 6}))
    assert data.class_names == ("3", "5")
    assert (counts(data, "train"), counts(data, "val"), counts(data, "test")) == ([18, 27], [2, 3], [4, 6])
    assert data.train.sample().shape == (45, 3, 32, 32)
    assert data.flip


def test_val_serves_as_the_test_part_when_there_is_no_other(write_digits: WriteDigits) -> None:
    write_digits("train", {"3": 20, "5": 20})
    data = load(write_digits("val", {"3": 4, "5": 6}))
    assert (counts(data, "train"), counts(data, "val"), counts(data, "test")) == ([18, 18], [2, 2], [4, 6])


def test_val_and_test_are_both_used_where_both_are_there(write_digits: WriteDigits) -> None:
    write_digits("train", {"3": 20, "5": 20})
    write_digits("val", {"3": 7, "5": 3})
    data = load(write_digits("test", {"3": 4, "5": 6}))
    assert (counts(data, "train"), counts(data, "val"), counts(data, "test")) == ([20, 20], [7, 3], [4, 6])


def test_max_images_reduces_a_train_and_a_val_folder_together(write_digits: WriteDigits) -> None:
    write_digits("train", {"3": 20, "5": 20})
    write_digits("val", {"3": 5, "5": 5})
    data = load(write_digits("test", {"3": 4, "5": 6}), max_images=25)
    assert (counts(data, "train"), sum(counts(data, "val")), counts(data, "test")) == ([10, 10], 5, [4, 6])


def test_a_fifth_is_the_test_part_without_splits(write_digits: WriteDigits) -> None:
    data = load(write_digits("", {"0": 50, "1": 100}))
    assert counts(data, "test") == [10, 20]
    assert len(data.train) + len(data.val) == 120


def test_a_train_folder_alone_is_split_too(write_digits: WriteDigits) -> None:
    assert counts(load(write_digits("train", {"0": 50, "1": 100})), "test") == [10, 20]


def test_a_class_may_be_called_train(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10})
    (root / "0").rename(root / "train")
    assert load(root).class_names == ("1", "train")


def test_train_beside_folders_that_are_no_parts_is_no_class(write_digits: WriteDigits) -> None:
    root = write_digits("train", {"0": 10, "1": 10})
    write_digits("holdout", {"0": 10})
    with pytest.raises(DataError, match=r"must hold train alone or beside test \(or val\), got holdout"):
        load(root)
    write_digits("test", {"0": 10, "1": 10})
    assert any("Left out beside train, test: holdout." in note for note in load(root).notes)


def test_images_in_deeper_folders_are_found_and_hidden_names_passed_over(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10})
    (root / "1" / "deeper").mkdir()
    next((root / "1").glob("*.png")).rename(root / "1" / "deeper" / "one.PNG")
    (root / ".cache").mkdir()
    (root / "0" / "._x.png").write_text("no image")
    (root / "0" / "notes.txt").write_text("no image")
    data = load(root)
    assert len(data.train) + len(data.val) + len(data.test) == 20
    assert data.class_names == ("0", "1")


def test_only_the_images_needed_are_decoded(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 50, "1": 50})
    told: list[tuple[int, int]] = []
    load_data(f"folder:{root}", max_images=10, progress=lambda *now: told.append(now))
    assert told[-1] == (10 + 20, 10 + 20)


def test_grey_and_size_follow_what_is_asked(write_digits: WriteDigits) -> None:
    data = load(write_digits("", {"0": 10, "1": 10}, size=20), in_channels=1, image_size=12)
    assert (data.in_channels, data.image_size) == (1, 12)


def test_an_unreadable_image_is_named(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10})
    (root / "1" / "broken.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"1 of 21 are not: 1/broken.jpg \(not an image\). Repair"):
        load(root)


def test_a_class_missing_in_test_is_named(write_digits: WriteDigits) -> None:
    write_digits("train", {"3": 9, "5": 9})
    with pytest.raises(
        DataError, match="classes of .*test must be those of train, got 5 missing and 7 not in"
    ):
        load(write_digits("test", {"3": 4, "7": 4}))


def test_an_empty_class_is_named(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10, "2": 0})
    with pytest.raises(DataError, match="every class in .* must have images, got none for 2. Add"):
        load(root)


def test_a_class_of_one_image_cannot_be_tested(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 1})
    with pytest.raises(DataError, match="test part must have images of every class, got none of 1. Add"):
        load(root)


def test_a_class_of_two_images_can(write_digits: WriteDigits) -> None:
    assert counts(load(write_digits("", {"0": 30, "1": 2})), "test")[1] == 1


def test_one_image_of_each_class_leaves_nothing_to_validate_on(write_digits: WriteDigits) -> None:
    write_digits("train", {"0": 1, "1": 1})
    with pytest.raises(DataError, match="must have two images of some class"):
        load(write_digits("test", {"0": 1, "1": 1}))


def test_one_class_is_too_few(write_digits: WriteDigits) -> None:
    with pytest.raises(DataError, match="at least two classes, got only '4'"):
        load(write_digits("", {"4": 9}))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold images in one folder for each class, found none"):
        load(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must name a folder, got .*absent, which does not exist\. Give"):
        load(tmp_path / "absent")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"must name a folder, got .*file, which is a file\. Give"):
        load(tmp_path / "file")


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "DEV"])
def test_a_validation_part_is_found_by_any_of_its_names(name: str, write_digits: WriteDigits) -> None:
    write_digits("Train", {"0": 10, "1": 10})
    write_digits(name, {"0": 3, "1": 4})
    data = load(write_digits("TEST", {"0": 5, "1": 6}))
    assert [len(part) for part in (data.train, data.val, data.test)] == [20, 7, 11]


def test_a_validation_part_alone_is_the_test_part(write_digits: WriteDigits) -> None:
    write_digits("train", {"0": 10, "1": 10})
    data = load(write_digits("validation", {"0": 3, "1": 4}))
    assert [len(part) for part in (data.train, data.val, data.test)] == [18, 2, 7]


def test_two_folders_of_one_part_are_refused(write_digits: WriteDigits) -> None:
    for name in ("train", "test", "val"):
        write_digits(name, {"0": 10, "1": 10})
    with pytest.raises(DataError, match="one folder for each part, got val and validation"):
        load(write_digits("validation", {"0": 10, "1": 10}))


def test_what_archives_put_around_a_folder_is_passed_over(write_digits: WriteDigits) -> None:
    root = write_digits("wrap/images", {"0": 10, "1": 10})
    (root / "__MACOSX" / "wrap").mkdir(parents=True)
    (root / "wrap" / "__MACOSX").mkdir()
    assert load(root).class_names == ("0", "1")


def test_formats_that_are_not_read_are_counted_and_named(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10, "2": 0})
    for number in range(3):
        (root / "2" / f"{number}.HEIC").touch()
    with pytest.raises(
        DataError, match=r"got none for 2\. They hold 3 in formats that are not read \(\.heic\)"
    ):
        load(root)
    shutil.copy(next((root / "0").glob("*.png")), root / "2" / "a.png")
    shutil.copy(next((root / "0").glob("*.png")), root / "2" / "b.png")
    notes = load(root).notes
    assert notes[0] == "Left out: 3 in formats that are not read (.heic), such as 0.HEIC."
    assert "2 (" in notes[1]


def test_a_gif_is_an_image(write_digits: WriteDigits) -> None:
    root = write_digits("", {"0": 10, "1": 10})
    with Image.open(next((root / "0").glob("*.png"))) as image:
        image.save(root / "0" / "more.GIF")
    data = load(root)
    assert sum(map(len, (data.train, data.val, data.test))) == 21


def test_every_file_is_taken_once_whatever_links_there_are(write_digits: WriteDigits) -> None:
    write_digits("train", {"0": 10, "1": 10})
    root = write_digits("test", {"0": 3, "1": 4})
    (root / "test" / "0" / "again").symlink_to(root / "train" / "0")
    (root / "train" / "1" / "others").symlink_to(root / "train" / "0")
    first = sorted((root / "train" / "0").glob("*.png"))[0]
    (root / "train" / "0" / "a.png").symlink_to(first)
    os.link(first, root / "train" / "0" / "z.png")
    data = load(root)
    assert [len(part) for part in (data.train, data.val, data.test)] == [18, 2, 7]
    assert data.notes[0].startswith("Passed over: ")


def test_it_is_said_which_folder_in_a_folder_was_taken(write_digits: WriteDigits) -> None:
    root = write_digits("wrap", {"0": 10, "1": 10})
    said = f"The images are those in {root / 'wrap'}."
    assert said in load(root).notes
    for part in ("train", "test"):
        shutil.copytree(root / "wrap", root / "other" / "inner" / part)
    assert load(root / "other").notes[0] == f"The images are those in {root / 'other' / 'inner'}."
    assert not [note for note in load(root / "other" / "inner").notes if note.startswith("The images are")]
    shutil.rmtree(root / "other")
    shutil.copy(next((root / "wrap" / "0").glob("*.png")), root / "stray.png")
    with pytest.raises(DataError, match="must be called train and test"):
        load(root)
