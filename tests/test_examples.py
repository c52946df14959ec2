"""The examples run as they stand, each in a directory of its own, and leave what their first lines promise."""

import ast
import importlib.util
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

import nas_prune
from nas_prune.search.methods.registry import METHODS
from tests.forking import FORKING
from tests.search.methods.contract import Contract
from tests.search.methods.test_registry import install

FOLDER = Path(__file__).parent.parent / "studies" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


@dataclass(frozen=True)
class Promise:
    """What an example leaves.

    Attributes:
        files: below the directory it runs in.
        lines: beginnings of what it prints, in this order.
        quickly: what is added on the command line where it is to be quick.
        needs: a library that may not be installed.
    """

    files: tuple[str, ...]
    lines: tuple[str, ...]
    quickly: tuple[str, ...] = ("--epochs", "1")
    needs: str | None = None


BOTH = ("whole network: ", "widths: ", "narrow network: ")
PROMISES = {
    "own_loop": Promise((), ("whole network: ", "widths: 0.0 ", "narrow network: ")),
    "segmentation": Promise((), BOTH, ("--steps", "4")),
    "regression": Promise((), BOTH, ("--steps", "4")),
    "timm_loader": Promise(("digits/0/0.png",), BOTH, needs="timm"),
    "lightning_callback": Promise((), ("widths: ", "whole network: ", "narrow network: "), needs="lightning"),
    "ultralytics_classifier": Promise((), BOTH, ("--steps", "4"), needs="ultralytics"),
    "yolo_backbone": Promise(
        ("narrow.json", "narrow.safetensors"),
        ("whole: ", "narrow: ", "loaded: True "),
        ("--steps", "4"),
        needs="ultralytics",
    ),
    "own_network": Promise(
        ("own-network/network.json", "own-network/weights.safetensors", "own-network-search/widths.png"),
        ("widths: stem.0 ", "test accuracy from random weights: ", "without nas-prune: "),
    ),
    "own_method": Promise(
        tuple(f"own-method-{name}/widths.png" for name in ("apoz", "slimming", "uniform")),
        ("Share of the channels kept", "apoz ", "slimming ", "uniform "),
    ),
    "own_study": Promise(
        ("own-study/config.yaml", "own-study/rank/own-study/widths.json"),
        (
            "Study own-study in ",
            "own-study, trial 0 (uniform): ",
            "own-study: 20 complete within ",
            "Winner: ",
            "Sequential(",
        ),
    ),
    "notebook_style": Promise(
        ("notebook/search-0/widths.png", "notebook/guideline.yaml", "notebook/report.html"),
        ("8 groups of channels; half as wide, 25% of the MACs", "scratch-e: ", "uniform-macs-e: "),
        (),  # with fewer epochs its networks guess, which guidelines leave out
    ),
}


def run(command: Sequence[str | Path], folder: Path, *packages: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a directory, with more places of packages; what it says is in the message if it fails."""
    paths = os.pathsep.join([*map(str, packages), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def run_here(example: str, folder: str, more: Sequence[str]) -> None:
    """What a forked process does, whose libraries are loaded already."""
    os.chdir(folder)
    sys.argv, sys.path[0] = [example, *more], str(FOLDER)
    with Path("printed.txt").open("w", encoding="utf-8") as printed:
        os.dup2(printed.fileno(), 1)  # for processes that it starts, too
        runpy.run_path(example, run_name="__main__")
        sys.stdout.flush()


def printed_by_fork(example: Path, folder: Path, more: Sequence[str]) -> str:
    """What an example prints, run in a process of its own that need not load the libraries."""
    process = FORKING.Process(target=run_here, args=(str(example), str(folder), more), daemon=False)
    process.start()
    process.join()
    assert process.exitcode == 0
    return (folder / "printed.txt").read_text(encoding="utf-8")


def needed(example: Path) -> str | None:
    """The library that an example needs beside those of every installation; the test is skipped without it."""
    library = PROMISES[example.stem].needs
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return library


def check(example: Path, folder: Path, text: str) -> list[str]:
    """Look for all that an example promises in its directory and in what it printed."""
    promise, printed = PROMISES[example.stem], text.splitlines()
    starts = iter(printed)
    for expected in promise.lines:
        assert any(line.startswith(expected) for line in starts), f"{expected!r} in {printed}"
    for name in promise.files:
        assert (folder / name).stat().st_size > 0
    for picture in folder.rglob("widths.png"):
        assert imread(picture).std() > 0.01
    return printed


def test_there_are_examples_and_each_has_its_promise() -> None:
    assert {path.stem for path in EXAMPLES} == set(PROMISES)


@pytest.mark.parametrize(
    "example",
    [pytest.param(path, marks=pytest.mark.slow, id=path.stem) for path in EXAMPLES],
)
def test_an_example_runs_with_few_epochs(example: Path, tmp_path: Path) -> None:
    quickly = PROMISES[example.stem].quickly
    if needed(example):
        check(example, tmp_path, run([example, *quickly], tmp_path).stdout)
    else:
        check(example, tmp_path, printed_by_fork(example, tmp_path, quickly))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_stands(example: Path, tmp_path: Path) -> None:
    needed(example)
    printed = check(example, tmp_path, run([example], tmp_path).stdout)
    if example.stem == "own_network":
        right = int(printed[-1].removeprefix("without nas-prune: ").split(" ")[0])
        assert right > 0.95 * 1797


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_first_lines_say_how_to_run_it_and_how_long_that_took(example: Path) -> None:
    said = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""
    for words in (
        f"    python studies/examples/{example.name}\n",
        "What it shows: ",
        "What comes out: ",
        "\nTook ",
    ):
        assert words in said
    assert " s on two cores of an AMD EPYC" in said.partition("\nTook ")[2]


def used_names(example: Path) -> tuple[set[str], set[str]]:
    """The modules that an example imports, and the attributes of `nas_prune` that it uses."""
    modules, names = set(), set()
    for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "nas_prune"
        ):
            names.add(node.attr)
    return modules, names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_use_public_names(example: Path) -> None:
    modules, names = used_names(example)
    assert names
    assert names <= set(nas_prune.__all__)
    if example.stem == "notebook_style":
        assert {name for name in modules if name.startswith("nas_prune")} == {"nas_prune"}


def example_module(name: str) -> Any:
    """An example as a module; only what stands under `if __name__` is left out."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestApoz(Contract):
    method = example_module("own_method").APOZ


@pytest.mark.slow
def test_the_method_of_a_package_is_listed_and_one_that_fails_is_named(tmp_path: Path) -> None:
    """By the lines that the example's own first lines show."""
    site, code = tmp_path / "site", (FOLDER / "own_method.py").read_text(encoding="utf-8")
    shown = next(line.split('"')[1] for line in code.splitlines() if line.startswith('    apoz = "'))
    install(site, "my_package", {"apoz": shown.replace(".own_method", "")}, code)
    install(site, "bad_package", {"bad-method": "bad_package:METHOD"}, "import no_such_module")
    done = run(["-m", "nas_prune", "methods", "--format", "json"], tmp_path, site)
    sources = {row["name"]: row["source"] for row in json.loads(done.stdout)}
    assert sources == {**dict.fromkeys(METHODS, "nas-prune"), "apoz": "my_package 1.0"}
    why = "bad_package 1.0 fails with ModuleNotFoundError: No module named 'no_such_module'"
    assert done.stderr == f"nas-prune: method bad-method cannot be used: {why}.\n"
