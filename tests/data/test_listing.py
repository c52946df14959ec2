"""Every image of a class is found once, whatever links lead where, and what cannot be listed is named."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas_prune.data import load_data
from nas_prune.data.listing import image_files
from nas_prune.errors import DataError
from tests.conftest import WriteDigits


def names(root: Path, label: str) -> list[str]:
    return [str(path.relative_to(root / label)) for path in image_files(root / label)]


@pytest.fixture
def root(write_digits: WriteDigits) -> Path:
    return write_digits("", {"0": 10, "1": 10})


@contextmanager
def as_nobody(root: Path) -> Iterator[None]:
    """What is not for everybody cannot be read, even where tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    modes = {path: path.stat().st_mode for path in (root, *root.parents)}
    closed = {path: mode for path, mode in modes.items() if mode & 0o055 != 0o055}
    for path, mode in closed.items():
        path.chmod(mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in closed.items():
            path.chmod(mode)


def test_a_link_back_to_a_folder_above_is_passed_over(root: Path) -> None:
    before = names(root, "0")
    (root / "0" / "same").symlink_to(".")
    (root / "0" / "all").symlink_to("..")
    (root / "0" / "everything").symlink_to(root.parent)
    assert names(root, "0") == before
    assert sum(map(len, (load_data(f"folder:{root}").train, load_data(f"folder:{root}").test))) == 18


def test_folders_that_link_to_each_other_end(root: Path) -> None:
    for name in ("a", "b", "c"):
        (root / "0" / name).mkdir()
        for other in {"a", "b", "c"} - {name}:
            (root / "0" / name / other).symlink_to(f"../{other}")
    before = names(root, "1")
    next((root / "1").glob("*.png")).rename(root / "0" / "c" / "x.png")
    assert "c/x.png" in names(root, "0")
    assert len(names(root, "0")) == 11
    assert len(names(root, "1")) == len(before) - 1


def test_a_folder_is_listed_once_by_its_own_name(root: Path) -> None:
    (root / "0" / "z").mkdir()
    next((root / "0").glob("*.png")).rename(root / "0" / "z" / "x.png")
    (root / "0" / "a").symlink_to("z")
    assert [name for name in names(root, "0") if "/" in name] == ["z/x.png"]


def test_links_to_images_elsewhere_are_followed(tmp_path: Path, write_digits: WriteDigits) -> None:
    root = write_digits("here", {"0": 10, "1": 10}) / "here"
    (root / "1").rename(tmp_path / "elsewhere")
    (root / "1").symlink_to(tmp_path / "elsewhere")
    (root / "0" / "more").symlink_to(tmp_path / "elsewhere")
    assert len(names(root, "1")) == 10
    assert len(names(root, "0")) == 20


@pytest.mark.parametrize("target", ["absent", "lost"])
def test_a_link_that_leads_nowhere_is_named(root: Path, target: str) -> None:
    (root / "lost").symlink_to(target)
    with pytest.raises(
        DataError, match=r"the links in .* must lead to a file or a folder, got lost\. Repair"
    ):
        load_data(f"folder:{root}")
    (root / "lost").rename(root / "0" / "lost")
    with pytest.raises(DataError, match=r"the links in .*/0 must lead to a file or a folder, got lost\. Rep"):
        load_data(f"folder:{root}")
    (root / "0" / "lost").rename(root / "0" / ".#lost")
    assert load_data(f"folder:{root}").num_classes == 2


def test_a_test_folder_that_is_gone_does_not_make_a_class_of_train(write_digits: WriteDigits) -> None:
    root = write_digits("train", {"0": 10, "1": 10})
    (root / "test").symlink_to("absent")
    with pytest.raises(DataError, match=r"must lead to a file or a folder, got test\. Repair"):
        load_data(f"folder:{root}")


def test_a_folder_called_like_an_image_holds_images_or_is_named(root: Path) -> None:
    (root / "0" / "f.png").mkdir()
    with pytest.raises(DataError, match=r"1 of 21 are not: 0/f.png \(not a regular file\)\. Repair"):
        load_data(f"folder:{root}")
    next((root / "0").glob("0*.png")).rename(root / "0" / "f.png" / "x.png")
    assert len(names(root, "0")) == 10


@pytest.mark.parametrize("place", ["0", "0/deeper"])
def test_a_folder_that_may_not_be_read_is_named(root: Path, place: str) -> None:
    (root / place).mkdir(exist_ok=True)
    (root / place).chmod(0)
    expected = rf"must be readable, got .*/{place} \(Permission denied\)\. Make"
    with as_nobody(root), pytest.raises(DataError, match=expected):
        load_data(f"folder:{root}")
    (root / place).chmod(0o755)


def test_a_file_that_may_not_be_read_is_named(root: Path) -> None:
    path = sorted((root / "0").glob("*.png"))[0]
    path.chmod(0)
    expected = rf"1 of 20 are not: 0/{path.name} \(Permission denied\)\. Repair"
    with as_nobody(root), pytest.raises(DataError, match=expected):
        load_data(f"folder:{root}")


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\x1b[31m", "a\u202eb".encode()])
def test_names_of_classes_may_be_anything_and_are_shown_plainly(root: Path, name: bytes) -> None:
    (root / "1").rename(root / os.fsdecode(name))
    assert load_data(f"folder:{root}").class_names == ("0", os.fsdecode(name))
    (root / "empty").mkdir()
    for path in (root / os.fsdecode(name)).iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"got none for a?(caf)?\\[^\x1b\u202e\udce9]*, empty\. Add"):
        load_data(f"folder:{root}")


def test_the_folder_of_nobody_does_not_exist() -> None:
    with pytest.raises(DataError, match="got ~nobody-has-this-name/images, which does not exist"):
        load_data("folder:~nobody-has-this-name/images")


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(DataError, match="--data folder:PATH must name a folder, got .*, which"):
        load_data(f"folder:{path}")


@pytest.mark.slow
def test_fifty_thousand_files_are_listed_within_seconds(root: Path) -> None:
    from time import perf_counter

    for number in range(25_000):
        (root / "0" / f"x{number}.jpg").touch()
        (root / "1" / f"x{number}.jpg").touch()
    start = perf_counter()
    assert len(names(root, "0")) == 25_010
    assert len(names(root, "1")) == 25_010
    assert perf_counter() - start < 5
