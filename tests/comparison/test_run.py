"""Comparisons of real trainings: small networks on the digits."""

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import sleep

import numpy as np
import pytest
import torch

from nas_prune.cli import main
from nas_prune.comparison.choosing import Wanted
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.parents import beginnings
from nas_prune.comparison.result import CompareResult, read_comparison
from nas_prune.comparison.run import compare, resume_compare
from nas_prune.comparison.sentences import sentences
from nas_prune.data import load_data
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.guideline.hand import RULES
from nas_prune.runs.files import alone_in
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import read_config, write_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.run import search
from nas_prune.space.load import load_referenced
from nas_prune.space.widths import MethodRecord, Widths, read_widths
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import recipe_named
from nas_prune.training.run import train
from nas_prune.training.schedules import Schedule
from nas_prune.training.starts import read_kept

RECIPE = recipe_named("digits").model_copy(update={"epochs": 2})
DATA = DataConfig(max_images=100)
CONFIG = CompareConfig(data=DATA, recipe=RECIPE, seeds=2, threads=1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search whose training goes to its end."""
    run = tmp_path_factory.mktemp("found") / "search"
    config = SearchConfig(
        space="resnet20", data=DATA, recipe=RECIPE, budgets=("macs<=40%",), stop=False, threads=1
    )
    return search(config, run).run


@pytest.fixture(scope="module")
def widths(found: Path) -> Widths:
    return read_widths(found / "widths" / "macs-40pct.json")


@pytest.fixture(scope="module")
def done(found: Path, widths: Widths, tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    """The whole comparison."""
    run = tmp_path_factory.mktemp("done") / "run"
    return compare(CONFIG, widths, run, search=read_config(found, SearchConfig))


def trainings(run: Path) -> dict[str, bytes]:
    """Every training's result, but for the seconds it took."""
    found = {}
    for path in sorted(run.glob("arms/*/*/result.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[f"{path.parent.parent.name} {path.parent.name}"] = json.dumps(
            {**content, "seconds": 0}
        ).encode()
    return found


def test_every_arm_is_trained_with_every_seed_and_compared_like_with_like(done: CompareResult) -> None:
    assert {name: len(own) for name, own in done.arms.items()} == dict.fromkeys(
        (
            "unpruned", "fine-tuned", "rewound", "lottery", "scratch-e", "scratch-b", "uniform-params-e",
            "uniform-params-b", "uniform-macs-e", "uniform-macs-b", "random-e", "random-b",
        ),
        2,
    )  # fmt: skip
    beside = {name: one.beside for name, one in done.compared().items()}
    assert beside.pop("lottery") == "scratch-e"
    assert "scratch-b" not in beside
    assert all(
        other == ("scratch-e" if name.endswith("-e") and name != "scratch-e" else "scratch-b")
        for name, other in beside.items()
    )
    assert read_comparison(done.run).arms == done.arms
    content = json.loads((done.run / "result.json").read_text(encoding="utf-8"))
    assert len(content["comparisons"]) == 11
    assert not list((done.run / "arms").rglob("*.safetensors"))


def test_controls_cost_what_the_widths_found_cost(done: CompareResult, widths: Widths) -> None:
    cost = widths.cost
    for name, own in done.arms.items():
        for one in own:
            if name.startswith("uniform-params"):
                assert cost.params * 0.97 < one.params <= cost.params
            elif name == "unpruned":
                assert one.macs == widths.base_cost.macs
            else:
                assert cost.macs * 0.97 < one.macs <= cost.macs
    drawn = [read_widths(path).vector for path in sorted((done.run / "widths" / "random").iterdir())]
    assert len(drawn) == len(set(drawn)) == 2


def test_schedules_have_the_epochs_of_the_paper(done: CompareResult, widths: Widths) -> None:
    epochs = {name: own[0].epochs for name, own in done.arms.items()}
    assert epochs["scratch-b"] == round(2 * widths.base_cost.macs / widths.cost.macs)
    assert epochs["unpruned"] == epochs["scratch-e"] == epochs["rewound"] == epochs["lottery"] == 2
    assert epochs["fine-tuned"] == 1
    spent = done.training_macs()
    assert spent["unpruned"] == 2 * 3 * widths.base_cost.macs * done.num_train * 2
    assert spent["parents"] == spent["unpruned"]


def test_arms_are_what_the_commands_train_give(
    done: CompareResult, found: Path, widths: Widths, tmp_path: Path
) -> None:
    """Seed 0's whole network is the search's own, so that fine-tuning it is `train --schedule fine-tune --from`."""
    arms: dict[Schedule, str] = {"scratch-b": "scratch-b", "fine-tune": "fine-tuned", "rewind": "rewound"}
    for schedule, arm in arms.items():
        config = TrainConfig(
            data=DATA,
            recipe=RECIPE,
            schedule=schedule,
            threads=1,
            inherits_from=None if schedule == "scratch-b" else str(found),
        )
        one = train(config, widths, tmp_path / schedule).seeds[0]
        other = done.arms[arm][0]
        assert (one.val_accuracy, one.test_accuracy) == (other.val_accuracy, other.test_accuracy)


def test_the_lottery_ticket_starts_from_the_first_weights_of_the_channels_kept(
    done: CompareResult, found: Path, widths: Widths
) -> None:
    space = load_referenced(widths.space)
    images = load_data("digits", seed=0, max_images=100, val_fraction=0.1)
    kept = read_kept(found)["macs-40pct"]
    starts = beginnings(done.run / "parents" / "seed-0", widths, images, space, space.build(seed=0))
    ticket, whole = starts["initial"](), space.build(seed=0)
    number = next(c for c, group in enumerate(space.groups) if group.name == "layer1.0.conv1")
    first = dict(whole.named_parameters())["layer1.0.conv1.weight"][kept[number]]
    assert torch.equal(dict(ticket.named_parameters())["layer1.0.conv1.weight"], first)
    trained = starts["trained"]()
    assert not torch.equal(dict(trained.named_parameters())["layer1.0.conv1.weight"], first)


@pytest.mark.slow
def test_one_that_was_stopped_goes_on_to_the_same(
    done: CompareResult, found: Path, widths: Widths, tmp_path: Path
) -> None:
    def stop(what: str, count: int, _: int) -> None:
        if what.startswith("rewound, seed 1") and count == 1:
            signal.raise_signal(signal.SIGINT)

    run, source = tmp_path / "run", read_config(found, SearchConfig)
    wanted = Wanted(("rewound", "lottery"))
    with pytest.raises(KeyboardInterrupt, match="compare --resume"):
        compare(CONFIG, widths, run, search=source, wanted=wanted, progress=Progress(update=stop))
    unfinished = read_comparison(run)
    assert {name: len(own) for name, own in unfinished.arms.items()} == {
        "rewound": 1, "lottery": 1, "scratch-e": 1, "scratch-b": 1,
    }  # fmt: skip
    resume_compare(run)
    theirs = trainings(done.run)
    assert trainings(run) == {name: theirs[name] for name in trainings(run)}
    assert len(trainings(run)) == 8


@pytest.mark.slow
def test_arms_and_seeds_are_added_and_nothing_is_repeated(
    done: CompareResult, widths: Widths, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    compare(CONFIG.model_copy(update={"seeds": 1}), widths, run, wanted=Wanted(("uniform-macs-e",)))
    first = {path: path.stat().st_mtime_ns for path in run.glob("arms/*/*/result.json")}
    assert {path.parent.parent.name for path in first} == {"uniform-macs-e", "scratch-e", "scratch-b"}
    winner = widths.model_copy(update={"method": MethodRecord(name="study", is_automatic=True)})
    result = resume_compare(run, wanted=Wanted(("random-e",), ("erk", RULES["erk"]), winner), seeds=2)
    assert {name: len(own) for name, own in result.arms.items()} == dict.fromkeys(
        ("scratch-e", "scratch-b", "uniform-macs-e", "random-e", "guided-e", "guided-b", "winner-e", "winner-b"), 2
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert [one.seed for one in result.arms["winner-e"]] == [10_000, 10_001]
    assert [one.seed for one in result.arms["scratch-e"]] == [0, 1]
    assert "With which seeds the study chose its winner is not known" in " ".join(sentences(result))
    theirs = trainings(done.run)
    assert all(theirs.get(name, value) == value for name, value in trainings(run).items())
    with pytest.raises(BadInputError, match="one guided arm"):
        resume_compare(run, wanted=Wanted(guideline=("erk", RULES["erk"])))
    with pytest.raises(BadInputError, match="at least the 2"):
        resume_compare(run, seeds=1)


def test_what_cannot_be_trained_is_left_out_with_the_reason(widths: Widths, tmp_path: Path) -> None:
    space = load_referenced(widths.space)
    whole = space.widths(space.base_G)
    result = compare(
        CONFIG.model_copy(update={"seeds": 1}),
        widths,
        tmp_path / "run",
        wanted=Wanted(("scratch-e",), winner=whole),
    )
    assert "fine-tuned" not in result.arms
    assert "no search is known" in result.config.left_out["fine-tuned"]
    assert "only equal costs are compared" in result.config.left_out["winner-b"]
    assert result.compared()["scratch-e"].verdict == "one seed: not tested"
    with pytest.raises(BadInputError, match="--arm rewound cannot be trained here"):
        compare(CONFIG, widths, tmp_path / "other", wanted=Wanted(("rewound",)))
    with pytest.raises(BadInputError, match="--arm guided-e must come with --guideline"):
        compare(CONFIG, widths, tmp_path / "other", wanted=Wanted(("guided-e",)))
    with pytest.raises(BadInputError, match="--arm must be one of unpruned"):
        compare(CONFIG, widths, tmp_path / "other", wanted=Wanted(("unpuned",)))
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_the_command_prints_the_table_and_refuses_what_does_not_fit(
    found: Path, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "compare",
        str(found),
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--arm",
        "uniform-params-b",
        "--threads",
        "1",
    ]
    assert main([*arguments, "--out", "run"]) == 0
    printed, told = capsys.readouterr()
    assert "Trains uniform-params-b and scratch-b, which it is compared with." in told
    assert "uniform-params-b  scratch-b" in " ".join(printed.split("\n")).replace("  ", "  ")
    assert "Uniform widths of the same parameters: no detectable difference" in printed or "points" in printed
    assert (
        (in_empty_directory / "run" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    )
    assert main(["compare", "--resume", "run", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["arms"][0]["arm"] == "scratch-b"
    for refused, message in (
        (["compare"], "RUN must name one search's directory or widths file"),
        (["compare", "nothing"], "or a comparison to go on with, got nothing, which does not exist"),
        (["compare", str(found), "--budget", "macs<=10%"], "--budget must be one of 'macs<=40%'"),
        (["compare", str(found), "--from", str(found)], "--from must come with a widths file"),
        (["compare", "--resume", "run", "--epochs", "3"], "got --epochs beside it"),
        (["compare", str(found), "--test", "wilcoxon"], "must have at least 9 seeds"),
        (["compare", str(found), "--study", "."], "must be a study that was ranked"),
    ):
        assert main(refused) == 2, refused
        assert message in " ".join(capsys.readouterr().err.split()), refused


def test_controls_that_cannot_be_as_cheap_are_left_out_and_the_rest_is_trained(
    widths: Widths, tmp_path: Path
) -> None:
    space = load_referenced(widths.space)
    gone = [block.path for block in space.blocks]
    shallow = space.widths(space.floor_G, removed=gone)
    result = compare(CONFIG.model_copy(update={"seeds": 1, "cap": 2.0}), shallow, tmp_path / "run")
    assert "no such widths meet the cost" in result.config.left_out["uniform-params-e"]
    assert set(result.arms) == {"unpruned", "scratch-e", "scratch-b"}
    with pytest.raises(BadInputError, match="--arm random-e cannot be trained here"):
        compare(CONFIG, shallow, tmp_path / "other", wanted=Wanted(("random-e",)))
    assert not (tmp_path / "other").exists()


def test_why_a_training_failed_is_kept_until_it_succeeds(done: CompareResult, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run, run)
    shutil.rmtree(run / "arms" / "lottery")
    (run / "arms" / "lottery").write_text("in the way")
    result = resume_compare(run)
    assert [name for name, _ in result.failed] == ["arms that inherit, seed 0", "arms that inherit, seed 1"]
    assert "must be written" in result.failed[0][1]
    known = read_comparison(run)
    assert known.failed == result.failed
    assert known.arms == {**done.arms, "lottery": ()}
    for style in ("md", "json"):
        assert main(["report", str(run), "--format", style, "--out", str(tmp_path / style)]) == 0
        assert "must be written" in (tmp_path / style).read_text(encoding="utf-8")
    (run / "arms" / "lottery").unlink()
    result = resume_compare(run)
    assert result.failed == read_comparison(run).failed == ()
    assert trainings(run) == trainings(done.run)


def test_one_process_works_at_a_comparison_at_a_time(
    done: CompareResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0)
    with alone_in(done.run), pytest.raises(BadInputError, match="by one process at a time"):
        resume_compare(done.run)
    assert resume_compare(done.run).arms == done.arms


def test_a_directory_that_another_process_has_begun_in_meanwhile_is_refused(
    widths: Widths, tmp_path: Path
) -> None:
    run, is_held = tmp_path / "run", Event()
    run.mkdir()

    def other() -> None:
        with alone_in(run):
            is_held.set()
            sleep(2)  # the first look at the directory is over
            (run / "config.yaml").write_text("theirs", encoding="utf-8")

    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(other)
        is_held.wait()
        with pytest.raises(BadInputError, match="must be a new or an empty directory"):
            compare(CONFIG, widths, run)
        begun.result()
    assert [path.name for path in run.iterdir()] == ["config.yaml"]


def test_a_guideline_whose_adding_was_killed_can_be_added(
    done: CompareResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, wanted = tmp_path / "run", Wanted(guideline=("erk", RULES["erk"]))
    shutil.copytree(done.run, run)
    with monkeypatch.context() as patched:
        patched.setattr("nas_prune.comparison.run.write_config", stop_at_once)
        with pytest.raises(KeyboardInterrupt):
            resume_compare(run, wanted=wanted)
    assert (run / "widths" / "guided.json").exists()
    (run / "widths" / "random" / "1.json").unlink()  # what can be worked out again is
    assert resume_compare(run).arms == done.arms
    assert len(resume_compare(run, wanted=wanted).arms["guided-b"]) == 2


def test_other_images_and_other_searches_are_refused(
    done: CompareResult, found: Path, widths: Widths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run, run)
    config = read_config(run, CompareConfig)
    write_config(run, config.model_copy(update={"data": DataConfig(max_images=110)}))
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        resume_compare(run, seeds=3)
    search_of_other = read_config(found, SearchConfig).model_copy(update={"space": "vgg11"})
    with pytest.raises(
        BadInputError, match="must be a search of the widths' network, resnet20 ×1, got one of vgg11"
    ):
        compare(CONFIG, widths, tmp_path / "other", search=search_of_other)
    assert not (tmp_path / "other").exists()
    assert main(["compare", "--resume", str(found)]) == 2
    assert "must be a run of nas-prune compare or transfer, got one of nas-prune search" in " ".join(
        capsys.readouterr().err.split()
    )


def stop_at_once(*_: object) -> None:
    """What a kill does."""
    raise KeyboardInterrupt


def test_without_the_widths_it_is_about_a_comparison_says_so(
    done: CompareResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(done.run, run)
    shutil.rmtree(run / "widths")
    for command in (
        ["report", str(run), "--out", str(tmp_path / "page.html")],
        ["compare", "--resume", str(run)],
    ):
        assert main(command) == 2
        assert "widths/found.json" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_workers_give_the_same_as_one_process(
    done: CompareResult, found: Path, widths: Widths, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    compare(CONFIG, widths, run, search=read_config(found, SearchConfig), workers=2)
    assert trainings(run) == trainings(done.run)
    assert np.isfinite([one.contrast.difference for one in done.compared().values()]).all()
