"""The page's way from photographs to a network under 3 ms: each of its commands, made small."""

import json
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.space.widths import read_widths
from tests.conftest import WriteDigits
from tests.test_readme import ROOT, read

HEADING = "## From photographs to a network under 3 ms"
# The same commands on less: smaller images and few networks, so that they take seconds; a bound that asks for a cut.
SMALLER = {"64": "8", "resnet56": "resnet20", "latency<=3ms": "latency<=85%"}
SHORT = {
    "measure": ("--networks", "12", "--passes", "1"),
    "search": ("--epochs", "2"),
    "train": ("--epochs", "1"),
}


def guide() -> list[list[str]]:
    """The words of the commands, in order, without `nas-prune`; not that which installs it."""
    page = read(ROOT / "nas_prune" / "hardware" / "README.md")
    (block,) = [one for one in page.blocks if "--image-size 64 --target my-machine --groups all" in one.text]
    assert HEADING in page.text[: page.text.index(block.text)]
    first, *others = block.commands()
    assert first[:2] == ["pip", "install"]
    return [words[1:] for words in others]


def shorter(words: list[str]) -> list[str]:
    """A command of the guide on less."""
    found = [SMALLER.get(word, word.replace("resnet56", "resnet20")) for word in words]
    makes_table = words[0] != "measure" or "--out" in words
    return [*found, *(SHORT.get(words[0], ()) if makes_table else ())]


def test_the_guide_goes_from_a_measurement_to_a_measurement() -> None:
    names = [words[0] for words in guide()]
    assert names == ["measure", "inspect", "search", "train", "export", "measure"]


@pytest.mark.slow
def test_every_command_of_the_guide_runs(
    in_empty_directory: Path, write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    write_digits("my-images/train", {"3": 40, "5": 40, "8": 40})
    write_digits("my-images/test", {"3": 10, "5": 10, "8": 10})
    for words in guide():
        assert main(shorter(words)) == 0, (words, capsys.readouterr())
    said = capsys.readouterr().out
    assert "Predicted by my-machine" in said.splitlines()[-1]
    widths = read_widths(Path("exported") / "widths.json")
    assert widths.target is not None
    (found,) = json.loads(next(Path("runs").glob("*slimming*/result.json")).read_text())["budgets"]
    assert found["target"]["measured_ms"] == widths.target.measured_ms
    base = widths.target.base_cost.latency_ms
    assert base is not None
    assert widths.target.measured_ms is not None
    assert widths.target.measured_ms <= 0.85 * base
    assert (Path("exported") / "model.onnx").is_file()
