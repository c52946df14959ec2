"""`nas-prune measure`: what it prints, and what it refuses."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nas_prune.cli import main
from nas_prune.cli.measure import _TARGETS
from nas_prune.hardware.latency import latency_cost
from nas_prune.hardware.latency_table import read_table
from nas_prune.hardware.runtimes import RUNTIMES
from nas_prune.hardware.target import target_named
from nas_prune.space.load import load_space
from tests.hardware.tables import in_steps, made_up, small

SPACE = ("--space", "vgg11", "--image-size", "8", "--in-channels", "1", "--width-multiplier", "0.25")


@pytest.fixture(scope="module", autouse=True)
def _in_short_bursts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas_prune.hardware.measure._BURST_NS", 1e6)
        yield


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["measure", *words]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said.split("nas-prune: ")[-1]
    return said


def test_targets_are_those_that_there_are() -> None:
    assert _TARGETS == RUNTIMES


@pytest.mark.slow
def test_a_table_is_measured_and_gone_on_with_and_predicts(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--networks", "5", "--passes", "1", "--target", "cpu-torch")
    assert main(["measure", *SPACE, *few, "--out", "table"]) == 0
    said = capsys.readouterr().out
    assert "vgg11 on cpu-torch, 1 thread: whole network" in said
    assert "Predictions of 20 networks that nothing was fitted to are off by" in said
    assert "Next:   nas-prune inspect --space vgg11 --image-size 8" in said
    assert main(shlex.split(said.splitlines()[-1].partition("nas-prune ")[2])) == 0
    capsys.readouterr()
    assert main(["measure", "--resume", "table", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["target"] == "cpu-torch"
    assert len(facts["base_ns"]) == 9
    small().widths([base // 2 for base in small().base_G]).write(Path("widths.json"))
    words = ("--widths", "widths.json", "--table", "table")
    assert main(["measure", *words]) == 0
    said = capsys.readouterr().out
    assert "vgg11 on cpu-torch, 1 thread: median" in said
    assert "Predicted by table:" in said
    assert main(["measure", *words, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["predicted_ns"] > 0


def write_csv(path: Path, *, without: str = "", wholes: int = 0, scale: float = 1) -> None:
    """Made-up times as somebody's own tool may write them."""
    rows = [
        f"{row.layer},{row.in_width},{row.out_width},{row.latency_ns / 1e6},"
        for row in made_up(small(), in_steps, 40).rows
        if row.layer != without
    ]
    for number in range(wholes):
        widths = [max(1, base - number) for base in small().base_G]
        rows.append(f"network,,,{scale * (0.5 + 0.01 * number)},{' '.join(map(str, widths))}")
    path.write_text("\n".join(["layer,in_width,out_width,latency_ms,widths", *rows]) + "\n", encoding="utf-8")


def test_what_was_timed_twice_elsewhere_counts_once(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(Path("once.csv"))
    head, *rows = Path("once.csv").read_text(encoding="utf-8").splitlines()
    Path("twice.csv").write_text("\n".join([head, *rows, *rows]) + "\n", encoding="utf-8")
    for name in ("once", "twice"):
        assert main(["measure", *SPACE, "--import", f"{name}.csv", "--out", name]) == 0
    once, twice = (latency_cost(small(), Path(name)) for name in ("once", "twice"))
    vectors = np.random.default_rng(0).integers(1, np.array(small().base_G) + 1, (200, len(small().base_G)))
    assert (once(vectors) == twice(vectors)).all()


def test_a_table_from_elsewhere_is_taken(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(Path("phone.csv"))
    assert main(["measure", *SPACE, "--import", "phone.csv", "--target", "ncnn-arm", "--out", "table"]) == 0
    assert "No whole networks were timed" in capsys.readouterr().out
    assert read_table(Path("table")).header.target == "ncnn-arm"
    assert main(["inspect", *SPACE, "--target", "table"]) == 0  # with the alignment of that device
    assert "latency" in capsys.readouterr().out
    Path("own.yaml").write_text("description: a board\nalignment: {conv: {in: 4, out: 4}}\n")
    assert main(["measure", *SPACE, "--import", "phone.csv", "--target", "own.yaml", "--out", "own"]) == 0
    assert target_named("own").alignment["conv"].made == 4
    small().widths(small().base_G).write(Path("w.json"))
    said = refused(capsys, "--widths", "w.json", "--table", "own")
    assert "--table must be of what can be timed here" in said
    write_csv(Path("phone.csv"), wholes=6, scale=1e6)
    said = refused(capsys, *SPACE, "--import", "phone.csv", "--out", "odd")
    assert "from 0.001 to 1,000 times what its layers take together" in said
    assert not Path("odd").exists()
    write_csv(Path("phone.csv"), wholes=6)
    assert main(["measure", *SPACE, "--import", "phone.csv", "--out", "another"]) == 0
    assert "Predictions of 3 whole networks that did not calibrate" in capsys.readouterr().out
    assert read_table(Path("another")).header.factor != 1


def test_tables_from_elsewhere_that_cannot_be_used_are_refused(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*SPACE, "--import", "phone.csv", "--out", "table")
    assert "a file of text that can be read" in refused(capsys, *words)
    write_csv(Path("phone.csv"), without="features.8")
    assert "rows for each layer of vgg11, and no others, got none of 'features.8'" in refused(capsys, *words)
    for text, message in (
        ("layer,in_width\n", "with commas between, got none called out_width, latency_ms"),
        ("layer;in_width;out_width;latency_ms\n", "with commas between, got none called layer"),
        (
            "\ufefflayer,in_width,out_width,latency_ms\nfeatures.0,1,999,1\n",
            "must be at most 1 and 16, got 1 and 999",
        ),
        (
            "layer,in_width,out_width,latency_ms\nfeatures.0,1,16,fast\n",
            "above 0, got 'fast' (phone.csv, line 2)",
        ),
        (
            "layer,in_width,out_width,latency_ms\nfeatures.0,1,-6,1\n",
            "out_width must be a whole number from 1",
        ),
        ("layer,in_width,out_width,latency_ms\nfeatures.0,1,6,1\n", "got 1 of features.0 (phone.csv)"),
        ("layer,in_width,out_width,latency_ms,widths\nnetwork,,,1,1 2\n", "must be 8 numbers with spaces"),
        (
            f"layer,in_width,out_width,latency_ms,widths\nnetwork,,,1,{'1 ' * 8}\n",
            "at least 4 whole networks or none",
        ),
    ):
        Path("phone.csv").write_text(text, encoding="utf-8")
        assert message in refused(capsys, *words)
    assert not Path("table").exists()


def test_options_that_do_not_go_together_are_refused(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small().widths(small().base_G).write(Path("w.json"))
    assert "must have --space" in refused(capsys)
    assert "must have --space" in refused(capsys, *SPACE)
    assert "--table must come with --widths" in refused(capsys, *SPACE, "--table", "x")
    assert "--resume must stand alone, got --threads" in refused(capsys, "--resume", "x", "--threads", "2")
    assert "--widths must stand without" in refused(capsys, "--widths", "w.json", "--out", "x")
    assert "--import must stand without --passes" in refused(
        capsys, *SPACE, "--import", "a.csv", "--passes", "2", "--out", "x"
    )
    assert "got 'abacus'" in refused(capsys, *SPACE, "--target", "abacus", "--out", "x")
    assert "--resume" not in refused(capsys, "--resume", "nothing")
    Path("full").mkdir()
    Path("full/a").touch()
    assert "a new or an empty directory" in refused(capsys, *SPACE, "--out", "full")


def test_widths_and_a_table_of_another_network_are_refused(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(Path("phone.csv"))
    assert main(["measure", *SPACE, "--import", "phone.csv", "--out", "table"]) == 0
    capsys.readouterr()
    other = load_space("vgg11", (1, 8, 8))
    other.widths(other.base_G).write(Path("w.json"))
    said = refused(capsys, "--widths", "w.json", "--target", "cpu-torch", "--table", "table")
    assert "--target and --threads must be those of --table, cpu-onnxruntime" in said
    said = refused(capsys, "--widths", "w.json", "--table", "table")
    assert "width_multiplier is 0.25 where vgg11 has 1.0" in said
