"""What READMEs say is so: links lead somewhere, commands are known to the command line, and print what they show."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest
import yaml

import nas_prune
from nas_prune.cli import COMMANDS, main
from nas_prune.errors import NasPruneError
from nas_prune.search.methods.registry import METHODS
from tests.commands import check_command, descend, flags
from tests.test_layers import ORDER

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACE = re.compile(r"(?:nas_prune|tests|tools|studies|search_spaces)/[\w./*-]+")
SEPARATORS = {";", "&&", "||", "|", "&", "(", ")"}


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between fences."""

    language: str
    text: str

    def commands(self) -> list[list[str]]:
        """The words of each command in it; where there are prompts, of those behind them."""
        text = self.text.replace("\\\n", " ")
        prompted = re.findall(r"^\$ (.+)$", text, re.M)
        if prompted or self.language not in ("", "bash", "yaml"):
            return _statements(prompted)
        if self.language == "yaml":
            said = _statements(re.findall(r"^# (nas-prune .+)$", text, re.M))
            return [*said, *_containers(list(yaml.safe_load_all(text)))]
        return _statements(text.splitlines())


def _statements(lines: Sequence[str]) -> list[list[str]]:
    """Shell lines as words; a variable is what is assigned to it somewhere, or the first of its loop."""
    text = "\n".join(lines)
    values = dict(re.findall(r"""\bfor (\w+) in ([^\s;]+)""", text))
    values |= {
        name: value.strip('"') for name, value in re.findall(r"""(?<![\w-])(\w+)=("[^"]*"|\S+)""", text)
    }
    found: list[list[str]] = []
    for line in lines:
        filled = re.sub(r"\$(\w+)", lambda one: values.get(one[1], one[0]), line)
        lexer = shlex.shlex(filled, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        found.append([])
        for word in lexer:
            if word in SEPARATORS or word in ("do", "done"):
                found.append([])
            else:
                found[-1].append(word)
    return [words for words in found if words]


def _containers(content: Any) -> Iterator[list[str]]:
    """The commands of Kubernetes' containers, wherever in a document."""
    if isinstance(content, dict) and "nas-prune" in str(content.get("image")):
        yield ["nas-prune", *content["args"]]
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    yield from chain.from_iterable(map(_containers, inner))


@dataclass(frozen=True, slots=True)
class Page:
    """A README, or how to contribute."""

    path: Path
    text: str

    @property
    def blocks(self) -> list[Block]:
        return [Block(found["language"], dedent(found["text"])) for found in FENCE.finditer(self.text)]

    @property
    def commands(self) -> list[list[str]]:
        return list(chain.from_iterable(block.commands() for block in self.blocks))

    @property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    @property
    def inline(self) -> list[str]:
        return [" ".join(code.split()) for code in INLINE.findall(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """What GitHub calls the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.M)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def read(path: Path) -> Page:
    return Page(path, path.read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """All that this repository has."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name == ".github" or not name.startswith(".")]
        found += [Path(folder) / name for name in files if name in ("README.md", "CONTRIBUTING.md")]
    return [read(path) for path in sorted(found)]


def wrong_commands(page: Page) -> list[str]:
    """Commands in blocks, and tools also within a sentence, that would be refused."""
    found = []
    tools = [code.split() for code in page.inline if "python tools/" in code]
    for words in (*page.commands, *tools):
        try:
            check_command(words)
        except (click.ClickException, NasPruneError) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else error
            found.append(f"{shlex.join(words)}: {said}")
    return found


def wrong_mentions(page: Page) -> list[str]:
    """Commands and flags named within a sentence that are none."""
    found = []
    for code in page.inline:
        words = code.removeprefix("nas-prune ").split()
        is_command = re.fullmatch("[a-z]+", words[0]) and (
            code.startswith("nas-prune ") or words[0] in COMMANDS
        )
        if not is_command and not code.startswith("--"):
            continue
        try:
            named = [word for word in words[:2] if re.fullmatch("[a-z]+", word)] if is_command else []
            known = flags(descend(named)[0])
        except click.UsageError as error:
            found.append(f"{code}: {error.format_message()}")
        else:
            found += [f"{code}: no {flag}" for flag in re.findall("--[a-z-]+", code) if flag not in known]
    return found


def wrong_links(page: Page) -> list[str]:
    """Relative links that lead nowhere, in this repository or within a page."""
    found = []
    for link in LINK.findall(page.prose):
        place, _, anchor = link.partition("#")
        target = (page.path.parent / place).resolve() if place else page.path
        if link.startswith(("https://", "http://")):
            continue
        if (
            not target.is_relative_to(ROOT)
            or not target.exists()
            or (anchor and anchor not in read(target).anchors)
        ):
            found.append(link)
    return found


def wrong_places(page: Page) -> list[str]:
    """Files, modules and names that are mentioned and not there."""
    files = {
        path.name
        for room in ("nas_prune", "tools", "tests", "studies")
        for path in (ROOT / room).rglob("*.py")
    } | {"model.py"}  # which runs leave
    words = [word for words in (*map(str.split, page.inline), *page.commands) for word in words]
    places = [word for word in words if PLACE.fullmatch(word) and "NAME" not in word]
    found = [word for word in places if not any(ROOT.glob(word.rstrip("/")))]
    found += [word for word in words if re.fullmatch(r"\w+\.py", word) and word not in files]
    code = [*page.inline, *(block.text for block in page.blocks if block.language == "python")]
    names = re.findall(r"(?<![\w/.])nas_prune((?:\.\w+)+)(?!\w*/)", "\n".join(code))
    return found + [f"nas_prune{name}" for name in names if not is_there(name[1:].split("."))]


def is_there(names: list[str]) -> bool:
    """Whether a dotted name in the package is public, a module, or stands at the top of one."""
    path = ROOT / "nas_prune"
    if names[0] in nas_prune.__all__:
        return True
    while names and ((path / names[0]).is_dir() or (path / f"{names[0]}.py").is_file()):
        path, names = path / names[0], names[1:]
    module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (
        not names or re.search(rf"^(def |class )?{names[0]}\b", module.read_text("utf-8"), re.M) is not None
    )


CHECKS = [wrong_commands, wrong_mentions, wrong_links, wrong_places]


@pytest.mark.parametrize("check", CHECKS)
def test_what_pages_say_is_there(check: Callable[[Page], list[str]]) -> None:
    wrong = {str(page.path.relative_to(ROOT)): found for page in pages() if (found := check(page))}
    assert wrong == {}


def fenced(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```\n"


@pytest.mark.parametrize(
    ("check", "text", "expected"),
    [
        (wrong_commands, fenced("nas-prune search --sparsety 1"), "--sparsety"),
        (wrong_commands, fenced("nas-prune serch"), "there is no command serch"),
        (wrong_commands, fenced("nas-prune study rum x.yaml"), "there is no command rum"),
        (wrong_commands, fenced("nas-prune apply --guideline g.yaml"), "Missing option '--space'"),
        (wrong_commands, fenced("nas-prune search --seed one"), "'one' is not a valid integer"),
        (wrong_commands, fenced("nas-prune search \\\n    --cots macs"), "--cots"),
        (wrong_commands, fenced("nas-prune search --budget macs<=50%"), "unexpected extra argument (=50%)"),
        (wrong_commands, fenced("nas-prune search --budget 'flops<=50%'"), "flops<=50%"),
        (wrong_commands, fenced("pip install . && nas-prune spaces extra"), "unexpected extra argument"),
        (wrong_commands, fenced('T="--epoks 3"\nnas-prune train $T'), "--epoks"),
        (wrong_commands, fenced("for s in x 1; do nas-prune search --seed $s; done"), "'x' is not a valid"),
        (wrong_commands, fenced("srun nas-prune study run a.yaml --ot b", "bash"), "--ot"),
        (wrong_commands, fenced("torchrun -m nas_prune train --widhts w"), "--widhts"),
        (wrong_commands, fenced("- {image: a/nas-prune, args: [study, go]}", "yaml"), "no command go"),
        (wrong_commands, fenced("# nas-prune compare a.yaml --worker x", "yaml"), "--worker"),
        (wrong_commands, fenced("$ nas-prune spaces --colour\nnot a command", "console"), "--colour"),
        (wrong_commands, fenced("python tools/bench_nothing.py"), "there is no tools/bench_nothing.py"),
        (wrong_commands, fenced("python tools/bench_cost.py --vektors 3"), "has no --vektors"),
        (wrong_commands, "by `python tools/bench_cost.py --vektors 3`", "has no --vektors"),
        (wrong_mentions, "as `nas-prune judge FILE` says", "there is no command judge"),
        (wrong_mentions, "`nas-prune guide\n--evaluat RUN`", "no --evaluat"),
        (wrong_mentions, "`train --epocs`", "no --epocs"),
        (wrong_mentions, "`--no-stops` trains on", "no --no-stops"),
        (wrong_links, "[a](nowhere/README.md)", "nowhere/README.md"),
        (wrong_links, "[a](../../etc/hosts)", "../../etc/hosts"),
        (wrong_links, "[a](README.md#no-such-heading)", "README.md#no-such-heading"),
        (wrong_places, "see `nas_prune/methods/slimming.py`", "nas_prune/methods/slimming.py"),
        (wrong_places, "`scratch.py` trains", "scratch.py"),
        (wrong_places, "`nas_prune.pruner`", "nas_prune.pruner"),
        (wrong_places, fenced("import nas_prune\nnas_prune.runs.progress.Watch()", "python"), "progress.Watch"),
        (wrong_places, fenced("nas-prune guide studies/vgg16-cifar16/sed-*.json"), "sed-*.json"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(check: Callable[[Page], list[str]], text: str, expected: str) -> None:
    (found,) = check(Page(ROOT / "README.md", text))
    assert expected in found


def test_what_is_right_is_not_found() -> None:
    search = "nas-prune search --budget 'macs<=50%' \\\n  --data folder:my-images  # it's mine"
    loop = 'T="--seeds 3"\nfor M in scratch-e scratch-b; do\n    nas-prune train $T --schedule $M\ndone'
    said = "`nas-prune study rank DIR --top 3`, `nas-prune COMMAND --help`, [a](README.md#commands), `nas_prune.search`"
    page = Page(ROOT / "README.md", fenced(search) + fenced(loop) + said)
    assert [check(page) for check in CHECKS] == [[], [], [], []]
    commands = [words for words in page.commands if "nas-prune" in words]
    assert commands == [
        shlex.split("nas-prune search --budget 'macs<=50%' --data folder:my-images"),
        shlex.split("nas-prune train --seeds 3 --schedule scratch-e"),
    ]


def test_the_first_page_names_every_command() -> None:
    named = re.findall(r"^\| `([a-z]+)` \|", read(ROOT / "README.md").text, re.M)
    assert sorted(named) == sorted(COMMANDS)


def test_the_page_for_those_who_work_on_it_has_the_rooms_in_the_order_of_the_data() -> None:
    page = read(ROOT / ".github" / "CONTRIBUTING.md")
    (tree,) = [block.text for block in page.blocks if block.language == "text"]
    lines = dict(re.findall(r"^  (\w+)(?:\.py|/) +(.+)$", tree, re.M))
    assert tuple(lines) == ORDER
    for room, said in lines.items():
        wrong = [
            name for name in re.findall(r"\w+\.py", said) if not any((ROOT / "nas_prune" / room).rglob(name))
        ]
        assert wrong == []


def test_every_study_and_every_width_method_has_its_row() -> None:
    links = set(LINK.findall(read(ROOT / "studies" / "README.md").text))
    assert {f"{path.parent.name}/README.md" for path in (ROOT / "studies").glob("*/README.md")} <= links
    table = re.findall(r"^\| (`[^|]+) \|", read(ROOT / "nas_prune" / "search" / "README.md").text, re.M)
    assert set(METHODS) <= set(INLINE.findall(" ".join(table)))


def test_commits_are_checked_by_the_ruff_that_is_installed() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==([\d.]+)", hooks)) == {version("ruff")}


def test_the_guideline_that_is_shown_is_the_one_that_comes_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [block for page in pages() for block in page.blocks if block.text.startswith("$ nas-prune guide")]
    (block,) = shown
    monkeypatch.chdir(ROOT)
    assert main(block.commands()[0][1:]) == 0
    assert capsys.readouterr().out.rstrip() == block.text.partition("\n")[2].rstrip()


def skeleton(line: str) -> str:
    """A line without its numbers, which vary with the machine, as the epoch does after which widths are stable."""
    line = re.sub(r"stopped at epoch \d+ of (\d+): the widths were stable", r"\1 epochs", line)
    return re.sub(r"[\d.,]+[KMG]?|\s+", " ", line).strip()


def consoles() -> dict[str, list[Block]]:
    """The blocks that show a command and what it prints, by page."""
    found = {
        str(page.path.relative_to(ROOT)): [one for one in page.blocks if one.language == "console"]
        for page in pages()
    }
    return {page: shown for page, shown in found.items() if shown}


def test_the_first_page_shows_a_search_and_a_training() -> None:
    assert [block.commands()[0][1] for block in consoles()["README.md"]] == ["search", "train"]


@pytest.mark.slow
@pytest.mark.parametrize("page", consoles())
def test_every_command_prints_what_is_shown(page: str, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "nas-prune"
    for block in consoles()[page]:
        (words,) = block.commands()
        assert words[0] == "nas-prune"
        result = subprocess.run(
            [program, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        expected = [skeleton(line) for line in block.text.splitlines()[1:] if line != "…"]
        assert [skeleton(line) for line in result.stdout.splitlines()][: len(expected)] == expected


@pytest.mark.slow
def test_the_python_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [block for block in read(ROOT / "README.md").blocks if block.language == "python"]
    (block,) = [
        block for block in found if "import nas_prune" in block.text
    ]  # the other is of a run's directory
    names: dict[str, object] = {}
    exec(compile(block.text, "README.md", "exec"), names)  # noqa: S102
    assert {"network", "result", "study"} <= set(names)
