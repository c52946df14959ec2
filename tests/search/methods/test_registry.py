"""Methods of one's own: registered by a call, or named in the entry points of installed packages."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import nas_prune
from nas_prune.cli import main
from nas_prune.errors import BadInputError
from nas_prune.search.all_methods import resume_all, search_all
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.contract import Evidence, WidthMethod
from nas_prune.search.methods.controls import RANDOM, UNIFORM
from nas_prune.search.methods.registry import (
    METHODS,
    REGISTRY,
    Registry,
    known_methods,
    method_named,
    scores_of,
)
from nas_prune.space.scores import Scores
from tests.search.methods.contract import space_of
from tests.search.methods.evidence import evidence


def own_scores(evidence: Evidence) -> Scores:
    return evidence.for_each(lambda column: np.arange(evidence.space.size_at(column), dtype=np.float64))


OWN = replace(RANDOM, name="own-one", scores=own_scores, is_control=False, citation="nobody, nowhere")
MODULE = """
from dataclasses import replace
from nas_prune.search.methods.controls import RANDOM
METHOD = replace(RANDOM, name="{name}")
OTHER = replace(RANDOM, name="packed-other")
BAD_NAME = replace(RANDOM, name="Packed Name")
NUMBER = 3
"""


def install(folder: Path, package: str, entry_points: Mapping[str, str], code: str) -> None:
    """Put a package where pip would: a module of its name, and what says of it that it is installed."""
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    about.joinpath("entry_points.txt").write_text("\n".join(["[nas_prune.methods]", *lines, ""]))
    (folder / f"{package}.py").write_text(code)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """The registry as a new process has it; what a test adds goes again."""

    def forget() -> None:
        REGISTRY.registered.clear()
        REGISTRY._loaded.clear()
        REGISTRY.__dict__.pop("installed", None)

    forget()
    yield REGISTRY
    forget()


@pytest.fixture
def site(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for packages of one test; their modules go with it."""
    assert not registry.registered
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def config(method: str) -> SearchConfig:
    return SearchConfig(space="vgg11", width_multiplier=0.125, method=method, budgets=("macs<=50%",))


def test_a_registered_method_finds_widths(registry: Registry, tmp_path: Path) -> None:
    nas_prune.register_method(OWN)
    assert method_named("own-one") is OWN
    assert registry.names == (*METHODS, "own-one")
    assert tuple(known_methods()) == registry.names
    result = nas_prune.search(config("own-one"), tmp_path / "run")
    widths = result.found[0].widths
    assert widths.method is not None
    assert widths.method.name == "own-one"
    assert widths.cost.macs <= widths.base_cost.macs / 2


def test_registering_does_not_touch_the_methods_of_nas_prune(registry: Registry) -> None:
    nas_prune.register_method(OWN)
    assert "own-one" not in METHODS
    assert registry.builtin is METHODS


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (UNIFORM, "must be free, got uniform, a method of nas-prune. Choose another name"),
        (replace(RANDOM, name="own-one"), "must be free, got own-one, which tests.* has registered"),
        ("slimming", "must be a nas_prune.WidthMethod, got str"),
        (replace(OWN, scope="sideways"), "scope of method own-one must be global or local, got 'sideways'"),  # type: ignore[arg-type]
        *(
            (replace(OWN, name=name), "must be of 1 to 60 small letters, digits and hyphens")
            for name in ("", "Own", "own one", "own/one", "-own", "all", "guideline", "study", "o" * 61)
        ),
    ],
)
@pytest.mark.usefixtures("registry")
def test_what_cannot_be_registered_is_refused_in_one_line(method: Any, message: str) -> None:
    nas_prune.register_method(OWN)
    with pytest.raises(BadInputError, match=message) as caught:
        nas_prune.register_method(method)
    assert "\n" not in str(caught.value)
    assert method_named("own-one") is OWN


@pytest.mark.usefixtures("registry")
def test_a_module_may_register_its_method_again() -> None:
    nas_prune.register_method(OWN)
    again = replace(OWN, summary="as a notebook's cell that is run twice")
    nas_prune.register_method(again)
    assert method_named("own-one") is again


def test_a_package_is_loaded_when_its_method_is_asked_for_and_not_before(
    registry: Registry, site: Path
) -> None:
    install(site, "apackage", {"packed-one": "apackage:METHOD"}, MODULE.format(name="packed-one"))
    method_named("slimming")
    assert "installed" not in registry.__dict__
    assert registry.names == (*METHODS, "packed-one")
    assert "apackage" not in sys.modules
    assert method_named("packed-one").name == "packed-one"
    assert "apackage" in sys.modules
    assert registry.source("packed-one") == "apackage 1.0"


def test_a_package_of_the_current_directory_is_not_installed(
    registry: Registry, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "apackage", {"packed-one": "apackage:METHOD"}, MODULE.format(name="packed-one"))
    monkeypatch.chdir(site)
    monkeypatch.syspath_prepend("")
    assert registry.names == tuple(METHODS)


def test_a_name_of_an_installed_method_cannot_be_registered(registry: Registry, site: Path) -> None:
    install(site, "apackage", {"own-one": "apackage:METHOD"}, MODULE.format(name="own-one"))
    with pytest.raises(BadInputError, match="got own-one, a method of apackage 1.0, which need not be reg"):
        nas_prune.register_method(OWN)
    assert registry.registered == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("packed-bad", "apackage:NOTHING", "apackage 1.0 fails with AttributeError"),
        ("packed-bad", "nopackage:METHOD", "apackage 1.0 fails with ModuleNotFoundError: No module named"),
        ("packed-bad", "apackage:NUMBER", "apackage 1.0: a width method must be a nas_prune.WidthMethod"),
        ("packed-bad", "apackage:BAD_NAME", "apackage 1.0: a method's name must be of 1 to 60 small letters"),
        ("packed-bad", "apackage:OTHER", "must have its method's name, packed-other, got packed-bad"),
        ("packed-bad", "broken:METHOD", "apackage 1.0 fails with RuntimeError: out of paint"),
        ("packed-bad", "leaving:METHOD", "apackage 1.0 fails with SystemExit: goodbye"),
        ("packed-one", "apackage:METHOD", "several packages have a method of that name: .*package 1.0"),
        ("slimming", "apackage:METHOD", "its name is that of a method of nas-prune"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_and_others_work(
    registry: Registry, site: Path, capsys: pytest.CaptureFixture[str], name: str, value: str, message: str
) -> None:
    (site / "broken.py").write_text("raise RuntimeError('out of paint\\nand of brushes')")
    (site / "leaving.py").write_text("raise SystemExit('goodbye')")
    good = {"packed-one": "bpackage:METHOD", "packed-other": "bpackage:OTHER"}
    install(site, "bpackage", good, MODULE.format(name="packed-one"))
    install(site, "apackage", {name: value}, MODULE.format(name="packed-one"))
    assert method_named("packed-other").name == "packed-other"
    assert "packed-other" in known_methods()
    assert name in METHODS or name not in known_methods()
    assert list(registry.failed) == [name]
    assert re.search(message, registry.failed[name])
    assert main(["methods", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"nas-prune: method {name} cannot be used: ")
    assert said.err.count("\n") == 1
    assert {row["name"]: row["source"] for row in json.loads(said.out)}["packed-other"] == "bpackage 1.0"


def test_a_package_that_cannot_be_used_is_refused_where_it_is_asked_for(site: Path) -> None:
    install(site, "apackage", {"packed-bad": "apackage:NUMBER"}, MODULE.format(name="packed-bad"))
    for _ in range(2):
        with pytest.raises(
            BadInputError,
            match="--method packed-bad must be one that loads, got none: apackage 1.0: .*int. M",
        ):
            method_named("packed-bad")


def test_methods_says_where_others_are_from(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "apackage", {"packed-one": "apackage:METHOD"}, MODULE.format(name="packed-one"))
    nas_prune.register_method(OWN)
    assert main(["methods"]) == 0
    printed = capsys.readouterr().out
    assert "packed-one" in printed
    assert "    from apackage 1.0\n" in printed
    assert f"    nobody, nowhere\n    from {__name__}\n" in printed
    assert printed.count("    from ") == 2


def test_a_run_holds_the_version_of_its_methods_package(site: Path, tmp_path: Path) -> None:
    install(site, "apackage", {"packed-one": "apackage:METHOD"}, MODULE.format(name="packed-one"))
    result = nas_prune.search(config("packed-one"), tmp_path / "run")
    assert result.found[0].widths.versions["apackage"] == "1.0"


@pytest.mark.usefixtures("registry")
def test_an_unknown_method_is_refused_with_the_names_of_all() -> None:
    nas_prune.register_method(OWN)
    with pytest.raises(BadInputError, match="must be .*one of slimming, .*, own-one, got 'magic'"):
        method_named("magic")


def test_a_run_by_a_method_that_is_gone_says_how_to_go_on(
    registry: Registry, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nas_prune.register_method(OWN)
    nas_prune.search(config("own-one"), in_empty_directory / "run")
    assert main(["search", "--resume", "run"]) == 0
    registry.registered.clear()
    capsys.readouterr()
    assert main(["search", "--resume", "run"]) == 2
    said = capsys.readouterr().err
    assert (
        "own-one, the width method of run, must be known here, got none of that name. First register" in said
    )
    assert "install its package. Known: slimming, " in said
    assert said.count("\n") == 1


def test_all_methods_take_part_and_results_outlive_their_method(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "builtin", {"uniform": UNIFORM})
    nas_prune.register_method(OWN)
    run = tmp_path / "run"
    result = search_all(config("all"), run)
    assert list(result.found) == ["uniform", "own-one"]
    registry.registered.clear()
    assert resume_all(run).found == result.found
    (run / "own-one" / "result.json").unlink()
    resumed = resume_all(run)
    assert list(resumed.found) == ["uniform"]
    assert resumed.left_out["own-one"].startswith("It is not known here. First register it")


def test_all_methods_leaves_out_by_name_what_cannot_be_loaded(
    registry: Registry, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "builtin", {"uniform": UNIFORM})
    install(site, "apackage", {"packed-bad": "apackage:NUMBER"}, MODULE.format(name="packed-bad"))
    result = search_all(config("all"), tmp_path / "run")
    assert list(result.found) == ["uniform"]
    assert (
        "apackage 1.0: a width method must be a nas_prune.WidthMethod, got int"
        in result.left_out["packed-bad"]
    )


def _changed(scores: Scores, column: int, values: Any) -> list[Any]:
    return [values if place == column else one for place, one in enumerate(scores)]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (0, None, "an array of 8 finite numbers for features.0, got NoneType"),
        (0, [1.0] * 8, "an array of 8 finite numbers for features.0, got list"),
        (0, np.ones(7), r"an array of 8 finite numbers for features.0, got shape \[7\]"),
        (0, np.full(8, np.nan), r"an array of 8 finite numbers for features.0, got shape \[8\]"),
        (1, np.ones(16), "must give None for what is not searched, got scores for features.4"),
    ],
)
def test_scores_that_break_the_contract_are_refused(column: int, values: Any, message: str) -> None:
    space = space_of("vgg11")
    seen = evidence(nn.Module(), space, (0, 2))
    method: WidthMethod = replace(OWN, scores=lambda given: _changed(own_scores(given), column, values))
    assert scores_of(OWN, seen)[0] is not None
    with pytest.raises(BadInputError, match=f"method own-one {message}|method own-one must give {message}"):
        scores_of(method, seen)


@pytest.mark.usefixtures("registry")
def test_a_search_refuses_scores_that_are_no_numbers(tmp_path: Path) -> None:
    def no_numbers(seen: Evidence) -> Scores:
        return seen.for_each(lambda column: np.full(seen.space.size_at(column), np.nan))

    nas_prune.register_method(replace(OWN, scores=no_numbers))
    with pytest.raises(BadInputError, match=r"finite numbers for features.0, got shape \[8\]"):
        nas_prune.search(config("own-one"), tmp_path / "run")


WITH_WORKERS = """
import json
from dataclasses import replace
import nas_prune
from nas_prune.runs.workers import in_workers
from nas_prune.search.methods.controls import RANDOM
from nas_prune.search.methods.registry import method_named

nas_prune.register_method(replace(RANDOM, name="own-one"))

def prepare():
    return lambda name, _: method_named(name).name

if __name__ == "__main__":
    print(json.dumps([one.result or one.error for one in in_workers(prepare, ["own-one", "magic"], 1)]))
"""


LATE = WITH_WORKERS.replace("nas_prune.register", 'if __name__ == "__main__": nas_prune.register')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "first"), [(WITH_WORKERS, "own-one"), (LATE, "--method must be one of slimming")]
)
def test_worker_processes_know_what_the_top_level_of_a_script_registers(
    tmp_path: Path, code: str, first: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0].startswith(first)
    assert (
        "register it (nas_prune.register_method, at the top level of a script)" in json.loads(done.stdout)[1]
    )
