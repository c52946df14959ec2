"""Tables of trained width vectors as worlds for studies: read, refused, searched."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from nas_prune.errors import BadInputError
from nas_prune.study.rule_sampler import RuleSampler
from nas_prune.study.samplers import quiet
from tools import bench_study
from tools.width_table import TablePoints, WidthTable, read_width_table, run_on_table


def write(path: Path, *, digits: bool = True) -> Path:
    """Four layers, whose last two earn little; single trainings deviate by half a point."""
    rng = np.random.default_rng(0)
    lines = ["widths,acc_0,acc_1,acc_2,macs,params"]
    for widths in product((1, 2, 3, 4), repeat=4):
        mean = 90 + np.log(widths) @ np.array([1.0, 0.8, 0.1, 0.0])
        accuracies = ",".join(f"{mean + rng.normal(0, 0.3):.2f}" for _ in range(3))
        macs = 1000 * (widths[0] * widths[1] + widths[1] * widths[2] + widths[2] * widths[3])
        name = "".join(map(str, widths)) if digits else " ".join(str(8 * one) for one in widths)
        lines.append(f"{name},{accuracies},{macs},{sum(widths)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> WidthTable:
    return read_width_table(write(tmp_path / "table.csv"))


def test_digits_and_integers_are_the_same_networks(table: WidthTable, tmp_path: Path) -> None:
    other = read_width_table(write(tmp_path / "other.csv", digits=False))
    assert (other.widths_CG == 8 * table.widths_CG).all()
    assert other.uniform(0.5) == table.uniform(0.5)
    assert table.accuracy_CR.shape == (256, 3)
    assert 0.85 < table.accuracy_CR.min() < table.accuracy_CR.max() < 1
    with pytest.raises(BadInputError, match="must hold uniform widths of 0.4"):
        table.uniform(0.4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns"),
        ("widths,acc_0,macs,params\n11,90,1,1\n", "must have the columns"),
        ("widths,acc_0,acc_1,macs,params\n1x,90,91,1,1\n", "must hold numbers"),
        ("widths,acc_0,acc_1,macs,params\n11,90,,1,1\n", "must hold numbers"),
        ("widths,acc_0,acc_1,macs,params\n11,90,91,1,1\n111,90,91,1,1\n", "must hold numbers"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        read_width_table(path)
    with pytest.raises(BadInputError, match="can be read"):
        read_width_table(tmp_path / "none.csv")


def test_a_study_sees_one_seed_of_a_network_and_is_judged_by_the_others(table: WidthTable) -> None:
    quiet()
    points = TablePoints(table, table.uniform(0.5))
    run = run_on_table(points, RuleSampler(points, 0, repeats=False), 25, 0)
    assert run.places[0] == points.place(points.uniform)
    assert len(set(run.places)) > 20
    for place, value in zip(run.places, run.values, strict=True):
        row_R = table.accuracy_CR[points.feasible[place]]
        assert value == row_R[run.shown[place]]
        assert run.truth(points, place) == pytest.approx((row_R.sum() - value) / 2)
    never = next(place for place in range(len(points.feasible)) if place not in run.shown)
    assert run.truth(points, never) == pytest.approx(table.accuracy_CR[points.feasible[never]].mean())
    widths = table.widths_CG[points.feasible[run.answer(points)]]
    assert widths[0] > widths[3]
    assert table.macs_C[points.feasible].max() <= table.macs_C[points.start]


def test_each_line_is_an_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "table.csv")
    common = ["bench_study", "--table", str(path), "--trainings", "12"]
    monkeypatch.setattr("sys.argv", [*common, "--seeds", "2", "--format", "json"])
    bench_study.main()
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["arm"] for one in found} == {"default", "cma", "tpe", "random"}
    assert {one["budget"] for one in found} == {0.5, 0.75}
    for one in found:
        assert one["gain_over_uniform"] == pytest.approx(one["mean"] - one["uniform"], abs=2e-3)
        assert one["low"] <= one["mean"] <= one["high"]
    monkeypatch.setattr("sys.argv", [*common, "--seeds", "1"])
    with pytest.raises(SystemExit, match="2"):
        bench_study.main()
    assert "--seeds at least 2" in capsys.readouterr().err
