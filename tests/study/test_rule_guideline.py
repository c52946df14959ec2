"""The guideline of a study: what its rule says, in the form that any guideline has."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas_prune.cli import main
from nas_prune.guideline.apply import apply_guideline
from nas_prune.guideline.artefact import read_guideline
from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.study.parameters import parametrised
from nas_prune.study.rule_guideline import guideline_of
from nas_prune.study.rule_search import Pool, Seen, in_order, logs_of
from nas_prune.study.run import run_study
from tests.study.test_run import SMALL

SPACE = load_space("vgg11", (1, 8, 8), width_multiplier=0.25)
POINTS = parametrised(None, SPACE, Budget.parse("macs<=40%"), by_layer=False)


def planted(earned_by_last: float, noise: float, count: int = 60) -> Seen:
    """Trials of a world in which the last stage earns more or less than its share of the cost."""
    rng = np.random.default_rng(0)
    pool = Pool(POINTS, rng)
    pool.add_around(in_order(POINTS, POINTS.guideline), 2.0, count)
    vectors = tuple(POINTS.widths_G(pool.parameters(number)) for number in range(count))
    away_NS = logs_of(POINTS, vectors) - POINTS.layout.centre_S
    last = POINTS.layout.cell_S == POINTS.layout.cell_S.max()
    values = 0.7 + 0.1 * away_NS @ POINTS.layout.elasticity_S + earned_by_last * away_NS[:, last].mean(axis=1)
    return Seen(vectors, tuple((values + rng.normal(0, noise, count)).tolist()), ())


def test_what_earns_little_is_given_up_first_and_said_to() -> None:
    found = guideline_of(POINTS, planted(-0.15, 0.005), "planted")
    ratios = {(cell.stage, cell.role): cell.log_ratio for cell in found.cells}
    last = max(ratios)
    assert ratios[last] < 0 < max(ratios.values())
    assert all(cell.low is not None and cell.high is not None for cell in found.cells)
    assert any((cell.high or 0) < 0 for cell in found.cells if (cell.stage, cell.role) == last)
    assert "From 60 trials of the study planted" in found.notes[0]
    assert found.pattern is not None
    assert found.pattern.is_found
    each = [float(note.split("would earn ")[1].split(" ")[0]) for note in found.notes if "would earn" in note]
    costs = [float(note.split("and cost ")[1].split(" ")[0]) for note in found.notes if "would earn" in note]
    assert each[-1] / costs[-1] < 0.5 * max(one / cost for one, cost in zip(each, costs, strict=True))
    applied = apply_guideline(found, SPACE, "macs<=40%")
    own, uniform = logs_of(POINTS, [applied.widths_G, POINTS.widths_G(POINTS.uniform)])
    in_last = POINTS.layout.cell_S == POINTS.layout.cell_S.max()
    assert (own - uniform)[in_last].mean() < -0.1


def test_without_a_pattern_intervals_hold_uniform_widths() -> None:
    found = guideline_of(POINTS, planted(0.0, 0.02), "planted")
    assert all((cell.low or 0) <= 0 <= (cell.high or 0) for cell in found.cells)
    assert found.pattern is not None
    assert not found.pattern.is_found


@pytest.mark.slow
def test_the_command_writes_one_that_applies_to_other_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_study(SMALL.model_copy(update={"trials": 8, "sampler": "random"}), tmp_path / "study")
    assert main(["guide", "study", "--out", "found.yaml"]) == 0
    said = capsys.readouterr().out
    assert "From 8 trials of the study small" in said
    assert (tmp_path / "found.png").exists()
    found = read_guideline(tmp_path / "found.yaml")
    assert found.uniform_keep is not None
    assert main(["guide", "study", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"] == "macs"
    assert found.sources[0].method == "study (random)"
    assert (found.sources[0].training_macs or 0) > 0
    assert apply_guideline(found, load_space("resnet32", (1, 8, 8)), "macs<=30%").widths_G
    assert main(["guide", "study", "--by", "depth"]) == 2
    assert "--by must come with searches, got a study" in capsys.readouterr().err


def test_too_few_trials_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_study(SMALL.model_copy(update={"trials": 2}), tmp_path / "study")
    assert main(["guide", str(tmp_path / "study")]) == 2
    assert "must have 8 complete trials, got 2" in capsys.readouterr().err
    two = SMALL.model_copy(
        update={"budgets": (*SMALL.budgets, Budget.parse("macs<=50%")), "trials": 1, "sampler": "random"}
    )
    run_study(two, tmp_path / "two")
    assert main(["guide", str(tmp_path / "two")]) == 2
    assert "must have one budget and one objective" in capsys.readouterr().err
