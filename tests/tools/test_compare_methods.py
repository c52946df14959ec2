"""The study of width methods: searches are the units, seeds are never shared between them, and it goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from nas_prune.runs.reading import load_yaml
from tools.compare_methods import main
from tools.methods_plan import Plan, Unit
from tools.methods_table import ArmResult, rows_of

ROOT = Path(__file__).parent.parent.parent
TINY: dict[str, Any] = {
    "question": "Does it run?",
    "networks": [{"space": "resnet20", "width_multiplier": 0.25}],
    "image_size": 8,
    "max_images": 120,
    "recipe": "fast",
    "epochs": 1,
    "budget": "macs<=60%",
    "searches": 2,
    "trainings": 2,
    "arms": {
        "uniform": {},
        "random": {},
        "no penalty": {"method": "slimming", "sparsity": 0},
        "taylor": {},
        "obs": {},
        "l1-norm": {},
        "whole": {},
    },
}


def planted(name: str, groups: np.ndarray) -> ArmResult:
    found = tuple({"test": dict(enumerate(group))} for group in groups.tolist())
    return ArmResult(name, name, "automatic", found)


def test_the_plan_that_is_shipped_trains_every_search_with_seeds_of_its_own() -> None:
    text = (ROOT / "studies/width-methods/plan.yaml").read_text(encoding="utf-8")
    plan = Plan.model_validate(load_yaml(text))
    seeds = [seed for number in range(plan.searches) for seed in plan.seeds(number)]
    assert len(seeds) == len(set(seeds)) == plan.searches * plan.trainings
    assert plan.arms["slimming without penalty"] == {"method": "slimming", "sparsity": 0}


def test_trainings_of_one_search_are_one_unit() -> None:
    """Ten times as many trainings of three searches' widths do not make the searches better known."""
    rng = np.random.default_rng(0)
    searches = rng.normal(0.6, 0.02, (4, 3, 1))
    widths = {}
    for trainings in (2, 20):
        arms = [
            planted(str(number), one + rng.normal(0, 0.002, (3, trainings)))
            for number, one in enumerate(searches)
        ]
        uniform = planted("uniform", 0.6 + rng.normal(0, 0.002, (3, trainings)))
        row = rows_of([uniform, *arms])[1]
        assert row.tested is not None
        widths[trainings] = row.tested.high - row.tested.low
    assert widths[20] == pytest.approx(widths[2], rel=0.2)
    assert widths[20] > 0.02


def test_the_second_p_value_is_of_one_variance_pooled_over_the_searched_arms() -> None:
    rng = np.random.default_rng(1)
    accuracies = {str(number): 0.61 + rng.normal(0, 0.004 * (1 + number), (3, 1)) for number in range(4)}
    first = 0.6 + rng.normal(0, 0.005, (3, 2))
    arms = [planted(name, values + rng.normal(0, 1e-6, (3, 2))) for name, values in accuracies.items()]
    rows = rows_of([planted("uniform", first), *arms])
    means = [np.mean(list(row.arm.accuracies), axis=1) for row in rows[1:]]
    squares = np.mean([np.var(one, ddof=1) for one in means]) / 3, np.var(first, ddof=1) / 6
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 8 + squares[1] ** 2 / 5)
    away = [abs(np.mean(one) - first.mean()) / sum(squares) ** 0.5 for one in means]
    p_values = sorted(2 * student.sf(one, freedom) for one in away)
    assert min(row.p_pooled for row in rows[1:]) == pytest.approx(4 * p_values[0], rel=1e-3)
    assert max(row.p_pooled for row in rows[1:]) != max(row.p_value for row in rows[1:])


@pytest.mark.slow
def test_where_no_arm_is_better_few_are_called_so() -> None:
    """Ten arms whose searches differ; trainings taken for units would err in most families."""
    rng = np.random.default_rng(0)
    families, wrong, missed = 400, 0, 0
    for _ in range(families):
        arms = [
            planted(str(number), 0.6 + rng.normal(0, 0.01, (3, 1)) + rng.normal(0, 0.005, (3, 2)))
            for number in range(10)
        ]
        rows = rows_of([planted("uniform", 0.6 + rng.normal(0, 0.005, (3, 2))), *arms])
        wrong += any(row.p_value <= 0.05 for row in rows if row.tested is not None)
        missed += sum(not row.tested.low <= 0 <= row.tested.high for row in rows if row.tested is not None)
    assert wrong / families <= 0.06
    assert missed / (10 * families) <= 0.06


@pytest.mark.slow
def test_a_study_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = tmp_path / "plan.yaml", tmp_path / "out"
    plan.write_text(json.dumps(TINY), encoding="utf-8")
    common = ["compare_methods", str(plan), "--data", "digits", "--out", str(out)]
    monkeypatch.setattr("sys.argv", [*common, "--arm", "taylor"])
    main()
    first = (out / "resnet20-0.25/0/search/taylor/result.json").read_bytes()
    monkeypatch.setattr("sys.argv", common)
    main()
    assert (out / "resnet20-0.25/0/search/taylor/result.json").read_bytes() == first
    found = json.loads((out / "result.json").read_text(encoding="utf-8"))["networks"]["resnet20-0.25"]
    assert list(found) == list(TINY["arms"])
    assert found["l1-norm"]["as"] == "uniform"
    assert [list(one["test"]) for one in found["taylor"]["searches"]] == [["0", "1"], ["2", "3"]]
    assert found["no penalty"]["searches"][0]["sparsity"] == 0
    assert found["uniform"]["beside_uniform"] is None
    assert found["random"]["searches"][0]["widths"] != found["random"]["searches"][1]["widths"]
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "| taylor | automatic |" in table
    assert capsys.readouterr().out.rstrip().endswith(table.rstrip())
    unit = Unit(Plan.model_validate(TINY), Plan.model_validate(TINY).networks[0], 0, "digits", out)
    assert unit.widths_of("taylor") is None  # of another directory
