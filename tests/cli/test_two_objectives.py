"""A study against a cost prints what is best for as little, with that cost."""

import json
from pathlib import Path

import pytest

from nas_prune.cli import main

FILE = """
question: What is it worth to be quick?
space: lenet5
data: {name: digits, max_images: 150, val_fraction: 0.4}
epochs: 1
budgets: ["macs<=20%", "macs<=60%"]
against: latency
trials: 3
threads: 1
"""


def test_the_front_is_printed_with_its_latency_and_reported(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_empty_directory / "both.yaml").write_text(FILE, encoding="utf-8")
    assert main(["study", "run", "both.yaml", "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "The best for their latency, the cheapest first" in said
    assert "latency (ms)" in next(line for line in said.splitlines() if line.startswith("trial "))
    assert "Train the best again" not in said
    assert main(["study", "run", "run", "--format", "json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)["studies"]
    assert all(trial["latency_ms"] > 0 for trial in study["trials"])
    assert main(["report", "run", "--out", "report.md"]) == 0
    text = Path("report.md").read_text(encoding="utf-8")
    assert "latency (ms)" in text
    assert "The best for their latency, the cheapest first, by what chose them" in text
