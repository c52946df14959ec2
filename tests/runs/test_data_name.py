"""The name of a person's own images: its place is moved with a run, and what is chosen of it stays."""

import os
from pathlib import Path

import pytest

from nas_prune.data.config import DataConfig, placed
from nas_prune.runs.data_name import own_data
from nas_prune.runs.directory import from_run, make_run, portable, published


@pytest.mark.parametrize(
    ("name", "place", "columns"),
    [
        ("csv:a,b.csv", "a,b.csv", {}),
        ("csv:a.csv,label=x,path=y z", "a.csv", {"label": "x", "path": "y z"}),
        ("csv:a,label=b.csv,split=", "a", {"label": "b.csv", "split": ""}),
        ("hf:d,image=i", "d", {"image": "i"}),
        ("folder:d,label=x", "d,label=x", {}),
        ("csv:", "", {}),
    ],
)
def test_a_name_comes_apart_into_its_place_and_choices(
    name: str, place: str, columns: dict[str, str]
) -> None:
    own = own_data(name)
    assert own is not None
    assert (own.place, own.columns, own.at(own.place)) == (place, columns, name)


@pytest.mark.parametrize("name", ["digits", "csv", "https://a", "CSV:a"])
def test_other_names_are_no_places(name: str) -> None:
    assert own_data(name) is None


@pytest.mark.parametrize("name", ["csv:{}/a.csv,label=x", "hf:{}/saved", "folder:{}/pictures"])
def test_a_place_is_found_again_from_a_run_that_is_moved_with_it(name: str, tmp_path: Path) -> None:
    run = tmp_path / "one" / "runs" / "r"
    run.mkdir(parents=True)
    there = name.format(tmp_path / "one")
    written = portable(there, run)
    assert str(tmp_path) not in written
    (tmp_path / "one").rename(tmp_path / "two")
    back = from_run(written, tmp_path / "two" / "runs" / "r")
    kind, _, place = name.format(tmp_path / "two").partition(":")
    assert back.partition(":")[0] == kind
    assert os.path.abspath(back.partition(":")[2]) == place  # noqa: PTH100
    assert placed(DataConfig(name=written), run, None).name.endswith(name.partition("/")[2])


@pytest.mark.usefixtures("in_empty_directory")
def test_what_is_published_and_directories_have_no_path() -> None:
    assert published("csv:/somewhere/deep/all.csv,label=x") == "csv:all.csv,label=x"
    assert published("hf:/somewhere/deep/saved/") == "hf:saved"
    assert make_run(None, "resnet20", "slimming", "csv:/x/all.csv").name == "resnet20-slimming-all-001"
    assert (
        make_run(None, "resnet20", "slimming", "hf:/x/saved,label=a").name
        == "resnet20-slimming-saved-label-a-001"
    )
