"""Commands about single weights: from the search to the report, and what is refused."""

import json
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.comparison.pattern_config import PatternCompareConfig
from nas_prune.runs.settings import read_config

SMALL = ["--space", "vgg11", "--width-multiplier", "0.0625", "--epochs", "2"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two searches of two epochs, by seed."""
    home = tmp_path_factory.mktemp("searched")
    for seed in ("0", "1"):
        budgets = ["--budget", "nonzero<=10%", "--budget", "nonzero<=30%"]
        out = ["--out", str(home / seed)]
        assert main(["sparsify", *SMALL, *budgets, "--seed", seed, *out]) == 0
    return home


def test_a_search_says_what_stays_and_what_to_do_next(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["sparsify", *SMALL, "--budget", "nonzero<=10%", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "vgg11, magnitude on digits, 2 epochs, --scope global, seed 0" in said
    assert "10.0 %" in said
    assert "Dense kernels multiply zeros, too" in said
    assert f"nas-prune train {tmp_path / 'run'} --schedule scratch-b" in said
    again = json.loads((searched / "0" / "result.json").read_text(encoding="utf-8"))["patterns"][0]
    own = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))["patterns"][0]
    assert own["density_by_layer"] == again["density_by_layer"]


def test_a_guideline_of_patterns_is_said_written_and_drawn_and_used(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guideline = tmp_path / "guideline.yaml"
    assert main(["guide", str(searched / "0"), str(searched / "1"), "--out", str(guideline)]) == 0
    said = capsys.readouterr().out
    assert "From 4 patterns with 10 to 30 % of the weights; independent: each seed." in said
    assert "first" in said
    assert guideline.with_suffix(".png").stat().st_size > 1000
    out = tmp_path / "guided"
    other = ["--space", "resnet20", "--method", "guided", "--guideline", str(guideline), "--out", str(out)]
    assert main(["sparsify", *other, "--budget", "nonzero<=5%", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["patterns"][0]["nonzero"] == found["base"]["nonzero"] // 20
    assert main(["guide", "--guideline", str(guideline)]) == 2
    assert "is a guideline of patterns. nas-prune sparsify --method guided" in capsys.readouterr().err


def test_a_report_shows_a_search_a_training_and_a_guideline(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, guideline = tmp_path / "trained", tmp_path / "guideline.yaml"
    more = ["--budget", "nonzero<=10%", "--schedule", "scratch-e", "--epochs", "1"]
    assert main(["train", str(searched / "0"), *more, "--out", str(trained)]) == 0
    said = capsys.readouterr().out
    assert "vgg11, pattern nonzero-10pct, scratch-e: 1 epoch" in said
    assert (trained / "seed-1").is_dir()  # 0 is the search's own: its first weights chose the masks
    assert main(["guide", str(searched / "0"), "--out", str(guideline)]) == 0
    capsys.readouterr()
    assert main(["report", str(searched / "0"), str(trained), str(guideline), "--format", "md"]) == 0
    page = capsys.readouterr().out
    for words in (
        "single weights by magnitude",
        "Weights that stay",
        "empty filters",
        "2:4 (%)",
        "that no weight reads",
        "Masked by a pattern of single weights",
        "What patterns have in common",
    ):
        assert words in page
    assert main(["report", str(searched / "0"), "--out", str(tmp_path / "r.html")]) == 0
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 3  # densities and positions, the first layer, the learning curve


@pytest.mark.slow
def test_a_comparison_prints_each_arm_and_goes_on(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, arms = tmp_path / "compare", ["--arm", "rewound", "--arm", "uniform"]
    more = ["--budget", "nonzero<=10%", "--seeds", "2", "--epochs", "2"]
    assert main(["compare", str(searched / "0"), *arms, *more, "--out", str(out)]) == 0
    kept = read_config(out, PatternCompareConfig)
    # The network that inherits was trained by the recipe of all arms.
    assert kept.search.recipe == kept.recipe
    assert kept.recipe.epochs == 2
    said = capsys.readouterr().out
    for name in ("rewound", "scratch-b", "scratch-e", "uniform"):
        assert f"\n{name} " in said
    assert main(["compare", str(out), "--seeds", "3", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["budgets"][0]["arms"]["uniform"]["n"] == 3
    assert main(["report", str(out), "--format", "md"]) == 0
    assert "structure or weights?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sparsify", "--budget", "params<=10%"], "must bound nonzero, macs, size, got params<=10%"),
        (["search", "--budget", "nonzero<=10%"], "nonzero counts single weights, which nas-prune sparsify"),
        (["sparsify", "--method", "magnitde"], "--method must be one of magnitude, gradual"),
        (["sparsify", "--strength", "-1"], "--strength must be at least 0, got -1"),
        (["train", "{run}"], "--budget must be one of 'nonzero<=10%', 'nonzero<=30%', got none"),
        (["train", "{run}", "--weights", "w.pth"], "--weights must come with widths, got it with a pattern"),
        (["train", "{run}/patterns/nonzero-10pct.json", "--budget", "nonzero<=10%"], "has no others"),
        (["train", "{run}", "--budget", "macs<=10%"], "got macs<=10%"),
        (["compare", "{run}", "--searches", "2"], "--searches must come with widths"),
        (
            ["compare", "{run}", "--arm", "scratch-e", "--guideline", "erk"],
            "--guideline must come with --arm guided",
        ),
        (
            ["compare", "{run}", "--arm", "scratch-e", "--cap", "2"],
            "--cap must come with an arm that Scratch-B trains",
        ),
        (["compare", "{run}", "--arm", "found"], "--arm must be one of whole, fine-tuned"),
        (["guide", "{run}", "--match", "input"], "--match must come with widths"),
        (
            ["apply", "--guideline", "{run}/patterns/nonzero-10pct.json", "--space", "resnet20"],
            "is a pattern",
        ),
        (["search", "{run}"], "is the directory of a search for patterns"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[str], said: str, searched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([word.format(run=searched / "0") for word in words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_mixture_of_widths_and_weights_is_refused(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", *SMALL[:4], "--method", "uniform", "--out", str(tmp_path / "widths")]) == 0
    capsys.readouterr()
    assert main(["guide", str(searched / "0"), str(tmp_path / "widths")]) == 2
    assert "must be of widths or of single weights, all of one kind" in capsys.readouterr().err
