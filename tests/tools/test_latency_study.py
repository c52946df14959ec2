"""The study of latency tables: its vectors, its numbers, its file."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.hardware.tables import small
from tools.latency_study import drawn, main, told


def test_half_of_the_vectors_have_equal_macs() -> None:
    vectors_NG = drawn(small(), 20, 0.3, np.random.default_rng(0))
    limit = 0.3 * int(small().cost.macs(small().base_G))
    macs = small().cost.macs(vectors_NG)
    assert vectors_NG.shape == (20, 8)
    assert (macs[10:] <= limit).all()
    assert (macs[10:] > 0.97 * limit).all()
    assert macs[:10].std() > 5 * macs[10:].std()


def test_errors_are_relative_and_ranks_those_at_equal_macs() -> None:
    predicted = np.array([100, 110, 10, 20, 30])
    measured = np.array([[100, 100, 10, 20, 30], [110, 100, 30, 20, 10]])
    found = told(predicted, measured, 2)
    assert found["error_median"] == 0
    assert found["error_p90"] == pytest.approx(0.06)
    assert found["twice_median"] == pytest.approx(0.1)
    assert found["at_equal_macs"]["rank_predicted"] == 1
    assert found["at_equal_macs"]["rank_twice"] == -1
    assert found["at_equal_macs"]["spread"] == 3


@pytest.mark.slow
def test_it_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_prune.hardware.measure._BURST_NS", 1e5)
    options = [
        "--space",
        "vgg11",
        "--image-size",
        "8",
        "--target",
        "cpu-torch",
        "--out",
        str(tmp_path / "study"),
    ]
    main([*options, "--networks", "4", "--passes", "1", "--vectors", "4", "--bursts", "1"])
    assert "error_median: " in capsys.readouterr().out
    found = json.loads((tmp_path / "study" / "study.json").read_text(encoding="utf-8"))
    assert np.array(found["measured_ns"]).shape == (2, 4)
    assert found["table_seconds"] > 0
    assert (tmp_path / "study" / "table" / "latency.csv").exists()
