"""Samplers, ranking and early stopping against truth: every network of the table has been trained."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest

from nas_prune.errors import BadInputError
from nas_prune.runs.files import shipped
from nas_prune.space.budget import Budget
from nas_prune.study.parameters import parametrised
from nas_prune.study.samplers import quiet, sampler_named, stopping_named
from tools.tabular_arms import fitted, gains_again, mirrored
from tools.tabular_space import Run, Table, read_again, read_table, simulated

quiet()
BUDGET = Budget.parse("macs<=25%")
SEEDS = range(12)


@pytest.fixture(scope="module", params=["digits", "cifar10"])
def table(request: pytest.FixtureRequest) -> Table:
    return read_table(shipped("studies") / "tabular" / f"{request.param}.jsonl")


def draw(table: Table, sampler: str, seed: int, *, trials: int = 30, stopping: str = "none") -> Run:
    parameters = parametrised(None, table.space, BUDGET, groups="all", by_layer=False)
    epochs = table.val_CRE.shape[2]
    rules = {
        "none": None,
        "median": stopping_named("median", epochs),
        "optuna": optuna.pruners.MedianPruner(),
    }
    how = sampler_named(sampler, parameters, "test", seed)  # type: ignore[arg-type]
    return simulated(table, parameters, how, trials=trials, seed=seed % 3, stopping=rules[stopping])


def test_the_table_is_whole_and_its_networks_differ(table: Table) -> None:
    is_digits = table.space.reference.input_shape[0] == 1
    assert table.val_CRE.shape == (256, 6, 10) if is_digits else (256, 3, 8)
    assert table.training_seeds == table.test_CR.shape[1]
    feasible = table.feasible(BUDGET)
    noise = table.test_CR[feasible].std(axis=1, ddof=1).mean()
    assert table.mean_C[feasible].std() > 1.5 * noise
    assert np.corrcoef(table.val_CRE[feasible, :, -1].mean(axis=1), table.mean_C[feasible])[0, 1] > 0.95
    widest = np.argmax(table.widths_CG.sum(axis=1))
    assert table.mean_C[widest] > np.quantile(table.mean_C, 0.9)


def test_a_sample_becomes_the_nearest_network_within_the_budget(table: Table) -> None:
    feasible = table.feasible(BUDGET)
    limit = table.space.limit(BUDGET)
    for cell in feasible[::17]:
        assert table.nearest(table.widths_CG[cell].tolist(), feasible) == cell
    for cell in range(0, 256, 17):
        assert (
            int(
                table.space.cost.macs(
                    table.widths_CG[table.nearest(table.widths_CG[cell].tolist(), feasible)]
                )
            )
            <= limit
        )


@pytest.mark.slow
def test_early_stopping_spares_most_of_the_best_and_optunas_default_does_not(table: Table) -> None:
    ended: dict[str, list[float]] = {"median": [], "optuna": []}
    for stopping, shares in ended.items():
        for seed in SEEDS:
            run = draw(table, "random", seed, trials=40, stopping=stopping)
            truths = table.mean_C[list(run.cells)]
            shares.append(float(np.array(run.is_stopped)[truths >= np.quantile(truths, 0.9)].mean()))
    assert 0 < np.mean(ended["median"]) < 0.3
    assert np.mean(ended["optuna"]) > 0.4


def test_choosing_again_is_judged_by_seeds_that_have_not_chosen(table: Table) -> None:
    run = draw(table, "random", 0, trials=60)
    gains = gains_again(table, run, 0)
    assert len(gains) == table.training_seeds - 1
    lucky = table.test_CR.copy()
    lucky[:, :2] += 0.5 * (np.arange(256) == run.best(60))[:, None]  # luck of the seeds that choose
    same = gains_again(replace(table, test_CR=lucky), run, 0)
    assert same[0] == pytest.approx(gains[0])  # chosen by seeds 0 and 1
    assert all(one <= other for one, other in zip(same[1:], gains[1:], strict=True))


@pytest.mark.parametrize("sampler", ["cma", "tpe", "random"])
def test_more_trials_see_more(table: Table, sampler: str) -> None:
    for seed in SEEDS[:3]:
        run = draw(table, sampler, seed)
        seen = [run.values[run.cells.index(run.best(count))] for count in (2, 10, 30)]
        assert seen == sorted(seen)
        assert len(set(run.cells)) >= 10
        assert draw(table, sampler, seed) == run


def test_a_table_with_a_gap_is_refused(tmp_path: Path) -> None:
    whole = (shipped("studies") / "tabular" / "digits.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "gap.jsonl").write_text("\n".join(whole[:-2]) + "\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="must hold 1536 trainings, got .* without 2 of them.*--seeds 6"):
        read_table(tmp_path / "gap.jsonl")


def test_a_guideline_is_fitted_to_what_it_is_said_to_be_fitted_to(table: Table) -> None:
    feasible = table.feasible(BUDGET)
    val_C = np.zeros(256)
    best = feasible[:5]
    val_C[best] = 1.0  # the first five have a narrow first layer
    own = fitted(table, BUDGET, val_C)
    centre = parametrised(own, table.space, BUDGET, groups="all", by_layer=False)
    other = parametrised(mirrored(own), table.space, BUDGET, groups="all", by_layer=False)
    first, mirror = centre.widths_G(centre.guideline)[0], other.widths_G(other.guideline)[0]
    assert first < mirror


def test_networks_trained_again_are_of_the_table_and_of_other_seeds(table: Table) -> None:
    name = "digits" if table.space.reference.input_shape[0] == 1 else "cifar10"
    path = shipped("studies") / "tabular" / "again" / f"{name}.jsonl"
    again = read_again(path)
    assert {tuple(row) for row in table.widths_CG[table.feasible(BUDGET)].tolist()} >= again.keys()
    assert min(len(tests) for tests in again.values()) >= 16
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert min(row["seed"] for row in rows) >= table.training_seeds
    assert read_again(Path("nowhere.jsonl")) == {}
