"""The shoot-out: no image of the test half is seen before the last training, and every arm spends the same."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from nas_prune.errors import BadInputError
from tests.conftest import WriteDigits
from tools import shootout
from tools.shootout_arms import network_of
from tools.shootout_figures import draw, draw_totals
from tools.shootout_images import make_images
from tools.shootout_last import packed, unpacked
from tools.shootout_plan import FINAL, PLAN, SEARCHED, Images, read_plan, units
from tools.shootout_report import sentences, table, text_of, verdict, where
from tools.shootout_results import by_images, contrasts_of, latencies, read_results

TASK = {
    "space": "vgg11",
    "width_multiplier": 0.125,
    "images": {"data": "digits", "image_size": 8, "train": 200, "test": 40},
    "epochs": 40,
    "budget": "macs<=40%",
    "guideline_from": "small",
}
CONTENT = {
    "question": "Does it work?",
    "recipe": "digits",
    "total": 3,
    "repetitions": 1,
    "first_seed": 50000,
    "tasks": {"small": TASK},
    "arms": {
        "uniform": {"how": "uniform"},
        "study": {"how": "study"},
        "guideline": {"how": "guideline"},
        "guideline-free": {"how": "guideline", "charged": False},
        "torch-pruning": {"how": "torch-pruning"},
        "torch-pruning-sparse": {"how": "torch-pruning-sparse"},
        "growth": {"how": "growth", "settings": {"method": "taylor"}},
        "random": {"how": "random"},
        "slimming": {"how": "search", "settings": {"method": "slimming"}},
        "re-wound": {"how": "search", "settings": {"method": "slimming"}, "start": "rewound"},
        "fine-tuned": {"how": "search", "settings": {"method": "slimming"}, "start": "fine-tuned"},
        "tpe": {"how": "study", "settings": {"sampler": "tpe", "parameters": "layers"}},
    },
    "contrasts": [["study", "uniform"]],
    "control": ["uniform", "uniform"],
}


def hashes(folder: Path) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.png")}


@pytest.fixture
def source(write_digits: WriteDigits) -> Path:
    write_digits("digits/train", {"0": 120, "1": 120})
    home = write_digits("digits/test", {"0": 140, "1": 140})
    for path in sorted(
        (home / "digits" / "test").rglob("*.png")
    ):  # those of the training part are no test images
        if (home / "digits" / "train" / path.parent.name / path.name).exists():
            path.unlink()
    return home / "digits"


def test_nothing_that_chooses_sees_a_test_image(source: Path, tmp_path: Path) -> None:
    images = Images(data="digits", image_size=8, train=80, test=40)
    for half in ("first", "second"):
        make_images(images, source, tmp_path / half, 3, half)
    first, second = (hashes(tmp_path / half / FINAL / "test") for half in ("first", "second"))
    assert len(first) == len(second) == 20
    assert not first & second
    for half in ("first", "second"):
        seen = hashes(tmp_path / half / SEARCHED)
        assert not seen & (first | second)
        assert hashes(tmp_path / half / SEARCHED / "train") == hashes(tmp_path / half / FINAL / "train")
        assert not hashes(tmp_path / half / FINAL / "train") & (first | second)


def test_too_few_test_images_are_taken_from_the_training_part(source: Path, tmp_path: Path) -> None:
    images = Images(data="digits", image_size=8, train=40, test=80)
    make_images(images, source, tmp_path / "out", 3, "first")
    test = hashes(tmp_path / "out" / FINAL / "test")
    assert len(test) == 40
    assert not test & hashes(tmp_path / "out" / SEARCHED)
    with pytest.raises(BadInputError, match="must have 400 images to train with"):
        make_images(images.model_copy(update={"train": 400}), source, tmp_path / "more", 3, "first")


def test_a_pilot_is_measured_on_images_that_nobody_trains_with(source: Path, tmp_path: Path) -> None:
    pilot = read_plan(PLAN.with_name("pilot.yaml"))
    (unit, *_) = units(pilot, tmp_path, tuple(pilot.tasks), tuple(pilot.arms))
    assert unit.last_images == SEARCHED
    images = Images(data="digits", image_size=8, train=80, test=40, spare=60)
    make_images(images, source, tmp_path / "pilot", 3, "first", is_pilot=True)
    spare = hashes(tmp_path / "pilot" / SEARCHED / "test")
    assert len(spare) == 60
    assert not spare & hashes(tmp_path / "pilot" / SEARCHED / "train")
    assert not spare & hashes(tmp_path / "pilot" / FINAL / "test")
    more = images.model_copy(update={"spare": 500})
    with pytest.raises(BadInputError, match="must have 500 spare images for a pilot"):
        make_images(more, source, tmp_path / "more", 3, "first", is_pilot=True)


def test_no_two_units_share_a_seed() -> None:
    plan = read_plan(PLAN)
    tasks, arms = tuple(plan.tasks), tuple(plan.arms)
    own = units(plan, Path("out"), tasks, arms)
    assert len({unit.seed for unit in own} | {unit.last_seed for unit in own}) == 2 * len(own)
    tested = {(unit.task, unit.arm) for unit in own if unit.number == plan.repetitions - 1}
    primary = [arm for arm, how in plan.arms.items() if not how.secondary]
    assert tested == {
        (task, arm) for task, what in plan.tasks.items() if what.arms is None for arm in primary
    }
    assert plan.control is not None
    named = {name for pair in (*plan.contrasts, plan.control) for name in pair}
    assert named <= set(arms)


def test_tables_of_latencies_are_of_the_networks_that_are_searched(source: Path, tmp_path: Path) -> None:
    task = {**TASK, "images": {**TASK["images"], "classes": 2}}  # type: ignore[dict-item]
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, "tasks": {"small": task}}), encoding="utf-8")
    plan = read_plan(file)
    (unit,) = units(plan, tmp_path / "out", ("small",), ("uniform",))
    make_images(unit.what.images, source, tmp_path / "out" / "images" / "small", plan.first_seed, "first")
    assert unit.what.network().reference == network_of(unit).reference


@pytest.mark.slow
def test_every_arm_spends_the_same_and_what_is_done_is_kept(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(CONTENT), encoding="utf-8")
    out = tmp_path / "out"
    command = ["shootout", "--file", str(file), "--images", f"digits={source}", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--plan"])
    shootout.main()
    assert "12 arms, 12 repetitions in all, 36 whole trainings" in capsys.readouterr().out
    assert not out.exists()
    monkeypatch.setattr(sys, "argv", command)
    shootout.main()
    found = {path: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("small/*/0/result.json")}
    assert {one["arm"] for one in found.values()} == set(CONTENT["arms"])  # type: ignore[call-overload]
    for one in found.values():
        assert unpacked(one["right"], 20).mean() == pytest.approx(one["test"])
        assert one["half"] == "first"
        spent = one["last"] + (one["before"] or 0 if one["charged"] else 0)
        epoch = one["last"] / one["epochs"]
        assert 3 * one["whole"] - epoch < spent <= 3 * one["whole"], one["arm"]
        assert one["widths"]["cost"]["macs"] <= 0.4 * one["widths"]["base_cost"]["macs"]
    before = {path: path.stat().st_mtime_ns for path in found}
    shootout.main()
    assert {path: path.stat().st_mtime_ns for path in found} == before


def planted(out: Path, task: str, arm: str, accuracies: list[float]) -> None:
    for number, accuracy in enumerate(accuracies):
        folder = out / task / arm / str(number)
        folder.mkdir(parents=True)
        row = {
            "test": accuracy, "epochs": 100, "whole": 10, "before": 15, "charged": True, "total": 3,
            "seconds": 60 + number if number != 1 else 999, "machine": "B, 4 cores" if number == 1 else "A, 2 cores",
            "widths": {"cost": {"macs": 4, "params": 3}, "base_cost": {"macs": 10, "params": 9}},
        }  # fmt: skip
        (folder / "result.json").write_text(json.dumps(row), encoding="utf-8")


def test_contrasts_are_corrected_together_and_the_control_is_not_among_them(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    rng = np.random.default_rng(1)
    means = {"uniform": 0.5, "again": 0.5, "study": 0.53, "guideline": 0.5, "torch-pruning": 0.5, "tpe": 0.49}
    for arm, mean in means.items():
        planted(tmp_path, "cifar-vgg", arm, (mean + 0.005 * rng.standard_normal(8)).tolist())
    results = read_results(plan, tmp_path)
    (vgg,) = (one for one in results if one.task == "cifar-vgg")
    rows = {(row.one, row.other): row for row in contrasts_of(plan, vgg)}
    assert set(rows) == {*plan.contrasts, plan.control}
    found = rows["study", "uniform"]
    assert found.contrast.difference == pytest.approx(0.03, abs=0.01)
    assert found.p_holm < 0.001
    assert found.contrast.p_value < found.p_holm
    assert found.contrast.freedom == 7 * len(means)
    assert rows["guideline", "uniform"].p_holm > 0.05
    assert np.isnan(rows["again", "uniform"].p_holm)
    text = table(plan, vgg)
    assert text.count("\n") == 2 + len(means)
    assert "| guideline-free | 0 of 8 | –" in text  # planned, and nothing of it is there
    assert "| 0.50 |" in text
    assert f"| {100 * np.std(vgg.accuracies('study'), ddof=1):.2f} |" in text
    assert found.p_own == pytest.approx(found.own.p_value * 4, rel=0.5)
    assert found.own.freedom < 15
    assert "negative control" in sentences(plan, contrasts_of(plan, vgg))
    draw(plan, results, tmp_path / "shootout.png")
    assert (tmp_path / "shootout.png").stat().st_size > 1000


def test_repetitions_that_are_missing_leave_the_claim_open_and_failures_are_counted(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    rng = np.random.default_rng(2)
    arms = [name for name, arm in plan.arms.items() if not arm.secondary]
    tasks = [name for name, task in plan.tasks.items() if task.arms is None]
    for task in tasks:
        for arm in arms:
            better = 0.03 if arm == "study" and task != tasks[2] else 0.0
            planted(tmp_path, task, arm, (0.5 + better + 0.004 * rng.standard_normal(8)).tolist())
    said = verdict(plan, read_results(plan, tmp_path))
    assert said.splitlines() == [
        f"- {tasks[0]}: the claim holds.",
        f"- {tasks[1]}: the claim holds.",
        f"- {tasks[2]}: the claim does not hold.",
        "- The claim holds: in 2 tasks.",
    ]
    gone = tmp_path / tasks[0] / "torch-pruning" / "3"
    (gone / "result.json").unlink()
    (gone / "failed.json").write_text("{}", encoding="utf-8")
    results = read_results(plan, tmp_path)
    said = verdict(plan, results)
    assert f"- {tasks[0]}: no verdict, repetitions are missing: torch-pruning 7 of 8, 1 failed." in said
    assert said.endswith("- The claim: open.")
    assert "| torch-pruning | 7 of 8, 1 failed |" in text_of(plan, results[0], tmp_path)


def test_nobody_looks_at_a_task_of_which_something_is_to_come(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    for arm in ("uniform", "study"):
        planted(tmp_path, "cifar-vgg", arm, [0.5123] * (8 if arm == "study" else 7))
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    said = text_of(plan, vgg, tmp_path)
    assert "uniform 7 of 8, again 0 of 8, guideline 0 of 8" in said
    assert "study" not in said
    assert "51.2" not in said
    assert replace(vgg, plan=plan.model_copy(update={"is_pilot": True})).to_come() == ""


def test_one_arm_that_varies_more_than_the_others_does_not_make_the_claim_hold(tmp_path: Path) -> None:
    """One variance for all arms calls two means different that the spread of the one does not tell apart."""
    plan = read_plan(PLAN)
    spread = np.array([-1, 1, -1, 1, -1, 1, -1, 1]) / 1000
    for arm in (name for name, arm in plan.arms.items() if not arm.secondary):
        values = 0.5 + spread if arm != "study" else 0.512 + 20 * spread
        planted(tmp_path, "cifar-vgg", arm, values.tolist())
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    rows = {(row.one, row.other): row for row in contrasts_of(plan, vgg)}
    assert rows["study", "uniform"].p_holm < 0.05 < rows["study", "uniform"].p_own
    assert "cifar-vgg: the claim does not hold" in verdict(plan, [vgg])


def test_a_control_that_is_significant_puts_the_task_in_doubt(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    spread = np.array([-1, 1, -1, 1, -1, 1, -1, 1]) / 1000
    planted(tmp_path, "cifar-vgg", "uniform", (0.5 + spread).tolist())
    planted(tmp_path, "cifar-vgg", "again", (0.51 + spread).tolist())
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    assert "in doubt" in sentences(plan, contrasts_of(plan, vgg))


def test_the_choice_of_test_images_has_an_error_of_its_own(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    rng = np.random.default_rng(4)
    for arm, share in (("uniform", 0.5), ("study", 0.6)):
        planted(tmp_path, "cifar-vgg", arm, [share] * 2)
        for number in range(2):
            path = tmp_path / "cifar-vgg" / arm / str(number) / "result.json"
            row = json.loads(path.read_text(encoding="utf-8"))
            row["right"] = packed(rng.random(5000) < share)
            path.write_text(json.dumps(row), encoding="utf-8")
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    independent = np.sqrt((0.25 + 0.24) / 2 / 5000)
    assert by_images(vgg, "study", "uniform") == pytest.approx(independent, rel=0.05)


def test_networks_that_have_been_timed_are_in_the_table(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    planted(tmp_path, "cifar-vgg", "uniform", [0.5, 0.51])
    for number, widths in enumerate(([4, 5], [4, 6])):
        path = tmp_path / "cifar-vgg" / "uniform" / str(number) / "result.json"
        row = json.loads(path.read_text(encoding="utf-8"))
        row["widths"]["groups"] = [{"width": width} for width in widths]
        path.write_text(json.dumps(row), encoding="utf-8")
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    assert "| – | 3 W |" in table(plan, vgg, latencies(tmp_path, "cifar-vgg"))
    networks = [{"widths": [4, 5], "ms": [1.0, 3.0, 2.0]}, {"widths": [4, 6], "ms": [4.0, 4.0, 9.0]}]
    (tmp_path / "latency-cifar-vgg.json").write_text(json.dumps({"networks": networks}), encoding="utf-8")
    assert "| 3.000 (2.000 to 4.000) | 3 W |" in table(plan, vgg, latencies(tmp_path, "cifar-vgg"))


def test_seconds_are_of_one_machine_and_all_machines_are_named(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    planted(tmp_path, "cifar-vgg", "uniform", [0.5, 0.51, 0.5])
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    assert "| 61 |" in table(plan, vgg)  # of 60 and 62; 999 was on another machine
    assert "A, 2 cores (2 repetitions), B, 4 cores (1 repetitions)" in where(vgg)


def test_tasks_that_are_shown_alone_have_no_corrected_p_values(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    for arm in ("uniform", "study"):
        planted(tmp_path, "cifar-resnet56", arm, [0.5, 0.51, 0.52, 0.5])
    (shown,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-resnet56")
    (row,) = contrasts_of(plan, shown)
    assert np.isnan(row.p_holm)
    assert "shown, not tested" in sentences(plan, [row])


def test_arms_of_several_totals_are_drawn_against_them(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    planted(tmp_path, "cifar-vgg", "uniform", [0.5, 0.51])
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    draw_totals(plan, vgg, tmp_path / "totals.png")
    assert not (tmp_path / "totals.png").exists()
    for arm in ("uniform-1.5", "uniform-6", "study", "study-1.5"):
        planted(tmp_path, "cifar-vgg", arm, [0.5, 0.51])
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    draw_totals(plan, vgg, tmp_path / "totals.png")
    assert (tmp_path / "totals.png").stat().st_size > 1000


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    plan = read_plan(PLAN)
    planted(tmp_path, "cifar-vgg", "uniform", [0.5])
    (vgg,) = (one for one in read_results(plan, tmp_path) if one.task == "cifar-vgg")
    assert contrasts_of(plan, vgg) == []
    assert "| uniform | 1 of 8 | 50.00 |" in table(plan, vgg)
