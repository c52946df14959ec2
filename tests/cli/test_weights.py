"""`--weights`: searches, trainings and comparisons that start from weights a person has, and go on without the file."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

import nas_prune
from nas_prune.cli import main
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths
from nas_prune.training import weights_file

SHORT = ("--space", "resnet20", "--max-images", "300", "--budget", "macs<=50%")
OWN = """
import torch
from torch import nn


def make(num_classes: int = 10) -> nn.Module:
    layers = [nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)]
    network = nn.Sequential(*layers)
    network.load_state_dict(torch.load("own.pth", weights_only=True))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes)]
    return nn.Sequential(network, *head)
"""


def saved(path: str, classes: int = 10, seed: int = 5) -> dict[str, torch.Tensor]:
    weights = load_space("resnet20", (1, 8, 8), num_classes=classes).build(seed=seed).state_dict()
    torch.save(weights, path)
    return weights


@pytest.mark.slow
def test_a_search_starts_from_weights_and_goes_on_without_their_file(in_empty_directory: Path) -> None:
    saved("w.pth")
    search = [*SHORT, "--epochs", "2", "--no-stop", "--weights", "w.pth"]
    assert main(["search", *search, "--out", "whole"]) == 0
    killed = subprocess.Popen(
        [sys.executable, "-m", "nas_prune", "search", *search, "--out", "killed"], stderr=subprocess.DEVNULL
    )
    while not Path("killed/config.yaml").exists():
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    Path("w.pth").unlink()
    assert not Path("killed/result.json").exists()
    assert "weights: w.pth" in Path("killed/config.yaml").read_text(encoding="utf-8")
    Path("killed/checkpoint.safetensors").unlink(missing_ok=True)  # as if it had not come so far
    assert main(["search", "--resume", "killed"]) == 0
    for name in ("network.safetensors", "start.safetensors", "widths/macs-50pct.json"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes()
    widths = read_widths("killed/widths/macs-50pct.json")
    assert widths.method is not None
    assert widths.method.settings["weights"] == "w.pth"
    assert widths.method.words == "slimming from w.pth"


def test_slimming_leaves_the_scales_of_given_weights_as_they_are(in_empty_directory: Path) -> None:
    from nas_prune.runs.progress import SILENT
    from nas_prune.search.config import SearchConfig, resolve
    from nas_prune.search.prepared import prepared_search
    from nas_prune.training.ranks import ALONE

    weights = saved("w.pth")
    weights["layer1.0.bn1.weight"].uniform_(0.1, 0.3)
    torch.save(weights, "w.pth")
    config = SearchConfig(space="resnet20", budgets="macs<=50%", epochs=9, weights="w.pth")
    stage = prepared_search(resolve(config), ALONE, SILENT)
    start = stage.first_state().model
    assert torch.equal(start.get_parameter("layer1.0.bn1.weight"), weights["layer1.0.bn1.weight"])
    fresh = prepared_search(
        resolve(SearchConfig(space="resnet20", budgets="macs<=50%", epochs=9)), ALONE, SILENT
    )
    assert set(fresh.first_state().model.get_parameter("layer1.0.bn1.weight").tolist()) == {0.5}
    scales = [weights[f"{group.norms[0]}.weight"] for group in stage.space.groups if group.role == "inner"]
    mean = float(torch.cat(scales).mean())
    assert stage.sparsity is not None
    assert fresh.sparsity is not None
    assert stage.sparsity / fresh.sparsity == pytest.approx(mean / 0.5, rel=1e-5)  # as far as they have to go


@pytest.mark.slow
def test_fine_tuning_starts_from_weights_of_the_widths_or_of_the_whole_network(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", *SHORT, "--epochs", "2", "--out", "s"]) == 0
    widths = shutil.copy("s/widths/macs-50pct.json", "w.json")  # where it does not lead to its search
    tune = ["train", "--widths", widths, "--schedule", "fine-tune", "--epochs", "4"]
    whole = [*tune, "--weights", "s/network.safetensors"]
    assert main(whole) == 2
    assert "must come with --from RUN, the search whose channels are kept" in capsys.readouterr().err
    assert not Path("runs").exists()
    assert main([*whole, "--from", "s", "--out", "a"]) == 0
    assert main([*tune, "--from", "s", "--out", "b"]) == 0
    one, other = (nas_prune.load_network(run).state_dict() for run in ("a", "b"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert main([*tune, "--weights", "a/seed-0/network.safetensors", "--out", "c"]) == 0
    assert main([*tune[:3], "--weights", "a/seed-0/network.safetensors"]) == 2
    assert "--weights must come with --schedule fine-tune or rewind" in capsys.readouterr().err
    assert main(tune) == 2
    assert (
        "must come with --from RUN, the search to inherit from, or --weights FILE" in capsys.readouterr().err
    )


def test_a_search_from_weights_takes_a_quarter_of_the_epochs(in_empty_directory: Path) -> None:
    saved("w.pth")
    assert main(["search", *SHORT, "--no-stop", "--weights", "w.pth", "--out", "s"]) == 0
    assert json.loads(Path("s/result.json").read_text(encoding="utf-8"))["epochs"] == 5  # of the recipe's 20


@pytest.mark.slow
def test_workers_start_from_the_weights_in_the_run(in_empty_directory: Path) -> None:
    assert main(["search", *SHORT, "--epochs", "1", "--out", "s"]) == 0
    weights = [
        "--schedule",
        "fine-tune",
        "--weights",
        "s/network.safetensors",
        "--epochs",
        "4",
        "--seeds",
        "2",
    ]
    for count in ("1", "2"):
        train = [
            "train",
            "--widths",
            "s/widths/whole.json",
            *weights,
            "--workers",
            count,
            "--out",
            f"w{count}",
        ]
        assert main([*train, "--threads", "1"]) == 0
    for seed in (0, 1):
        one, other = (Path(f"w{count}/seed-{seed}/network.safetensors").read_bytes() for count in (1, 2))
        assert one == other


def test_a_factory_that_loads_weights_keeps_them_when_asked(
    in_empty_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = f"loading_{in_empty_directory.name.replace('-', '_')}"
    Path(f"{module}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(in_empty_directory))
    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3),
        torch.nn.BatchNorm2d(16),
    )  # fmt: skip
    torch.save(body.state_dict(), "own.pth")
    search = [
        "search",
        "--space",
        f"{module}:make",
        "--epochs",
        "1",
        "--max-images",
        "300",
        "--budget",
        "macs<=50%",
    ]
    assert main([*search, "--out", "anew"]) == 0
    assert (
        "the same weights each time; they are drawn anew here. --weights as-built starts"
        in capsys.readouterr().err
    )
    assert main([*search, "--weights", "as-built", "--out", "kept"]) == 0
    assert "Starting from as-built: 14 tensors; drawn anew: 3.weight, 3.bias." in capsys.readouterr().err
    from safetensors.torch import load_file

    start = load_file("kept/start.safetensors")
    assert "3.weight" not in start  # the head, which the function draws: anew for each seed
    assert torch.equal(start["0.0.weight"], body.get_parameter("0.weight"))
    text = Path(f"{module}.py").read_text(encoding="utf-8")
    Path(f"random_{module}.py").write_text(re.sub(r".*load_state_dict.*\n", "", text), encoding="utf-8")
    drawn = ["search", "--space", f"random_{module}:make", *search[3:]]
    assert main([*drawn, "--weights", "as-built"]) == 2
    assert "must come with a function that loads weights, got random_" in capsys.readouterr().err
    assert main(["search", *SHORT, "--weights", "as-built"]) == 2
    assert "must come with a network of your own" in capsys.readouterr().err


@pytest.mark.slow
def test_all_methods_and_comparisons_start_from_the_same_weights(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved("w.pth", classes=100)
    assert main(["search", *SHORT, "--epochs", "1", "--weights", "w.pth", "--out", "s"]) == 0
    assert "drawn anew: fc.weight, fc.bias" in capsys.readouterr().err
    Path("w.pth").unlink()
    compare = ["compare", "s", "--seeds", "2", "--epochs", "1", "--cap", "1", "--format", "json"]
    arms = ["--arm", "unpruned-given", "--arm", "lottery"]
    assert main([*compare, *arms, "--out", "c"]) == 0
    found = json.loads(capsys.readouterr().out)
    behind = {arm["arm"]: arm for arm in found["arms"]}
    assert behind["unpruned-given"]["search_macs"] is None  # what the given weights took is not known
    assert behind["unpruned-given"]["start"] == "given"
    assert behind["lottery"]["trained"]
    start = Path("s/start.safetensors").read_bytes()
    assert Path("c/start.safetensors").read_bytes() == start
    assert Path("c/parents/seed-1/start.safetensors").read_bytes() == start
    assert main(["search", *SHORT, "--epochs", "1", "--out", "plain"]) == 0
    capsys.readouterr()
    assert main(["compare", "plain", *compare[2:], "--arm", "unpruned-given", "--out", "d"]) == 2
    assert "must come with a search from given weights (--weights)" in capsys.readouterr().err


@pytest.mark.slow
def test_no_file_of_a_run_names_weights_to_be_read(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved("evil.pth")
    typed = ["--space", "resnet20", "--guideline", "uniform", "--budget", "macs<=60%", "--seeds", "1"]
    assert main(["transfer", *typed, "--epochs", "1", "--max-images", "100", "--direct", "--out", "t"]) == 0
    Path("compare.yaml").write_text(
        "space: resnet20\ndata: {name: digits, max_images: 100}\nrecipe: digits\nepochs: 1\nbudget: macs<=60%\n"
        "seeds: 1\narms: [scratch-b]\ncap: 1\n",
        encoding="utf-8",
    )
    assert main(["compare", "compare.yaml", "--out", "c"]) == 0
    for config, gone in (("t/config.yaml", "t/search"), ("c/search/config.yaml", "c/compare")):
        text = Path(config).read_text(encoding="utf-8")
        assert "weights: null" in text
        Path(config).write_text(text.replace("weights: null", "weights: evil.pth"), encoding="utf-8")
        shutil.rmtree(gone)
    Path("t/widths/direct.json").unlink()
    with patch.object(weights_file, "_read_pickled", side_effect=AssertionError("it was read")):
        main(["transfer", "--resume", "t"])
        main(["compare", "compare.yaml", "--out", "c"])
    assert "it was read" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_file_may_start_from_weights(in_empty_directory: Path) -> None:
    saved("w.pth")
    Path("compare.yaml").write_text(
        "space: resnet20\ndata: {name: digits, max_images: 100}\nrecipe: digits\nepochs: 1\nbudget: macs<=60%\n"
        "seeds: 1\narms: [scratch-b, unpruned-given]\ncap: 1\n",
        encoding="utf-8",
    )
    compare = ["compare", "compare.yaml", "--out", "c"]
    assert main([*compare, "--weights", "w.pth"]) == 0
    assert Path("c/compare/start.safetensors").read_bytes() == Path("c/search/start.safetensors").read_bytes()
    Path("w.pth").unlink()
    assert main(compare) == 0
