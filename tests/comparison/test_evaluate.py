"""Judging a guideline: real trainings of small networks on the digits."""

import json
import signal
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.comparison.evaluate import evaluate_guideline, resume_evaluation
from nas_prune.comparison.evaluate_result import EvaluateConfig
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, BudgetError
from nas_prune.guideline.artefact import Cell, Guideline
from nas_prune.guideline.hand import RULES
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import read_config, write_config
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths
from nas_prune.training.recipe import recipe_named
from tests.runs.test_resume import contents

GUIDELINE = Guideline(num_stages=3, cells=(Cell(stage=0, log_ratio=0.3), Cell(stage=2, log_ratio=-0.3)))
CONFIG = EvaluateConfig(
    guideline="g.yaml",
    space="resnet20",
    budget="macs<=40%",
    networks=2,
    data=DataConfig(max_images=100),
    recipe=recipe_named("digits").model_copy(update={"epochs": 1}),
    threads=1,
)
SPACE = load_space("resnet20", (1, 8, 8), num_classes=10)


@pytest.mark.slow
def test_every_control_costs_what_the_drawn_network_of_its_number_does(tmp_path: Path) -> None:
    direct = SPACE.widths(SPACE.base_G)
    result = evaluate_guideline(CONFIG, tmp_path / "run", pattern=GUIDELINE, direct=[direct])
    assert {name: len(own) for name, own in result.populations.items()} == dict.fromkeys(
        ("guided", "uniform-params", "random-params", "uniform-macs", "random-macs", "direct"), 2
    )
    limit = SPACE.limit(Budget.parse("macs<=40%"))
    for number, guided in enumerate(result.populations["guided"]):
        assert limit * 0.98 < guided.macs <= limit
        for axis in ("macs", "params"):
            for control in ("uniform", "random"):
                other = result.populations[f"{control}-{axis}"][number]
                assert getattr(guided, axis) * 0.97 < getattr(other, axis) <= getattr(guided, axis)
    files = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert files == {"config.yaml", "guideline.yaml", "result.json", "edf.png"}
    assert not list((tmp_path / "run").rglob("*.safetensors"))
    content = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert set(content["comparisons"]) == {"params", "macs", "direct"}
    assert set(content["comparisons"]["params"]) == {"uniform", "random"}
    drawn = [read_widths(path).vector for path in sorted((tmp_path / "run" / "guided").rglob("widths.json"))]
    assert drawn[0] != drawn[1]


@pytest.mark.slow
def test_one_that_was_stopped_goes_on_to_the_same_and_repeats_nothing(tmp_path: Path) -> None:
    evaluate_guideline(CONFIG, tmp_path / "whole", pattern=RULES["erk"])

    def stop(what: str, done: int, _: int) -> None:
        if what.startswith("random-params") and done == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="nas-prune evaluate --resume"):
        evaluate_guideline(CONFIG, tmp_path / "stopped", pattern=RULES["erk"], progress=Progress(update=stop))
    first = tmp_path / "stopped" / "guided" / "000" / "result.json"
    done = first.read_bytes()
    damaged = tmp_path / "stopped" / "uniform-params" / "000" / "result.json"
    accuracy = json.loads(damaged.read_text(encoding="utf-8"))["test_accuracy"]
    damaged.write_text("{", encoding="utf-8")
    resume_evaluation(tmp_path / "stopped")
    assert first.read_bytes() == done
    assert json.loads(damaged.read_text(encoding="utf-8"))["test_accuracy"] == accuracy
    config = read_config(tmp_path / "stopped", EvaluateConfig)
    write_config(tmp_path / "stopped", config.model_copy(update={"data": DataConfig(max_images=110)}))
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        resume_evaluation(tmp_path / "stopped")
    for population in ("guided", "random-macs"):
        for number in ("000", "001"):
            files = [contents(tmp_path / run / population / number) for run in ("whole", "stopped")]
            assert [one["widths.json"] for one in files[:1]] == [one["widths.json"] for one in files[1:]]
            accuracies = [json.loads(one["result.json"])["test_accuracy"] for one in files]
            assert accuracies[0] == accuracies[1]


def test_a_budget_that_cannot_be_met_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="are feasible"):
        evaluate_guideline(
            CONFIG.model_copy(update={"budget": Budget.parse("macs<=1%")}),
            tmp_path / "run",
            pattern=GUIDELINE,
        )
    assert not (tmp_path / "run").exists()


def test_the_command_refuses_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], in_empty_directory: Path
) -> None:
    for arguments, message in (
        (["--guideline", "erk"], "--space must name the network"),
        (["--guideline", "erk", "--space", "resnet20"], "--budget must say what the networks may cost"),
        (["--space", "resnet20", "--budget", "macs<=50%"], "name runs to fit a guideline to, or a guideline"),
        (["--resume", ".", "--networks", "3"], "--resume must stand alone, got --networks"),
        (
            ["--guideline", "erk", "--model", "stage-role"],
            "--model must come with runs to fit, got --guideline",
        ),
    ):
        assert main(["evaluate", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    for arguments, message in (
        (
            ["--guideline", "erk", "--model", "stage-role"],
            "--model must come with runs to fit, got --guideline",
        ),
        ([], "name the runs to fit a guideline to"),
        (["--guideline", "erk", "--out", "x.yaml"], "--out must come with runs"),
        ([".", "--out", "x.txt"], "--out must end in .yaml"),
        ([".", "--out", "no/x.yaml"], "--out must be in a directory that exists"),
        (["run"], "a widths file, or a pattern, got run, which does not exist"),
    ):
        assert main(["guide", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    assert list(in_empty_directory.iterdir()) == []
