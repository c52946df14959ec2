"""What a file or a directory of ours is, and what takes it: for those who named one where another is wanted.

It looks at little and loads no library; what it does not know is nothing, and the reader that was asked says why.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any, Literal, TypeAlias

import yaml

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.runs.reading import load_json, load_yaml, read_text

Kind: TypeAlias = Literal[
    "search", "sparsify", "train", "evaluate", "compare", "transfer", "study", "compress",  # runs, by command
    "widths", "pattern", "guideline", "pattern guideline", "study file", "comparison file", "recipe", "report",
    "settings", "result", "images", "image", "weights", "compressed", "target", "measurement",
]  # fmt: skip
_NOW = {"judge": "evaluate", "compare-patterns": "compare"}  # commands of runs that go by another kind
RUNS: tuple[Kind, ...] = (
    "search", "sparsify", "train", "evaluate", "compare", "transfer", "study", "compress",
)  # fmt: skip
_MOST = 4 * 2**20  # bytes of a file that is looked at
_ENTRIES = 300  # of a folder
_IMAGES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".ppm", ".pgm")
)
_OF_STUDIES = frozenset(
    (
        "trials",
        "budget_training",
        "hours",
        "budgets",
        "sampler",
        "judge",
        "judged",
        "parameters",
        "stopping",
        "against",
    )
)
_OF_COMPARISONS = frozenset(("arms", "searches", "test", "method", "scope", "sparsity", "iterations", "cap"))
_OF_RECIPES = frozenset(
    ("epochs", "batch_size", "learning_rate", "weight_decay", "momentum", "optimizer", "schedule")
)
_OF_TARGETS = frozenset(("alignment", "precision", "weight_bytes", "activation_bytes", "latency", "measured"))
_WORDS: dict[Kind, str] = {
    "search": "the directory of a search",
    "sparsify": "the directory of a search for patterns",
    "train": "the directory of a training",
    "evaluate": "the directory of an evaluation",
    "compare": "the directory of a comparison",
    "transfer": "the directory of a transfer",
    "study": "the directory of a study",
    "compress": "the directory of a compression",
    "widths": "a widths file",
    "pattern": "a pattern of single weights",
    "guideline": "a guideline",
    "pattern guideline": "a guideline of patterns",
    "study file": "a study file",
    "comparison file": "a comparison file",
    "recipe": "a recipe",
    "report": "a report",
    "settings": "the settings of a run",
    "result": "the result of a run",
    "images": "a folder of images",
    "image": "an image",
    "weights": "a network's weights",
    "compressed": "a compressed network",
    "target": "a target",
    "measurement": "a measurement that has not ended",
}
_TAKES: dict[Kind, str] = {
    "train": "nas-prune predict {path} IMAGES",
    "evaluate": "nas-prune evaluate --resume {path} goes on with it, nas-prune report {path} shows it.",
    "compare": "nas-prune compare --resume {path} goes on with it or adds to it, nas-prune report {path} shows it.",
    "transfer": "nas-prune transfer --resume {path} goes on with it, nas-prune report {path} shows it.",
    "widths": "nas-prune train --widths {path}",
    "pattern": "nas-prune train {path}",
    "sparsify": "nas-prune sparsify --resume {path} goes on with it, nas-prune train {path} trains what it found.",
    "guideline": "nas-prune apply --guideline {path} --space NAME",
    "pattern guideline": "nas-prune sparsify --method guided --guideline {path}",
    "study file": "nas-prune study run {path}",
    "comparison file": "nas-prune compare {path}",
    "recipe": "nas-prune search --recipe {path}",
    "images": "nas-prune search --data folder:{path}",
    "image": "nas-prune predict RUN {path}",
    "weights": "nas-prune predict {path} IMAGES",
    "compressed": "nas-prune predict {path} IMAGES",
    "compress": "nas-prune compress --resume {path} goes on with it, nas-prune report {path} shows it.",
    "target": "nas-prune search --target {path}",
    "measurement": "nas-prune measure --resume {path} goes on with it.",
}


def kind_of(path: Path) -> Kind | None:
    """What a file or a directory is; None where it is not known, is damaged, or is not there."""
    try:
        return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _kind_of_folder(path: Path) -> Kind | None:
    if (path / "file.yaml").is_file() and not (path / "config.yaml").exists():
        return "compare"
    if (path / "config.yaml").is_file():
        content = load_yaml(read_text(path / "config.yaml", most=_MOST))
        command = content.get("command") if isinstance(content, dict) else None
        command = _NOW.get(str(command), command)
        if command == "measure":
            return "target" if (path / "target.yaml").is_file() else "measurement"
        return next((one for one in RUNS if one == command), None)
    if (path / "target.yaml").is_file():
        return "target"
    if next(path.glob("*/config.yaml"), None) is not None:
        return None  # of runs, with their pictures
    return "images" if any(one.suffix.lower() in _IMAGES for one in _some_in(path)) else None


def _some_in(path: Path) -> Iterator[Path]:
    """Some of the entries of a folder and of the folders in it, two levels deep."""
    for pattern in ("*", "*/*", "*/*/*"):
        yield from islice(path.glob(pattern), _ENTRIES)


def _kind_of_file(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in _IMAGES:
        return "image"
    if suffix in (".safetensors", ".nasp"):
        return "weights" if suffix == ".safetensors" else "compressed"
    if suffix not in (".json", ".yaml", ".yml"):
        return None
    text = read_text(path, most=_MOST)
    content = load_json(text) if suffix == ".json" else load_yaml(text)
    return _kind_of(content, is_json=suffix == ".json") if isinstance(content, dict) else None


def _kind_of(content: Mapping[str, Any], *, is_json: bool) -> Kind | None:
    """By a file's schema, where it has one, or by settings that only one kind has."""
    schemas = r"nas-prune/(widths|pattern|guideline|pattern-guideline|report)/\d{1,6}"
    found = re.fullmatch(schemas, str(content.get("schema")))
    if found is not None:
        return found[1].replace("-", " ")  # type: ignore[return-value]
    keys = content.keys()
    if is_json:
        is_result = bool(keys & {"budgets", "test_accuracy_mean", "arms", "candidates", "populations"})
        return "result" if is_result and "data" in keys else None
    if content.get("command") in (*RUNS, "judge"):
        return "settings"
    own: dict[Kind, bool] = {
        "target": bool(keys & _OF_TARGETS) and not keys & {"space", "data", "budget"},
        "study file": bool(keys & _OF_STUDIES),
        "comparison file": "space" in keys and bool(keys & _OF_COMPARISONS),
        "recipe": len(keys & _OF_RECIPES) > 1 and not keys & {"space", "data", "budget", "name"},
    }
    found_kinds = [kind for kind, is_it in own.items() if is_it]
    return found_kinds[0] if len(found_kinds) == 1 else None


def described(path: Path, kind: Kind) -> str:
    """What a path is and what takes it, in words."""
    written = quote(str(path))
    if kind in _TAKES:
        takes = _TAKES[kind].format(path=written)
        takes = takes if takes.endswith(".") else f"{takes} takes it."
    elif kind in ("settings", "result"):
        takes = f"Name its directory, {path.parent}."
    elif kind == "report":
        takes = "nas-prune report writes such files and reads none."
    else:
        takes = _widths_in(path, kind)
    return f"{_WORDS[kind]}. {takes}"


def _widths_in(path: Path, kind: Kind) -> str:
    """Where the widths of a search or a study are."""
    pattern = "rank/*/widths.json" if kind == "study" else "**/widths/*.json"
    files = [str(file) for file in sorted(path.glob(pattern)) if file.name != "whole.json"]
    if files:
        return f"Its widths are {', '.join(files[:3])}{' and more' * (len(files) > 3)}."
    command = "study rank" if kind == "study" else "search --resume"
    return f"nas-prune {command} {quote(str(path))} writes its widths."


def refuse_other(
    path: Path, *takes: Kind, wanted: str, error: Callable[[str], NasPruneError] = BadInputError
) -> None:
    """Refuse a path that is of another kind of ours, and say what it is and what takes it.

    Args:
        path: what was named.
        takes: the kinds that are wanted.
        wanted: in words, such as `--widths must be a widths file`.
        error: what is raised.
    """
    kind = kind_of(path)
    if kind is not None and kind not in takes:
        raise error(f"{wanted}, got {path}, which is {described(path, kind)}")


@contextmanager
def naming_other(path: Path, *takes: Kind, wanted: str) -> Iterator[None]:
    """Where a file cannot be read in the block because it is of another kind of ours, say that instead.

    Args:
        path: the file.
        takes: the kinds that are read.
        wanted: in words, such as `a widths file must be one`.
    """
    try:
        yield
    except NasPruneError as error:
        refuse_other(path, *takes, wanted=wanted, error=type(error))
        raise


def refuse_missing(path: Path, wanted: str) -> None:
    """Refuse a path that is not there, and name one that may be meant: of a similar name, or in `runs/`.

    Args:
        path: what was named.
        wanted: in words, such as `RUN must be a run's directory`.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise BadInputError(f"{wanted}, got {path}, which does not exist.{_near(path)}") from None
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise BadInputError(f"{wanted}, got {str(path)[:100]}, which cannot be used ({why}).") from None


def _near(path: Path) -> str:
    """What may be meant instead of what is not there; else the newest runs."""
    homes = [path.parent, *([Path("runs")] if not path.is_absolute() else [])]
    for home in homes:
        names = {one.stem: one for one in islice(home.iterdir(), _ENTRIES)} if home.is_dir() else {}
        near = get_close_matches(path.stem, names, 1)
        if near:
            return f" Did you mean {names[near[0]]}?"
    runs = Path("runs")
    newest = sorted(runs.glob("*/"), key=lambda one: one.stat().st_mtime)[-3:] if runs.is_dir() else []
    return f" There are: {', '.join(map(str, reversed(newest)))}." if newest else ""
