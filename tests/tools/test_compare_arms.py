"""Winners are compared by trainings that had no part in their choice."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from nas_prune.errors import BadInputError
from tools.compare_arms import (
    ARMS,
    FIRST_NEW_SEED,
    Curve,
    Repetition,
    chosen,
    compared,
    main,
    report,
    retrained,
)

STUDY = """
space: resnet20
width_multiplier: 0.25
data: {name: digits, max_images: 60, val_fraction: 0.4}
recipe: digits
epochs: 1
budget: macs<=30%
trials: 3
threads: 1
"""


def lucky(rng: np.random.Generator) -> Repetition:
    """Equal networks everywhere: 34 % each, with the noise and the shared luck that the tabular benchmark measured."""
    noise, shared, curves = 0.015, 0.87, {}
    for arm in ARMS:
        luck, other = rng.normal(0, noise, (2, 39))
        val, test = 0.34 + luck, 0.34 + shared * luck + (1 - shared**2) ** 0.5 * other
        curves[arm] = Curve([1], [float(val.max())], [float(test[val.argmax()])])
    tests = {name: (0.34 + rng.normal(0, noise, 3)).tolist() for name in (*ARMS, "guideline", "uniform")}
    return Repetition(0, curves, {}, tests)


def test_luck_of_the_choice_is_not_counted_as_a_gain() -> None:
    found = compared([lucky(np.random.default_rng(seed)) for seed in range(40)])
    gain = found["over_uniform"]["random"]
    assert abs(gain["mean"]) < 0.005
    assert gain["low"] < 0 < gain["high"]
    assert found["selected_test"]["random"]["mean"] > 0.36  # 2 points of luck, as it was once reported
    assert found["selected_minus_retrained"]["random"]["low"] > 0.01
    assert found["guided_minus"].keys() == {"raw-tpe", "random", "guideline", "uniform"}


def test_a_repetition_is_one_observation_whatever_its_new_seeds() -> None:
    one, other = lucky(np.random.default_rng(0)), lucky(np.random.default_rng(1))
    found = compared([one, other])["over_uniform"]["guided"]
    each = [np.mean(own.tests["guided"]) - np.mean(own.tests["uniform"]) for own in (one, other)]
    assert found["n"] == 2
    assert found["mean"] == pytest.approx(np.mean(each))
    half = student.ppf(0.95, 1) * np.std(each, ddof=1) / 2**0.5
    assert found["high"] - found["mean"] == pytest.approx(half)


@pytest.mark.slow
def test_winners_are_trained_again_with_seeds_of_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    given = [str(tmp_path / "tiny.yaml"), "--search-epochs", "1", "--repetitions", "2", "--new-seeds", "2"]
    given += ["--trials", "2", "--out", str(tmp_path / "arms")]
    monkeypatch.setattr("sys.argv", ["compare_arms.py", *given])
    main()
    folder = tmp_path / "arms" / "repetition-1"
    tests = retrained(folder)
    assert tests.keys() == {*ARMS, "guideline", "uniform"} == chosen(folder).keys()
    assert {len(one) for one in tests.values()} == {2}
    again = {path.parent.name for path in folder.glob("retrained/*/short/*/result.json")}
    assert again == {str(FIRST_NEW_SEED), str(FIRST_NEW_SEED + 1)}
    trials = {path.name for path in folder.glob("*/trials/*/*/seed-*")}
    assert not trials & {f"seed-{seed}" for seed in again}

    def never(*given: object, **more: object) -> None:
        raise AssertionError(given)

    monkeypatch.setattr("tools.compare_arms.train_task", never)
    monkeypatch.setattr("sys.argv", ["compare_arms.py", *given])
    main()  # nothing is left to train
    monkeypatch.setattr("sys.argv", ["compare_arms.py", *given, "--report"])
    main()
    written = json.loads((tmp_path / "arms" / "result.json").read_text(encoding="utf-8"))
    means = [float(np.mean(one["guided"])) for one in written["retrained"]]
    assert written["retrained_test"]["guided"]["each"] == pytest.approx(means)
    assert written["widths"][1]["uniform"] == list(chosen(folder)["uniform"])
    (folder / "retrained" / "guided" / "short" / "1001" / "result.json").unlink()
    with pytest.raises(BadInputError, match="must be trained again before they are compared, got guided 1"):
        report(argparse.Namespace(study=str(tmp_path / "tiny.yaml"), out=tmp_path / "arms"))


def test_nothing_is_reported_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="must be done before it is reported"):
        report(argparse.Namespace(study="quickstart", out=tmp_path))
