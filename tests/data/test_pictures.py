"""A picture inside a larger file has its own bytes and no others, and is called by its row."""

import io
from pathlib import Path

import pytest

from nas_prune.data.pictures import Stored, absolute, opened, shown


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    (tmp_path / "all").write_bytes(bytes(range(200)))
    return Stored(tmp_path / "all", 50, 20, tmp_path / "test", 7)


def test_it_is_read_like_a_file_of_its_own(stored: Stored) -> None:
    own = io.BytesIO(bytes(range(50, 70)))
    with opened(stored) as (stream, stamp):
        assert stamp[0] == 200
        for offset, whence, size in (
            (0, 0, -1),
            (5, 0, 3),
            (2, 1, 100),
            (-4, 2, 2),
            (0, 2, 9),
            (30, 0, 5),
            (0, 0, 20),
        ):
            assert stream.seek(offset, whence) == own.seek(offset, whence)
            assert stream.read(size) == own.read(size)
            assert stream.tell() == own.tell()
        with pytest.raises(OSError, match="before the beginning"):
            stream.seek(-21, 2)
        with pytest.raises(OSError, match="fileno"):
            stream.fileno()


def test_what_was_cut_off_is_not_there(stored: Stored) -> None:
    stored.file.write_bytes(bytes(60))
    with opened(stored) as (stream, stamp):
        assert (stream.read(), stamp[0]) == (bytes(10), 60)


@pytest.mark.usefixtures("in_empty_directory")
def test_names_are_relative_to_a_folder_where_they_are_in_it() -> None:
    picture = Stored(Path("d/test/a.arrow"), 0, 1, Path("d/test"), 7)
    assert (str(picture), picture.name) == ("d/test[7]", "test[7]")
    assert shown(picture, Path("d")) == "test[7]"
    assert shown(picture, Path("d/test")) == "d/test[7]"
    assert shown(Path("d/../x.png"), Path("d")) == "../x.png"
    assert shown(Path("x.png"), Path()) == "x.png"
    assert shown(Path("/d/x\x1b.png"), Path("/d")) == r"x\x1b.png"
    assert str(absolute(picture)) == f"{Path.cwd()}/d/test[7]"
