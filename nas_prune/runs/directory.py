"""Run directories: where a run keeps its configuration, metrics and results."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.runs.data_name import own_data
from nas_prune.runs.files import alone_in, is_there, open_own, saying_why, write_whole
from nas_prune.runs.reading import load_json, read_bytes, read_text
from nas_prune.runs.settings import CONFIG
from nas_prune.runs.text import printable

_MOST_LINES = 100_000  # of metrics: no training has more epochs
_LONGEST_NAME = 200  # bytes: file systems have 255
METRICS, CHECKPOINT, RESULT, WIDTHS = "metrics.jsonl", "checkpoint.safetensors", "result.json", "widths.json"
TARGET = "target"  # the directory of what the widths are meant for
NETWORK = "network.safetensors"
_BEGINNING = ".beginning"  # stands beside what a run begins with until all of it is there
TEST_IMAGES = "test-images.csv"


def directory_name(name: str) -> str:
    """A name that a directory is made with: it must not lead elsewhere.

    Raises:
        ValueError: it has slashes, a dot in front, characters that cannot be seen, or is too long.
    """
    is_short = 0 < len(name.encode(errors="replace")) <= _LONGEST_NAME
    if not is_short or name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise ValueError(
            f"a name must be one of a directory, without slashes or a dot in front, got {name[:_LONGEST_NAME]!r}"
        )
    return name


DirectoryName = Annotated[str, AfterValidator(directory_name)]


def check_out(out: Path | None) -> None:
    """Refuse an output directory that holds something, before any work is done.

    What a process has left that was killed while it began a run there does not count: `make_run` removes it.

    Raises:
        BadInputError: it exists and is not empty, or is a file.
    """
    if out is None or not is_there(out):
        return
    if not out.is_dir() or (any(out.iterdir()) and not _is_half_begun(out)):
        raise BadInputError(f"--out must be a new or an empty directory, got {out}. Choose another name.")


def default_run(name: str) -> Path:
    """The directory of a run that is called by a name.

    Raises:
        BadInputError: it is a link, which nobody has typed: what is written there would be written elsewhere.
    """
    run = Path("runs") / name
    if run.is_symlink():
        raise BadInputError(f"{run} must be no link, got one. If it is meant, type --out {run}.")
    return run


def make_run(out: Path | None, space: str, what: str, data_name: str) -> Path:
    """Make the directory of a new run: the one asked for, or the next free `runs/SPACE-WHAT-DATA-NNN`."""
    check_out(out)
    stem = f"{space}-{what}-{_stem_of(data_name)}"
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            _remove_half_begun(out)
            return out
        return _next_free(Path("runs"), re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-"))
    except OSError as error:
        raise BadInputError(
            f"the run's directory must be writable, got: {error}. Choose another with --out."
        ) from None


def _stem_of(data_name: str) -> str:
    own = own_data(published(data_name))
    return published(data_name) if own is None else own.place.removesuffix(".csv") + own.choices


@contextmanager
def begun_whole(run: Path) -> Iterator[None]:
    """Empty the directory of a new run again if what it begins with cannot be written: the command can be repeated.

    A process that is killed empties nothing: there a file says so until all is written, the configuration last.
    """
    marker = run / _BEGINNING
    with saying_why(marker):
        marker.touch(exist_ok=False)
    try:
        with alone_in(marker):
            yield
            marker.unlink(missing_ok=True)
    except BaseException:
        _empty(run)
        raise


def _is_half_begun(run: Path) -> bool:
    """Whether a process that was killed has left a part of what a run begins with, or another is writing that now."""
    return (run / _BEGINNING).is_file() and not is_there(run / CONFIG)


def _remove_half_begun(run: Path) -> None:
    """Empty a directory in which a run was not begun to its end; one that another process begins now is left."""
    if _is_half_begun(run):
        with alone_in(run / _BEGINNING):
            if _is_half_begun(run):
                _empty(run)
        check_out(run)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _next_free(parent: Path, stem: str) -> Path:
    parent.mkdir(exist_ok=True)
    number = 1
    while True:
        try:
            (parent / f"{stem}-{number:03d}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return parent / f"{stem}-{number:03d}"


def seed_folders(run: Path) -> list[Path]:
    """The directories of a run's seeds, the lowest first: `seed-2` before `seed-10`."""
    found = [path for path in run.glob("seed-*") if path.name.removeprefix("seed-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed-")))


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add one line to `metrics.jsonl`."""
    with saying_why(run / METRICS), open_own(run / METRICS) as stream:
        stream.write(json.dumps(row) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, oldest first; none if there is no such file.

    Raises:
        DamagedError: a line is none, or not whole.
    """
    path = run / METRICS
    try:
        text = read_text(path)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path} must be text that can be read, got: {error}.") from None
    if text.count("\n") > _MOST_LINES:
        raise DamagedError(f"{path} must have a line for each epoch, got more than {_MOST_LINES:,}.")
    try:
        rows = [load_json(line, allows_nan=True) for line in text.splitlines()]
    except ValueError as error:
        raise DamagedError(
            f"{path} must hold whole lines of JSON, got one that does not ({error})."
        ) from None
    if not all(isinstance(row, dict) for row in rows):
        raise DamagedError(f"{path} must hold one JSON object a line, got something else.")
    return rows


def keep_metrics(run: Path, epochs: int) -> int:
    """Cut `metrics.jsonl` back to the epochs that a checkpoint covers; returns how many of them it has."""
    path = run / METRICS
    if not path.exists():
        return 0
    kept: dict[int, str] = {}
    try:
        text = read_bytes(path).decode(errors="replace")
    except OSError as error:
        raise DamagedError(f"{path} must be a file that can be read, got: {error}.") from None
    for line in filter(lambda line: line.startswith("{"), text.split("\n", _MOST_LINES)):
        with suppress(ValueError, TypeError, KeyError):  # an incomplete line
            kept.setdefault(int(load_json(line, allows_nan=True)["epoch"]), line)
    lines = [kept[epoch] for epoch in range(1, epochs + 1) if epoch in kept]
    write_whole(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def expanded(place: str) -> Path:
    """A path with `~` written out, where that means somebody's directory."""
    try:
        return Path(place).expanduser()
    except RuntimeError:  # of nobody
        return Path(place)


def _real(path: Path) -> str:
    """Where a path leads; `Path.resolve` fails on a link to itself."""
    return os.path.realpath(path)


def portable(data_name: str, run: Path) -> str:
    """A data set's name for a file of a run: a place is given relative to the run's directory."""
    own = own_data(data_name)
    return data_name if own is None else own.at(os.path.relpath(_real(expanded(own.place)), _real(run)))


def from_run(data_name: str, run: Path) -> str:
    """The reverse of `portable`: a name that can be loaded from here."""
    own = own_data(data_name)
    return data_name if own is None else own.at(os.path.relpath(_real(run / own.place)))


def published(data_name: str) -> str:
    """A data set's name without directories, for a file that is published; a line that can be shown."""
    own = own_data(data_name)
    if own is None:
        return printable(data_name)
    return printable(own.at(Path(_real(expanded(own.place))).name))
