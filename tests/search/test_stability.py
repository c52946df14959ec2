"""A search ends when its widths are stable, goes on to the same end after a kill, and says so."""

import json
from pathlib import Path

import pytest

from nas_prune.data.config import DataConfig
from nas_prune.runs.directory import read_metrics
from nas_prune.search.config import SearchConfig
from nas_prune.search.run import resume_search, search
from nas_prune.search.stability import Stability, distance
from nas_prune.training.recipe import recipe_named

CONFIG = SearchConfig(
    space="resnet20",
    data=DataConfig(max_images=200),
    epochs=6,
    budgets=("macs<=50%",),
    threads=1,
    stability=Stability(tolerance=0.5, epochs=2),
)


def line(epoch: int, *kept: float) -> dict[str, object]:
    return {"epoch": epoch, "kept": {"macs<=50%": list(kept)}}


def test_the_distance_is_the_largest_change_of_a_stages_share() -> None:
    one, other = {"a": [1.0, 0.5], "b": [1.0, 0.25]}, {"a": [1.0, 0.375], "b": [1.0, 0.5]}
    assert distance(one, one) == 0
    assert distance(one, other) == 0.25


@pytest.mark.parametrize(
    ("lines", "is_reached"),
    [
        ([line(1, 1.0, 1.0), line(2, 1.0, 1.0)], False),
        ([line(1, 1.0, 1.0), line(2, 1.0, 1.0), line(3, 1.0, 0.9)], True),
        ([line(1, 1.0, 1.0), line(2, 1.0, 0.5), line(3, 1.0, 0.5)], False),
        ([line(1, 1.0, 0.5), line(2, 1.0, 1.0), line(3, 1.0, 1.0), line(4, 1.0, 1.0)], True),
        ([line(1, 1.0, 1.0), line(3, 1.0, 1.0), line(4, 1.0, 1.0)], False),
        ([{"epoch": 1}, line(2, 1.0, 1.0), line(3, 1.0, 1.0)], False),
    ],
)
def test_widths_are_stable_when_no_stages_share_changes_much_for_some_epochs(
    lines: list[dict[str, object]], is_reached: bool
) -> None:
    assert Stability(tolerance=0.1, epochs=2).is_reached(lines) is is_reached


def test_nothing_is_stable_before_half_of_the_rates_are_spent(tmp_path: Path) -> None:
    alike = [line(number, 0.5, 0.5) for number in range(1, 31)]
    recipe = recipe_named("fast")
    first = next(
        done
        for done in range(1, 31)
        if SearchConfig(space="resnet20").stability.is_reached(alike[:done], recipe.spent_after(done, 12))
    )
    assert recipe.spent_after(first - 1, 12) < 0.5 <= recipe.spent_after(first, 12)
    assert first == 12  # of 30: one cycle spends half of its rates by then
    patient = CONFIG.model_copy(
        update={"epochs": 12, "recipe": recipe_named("fast"), "stability": Stability(0.5, 2, spent=0.5)}
    )
    assert search(patient, tmp_path / "run").epochs_done == 5


@pytest.mark.slow
def test_a_search_stops_when_its_widths_are_stable(tmp_path: Path) -> None:
    stopped = search(CONFIG, tmp_path / "stopped")
    assert stopped.epochs_done == 3
    whole = search(CONFIG.model_copy(update={"stop": False}), tmp_path / "whole")
    assert whole.epochs_done == 6
    assert all("widths" in line for line in read_metrics(tmp_path / "whole"))
    result = json.loads((tmp_path / "stopped" / "result.json").read_text())
    assert (result["epochs"], result["epochs_asked"]) == (3, 6)
    widths = json.loads((tmp_path / "stopped" / "widths" / "macs-50pct.json").read_text())
    assert widths["epochs"] == 3
    assert widths["recipe"]["epochs"] == CONFIG.recipe.epochs  # which Scratch-B goes by
    (first, *_, last) = read_metrics(tmp_path / "stopped")
    assert first["widths"].keys() == {"macs<=50%"}
    assert last["widths"]["macs<=50%"] == list(stopped.found[0].widths.vector)
    assert len(last["kept"]["macs<=50%"]) == 3
    again = resume_search(tmp_path / "stopped")
    assert again.epochs_done == 3
    assert again.found[0].widths.vector == stopped.found[0].widths.vector


@pytest.mark.parametrize("change", [{"method": "l1-norm"}, {"method": "slimming", "scope": "local"}])
def test_widths_that_are_not_searched_end_no_training(change: dict[str, str], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={**change, "epochs": 4})
    assert search(config, tmp_path / "run").epochs_done == 4


def test_a_search_of_before_that_stopped_early_stays_as_it_ended(tmp_path: Path) -> None:
    search(CONFIG, tmp_path / "run")  # by a rule that asks for nothing to be spent, as before
    path = tmp_path / "run" / "config.yaml"
    text = path.read_text(encoding="utf-8")
    assert "  spent: 0.0\n" in text
    path.write_text(text.replace("  spent: 0.0\n", ""), encoding="utf-8")
    for name in ("result.json", "network.safetensors", "scores.json"):  # as if it had been killed at its end
        (tmp_path / "run" / name).unlink()
    kept = search(CONFIG.model_copy(update={"keep_checkpoints": True}), tmp_path / "kept")
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(
        (tmp_path / "kept" / "checkpoint.safetensors").read_bytes()
    )
    assert resume_search(tmp_path / "run").epochs_done == kept.epochs_done == 3
