"""Guidelines carried to other images, and searches with their comparison in one file: real trainings on the digits."""

import json
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.file import read_compare_file, run_file
from nas_prune.comparison.result import CompareResult, search_macs
from nas_prune.comparison.run import resume_compare
from nas_prune.comparison.transfer import Target, resume_transfer, transfer
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, BudgetError, DataError
from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.runs.progress import Progress
from nas_prune.space.budget import Budget
from nas_prune.space.widths import read_widths
from nas_prune.training.recipe import recipe_named
from tests.conftest import WriteDigits

CONFIG = CompareConfig(
    data=DataConfig(max_images=100),
    recipe=recipe_named("digits").model_copy(update={"epochs": 1}),
    seeds=2,
    threads=1,
)
GUIDELINE = (
    "g.yaml",
    Guideline(num_stages=3, cells=(Cell(stage=0, log_ratio=0.3), Cell(stage=2, log_ratio=-0.3))),
)
TARGET = Target("resnet20", Budget.parse("macs<=40%"))
FILE = """
space: resnet20
recipe: digits
data: {name: digits, max_images: 100}
epochs: 1
budget: macs<=40%
seeds: 1
arms: [rewound]
"""


@pytest.mark.slow
def test_a_guideline_is_trained_beside_uniform_widths_and_later_a_search(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = transfer(CONFIG, TARGET, GUIDELINE, run)
    assert {name: len(own) for name, own in first.arms.items()} == {
        "guided": 2, "uniform-params": 2, "uniform-macs": 2,
    }  # fmt: skip
    guided, uniform = (read_widths(run / "widths" / f"{name}.json") for name in ("guided", "uniform-macs"))
    assert guided.cost.macs * 0.97 < uniform.cost.macs <= guided.cost.macs <= 0.4 * guided.base_cost.macs
    assert guided.vector != uniform.vector
    assert search_macs(first) is None
    times = {path: path.stat().st_mtime_ns for path in run.glob("arms/*/*/result.json")}
    more = resume_transfer(run, direct="slimming")
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(more.arms["direct"]) == 2
    assert {one.beside for one in more.compared().values()} == {"guided"}
    assert search_macs(more) == 3 * guided.base_cost.macs * 90 * 1
    content = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert any(sentence.startswith("The transfer saved a search of") for sentence in content["sentences"])
    assert (
        "hardly better than guessing the largest class" in content["sentences"][-1]
    )  # one epoch of two steps
    with pytest.raises(BadInputError, match="one search, and"):
        resume_transfer(run, direct="taylor")
    (run / "search" / "result.json").write_text("x", encoding="utf-8")
    assert search_macs(resume_transfer(run)) is None
    with pytest.raises(BadInputError, match="must be a run of nas-prune compare, got"):
        resume_compare(run)


def test_a_search_that_cannot_be_begun_leaves_a_transfer_as_it_was(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"seeds": 1})
    with pytest.raises(BadInputError, match="--direct sss-groups cannot be used here"):
        transfer(config, TARGET, GUIDELINE, tmp_path / "new", direct="sss-groups")
    assert not (tmp_path / "new").exists()
    first = transfer(config, TARGET, GUIDELINE, tmp_path / "run")
    with pytest.raises(BadInputError, match="--direct sss-groups cannot be used here"):
        resume_transfer(tmp_path / "run", direct="sss-groups")
    assert resume_transfer(tmp_path / "run").arms == first.arms


def test_what_a_transfer_cannot_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="are feasible"):
        transfer(CONFIG, Target("resnet20", Budget.parse("macs<=1%")), GUIDELINE, tmp_path / "run")
    with pytest.raises(BadInputError, match="--direct must be a width method that looks"):
        transfer(CONFIG, TARGET, GUIDELINE, tmp_path / "run", direct="uniform")
    assert not (tmp_path / "run").exists()


_ALL = ["--guideline", "erk", "--space", "resnet20", "--budget", "macs<=40%", "--max-images", "100"]


def test_the_command_asks_for_what_is_missing(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        ([], "--guideline must be given"),
        (["--guideline", "erk"], "--space must be given"),
        (["--guideline", "erk", "--space", "resnet20"], "--budget must be given"),
        (["--resume", ".", "--epochs", "3"], "got --epochs beside it"),
        (["--resume", "x"], "--resume must be a run's directory, got x"),
        ([*_ALL, "--test", "wilcoxon"], "must have at least 7 seeds"),
    ):
        assert main(["transfer", *arguments]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_file_searches_and_compares_and_its_command_goes_on(tmp_path: Path) -> None:
    def stop(what: str, count: int, _: int) -> None:
        if what.startswith("scratch-b") and count == 1:
            signal.raise_signal(signal.SIGINT)

    (tmp_path / "f.yaml").write_text(FILE, encoding="utf-8")
    file = read_compare_file(tmp_path / "f.yaml")
    run, machine = tmp_path / "run", {"threads": 1}
    with pytest.raises(KeyboardInterrupt, match=r"(done|next)\. Go on with: the same command$"):
        run_file(file, run, machine=machine, progress=Progress(update=stop))
    done = (run / "search" / "result.json").stat().st_mtime_ns
    result = run_file(file, run, machine=machine)
    assert (run / "search" / "result.json").stat().st_mtime_ns == done
    assert {name: len(own) for name, own in result.arms.items()} == {"rewound": 1, "scratch-b": 1}
    more = run_file(read_compare_file(tmp_path / "f.yaml", seeds=2), run, machine=machine)
    assert len(more.arms["rewound"]) == 2
    added = FILE.replace("arms: [rewound]", "arms: [rewound, scratch-e]")
    (tmp_path / "f.yaml").write_text(added, encoding="utf-8")
    assert "scratch-e" in run_file(read_compare_file(tmp_path / "f.yaml"), run, machine=machine).arms
    with pytest.raises(BadInputError, match="got other recipe"):
        run_file(read_compare_file(tmp_path / "f.yaml", epochs=2), run, machine=machine)
    with pytest.raises(BadInputError, match="new or an empty directory"):
        run_file(file, tmp_path, machine=machine)


@pytest.mark.slow
def test_a_file_that_failed_may_be_corrected_and_its_images_moved(
    tmp_path: Path, write_digits: WriteDigits
) -> None:
    for part, count in (("train", 30), ("test", 5)):
        write_digits(f"images/{part}", dict.fromkeys("012", count))
    own = FILE.replace("name: digits, max_images: 100", "name: 'folder:images', image_size: 8")
    run, machine = tmp_path / "run", {"threads": 1}

    def told(text: str) -> CompareResult:
        (tmp_path / "f.yaml").write_text(text, encoding="utf-8")
        return run_file(read_compare_file(tmp_path / "f.yaml"), run, machine=machine)

    with pytest.raises(DataError):
        told(own.replace("folder:images", "folder:nowhere"))
    with pytest.raises(BudgetError):
        told(own.replace("macs<=40%", "macs<=0.001%"))
    first = told(own)
    (tmp_path / "images").rename(tmp_path / "moved")
    assert told(own.replace("folder:images", "folder:moved")).arms == first.arms
    write_digits("other/train", dict.fromkeys("345", 30))
    write_digits("other/test", dict.fromkeys("345", 5))
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        told(own.replace("folder:images", "folder:other"))


def test_a_file_killed_while_its_comparison_is_planned_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.yaml").write_text(FILE, encoding="utf-8")
    file, run = read_compare_file(tmp_path / "f.yaml"), tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("nas_prune.comparison.run.write_config", stop_at_once)
        patched.setattr(
            "nas_prune.comparison.run.begun_whole", nullcontext
        )  # which `kill -9` lets do nothing
        with pytest.raises(KeyboardInterrupt):
            run_file(file, run, machine={"threads": 1})
    assert (run / "compare" / "widths" / "found.json").exists()
    (run / "search" / ".config.yaml.abc.part").touch()
    assert run_file(file, run, machine={"threads": 1}).arms["rewound"]
    assert main(["report", str(run), "--format", "json", "--out", str(tmp_path / "report.json")]) == 0
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [one["kind"] for one in told["runs"]] == ["compare", "search"]
    capsys.readouterr()


def test_a_directory_of_somebody_elses_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "file.yaml").write_text(FILE, encoding="utf-8")
    with pytest.raises(BadInputError, match="new or an empty directory"):
        run_file(read_compare_file(tmp_path / "file.yaml"), tmp_path, machine={"threads": 1})
    assert (tmp_path / "file.yaml").read_text(encoding="utf-8") == FILE
    assert (tmp_path / "search" / "notes.txt").exists()


@pytest.mark.slow
def test_a_file_compares_on_the_images_it_searched_on(tmp_path: Path, write_digits: WriteDigits) -> None:
    for name, digits in (("one", "012"), ("other", "345")):
        write_digits(f"{name}/train", dict.fromkeys(digits, 20))
        write_digits(f"{name}/test", dict.fromkeys(digits, 5))
        for part in ("train", "test"):  # the same names for other pictures
            for new, old in zip("abc", digits, strict=True):
                (tmp_path / name / part / old).rename(tmp_path / name / part / new)
    own = FILE.replace("name: digits, max_images: 100", "name: 'folder:one', image_size: 8")
    (tmp_path / "f.yaml").write_text(own, encoding="utf-8")
    run, machine = tmp_path / "run", {"threads": 1}
    run_file(read_compare_file(tmp_path / "f.yaml"), run, machine=machine)
    moved = read_compare_file(tmp_path / "f.yaml", data_name=f"folder:{tmp_path / 'other'}")
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        run_file(moved, run, machine=machine)
    shutil.rmtree(run / "compare")  # as one that was killed after its search left it
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        run_file(moved, run, machine=machine)
    shutil.rmtree(run / "search")
    assert run_file(read_compare_file(tmp_path / "f.yaml"), run, machine=machine).arms["rewound"]


def stop_at_once(*_: object) -> None:
    """What a kill does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("arms: [nope]", "--arm must be one of"),
        ("method: uniform\narms: [rewound]", "must come with a method that trains"),
        ("test: wilcoxon\narms: [rewound]", "must have at least"),
    ],
)
def test_what_the_comparison_would_refuse_is_refused_before_the_search(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(FILE.replace("arms: [rewound]", line), encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        run_file(read_compare_file(path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sedes: 3", "sedes: there is no such setting"),
        ("seeds: 0", "seeds: it must be at least 1, got 0"),
        ("- 1", "must be YAML"),
    ],
)
def test_a_wrong_file_names_the_setting(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(FILE.replace("seeds: 1", line), encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        read_compare_file(path)


def test_the_files_that_come_with_the_project_can_be_read() -> None:
    root = Path(__file__).parents[2] / "studies"
    files = [
        *root.glob("paper/*.yaml"),
        *root.glob("paper/small/*.yaml"),
        root / "resnet18x2" / "compare.yaml",
    ]
    assert len(files) == 14
    for path in files:
        file = read_compare_file(path)
        assert file.search({}).budgets == (file.budget,)
        assert set(file.arms) <= set(file.comparison({}).known)
        if path.parent.name == "paper":
            assert (file.recipe.epochs, file.seeds) == (160, 5)
