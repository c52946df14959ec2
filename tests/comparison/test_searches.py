"""Comparisons of several searches: real ones, stopped, killed, and added to."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from nas_prune.cli import main
from nas_prune.comparison.choosing import Wanted
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.file import read_compare_file, run_file
from nas_prune.comparison.result import read_comparison
from nas_prune.comparison.run import compare, resume_compare
from nas_prune.comparison.sentences import sentences
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.runs.files import alone_in
from nas_prune.runs.settings import read_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.run import search
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.recipe import recipe_named

RECIPE = recipe_named("digits").model_copy(update={"epochs": 1})
DATA = DataConfig(max_images=60)
CONFIG = CompareConfig(data=DATA, recipe=RECIPE, seeds=2, searches=2, threads=1)
ONE = CONFIG.model_copy(update={"searches": 1})
WANTED = Wanted(("uniform-macs-e", "lottery"))
BUDGET = ("--budget", "macs<=50%")
SPACE = "space: resnet20\nwidth_multiplier: 0.125\n"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first search."""
    config = SearchConfig(
        space="resnet20",
        width_multiplier=0.125,
        data=DATA,
        recipe=RECIPE,
        budgets=("macs<=75%", "macs<=50%"),
        threads=1,
    )
    return search(config, tmp_path_factory.mktemp("first") / "search").run


@pytest.fixture(scope="module")
def widths(first: Path) -> Widths:
    return read_widths(first / "widths" / "macs-50pct.json")


@pytest.fixture(scope="module")
def done(first: Path, widths: Widths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("done") / "run"
    return compare(CONFIG, widths, run, search=read_config(first, SearchConfig), wanted=WANTED).run


def test_each_search_has_its_widths_its_trainings_and_its_whole_networks(
    first: Path, done: Path, widths: Widths
) -> None:
    result = read_comparison(done)
    seeds = {name: [one.seed for one in own] for name, own in result.arms.items()}
    both = [0, 1, 1000, 1001]
    assert seeds == {"lottery": both, "scratch-e": both, "scratch-b": both, "uniform-macs-e": [0, 1]}
    other = read_widths(done / "widths" / "found-1.json")
    assert read_widths(done / "widths" / "found.json").vector == widths.vector
    assert (other.seed, other.budget) == ((widths.seed or 0) + 1, widths.budget)
    assert other.vector != widths.vector
    budgets = [read_config(folder, SearchConfig).budgets for folder in (first, done / "searches" / "seed-1")]
    assert len(budgets[0]) == 2
    assert budgets[0] == budgets[1]  # or another stops at another epoch, and softens to another width
    trained = {one.seed: one.params for one in result.arms["lottery"]}
    assert trained == {
        0: widths.cost.params,
        1: widths.cost.params,
        1000: other.cost.params,
        1001: other.cost.params,
    }
    assert result.parents_done == 4
    found = result.compared()["uniform-macs-e"].contrast
    assert (found.n, found.n_beside) == (2, 2)
    content = json.loads((done / "result.json").read_text(encoding="utf-8"))
    assert content["searches"] == 2
    each = 3 * widths.base_cost.macs * 54
    behind = next(one for one in content["arms"] if one["arm"] == "scratch-e")["behind"]
    assert [one["macs"] for one in behind] == [each * (one.epochs or 0) for one in (widths, other)]
    assert content["training_macs"]["searches"] == each * (other.epochs or 0)
    assert any("those of 2 searches" in sentence for sentence in content["sentences"])
    assert any("by a paired t test over searches, not moderated" in one for one in content["sentences"])
    assert not any("not the same cost" in one for one in content["sentences"])
    whole = read_widths(first / "widths" / "macs-75pct.json")
    (said,) = [one for one in sentences(replace(result, more_found=(whole,))) if "not the same cost" in one]
    assert said.startswith(f"uniform-macs-e has {result.arms['uniform-macs-e'][0].macs:,} MACs, as the first")
    assert f"to {whole.cost.macs:,}" in said


@pytest.mark.slow
def test_searches_are_added_and_nothing_is_repeated(
    first: Path, widths: Widths, done: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    compare(ONE, widths, run, search=read_config(first, SearchConfig), wanted=WANTED)
    before = {path: path.stat().st_mtime_ns for path in run.glob("arms/*/*/result.json")}
    assert not (run / "searches").exists()
    result = resume_compare(run, searches=2)
    assert {path: path.stat().st_mtime_ns for path in before} == before

    def accuracies(run: Path) -> dict[str, list[float]]:
        return {name: [one.test_accuracy for one in own] for name, own in read_comparison(run).arms.items()}

    assert accuracies(run) == accuracies(done)
    assert result.config.searches == 2
    with pytest.raises(BadInputError, match="--searches must be at least the 2"):
        resume_compare(run, searches=1)


@pytest.mark.slow
def test_a_search_killed_in_the_middle_goes_on_to_the_same(first: Path, done: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = [
        "--seeds",
        "2",
        "--searches",
        "2",
        "--epochs",
        "1",
        "--arm",
        "uniform-macs-e",
        "--arm",
        "lottery",
    ]
    command = [sys.executable, "-m", "nas_prune", "compare", str(first), *BUDGET, *options, "--threads", "1"]
    process = subprocess.Popen(
        [*command, "--out", str(run)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = monotonic() + 100
    while not (run / "searches" / "seed-1" / "config.yaml").exists():
        assert process.poll() is None
        assert monotonic() < end
        sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "widths" / "found-1.json").exists()
    with alone_in(run), pytest.raises(BadInputError, match="by one process at a time"):
        resume_compare(run)
    resume_compare(run)
    assert {name: [one.test_accuracy for one in own] for name, own in read_comparison(run).arms.items()} == {
        name: [one.test_accuracy for one in own] for name, own in read_comparison(done).arms.items()
    }
    assert read_widths(run / "widths" / "found-1.json") == read_widths(done / "widths" / "found-1.json")


def test_what_cannot_be_searched_again_is_refused(
    first: Path, widths: Widths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, source = tmp_path / "run", read_config(first, SearchConfig)
    with pytest.raises(BadInputError, match="must come with a search that is known"):
        compare(CONFIG, widths, run)
    other = CONFIG.model_copy(update={"data": DataConfig(max_images=70)})
    with pytest.raises(BadInputError, match="must be on the images that the first search was on"):
        compare(other, widths, run, search=source)
    own = source.model_copy(update={"budgets": SearchConfig(space="resnet20", budgets=("own",)).budgets})
    with pytest.raises(
        BadInputError, match="must come with a search at a budget that bounds a cost, got own"
    ):
        compare(CONFIG, widths, run, search=own)
    with pytest.raises(BadInputError, match="must come with --test moderated, got t"):
        compare(CONFIG.model_copy(update={"test": "t"}), widths, run, search=source)
    assert main(["compare", str(first), *BUDGET, "--searches", "2", "--test", "t", "--out", str(run)]) == 2
    assert "must come with --test moderated" in " ".join(capsys.readouterr().err.split())
    assert not run.exists()


@pytest.mark.slow
def test_a_file_may_ask_for_several_searches_and_later_for_more(tmp_path: Path) -> None:
    text = f"{SPACE}recipe: digits\ndata: {{name: digits, max_images: 60}}\nepochs: 1\nbudget: macs<=50%\nseeds: 1\n"
    path, run = tmp_path / "f.yaml", tmp_path / "run"
    path.write_text(f"{text}searches: 2\narms: [scratch-e]\n", encoding="utf-8")
    result = run_file(read_compare_file(path), run, machine={"threads": 1})
    assert [one.seed for one in result.arms["scratch-e"]] == [0, 1000]
    assert result.config.test == "moderated"
    more = run_file(read_compare_file(path, searches=3), run, machine={"threads": 1})
    assert [one.seed for one in more.arms["scratch-e"]] == [0, 1000, 2000]
    assert (run / "compare" / "searches" / "seed-2" / "result.json").exists()
