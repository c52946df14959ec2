"""What the shell suggests for values: names that stand in files, so that neither torch nor a network is loaded."""

import re
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import click
from click.shell_completion import CompletionItem

Suggest: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_PACKAGE = Path(__file__).parent.parent
_DATA = ("digits", "cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "folder:", "csv:", "hf:", "wds:")
_RULES = ("uniform", "smart-ratio", "erk", "bottleneck-first")
_ALIASES = re.compile(r"^aliases: *\[([^]]*)\]", re.MULTILINE)
_METHOD = re.compile(r'^ +name="([a-z0-9-]+)",$', re.MULTILINE)
_MODEL = re.compile(r"^@register_model\(\)\n(?:.*\n){0,9}?def (\w+)\(", re.MULTILINE)
_FILES = CompletionItem("", type="file")  # the shell's own completion of file names


def spaces(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Networks by name; those of torchvision when that much is typed."""
    if incomplete.startswith("torchvision:"):
        return _beginning(incomplete, (f"torchvision:{name}" for name in _torchvision()))
    return _beginning(incomplete, [*_shipped(), "torchvision:", "timm:"])


def methods(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Width methods, this package's and those of installed packages."""
    texts = (path.read_text(encoding="utf-8") for path in (_PACKAGE / "search" / "methods").glob("*.py"))
    own = {name for text in texts for name in _METHOD.findall(text)}
    installed = {one.name for one in entry_points(group="nas_prune.methods")}
    every = ["all"] if ctx.info_name == "search" else []
    return _beginning(incomplete, [*every, *sorted(own | installed)])


def pattern_methods(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The ways to find a pattern of single weights."""
    texts = (path.read_text(encoding="utf-8") for path in (_PACKAGE / "patterns" / "methods").glob("*.py"))
    return _beginning(incomplete, sorted({name for text in texts for name in _METHOD.findall(text)}))


def recipes(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Recipes by name, and files."""
    names = sorted(path.stem for path in (_PACKAGE / "training" / "recipes").glob("*.yaml"))
    return _beginning(incomplete, names) or [_FILES]


def images(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Data sets by name, folders behind `folder:`, `hf:` and `wds:`, folders and CSV files behind `csv:`."""
    kind, colon, place = incomplete.partition(":")
    if kind not in ("folder", "csv", "hf", "wds") or not colon:
        return _beginning(incomplete, _DATA)
    parent = place[: place.rfind("/") + 1]
    try:
        inside = sorted(Path(parent or ".").expanduser().iterdir())
    except OSError:
        inside = []
    hides = not place.rpartition("/")[2].startswith(".")
    seen = [path for path in inside if not (hides and path.name.startswith("."))]
    files = [path.name for path in seen if kind == "csv" and path.suffix.lower() in (".csv", ".tsv")]
    names = [*(f"{path.name}/" for path in seen if path.is_dir()), *files]
    return _beginning(incomplete, (f"{kind}:{parent}{name}" for name in names))


def guidelines(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Rules by name, and files."""
    return _beginning(incomplete, _RULES) or [_FILES]


def studies(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shipped study, and files and directories."""
    return _beginning(incomplete, ["quickstart"] if incomplete else []) or [_FILES]


def _beginning(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _shipped() -> list[str]:
    from nas_prune.runs.files import shipped

    found: list[str] = []
    for path in sorted(shipped("search_spaces").glob("*.yaml")):
        named = _ALIASES.search(path.read_text(encoding="utf-8"))
        found += [path.stem, *(named[1].replace(" ", "").split(",") if named else [])]
    return found


def _torchvision() -> list[str]:
    """The classification and segmentation networks of torchvision, by its sources: it is not imported."""
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return []
    models = Path(spec.submodule_search_locations[0]) / "models"
    texts = [
        path.read_text(encoding="utf-8") for path in (*models.glob("*.py"), *models.glob("segmentation/*.py"))
    ]
    return sorted(name for text in texts for name in _MODEL.findall(text))
