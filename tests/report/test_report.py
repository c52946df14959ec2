"""Reports of real runs: one file, the same numbers in each form, whether the runs are finished or not."""

import json
import os
import re
import shutil
import signal
import subprocess
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nas_prune.cli import main
from nas_prune.comparison.choosing import Wanted
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.evaluate import evaluate_guideline
from nas_prune.comparison.evaluate_result import EvaluateConfig
from nas_prune.comparison.run import compare
from nas_prune.data.config import DataConfig
from nas_prune.guideline.hand import RULES
from nas_prune.report.content import Part
from nas_prune.report.read import read_parts
from nas_prune.report.render import as_html, as_json, as_markdown
from nas_prune.runs.progress import Progress
from nas_prune.search.config import SearchConfig
from nas_prune.search.run import search
from nas_prune.space.widths import read_widths
from nas_prune.study.config import StudyConfig
from nas_prune.study.run import run_study
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import recipe_named
from nas_prune.training.run import train

RECIPE = recipe_named("digits").model_copy(update={"epochs": 2})
DATA = DataConfig(max_images=100)
KINDS = ("search", "train", "evaluate", "study", "compare", "transfer", "guideline")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished run of every kind, named after it."""
    home = tmp_path_factory.mktemp("home")
    before = Path.cwd()
    os.chdir(home)
    try:
        config = SearchConfig(space="resnet20", data=DATA, recipe=RECIPE, budgets=("macs<=40%",), threads=1)
        search(config, home / "search")
        widths = read_widths(home / "search" / "widths" / "macs-40pct.json")
        settings: dict[str, Any] = {"data": DATA, "recipe": RECIPE, "threads": 1}
        train(TrainConfig(**settings, schedule="scratch-e", seeds=(0, 1)), widths, home / "train")
        compare(
            CompareConfig(**settings, seeds=2), widths, home / "compare", wanted=Wanted(("uniform-macs-b",))
        )
        evaluated = EvaluateConfig(
            **settings, space="resnet20", guideline="erk", budget="macs<=40%", networks=2
        )
        evaluate_guideline(evaluated, home / "evaluate", pattern=RULES["erk"])
        study = StudyConfig(
            **settings,
            name="s",
            space="resnet20",
            epochs=1,
            budgets=("macs<=40%",),
            guideline="erk",
            trials=3,
        )
        run_study(study, home / "study")
        asked = [
            "transfer",
            "--guideline",
            "erk",
            "--space",
            "resnet20",
            "--budget",
            "macs<=40%",
            "--max-images",
            "100",
        ]
        assert main([*asked, "--epochs", "1", "--seeds", "2", "--threads", "1", "--out", "transfer"]) == 0
        Path("guideline").write_text(
            "schema: nas-prune/guideline/1\ncells:\n- {stage: 0, times_uniform: 1.5}\n", encoding="utf-8"
        )
    finally:
        os.chdir(before)
    return home


@pytest.fixture(scope="module")
def parts(home: Path) -> list[Part]:
    return read_parts([home / kind for kind in KINDS])


class Page(HTMLParser):
    """Which elements a page has, what they refer to, and whether they are closed in order."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "path", "use", "rect", "circle", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.references += [value or ""] if name in ("href", "src", "xlink:href") else []
            self.references += re.findall(r"url\(([^)]*)\)", value or "")
            self.ids += [value or ""] if name == "id" else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_a_page_is_whole_and_refers_to_nothing_but_itself(parts: list[Part]) -> None:
    page = Page()
    page.feed(as_html(parts, title="A <report>"))
    assert page.open == []
    assert "script" not in page.tags
    assert {one for one in page.references if not one.startswith("#")} == {"data:,"}
    assert len(page.ids) == len(set(page.ids))
    assert {one[1:] for one in page.references if one.startswith("#")} <= set(page.ids)
    assert page.tags.count("article") == len(KINDS)
    assert page.tags.count("svg") >= 12


def test_each_form_has_the_same_numbers(parts: list[Part]) -> None:
    html, markdown = as_html(parts, title="t"), as_markdown(parts, title="t")
    shown, content = unescape(html), json.loads(as_json(parts, title="t"))
    assert [run["kind"] for run in content["runs"]] == list(KINDS)
    for part in parts:
        for section in part.sections:
            for table in section.tables:
                for text in (text for row in table.rows for text in row):
                    assert text in shown
                    assert text.replace("<", "\\<") in markdown
    compared = next(run["numbers"] for run in content["runs"] if run["kind"] == "compare")
    for arm in compared["arms"]:
        assert f"{100 * arm['test_accuracy_mean']:.2f} ± {100 * arm['test_accuracy_std']:.2f}" in html


def test_settings_versions_and_the_machine_are_told_and_no_directory(parts: list[Part], home: Path) -> None:
    html = as_html(parts, title="t")
    for name in ("versions.torch", "machine", "recipe.learning_rate", "seed"):
        assert f"<dt>{name}</dt>" in html
    assert str(home) not in html


def test_runs_that_go_on_are_told_as_far_as_they_are(home: Path, tmp_path: Path) -> None:
    def stop(what: str, count: int, _: int) -> None:
        if what.startswith("scratch-b, seed 1") and count == 1:
            signal.raise_signal(signal.SIGINT)

    widths = read_widths(home / "search" / "widths" / "macs-40pct.json")
    config = CompareConfig(data=DATA, recipe=RECIPE, seeds=2, threads=1)
    with pytest.raises(KeyboardInterrupt):
        compare(
            config, widths, tmp_path / "c", wanted=Wanted(("uniform-macs-b",)), progress=Progress(update=stop)
        )
    shutil.copytree(home / "search", tmp_path / "s")
    (tmp_path / "s" / "result.json").unlink()
    shutil.copytree(home / "evaluate", tmp_path / "j")
    (tmp_path / "j" / "result.json").unlink()
    (tmp_path / "j" / "guided" / "001" / "result.json").unlink()
    told = as_markdown(read_parts([tmp_path / name for name in "csj"]), title="t")
    assert "Not finished: 2 of 4 trainings are done." in told
    assert "Not finished: 2 of 2 epochs are done." in told
    assert "Not finished: 9 networks are trained." in told


def test_the_command_writes_a_file_and_replaces_none(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, run = str(tmp_path / "r.html"), str(home / "search")
    assert main(["report", run, "--out", out]) == 0
    assert "Report:" in capsys.readouterr().out
    assert main(["report", run, "--out", out]) == 2
    assert "--out must be a new file" in capsys.readouterr().err
    assert main(["report", run, "--out", out, "--force"]) == 0
    assert main(["report", run, "--format", "json"]) == 0
    capsys.readouterr()
    for refused, message in (
        (["report", run], "--out must name the file to write"),
        (["report", str(tmp_path)], "--out must name the file"),
        (
            ["report", str(tmp_path), "--out", str(tmp_path / "x.html")],
            "a run to be reported must be a directory of",
        ),
        (
            ["report", str(tmp_path / "none"), "--format", "md"],
            "RUN must be a run's directory, or a guideline, got",
        ),
    ):
        assert main(refused) == 2
        assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_browser_opens_the_page_without_an_error_or_a_request(parts: list[Part], tmp_path: Path) -> None:
    """With NAS_PRUNE_PICTURES=DIR its pictures, light and dark, stay there."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    pictures = Path(os.environ.get("NAS_PRUNE_PICTURES", tmp_path))
    text = as_html(parts, title="t")
    open_page = re.sub("<meta http-equiv[^>]*>", "", text)  # nothing in it forbids requests
    assert len(open_page) < len(text)
    wrong = '<img src="http://127.0.0.1:9/x.png"><script>throw 1</script></main>'
    pages = {"whole": text, "open": open_page, "wrong": open_page.replace("</main>", wrong)}
    flags = ["--headless=new", "--no-sandbox", "--window-size=1200,12000", "--hide-scrollbars"]
    flags += ["--enable-logging=stderr", "--disable-background-networking", "--disable-component-update"]

    def browse(name: str, *more: str) -> tuple[str, list[str], set[str]]:
        """What the page has become, what the console says, and what was asked of the network."""
        path, log = tmp_path / f"{name}.html", tmp_path / "net.json"
        path.write_text(pages[name], encoding="utf-8")
        done = subprocess.run(
            [browser, *flags, f"--log-net-log={log}", *more, path.as_uri()],
            check=True,
            capture_output=True,
            timeout=120,
            text=True,
        )
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return (
            done.stdout,
            said,
            set(re.findall(r'"url":"(https?://127[^"]*)"', log.read_text(encoding="utf-8"))),
        )

    for name, more in (("light", ()), ("dark", ("--blink-settings=preferredColorScheme=0",))):
        _, said, asked = browse("whole", *more, f"--screenshot={pictures / f'report-{name}.png'}")
        assert (said, asked) == ([], set())
    for name in ("whole", "open"):
        dom, said, asked = browse(name, "--dump-dom")
        assert (said, asked) == ([], set())
        titles = {section.title for part in parts for section in part.sections}
        assert not {title for title in titles if escape(title) not in dom}
    _, said, asked = browse("wrong", "--dump-dom")
    assert said
    assert asked == {"http://127.0.0.1:9/x.png"}
