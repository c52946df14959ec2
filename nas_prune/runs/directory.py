"""Run directories: where a run keeps its configuration, metrics and results."""

import json
import os
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from nas_prune.errors import BadInputError
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.space.widths import first_problem

Config = TypeVar("Config", bound=BaseModel)

CONFIG, METRICS, CHECKPOINT = "config.yaml", "metrics.jsonl", "checkpoint.safetensors"


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


def write_config(run: Path, config: BaseModel) -> None:
    """Write `config.yaml`: every setting as it was resolved, and the machine if it is not known yet."""
    if getattr(config, "machine", None) == "":
        config = config.model_copy(update={"machine": machine_name()})
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_whole(run / CONFIG, text)


def machine_name() -> str:
    """This machine in a few words: processor, how many cores, and the GPU if PyTorch is in use and sees one."""
    described = Path("/proc/cpuinfo")
    text = described.read_text(encoding="utf-8") if described.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    processor = found.group(1).strip() if found else platform.processor() or platform.machine()
    cores = os.cpu_count() or 1
    words = f"{processor}, {cores} core{'s' * (cores > 1)}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        words += f", {torch.cuda.get_device_name()}"
    return words


def read_config(run: Path, kind: type[Config]) -> Config:
    """Read a run's `config.yaml`.

    Raises:
        BadInputError: there is none, or it is damaged or of another kind of run.
    """
    path = run / CONFIG
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        _check_kind(content, kind, run)
        return kind.model_validate(content)
    except OSError:
        raise BadInputError(f"a run directory must hold {CONFIG}, got {run}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadInputError(f"{path} must be whole YAML. Start the run again.") from None
    except ValidationError as error:
        raise BadInputError(f"{path} cannot be used here: {first_problem(error)}.") from None


def _check_kind(content: Any, kind: type[BaseModel], run: Path) -> None:
    """Say it plainly where a directory is of another command."""
    field = kind.model_fields.get("command")
    asked = () if field is None else get_args(field.annotation)
    own = content.get("command") if isinstance(content, dict) else None
    if asked and isinstance(own, str) and own not in asked:
        raise BadInputError(
            f"{run} must be a run of nas-prune {' or '.join(asked)}, got one of nas-prune {own}."
        )


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
        with suppress(ValueError, TypeError, KeyError):  # a torn line
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
    """A data set's name without directories, for a file that travels."""
    kind, colon, place = data_name.partition(":")
    return f"folder:{Path(place).expanduser().resolve().name}" if kind == "folder" and colon else data_name


def library_versions(names: Iterable[str] = ("nas-prune", "torch", "torchvision", "numpy")) -> dict[str, str]:
    """The installed versions of the libraries that take part in a run."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
