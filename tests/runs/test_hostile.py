"""Directories and files of a stranger: whatever is done with them, nothing runs, hangs, or is made outside."""

import itertools
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nas_prune.cli import main
from nas_prune.errors import NasPruneError
from nas_prune.study.dashboard_server import opened_server
from nas_prune.study.location import StudyLocation
from tests.runs.test_reopen import name_own_network
from tools.fuzz import in_time

RUNS = Path(__file__).parents[1] / "earlier_runs"
CANARY = "from pathlib import Path\nPath('canary').write_text('imported')\nnet = None\n"
BOMB = "bomb:\n- &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{two} [{', '.join([f'*{one}'] * 9)}]\n" for one, two in zip("abcdefghi", "bcdefghij", strict=True)
)
SECONDS = 8.0

COMMANDS = {
    "search": (["search", "--resume"], ["guide"]),
    "train": (["train", "--resume"],),
    "evaluate": (["evaluate", "--resume"],),
    "study": (["study", "run"], ["study", "rank"], ["study", "recover"], ["guide"]),
    "compare": (["compare", "--resume"],),
    "transfer": (["transfer", "--resume"],),
}


def has_a_bomb(run: Path) -> None:
    (run / "config.yaml").write_text(
        (run / "config.yaml").read_text(encoding="utf-8") + BOMB, encoding="utf-8"
    )


def is_deep(run: Path) -> None:
    (run / "config.yaml").write_text("{a: " * 5_000, encoding="utf-8")
    for path in run.rglob("*.json*"):
        path.write_text("[" * 100_000, encoding="utf-8")


def has_pipes(run: Path) -> None:
    for path in sorted(run.rglob("*")):
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
            os.mkfifo(path)


def has_a_pipe_for_settings(run: Path) -> None:
    (run / "config.yaml").unlink()
    os.mkfifo(run / "config.yaml")


def has_other_values(run: Path) -> None:
    """Of every kind that JSON has, wherever ours has a number."""
    odd: Iterator[Any] = itertools.cycle([[], {}, "x", None, -1, 1e300, True, [[1]], 10**30])
    for path in sorted(run.rglob("*")):
        if path.suffix not in (".json", ".jsonl", ".log") or not path.is_file():
            continue
        lines = (
            path.read_text(encoding="utf-8").splitlines() if path.suffix != ".json" else [path.read_text()]
        )
        path.write_text(
            "\n".join(json.dumps(with_other_values(json.loads(one), odd)) for one in lines) + "\n"
        )


def with_other_values(content: Any, odd: Iterator[Any]) -> Any:
    if isinstance(content, dict):
        return {key: one if key == "op_code" else with_other_values(one, odd) for key, one in content.items()}
    if isinstance(content, list):
        return [with_other_values(one, odd) for one in content]
    return next(odd) if isinstance(content, (int, float)) else content


class Canary:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (Path("canary"),)


def has_a_pickle(run: Path) -> None:
    """Where Optuna's own CMA-ES would keep its state, in every trial."""
    if (run / "journal.log").exists():
        text = (run / "journal.log").read_text(encoding="utf-8")
        record = {"op_code": 9, "worker_id": "x"}
        state = {f"cma:optimizer:{number}": pickle.dumps(Canary()).hex() for number in range(3)}
        lines = [json.dumps({**record, "trial_id": trial, "system_attr": state}) for trial in range(3)]
        (run / "journal.log").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
        settings = (run / "config.yaml").read_text(encoding="utf-8")
        sampled = re.sub("^sampler: .*$", "sampler: cma", settings, flags=re.MULTILINE)
        (run / "config.yaml").write_text(sampled, encoding="utf-8")


def has_links_out(run: Path) -> None:
    for path in sorted(run.rglob("*")):
        if path.is_file() and path.name != "config.yaml":
            shutil.copy(path, run.parent / "outside" / path.name)
            path.unlink()
            path.symlink_to(run.parent / "outside" / path.name)
    if not (run / "widths").is_dir():
        (run / "widths").symlink_to(run.parent / "outside")


def leads_out(run: Path) -> None:
    text = (run / "config.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("name:", "command:"))]
    command = (
        next(line for line in text.splitlines() if line.startswith("command:")) if "command:" in text else ""
    )
    (run / "config.yaml").write_text("\n".join([command, "name: ../../escaped", *lines]), encoding="utf-8")


HOSTILE: tuple[Callable[[Path], None], ...] = (
    name_own_network,
    has_a_bomb,
    is_deep,
    has_pipes,
    has_a_pipe_for_settings,
    has_other_values,
    has_a_pickle,
    has_links_out,
    leads_out,
)


def tree(place: Path, but: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in sorted(place.rglob("*"))
        if not path.is_relative_to(but)
    }


@pytest.mark.parametrize(
    "hostile",
    [pytest.param(one, marks=pytest.mark.slow if one is has_a_pickle else ()) for one in HOSTILE],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_hostile_run_does_nothing(
    kind: str,
    hostile: Callable[[Path], None],
    in_empty_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (in_empty_directory / "outside").mkdir()
    Path("evil.py").write_text(CANARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(in_empty_directory))
    run = in_empty_directory / kind
    shutil.copytree(RUNS / kind, run)
    hostile(run)
    around = tree(in_empty_directory, run)
    for command in (*COMMANDS[kind], *(["report", "--format", style] for style in ("json", "md"))):
        with in_time(SECONDS):
            code = main([*command, str(run)])
        said = capsys.readouterr()
        assert code in (0, 2), (command, said)
        if code == 2:
            assert said.err.strip().splitlines()[-1].startswith("nas-prune: ")
        assert tree(in_empty_directory, run) == around, command
    if kind == "study":
        with in_time(SECONDS), suppress(NasPruneError), opened_server(StudyLocation(run), "127.0.0.1", 0):
            pass
        assert tree(in_empty_directory, run) == around
    assert not Path("canary").exists()


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "..", "a/b", "\x1b[31mred"])
def test_names_in_files_lead_nowhere(
    name: str, in_empty_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = in_empty_directory / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for file, command in (("compare.yaml", ["compare"]), ("study.yaml", ["study", "run"])):
        lines = (RUNS / file).read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("name:")]
        Path(file).write_text("\n".join([f"name: {json.dumps(name)}", *kept]), encoding="utf-8")
        around = tree(in_empty_directory, in_empty_directory / "nothing")
        assert main([*command, file]) == 2
        said = capsys.readouterr().err
        assert "one of a directory" in said
        assert "\x1b" not in said
        assert tree(in_empty_directory, in_empty_directory / "nothing") == around


def test_files_in_which_code_is_named_import_nothing(
    in_empty_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("evil.py").write_text(CANARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(in_empty_directory))
    for file, command in (("compare.yaml", ["compare"]), ("study.yaml", ["study", "run"])):
        text = (RUNS / file).read_text(encoding="utf-8")
        Path(file).write_text(text.replace("space: resnet20", "space: evil:net"), encoding="utf-8")
        for more in ([], ["--out", "there"]):
            assert main([*command, file, *more]) == 2
            assert "evil:net must be given again" in capsys.readouterr().err
    assert not Path("canary").exists()
