"""What lies at a place is recognised, and how its name is typed is said."""

from pathlib import Path

import pytest

from nas_prune.data import load_data
from nas_prune.data.sources import labelled_pictures
from nas_prune.errors import BadInputError
from tests.conftest import WriteDigits


def saved(folder: Path) -> Path:
    folder.mkdir()
    for name in ("state.json", "dataset_info.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.usefixtures("in_empty_directory")
def test_a_place_without_its_kind_is_recognised(write_digits: WriteDigits) -> None:
    write_digits("clothing", {"3": 2})
    Path("my list.CSV").write_text("path,label\n")
    saved(Path("clothes"))
    for place, what, meant in (
        ("clothing", "a folder", "folder:clothing"),
        ("my list.CSV", "a CSV file", "'csv:my list.CSV'"),
        ("clothes", "a saved data set", "hf:clothes"),
    ):
        with pytest.raises(BadInputError, match=rf"There is {what} of that name: --data {meant}\."):
            load_data(place)
    with pytest.raises(BadInputError, match=r"package.module:function, got 'clothe'\.$"):
        load_data("clothe")


@pytest.mark.usefixtures("in_empty_directory")
def test_a_place_of_another_kind_is_said_with_what_to_type(write_digits: WriteDigits) -> None:
    write_digits("clothing", {"3": 2})
    Path("all.csv").write_text("path,label\n")
    saved(Path("clothes"))
    for name, what, meant in (
        ("folder:all.csv", "a CSV file", "csv:all.csv"),
        ("csv:clothing", "a folder", "folder:clothing"),
        ("hf:clothing", "a folder", "folder:clothing"),
        ("folder:clothes", "a saved data set", "hf:clothes"),
        ("hf:all.csv,label=a", "a CSV file", "csv:all.csv"),
    ):
        with pytest.raises(BadInputError, match=rf"must say what .*, which is {what}. Type --data {meant}\."):
            load_data(name)
    with pytest.raises(BadInputError, match=r"what all.csv is, which is a CSV file. Type --data csv:all.csv"):
        labelled_pictures("all.csv")
