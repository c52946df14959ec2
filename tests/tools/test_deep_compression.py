"""The study of deep compression: arms of equal training and bytes, resumed, and a report of what is done."""

import shutil
from pathlib import Path

import pytest

from nas_prune.compression.config import CompressConfig
from nas_prune.compression.result import read_compression
from nas_prune.runs.settings import read_config
from nas_prune.space.widths import read_widths
from nas_prune.training.config import TrainConfig
from tools import deep_compression, deep_compression_report
from tools.deep_compression import Network, main

TINY = Network("lenet300", 1, "digits", 4, 2, 1, has_uniform=True)


@pytest.mark.slow
def test_arms_have_equal_training_and_bytes_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (deep_compression, deep_compression_report):
        monkeypatch.setattr(module, "SEEDS", (0, 1))
        monkeypatch.setattr(module, "SHARES", {10.0: 30.0})
        monkeypatch.setattr(module, "NETWORKS", {"tiny": TINY})
    for seed in ("0", "1"):
        assert main(["--out", str(tmp_path), "--one", "tiny", seed]) == 0
    home = tmp_path / "tiny" / "0"
    for arm in ("deep", "found-coded", "uniform-coded"):
        found = read_compression(home / f"compressed-{arm}-10")
        assert found is not None
        assert found.account.file_bytes <= 0.1 * found.account.whole_bytes
    for arm, before in (("found", 4), ("found-coded", 4), ("uniform-coded", 0)):
        run = home / f"train-{arm}-10"
        widths, config = read_widths(run / "widths.json"), read_config(run, TrainConfig)
        ratio = widths.cost.macs / widths.base_cost.macs
        tuned = read_config(home / f"compressed-{arm}-10", CompressConfig).tuning if "coded" in arm else None
        spent = before + config.epochs * ratio + (0 if tuned is None else tuned.epochs * ratio)
        assert spent == pytest.approx(TINY.total, abs=ratio / 2 + 1e-9)
        assert config.data_seed == 0
    shutil.rmtree(home / "compressed-deep-10")
    assert main(["--out", str(tmp_path), "--one", "tiny", "0"]) == 0
    assert read_compression(home / "compressed-deep-10") is not None
    assert main(["--out", str(tmp_path), "--report"]) == 0
    said = capsys.readouterr().out
    assert "| tiny | found widths, shared and coded | 2 |" in said
    assert "| tiny | ≤ 10 % | uniform widths, shared and coded | 2 |" in said
    assert "| and Huffman codes: the file |" in said
    assert (tmp_path / "report.png").stat().st_size > 10_000
