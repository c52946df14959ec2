"""Guideline files: written, read, and refused where they are not what they should be."""

from math import exp, log
from pathlib import Path

import pytest
import yaml

from nas_prune.errors import GuidelineError
from nas_prune.guideline.artefact import SCHEMA, Cell, Guideline, read_guideline
from nas_prune.guideline.fit import fit_guideline
from tests.guideline.test_fit import runs

HAND = """
schema: nas-prune/guideline/1
cells:
- {stage: 0, times_uniform: 1.5}
- {stage: 2, role: inner, times_uniform: 0.5}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "guideline.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    guideline = fit_guideline(runs())
    guideline.write(tmp_path / "guideline.yaml")
    assert read_guideline(tmp_path / "guideline.yaml") == guideline


def test_a_guideline_of_thousands_of_runs_is_read_again(tmp_path: Path) -> None:
    guideline = fit_guideline(runs())
    (first, *_) = guideline.sources
    many = tuple(first.model_copy(update={"seed": seed}) for seed in range(2000))
    long = guideline.model_copy(update={"sources": many})
    long.write(tmp_path / "guideline.yaml")
    assert read_guideline(tmp_path / "guideline.yaml") == long


@pytest.mark.parametrize("part", [{"trend": 0.3}, {"depth_slope": -0.2}, {"slope": 0.1}, {"log_ratio": 0.1}])
def test_what_changes_with_budget_depth_or_position_is_not_uniform(part: dict[str, float]) -> None:
    flat = Guideline(depth=20, cells=(Cell(stage=0, log_ratio=0),))
    assert flat.is_uniform
    other = {"log_ratio": 0.0, **part}
    assert not flat.model_copy(update={"cells": (Cell(stage=0, **other),)}).is_uniform


def test_a_hand_needs_to_write_little(tmp_path: Path) -> None:
    guideline = read_guideline(written(tmp_path, HAND))
    assert (guideline.model, guideline.num_stages, guideline.uniform_keep) == ("hand", 0, None)
    assert [cell.log_ratio for cell in guideline.cells] == pytest.approx([log(1.5), log(0.5)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nas-prune/guideline/2", "got the newer nas-prune/guideline/2: update nas-prune"),
        ("nas-prune/widths/1", "guideline.yaml, which is a widths file"),
    ],
)
def test_another_schema_is_refused(change: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(GuidelineError, match=message):
        read_guideline(written(tmp_path, HAND.replace(SCHEMA, change)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour: blue", "colour: there is no such setting"),
        ("uniform_keep: .nan", "uniform_keep: .*"),
        ("uniform_keep: 1.5", "uniform_keep: it must be below 1, got 1.5"),
        ("covers: [0.5, 0.2]\nuniform_keep: 0.3", "covers must be two shares in \\(0, 1\\] that rise"),
        ("covers: [0.2, 0.5]", "uniform_keep must be given where covers is"),
        ("num_stages: 2", "a cell's stage must be below num_stages 2, got 2"),
        ("model: neural", "model: it must be one of"),
        ("model: stage-role", "num_stages must be given with model stage-role"),
        (
            "cost: bananas",
            "cost must begin with one of macs, params, channels, activations, latency, memory, size, own, got",
        ),
    ],
)
def test_what_no_guideline_may_hold_is_refused(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(GuidelineError, match=message):
        read_guideline(written(tmp_path, f"{HAND}\n{line}\n"))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("{stage: 0, log_ratio: .nan}", "cells.0.log_ratio"),
        ("{stage: 0, log_ratio: 99}", "cells.0.log_ratio"),
        ("{stage: -1, log_ratio: 0}", "cells.0.stage"),
        ("{stage: 0, role: tail, log_ratio: 0}", "cells.0.role"),
        ("{stage: 0, log_ratio: 0, times_uniform: 1}", "log_ratio or times_uniform, got both"),
        ("{stage: 0, times_uniform: 0}", "times_uniform must be a number above 0"),
        ("{stage: 0, times_uniform: .inf}", "times_uniform must be a number above 0"),
        ("{stage: 0, log_ratio: 0}\n- {stage: 0, log_ratio: 1}", "each stage and role once"),
        ("{stage: 0}", "cells.0.log_ratio: it must be given"),
        ("{stage: 0, times_unifrom: 2}", "cells.0.times_unifrom: there is no such setting"),
        ("{stage: 0, times_uniform: '2'}", "must be a number above 0 and at most 1000, got '2'"),
        ("{stage: 0, log_ratio: 0, low: 1, high: -1}", "low must be at most high"),
        ("{stage: 0, log_ratio: 0, low: 800, high: 900}", "cells.0.low"),
        ("{stage: 0, log_ratio: 0, up: 2, of: 1}", "up must be at most of"),
        ("{stage: 0, log_ratio: 0, shape: [[0.5, 1], [0.2, 1]]}", "positions of a shape must rise"),
        ("{stage: 0, log_ratio: 0, log_ratio: 1}", "log_ratio stands twice"),
    ],
)
def test_cells_are_checked(cell: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(GuidelineError, match=message):
        read_guideline(written(tmp_path, f"schema: {SCHEMA}\ncells:\n- {cell}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cells: [", "must be plain YAML, got .*line [12]"),
        ("- 1", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("a: !!python/object/apply:os.getcwd []", "must be plain YAML"),
        ('a: !!int "x\n\n  o"', r"guideline.yaml: a value cannot be read \(x o is no number\)\.$"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_and_nothing_in_it_is_run(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(GuidelineError, match=message):
        read_guideline(written(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuidelineError, match="must exist, got"):
        read_guideline(tmp_path / "none.yaml")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(GuidelineError, match="readable text"):
        read_guideline(tmp_path / "picture.yaml")


def test_keep_ratios_never_exceed_the_whole_width() -> None:
    guideline = Guideline(
        uniform_keep=0.5, num_stages=1, cells=(Cell(stage=0, log_ratio=1.0, low=-0.1, high=2.0),)
    )
    assert guideline.keep_ratio(guideline.cells[0]) == 1
    assert guideline.interval(guideline.cells[0]) == pytest.approx((0.5 * exp(-0.1), 1.0))


def test_the_yaml_is_plain(tmp_path: Path) -> None:
    fit_guideline(runs()).write(tmp_path / "guideline.yaml")
    content = yaml.safe_load((tmp_path / "guideline.yaml").read_text(encoding="utf-8"))
    assert content["schema"] == SCHEMA
    assert content["sources"][0]["network"] == "vgg16"
