"""Run directories: where a run keeps its configuration, metrics and results."""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from nas_prune.errors import BadInputError
from nas_prune.runs.files import saying_why, write_whole

METRICS, CHECKPOINT, RESULT, WIDTHS = "metrics.jsonl", "checkpoint.safetensors", "result.json", "widths.json"


def check_out(out: Path | None) -> None:
    """Refuse an output directory that holds something, before any work is done.

    Raises:
        BadInputError: it exists and is not empty, or is a file.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInputError(f"--out must be a new or an empty directory, got {out}. Choose another name.")


def make_run(out: Path | None, space: str, what: str, data_name: str) -> Path:
    """Make the directory of a new run: the one asked for, or the next free `runs/SPACE-WHAT-DATA-NNN`."""
    check_out(out)
    stem = f"{space}-{what}-{published(data_name).removeprefix('folder:')}"
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            return out
        return _next_free(Path("runs"), re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-"))
    except OSError as error:
        raise BadInputError(
            f"the run's directory must be writable, got: {error}. Choose another with --out."
        ) from None


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


def append_metrics(run: Path, row: dict[str, Any]) -> None:
    """Add one line to `metrics.jsonl`."""
    with saying_why(run / METRICS), (run / METRICS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, oldest first; none if there is no such file."""
    path = run / METRICS
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def keep_metrics(run: Path, epochs: int) -> int:
    """Cut `metrics.jsonl` back to the epochs that a checkpoint covers; returns how many of them it has."""
    path = run / METRICS
    if not path.exists():
        return 0
    kept: dict[int, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, TypeError, KeyError):  # an incomplete line
            kept.setdefault(int(json.loads(line)["epoch"]), line)
    lines = [kept[epoch] for epoch in range(1, epochs + 1) if epoch in kept]
    write_whole(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def portable(data_name: str, run: Path) -> str:
    """A data set's name for a file of a run: a folder is given relative to the run's directory."""
    kind, colon, place = data_name.partition(":")
    if kind != "folder" or not colon:
        return data_name
    return f"folder:{os.path.relpath(Path(place).expanduser().resolve(), run.resolve())}"


def from_run(data_name: str, run: Path) -> str:
    """The reverse of `portable`: a name that can be loaded from here."""
    kind, colon, place = data_name.partition(":")
    if kind != "folder" or not colon:
        return data_name
    return f"folder:{os.path.relpath((run / place).resolve())}"


def published(data_name: str) -> str:
    """A data set's name without directories, for a file that is published."""
    kind, colon, place = data_name.partition(":")
    return f"folder:{Path(place).expanduser().resolve().name}" if kind == "folder" and colon else data_name
