"""Budgets on latency from the command line: with a table whose times are made up, and a clock that is real."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas_prune.cli import main
from nas_prune.hardware.latency_table import table_text
from nas_prune.runs.settings import machine_name
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths
from tests.cli.test_targets import said
from tests.hardware.tables import made_up

SPACE = ("--space", "resnet20", "--groups", "all")
SEARCH = ("search", *SPACE, "--method", "random-weights", "--epochs", "1", "--out", "run")


def write_board(folder: Path, ns_of_a_channel: int, machine: str) -> None:
    """A target on which each layer is predicted to take so much for each channel that it writes."""
    space = load_space("resnet20", (1, 8, 8), num_classes=10)
    table = made_up(space, lambda _, __, written: ns_of_a_channel * np.asarray(written))
    folder.mkdir()
    (folder / "latency.csv").write_text(table_text(table))
    measured = {"space": "resnet20", "input_shape": [1, 8, 8], "machine": machine, "threads": 1}
    content = {"base": "cpu-torch", "name": "board", "latency": "latency.csv", "measured": measured}
    (folder / "target.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ns_of_a_channel", "is_met"),
    [(100_000, True), (10, False)],  # predicted to take longer, and less, than a processor of today needs
)
def test_a_search_measures_its_networks_where_it_can(
    ns_of_a_channel: int, is_met: bool, in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_board(Path("board"), ns_of_a_channel, machine_name())
    assert main([*SEARCH, "--target", "board", "--budget", "latency<=50%"]) == 0
    printed = capsys.readouterr()
    widths = read_widths(Path("run/widths/latency-50pct.json"))
    assert widths.target is not None
    tries = json.loads(Path("run/measured.json").read_text())["latency<=50%"]
    assert widths.target.measured_ms in [one["measured_ms"] for one in tries]
    assert ("latency<=50% is not met" in printed.err) is not is_met
    assert (len(tries) == 1) is is_met
    assert "measured" in printed.out


def test_nothing_is_measured_for_another_machine(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_board(Path("board"), 1000, "a phone")
    said(capsys, *SEARCH, "--target", "board", "--budget", "latency<=50%, params<=40%")
    widths = read_widths(Path("run/widths/latency-50pct-params-40pct.json"))
    assert widths.target is not None
    assert widths.target.measured_ms is None
    assert not Path("run/measured.json").exists()
    cost, base = (one.latency_ms or 0 for one in (widths.target.cost, widths.target.base_cost))
    assert cost <= base / 2
    assert widths.cost.params <= 0.4 * widths.base_cost.params


def test_a_table_of_other_images_is_refused_before_anything_is_trained(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_board(Path("board"), 1000, "a phone")
    assert main([*SEARCH, "--target", "board", "--budget", "latency<=50%", "--image-size", "16"]) == 2
    assert "a latency table must be of the network it is used for" in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.slow
def test_a_study_ranks_networks_that_were_measured_and_ranks_the_same_again(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_board(Path("board"), 100_000, machine_name())
    settings: dict[str, Any] = {"space": "resnet20", "groups": "all", "budget": "latency<=60%"}
    settings |= {"data": "digits", "trials": 3, "epochs": 1, "target": "board", "sampler": "random"}
    Path("study.yaml").write_text(yaml.safe_dump(settings))
    said(capsys, "study", "run", "study.yaml", "--out", "study")
    rank = ("study", "rank", "study", "--seeds", "1", "--full-seeds", "1")
    assert "measured" in said(capsys, *rank)
    found = {path: path.read_bytes() for path in Path("study/rank").rglob("widths.json")}
    assert len(found) > 1
    for path in found:
        target = read_widths(path).target
        assert target is not None
        assert target.measured_ms is not None
    said(capsys, *rank)
    assert {path: path.read_bytes() for path in Path("study/rank").rglob("widths.json")} == found
