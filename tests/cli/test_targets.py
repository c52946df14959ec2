"""`--target` in every command that chooses widths: alignment, costs, and runs that go on without the target's file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas_prune.cli import main
from nas_prune.guideline.fit import fit_guideline
from nas_prune.guideline.sources import driver_of
from nas_prune.space.widths import Widths, read_widths

BOARD = """description: eight at a time
precision: int8
alignment: {conv: {in: 8, out: 8}}
"""
SEARCH = [
    *("search", "--space", "resnet20", "--groups", "all", "--method", "random-weights", "--epochs", "1"),
    *("--target", "board.yaml", "--out", "run"),
]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that succeeds."""
    code = main(list(arguments))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


@pytest.fixture
def board(in_empty_directory: Path) -> Path:
    path = in_empty_directory / "board.yaml"
    path.write_text(BOARD)
    return path


def found(run: str, budget: str) -> Widths:
    return read_widths(Path(run) / "widths" / f"{budget}.json")


def test_a_search_keeps_alignment_and_all_bounds_and_records_the_target(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, *SEARCH, "--budget", "size<=60%, memory<=90%", "--budget", "macs<=50%")
    assert "for board" in text
    widths = found("run", "size-60pct-memory-90pct")
    assert all(group.width % 8 == 0 for group in widths.groups)
    assert widths.budget == "size<=60%, memory<=90%"
    assert widths.target is not None
    cost, base = widths.target.cost.counts, widths.target.base_cost.counts
    assert (widths.target.name, set(cost)) == ("board", {"memory", "size"})
    assert cost["size"] == widths.cost.params <= 0.6 * base["size"]  # one byte each
    assert cost["memory"] <= 0.9 * base["memory"]
    (one, _) = json.loads((Path("run") / "result.json").read_text())["budgets"]
    assert one["target"]["cost"]["size_bytes"] == widths.cost.params


def test_a_run_goes_on_with_the_target_that_it_began_with(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, *SEARCH, "--budget", "size<=60%")
    before = (Path("run") / "widths" / "size-60pct.json").read_bytes()
    board.write_text(BOARD.replace(": 8", ": 2"))
    for name in ("result.json", "widths/size-60pct.json"):  # as if it had been killed at its end
        (Path("run") / name).unlink()
    said(capsys, "search", "--resume", "run")
    assert (Path("run") / "widths" / "size-60pct.json").read_bytes() == before
    board.unlink()
    said(capsys, "search", "--resume", "run")


@pytest.mark.slow
def test_controls_are_matched_at_the_cost_that_bounded_the_search(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, *SEARCH, "--budget", "memory<=80%")
    board.unlink()  # the search has it
    arms = [word for name in ("scratch-e", "uniform-target-e") for word in ("--arm", name)]
    said(capsys, "compare", "run", "--seeds", "1", "--epochs", "1", "--out", "compared", *arms)
    widths, uniform = (
        read_widths(Path("compared") / "widths" / f"{name}.json") for name in ("found", "uniform-target")
    )
    assert widths.target is not None
    assert uniform.target is not None
    most = widths.target.cost.counts["memory"]
    assert 0.8 * most < uniform.target.cost.counts["memory"] <= most
    assert all(group.width % 8 == 0 for group in uniform.groups)
    assert (Path("compared") / "target" / "target.yaml").is_file()


def test_that_arm_is_refused_where_no_cost_of_a_target_bounded_the_search(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, *SEARCH, "--budget", "macs<=50%")
    assert main(["compare", "run", "--arm", "uniform-target-e", "--out", "compared"]) == 2
    assert "must come with widths found at a budget of their target" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "--space", "resnet20"),
        ("inspect", "--space", "resnet20"),
        ("apply", "--guideline", "uniform", "--space", "resnet20", "--budget", "macs<=50%"),
        ("evaluate", "--guideline", "uniform", "--space", "resnet20", "--budget", "macs<=50%"),
        ("transfer", "--guideline", "uniform", "--space", "resnet20", "--budget", "macs<=50%"),
        ("study", "run", "quickstart"),
        (
            "compare",
            str(Path(__file__).parents[1] / "earlier_runs" / "search" / "widths" / "macs-50pct.json"),
        ),
    ],
    ids=lambda words: words[0],
)
def test_a_target_that_is_none_is_named_and_nothing_is_left(
    arguments: tuple[str, ...], in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--target", "etos-u"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "--target must be one of" in line
    assert "Did you mean ethos-u?" in line
    assert list(in_empty_directory.iterdir()) == []


def test_applied_widths_meet_a_bound_on_memory_of_no_device_in_particular(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--space", "resnet20", "--image-size", "16", "--groups", "all", "--out", "widths.json")
    text = said(capsys, "apply", "--guideline", "uniform", "--budget", "memory<=40KiB", *arguments)
    widths = read_widths(Path("widths.json"))
    assert widths.target is not None
    assert (widths.target.name, set(widths.target.cost.counts)) == (None, {"memory"})
    assert 0.9 * 40 * 1024 < widths.target.cost.counts["memory"] <= 40 * 1024
    assert "memory 3" in text or "memory 40" in text


@pytest.mark.slow
def test_a_comparison_file_goes_on_where_its_target_has_been_moved(
    board: Path, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"space": "resnet20", "groups": "all", "method": "slimming"}
    settings |= {"data": "digits", "recipe": "digits", "epochs": 2, "seeds": 1, "target": "board.yaml"}
    settings |= {"budget": "size<=60%", "arms": ["scratch-e", "uniform-target-e"], "searches": 1}
    file = in_empty_directory / "mine.yaml"
    file.write_text(yaml.safe_dump(settings))
    said(capsys, "compare", "mine.yaml", "--out", "compared")
    assert "board" not in (in_empty_directory / "compared" / "file.yaml").read_text()
    board.unlink()
    said(
        capsys, "compare", "mine.yaml", "--out", "compared", "--searches", "2"
    )  # another search, for the same target
    for path in (in_empty_directory / "compared").rglob("searches/*/target/target.yaml"):
        assert "eight at a time" in path.read_text()
        break
    else:
        pytest.fail("the second search keeps no target")
    board.write_text(BOARD.replace(": 8", ": 2"))
    assert main(["compare", "mine.yaml", "--out", "compared"]) == 2
    assert "got other target" in capsys.readouterr().err


@pytest.mark.slow
def test_inspect_shows_steps_and_costs_for_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    facts: dict[str, Any] = json.loads(
        said(capsys, "inspect", "--space", "densenet40", "--target", "ethos-u", "--format", "json")
    )
    assert set(facts["target"]["steps"].values()) == {16}
    assert {one["reason"] for one in facts["target"]["unaligned"]}  # growths of twelve channels
    assert set(facts["on_target"]) == {"memory", "size"}
    assert facts["on_target"]["size"]["whole"] == facts["base"]["params"]


@pytest.mark.slow
def test_a_study_goes_on_with_its_own_target_alone(
    board: Path, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"space": "resnet20", "groups": "all", "data": "digits"}
    settings |= {"budget": "size<=60%, macs<=70%", "trials": 2, "epochs": 1}
    settings |= {"target": "board.yaml", "sampler": "random"}
    (in_empty_directory / "study.yaml").write_text(yaml.safe_dump(settings))
    said(capsys, "study", "run", "study.yaml", "--out", "study")
    said(capsys, "study", "run", "study.yaml", "--out", "study", "--trials", "3")
    board.write_text(BOARD.replace(": 8", ": 4"))
    assert main(["study", "run", "study.yaml", "--out", "study", "--trials", "4"]) == 2
    assert "its target is another now" in capsys.readouterr().err
    said(capsys, "study", "run", "study", "--trials", "4")  # by its own copy
    for path in (in_empty_directory / "study" / "trials").rglob("widths.json"):
        widths = read_widths(path)
        assert all(group.width % 8 == 0 for group in widths.groups)
        assert widths.cost.params <= 0.6 * widths.base_cost.params
        assert widths.cost.macs <= 0.7 * widths.base_cost.macs


def test_a_guideline_of_widths_for_a_target_compares_them_at_equal_macs(
    board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, *SEARCH, "--budget", "memory<=80%", "--budget", "macs<=95%, size<=40%")
    by_memory, by_size = found("run", "memory-80pct"), found("run", "macs-95pct-size-40pct")
    assert (driver_of(by_memory), driver_of(by_size)) == ("memory", "size")
    guideline = fit_guideline([by_memory])
    assert guideline.cost == "memory"
    assert guideline.covers_share is not None
    share = by_memory.cost.macs / by_memory.base_cost.macs
    assert guideline.covers_share[0] == pytest.approx(share, rel=1e-6)
