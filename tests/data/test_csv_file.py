"""A CSV file of paths and labels is read like the folders it stands for; what is wrong in it is said with its line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nas_prune.data import ImageData, load_data
from nas_prune.data.identity import identity_of
from nas_prune.data.sources import labelled_pictures
from nas_prune.data.table import sorted_labels
from nas_prune.errors import DataError, NasPruneError
from tests.conftest import WriteDigits

Rows = list[tuple[str, str]]


@pytest.fixture
def root(write_digits: WriteDigits) -> Path:
    """Twenty images of each of two classes, and no file that lists them."""
    return write_digits("", {"3": 20, "5": 20}, size=12)


def rows_of(root: Path) -> Rows:
    return [(str(path.relative_to(root)), path.parent.name) for path in sorted(root.glob("?/*.png"))]


def written(root: Path, lines: list[str], name: str = "all.csv") -> str:
    (root / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
    return f"csv:{root / name}"


def listed(root: Path, name: str = "all.csv") -> str:
    return written(root, ["path,label", *(",".join(row) for row in rows_of(root))], name)


def pixels(data: ImageData) -> tuple[torch.Tensor, ...]:
    return data.train.sample(), data.val.sample(), data.test.sample(), data.train.labels, data.test.labels


def test_a_file_gives_the_very_images_of_the_folder_that_it_lists(root: Path) -> None:
    csv, folder = load_data(listed(root), seed=3), load_data(f"folder:{root}", seed=3)
    assert all(ours.equal(theirs) for ours, theirs in zip(pixels(csv), pixels(folder), strict=True))
    assert csv.class_names == folder.class_names == ("3", "5")
    assert (csv.mean, csv.std, csv.flip) == (folder.mean, folder.std, True)
    assert identity_of(csv) == identity_of(folder)


@pytest.mark.parametrize(
    ("names", "part_names"),
    [
        (("train", "test"), ("Train", "TEST")),
        (("train", "test"), ("training", "Validation")),
        (("train", "val", "test"), ("train", "dev", "test")),
    ],
)
def test_a_column_says_the_parts_under_any_of_their_names(
    names: tuple[str, ...], part_names: tuple[str, ...], root: Path
) -> None:
    lines = [f"{path},{label},{part_names[i % len(names)]}" for i, (path, label) in enumerate(rows_of(root))]
    data = load_data(written(root, ["File Name,Class,Split", *lines]))
    found = {part: len(getattr(data, part)) for part in ("train", "val", "test")}
    if len(names) == 3:
        assert found == {"train": 14, "val": 13, "test": 13}
    else:
        assert found == {"train": 18, "val": 2, "test": 20}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "\r"])
def test_what_spreadsheets_write_is_understood(delimiter: str, start: str, end: str, root: Path) -> None:
    rows = [("image", "note, of mine", "label")] + [(path, "a; b\tc", label) for path, label in rows_of(root)]
    lines = [delimiter.join(f'"{field}"' for field in row) + end for row in rows]
    data = load_data(written(root, [start + lines[0], *lines[1:], ""]))
    assert len(data.train) + len(data.val) + len(data.test) == 40


def test_labels_that_are_numbers_are_in_their_order(root: Path) -> None:
    assert sorted_labels(["10", "9", "-1", "2.5"]) == ["-1", "2.5", "9", "10"]
    assert sorted_labels(["10", "9", "nan"]) == ["10", "9", "nan"]
    assert sorted_labels(["b", "a"]) == ["a", "b"]
    lines = [f"{path},{'10' if label == '3' else '9'}" for path, label in rows_of(root)]
    assert load_data(written(root, ["path,label", *lines])).class_names == ("9", "10")


def test_paths_may_lead_up_and_be_absolute_and_lie_in_a_folder_that_is_chosen(root: Path) -> None:
    (root / "lists").mkdir()
    rows = rows_of(root)
    up = [f"../{path},{label}" for path, label in rows[:20]]
    absolute = [f"{root / path},{label}" for path, label in rows[20:]]
    expected = load_data(listed(root)).train.sample()
    assert (
        load_data(written(root, ["path,label", *up, *absolute], "lists/a.csv")).train.sample().equal(expected)
    )
    name = listed(root)
    (root / "inner").mkdir()
    for part in ("3", "5"):
        (root / part).rename(root / "inner" / part)
    with pytest.raises(
        DataError, match=rf"40 of 40 .*line 2, 3/.* It is in inner: type --data {name},folder=inner\."
    ):
        load_data(name)
    assert load_data(f"{name},folder=inner").train.sample().equal(expected)


def test_columns_are_chosen_where_several_could_be_meant(root: Path) -> None:
    lines = [f"{path},{label},{'ab'[i % 2]}" for i, (path, label) in enumerate(rows_of(root))]
    name = written(root, ["path,class,label", *lines])
    with pytest.raises(
        DataError, match=rf"one column for the label, got class, label. Say which: --data {name},label=class"
    ):
        load_data(name)
    assert load_data(f"{name},label=class").class_names == ("3", "5")
    assert load_data(f"{name},label=label").class_names == ("a", "b")
    with pytest.raises(
        DataError, match="the column label of .* must be one of path, class, label, got 'kind'"
    ):
        load_data(f"{name},label=kind")
    with pytest.raises(DataError, match="may choose path, label, split, folder, got image"):
        load_data(f"{name},label=class,image=path")


def test_rows_that_name_an_image_again_are_passed_over_and_counted(root: Path) -> None:
    (root / "link.png").symlink_to(root / rows_of(root)[0][0])
    rows = rows_of(root)
    again = [f"{path},{label}" for path, label in rows[:5]] + [f"3/../{rows[7][0]},3", "link.png,3"]
    data = load_data(written(root, ["path,label", *(",".join(row) for row in rows), *again]))
    assert data.notes[0] == "Passed over: 7 rows that name an image which is there already."
    assert len(data.train) + len(data.val) + len(data.test) == 40


def test_an_image_of_two_parts_is_one_of_the_first(root: Path) -> None:
    rows = rows_of(root)
    lines = [f"{path},{label},test" for path, label in rows[15:25]] + [
        f"{path},{label},train" for path, label in rows[:17] + rows[22:]
    ]
    data = load_data(written(root, ["path,label,split", *lines]), val_fraction=0.1)
    assert (len(data.train) + len(data.val), len(data.test)) == (35, 5)


def test_streamed_images_are_those_of_memory(root: Path) -> None:
    memory, streamed = (load_data(listed(root), stream=stream) for stream in (False, True))
    assert (streamed.mean, streamed.std, streamed.notes) == (memory.mean, memory.std, memory.notes)
    assert streamed.train.sample().equal(memory.train.sample())


def test_the_part_to_check_a_network_with_is_the_test_part(root: Path) -> None:
    lines = [
        f"{path},{label},{'test' if i % 4 else 'train'}" for i, (path, label) in enumerate(rows_of(root))
    ]
    found, names, is_test = labelled_pictures(written(root, ["path,label,split", *lines]))
    assert (len(found.pictures), names, is_test) == (30, ("3", "5"), True)
    assert found.pictures[0] == root / rows_of(root)[1][0]
    found, _, is_test = labelled_pictures(listed(root))
    assert (len(found.pictures), is_test) == (40, False)


def lines_of(root: Path) -> list[str]:
    return ["path,label", *(",".join(row) for row in rows_of(root))]


def without_labels(lines: list[str]) -> list[str]:
    return [*lines[:5], lines[5].rpartition(",")[0] + ", ", *lines[6:-1], lines[-1].rpartition(",")[0] + ","]


WRONG: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "empty": (lambda lines: [], "first line of .*all.csv must name columns .* such as path,label, got ''"),
    "header alone": (lambda lines: lines[:1], "must have a row for each image, got only the first line"),
    "no header": (lambda lines: lines[1:], "a column for the path, such as path or file, got the columns 3/"),
    "one column": (lambda lines: ["path", "a"], "must name columns with a comma, a semicolon, a tab between"),
    "no label": (without_labels, r"must have a label, got 2 of 40 without one, first line 6\."),
    "no path": (lambda lines: [*lines, " ,3"], r"the path of an image, got 1 of 41 without one, first line 42\."),
    "long label": (lambda lines: [*lines, f"a,{'x' * 256}"], "of at most 255 letters, got 1 of 41 without"),
    "missing": (
        lambda lines: [lines[0], *(f"x{line}" for line in lines[1:])],
        r"must be there, but 40 of 40 are not: first line 2, x3/.*png \(No such file or directory\)\. Paths are",
    ),
    "nul": (lambda lines: [*lines, "a\0b,3"], "first line 42, .*null"),
    "url": (lambda lines: [*lines, "https://a/b.png,3"], "first line 42, https://a/b.png .* Nothing is downloaded"),
    "backslash": (lambda lines: [*lines, "a\\b.png,3"], "Write / between the names of folders"),
    "without suffix": (
        lambda lines: [*lines[:9], "all,3", *lines[9:]],
        r"line 10, all .* There is all.csv: the column must have whole names",
    ),
    "folder": (lambda lines: [*lines, "3,3"], r"1 of 41 are not: first line 42, 3 \(not a regular file\)"),
    "no image": (lambda lines: [*lines, "all.csv,3"], r"1 of 41 are not: all.csv \(not an image\)"),
    "two labels": (
        lambda lines: [*lines, lines[1].replace(",3", ",5")],
        r"one label, got 1 of 41 rows of .*all.csv that give one another: first lines 2 and 42, 3/\d+.png \(3, 5\)",
    ),
    "one class": (lambda lines: lines[:21], "at least two classes, got only '3'"),
    "fields": (lambda lines: [*lines, "a,b,3"], "must have the 2 fields of its first line, got 3 on line 42"),
    "field missing": (lambda lines: [*lines, "a"], "got 1 on line 42"),
    "quotation mark": (lambda lines: [*lines, '"a,3'], "line 42 is none .*Is a quotation mark missing"),
    "long line": (lambda lines: [*lines, "a" * 70_000], "at most 65,536 bytes, got more on line 42"),
    "twice": (
        lambda lines: [f"{lines[0]},label", *(f"{line},3" for line in lines[1:])],
        "must name each column once, got label twice",
    ),
    "control": (lambda lines: [*lines, "\x1b[31m,3"], r"first line 42, \\x1b\[31m"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_in_a_file_is_said_in_one_line_with_its_number(kind: str, root: Path) -> None:
    change, said = WRONG[kind]
    with pytest.raises(NasPruneError, match=said) as caught:
        load_data(written(root, change(lines_of(root))))
    assert "\n" not in str(caught.value)


def test_a_part_that_nobody_knows_is_named(root: Path) -> None:
    lines = [f"{path},{label},{('train', 'Holdout')[i % 2]}" for i, (path, label) in enumerate(rows_of(root))]
    with pytest.raises(DataError, match=r"column split of .* got 'Holdout' in 20 rows, first line 3\."):
        load_data(written(root, ["path,label,split", *lines]))
    lines = [line.replace("Holdout", "test").replace("train", "val") for line in lines]
    with pytest.raises(DataError, match="must have images to train with, got only the part test and val"):
        load_data(written(root, ["path,label,split", *lines]))


def test_text_that_is_not_utf_8_is_named_with_its_line(root: Path) -> None:
    (root / "all.csv").write_bytes("\n".join([*lines_of(root), "é.png,3"]).encode("latin-1"))
    with pytest.raises(DataError, match="must be UTF-8, but line 42 is not. Save it as “CSV UTF-8”"):
        load_data(f"csv:{root / 'all.csv'}")
    (root / "all.csv").write_bytes("\n".join(lines_of(root)).encode("utf-16"))
    with pytest.raises(DataError, match="must be UTF-8, got UTF-16"):
        load_data(f"csv:{root / 'all.csv'}")


@pytest.mark.usefixtures("freeing_pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "lost"])
def test_what_is_no_file_is_not_waited_for(kind: str, root: Path) -> None:
    path = root / "odd.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    why = "No such file or directory" if kind == "lost" else "not a regular file"
    with pytest.raises(DataError, match=rf"1 of 41 are not: first line 42, odd.png \({why}\)"):
        load_data(written(root, [*lines_of(root), "odd.png,3"]))
    with pytest.raises(
        DataError, match=rf"--data csv:FILE must name a CSV file, got .*odd.png \((it is )?{why}\)"
    ):
        load_data(f"csv:{path}")


def test_a_file_that_is_far_too_large_is_not_read(root: Path) -> None:
    listed(root)
    with (root / "all.csv").open("r+b") as stream:
        stream.truncate(2**31)
    with pytest.raises(DataError, match="at most 1,073,741,824 bytes, got 2,147,483,648"):
        load_data(f"csv:{root / 'all.csv'}")
