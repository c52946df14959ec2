"""Completion in a real bash, of everything that has a name, without loading torch."""

import os
import pty
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click import Context
from click.shell_completion import CompletionItem

from nas_prune.cli import COMMANDS, SHELL_COMMANDS, app, main, suggestions
from nas_prune.cli.completion import Bash
from nas_prune.guideline.hand import RULES
from nas_prune.search.methods.registry import METHODS
from nas_prune.space.names import known_spaces
from nas_prune.space.networks import torchvision_names

BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="there is no bash")
CODE = """
source script.sh
COMP_LINE=$1; COMP_POINT=${#COMP_LINE}; COMPREPLY=()
_nas_prune_completion nas-prune 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the program, its script for bash, and folders."""
    home = tmp_path_factory.mktemp("shell")
    program = home / "bin" / "nas-prune"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nas_prune "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    for folder in ("my-images", "my pictures", ".hidden"):
        (home / folder).mkdir()
    script = subprocess.run([program, "completion", "bash"], capture_output=True, check=True, cwd=home)
    (home / "script.sh").write_bytes(script.stdout)
    return home


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def completed(line: str, place: Path) -> list[str]:
    """What bash is told to suggest for a line."""
    run = subprocess.run(
        [str(BASH), "--norc", "-c", CODE, "bash", line],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split("\n")[:-1]


@needs_bash
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nas-prune ", [*COMMANDS, *SHELL_COMMANDS]),
        ("nas-prune study r", ["rank", "recover", "run"]),
        ("nas-prune train --sch", ["--schedule"]),
        ("nas-prune train run --schedule f", ["fine-tune"]),
        ("nas-prune search --method=soft", ["soft-filter"]),
        ("nas-prune search --space torchvision:resnet1", ["resnet101", "resnet152", "resnet18"]),
        ("nas-prune inspect --space vgg1", ["vgg11", "vgg13", "vgg16", "vgg19"]),
        ("nas-prune train --data fo", ["folder:"]),
        ("nas-prune train --data folder:m", ["my\\ pictures/", "my-images/"]),
        ("nas-prune train --recipe p", ["paper-cifar"]),
        ("nas-prune train s", [""]),  # files, by bash itself
    ],
    ids=str,
)  # fmt: skip
def test_bash_completes(line: str, expected: list[str], place: Path) -> None:
    assert completed(line, place) == expected


@needs_bash
def test_a_key_pressed_in_a_terminal_completes_the_word(place: Path) -> None:
    mother, child = pty.openpty()
    shell = subprocess.Popen(
        [str(BASH), "--norc", "--noprofile", "-i"],
        stdin=child, stdout=child, stderr=child, cwd=place, env=environment(place), start_new_session=True,
    )  # fmt: skip
    try:
        os.set_blocking(mother, False)
        os.write(mother, b"source script.sh\nnas-prune train --data folder:my-i\t")
        seen, deadline = b"", time.monotonic() + 30
        while b"folder:my-images/" not in seen and time.monotonic() < deadline:
            time.sleep(0.05)
            try:
                seen += os.read(mother, 1 << 16)
            except BlockingIOError:
                continue
    finally:
        shell.kill()
        shell.wait()
    assert b"folder:my-images/" in seen


def test_nothing_heavy_is_loaded_and_it_takes_no_time(tmp_path: Path) -> None:
    lines = [f"nas-prune {name} -" for name in COMMANDS]
    lines += [
        "nas-prune search --space torchvision:",
        "nas-prune search --method ",
        "nas-prune train --recipe ",
    ]
    code = (
        "import os, sys\nfrom contextlib import suppress\nfrom nas_prune.cli import main\n"
        f"for os.environ['COMP_LINE'] in {lines!r}:\n    with suppress(SystemExit):\n        main([])\n"
        "assert not {'torch', 'numpy', 'optuna'} & set(sys.modules), sorted(sys.modules)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "_NAS_PRUNE_COMPLETE": "bash_complete", "COMP_WORDBREAKS": ":"},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.stderr == ""
    assert {"plain,--schedule", "plain,slimming", "plain,vgg16", "plain,digits"} <= set(run.stdout.split())
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # of all lines together


def values(found: Sequence[CompletionItem]) -> set[str]:
    return {str(one.value) for one in found}


def test_suggestions_are_what_there_is() -> None:
    command = app.get_command(Context(app), "search")
    assert command is not None
    context, option = Context(command, info_name="search"), command.params[0]
    assert values(suggestions.methods(context, option, "")) == {"all", *METHODS}
    known = {*known_spaces(), *(alias for one in known_spaces().values() for alias in one.aliases)}
    assert values(suggestions.spaces(context, option, "")) == known | {"torchvision:", "timm:"}
    named = values(suggestions.spaces(context, option, "torchvision:"))
    assert {f"torchvision:{name}" for names in torchvision_names() for name in names} <= named
    assert values(suggestions.guidelines(context, option, "")) == set(RULES)
    assert values(suggestions.recipes(context, option, "nothing")) == {""}
    assert suggestions.recipes(context, option, "nothing")[0].type == "file"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert f"_NAS_PRUNE_COMPLETE={shell}_complete" in printed
    assert main(["completion", "--help"]) == 0
    assert shell in capsys.readouterr().out


def test_another_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err


def test_only_what_bash_replaces_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    bash = Bash(app, {}, "nas-prune", "_NAS_PRUNE_COMPLETE")
    for breaks, expected in ((" :", "plain,a\\ b/"), (" ", "plain,folder:a\\ b/")):
        monkeypatch.setenv("COMP_LINE", "nas-prune train --data folder:a")
        monkeypatch.setenv("COMP_WORDBREAKS", breaks)
        assert bash.format_completion(CompletionItem("folder:a b/")) == expected
