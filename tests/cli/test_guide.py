"""`nas-prune guide` and `nas-prune apply`: what they print and write."""

import json
from pathlib import Path

import pytest

import nas_prune
from nas_prune.cli import main
from nas_prune.errors import GuidelineError
from nas_prune.guideline import read_guideline
from nas_prune.space.widths import read_widths
from tests.guideline.test_fit import runs


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"seed-{seed}.json" for seed in range(3)]
    for path, widths in zip(paths, runs(), strict=True):
        widths.write(path)
    return [str(path) for path in paths]


def test_a_guideline_is_said_written_and_drawn(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "guideline.yaml"
    assert main(["guide", *files, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "With 40 % of the channels left, where uniform scaling would keep 40 % of every width:\n"
    )
    assert "stage  role   keep ratio" in printed
    assert "Note: All sources are of one network (vgg16)" in printed
    assert (tmp_path / "guideline.png").read_bytes().startswith(b"\x89PNG")
    guideline = read_guideline(out)
    assert main(["guide", "--guideline", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[:6] == printed.splitlines()[:6]
    assert main(["guide", *files, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["sentences"][0] == printed.splitlines()[0]
    assert content["cells"] == guideline.model_dump(mode="json")["cells"]
    assert main(["guide", *files, "--out", str(out)]) == 2
    assert "which exists" in capsys.readouterr().err


def test_by_depth_needs_runs_of_three_networks(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", *files, "--by", "depth"]) == 2
    assert "must have 3 networks of one family with different numbers of layers" in capsys.readouterr().err
    assert main(["guide", "--guideline", "erk", "--by", "depth"]) == 2
    assert "--by must come with runs to fit" in capsys.readouterr().err


def test_applied_widths_are_written_and_can_be_trained(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guideline, out = tmp_path / "guideline.yaml", tmp_path / "widths.json"
    assert main(["guide", *files, "--out", str(guideline)]) == 0
    arguments = ["apply", "--guideline", str(guideline), "--space", "vgg11", "--width-multiplier", "0.25"]
    images = ["--image-size", "8", "--in-channels", "1"]
    assert main([*arguments, *images, "--budget", "channels<=40%", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "vgg11 at channels<=40%:" in printed
    widths = read_widths(out)
    assert widths.method is not None
    assert (widths.method.name, widths.method.settings) == ("guideline", {"guideline": "guideline.yaml"})
    assert sum(widths.vector) <= 0.4 * sum(group.base for group in widths.groups)
    short = ["--epochs", "1", "--seeds", "1", "--max-images", "60"]
    train = ["train", str(out), "--schedule", "scratch-e", *short]
    assert f"Next:   nas-prune train {out} --data folder:PATH" in printed
    assert main(train) == 2  # on which images?
    assert "--data must say on which images" in capsys.readouterr().err
    assert main([*train, "--data", "digits", "--out", str(tmp_path / "run")]) == 0
    assert main([*arguments, *images, "--budget", "channels<=40%", "--out", str(out)]) == 2
    assert "--out must be a new file" in capsys.readouterr().err


def test_rules_are_guidelines_for_people_without_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["guide", "--guideline", "erk"]) == 0
    assert "Rigging the Lottery" in capsys.readouterr().out
    apply = ["apply", "--guideline", "bottleneck-first", "--space", "resnet20", "--budget", "macs<=50%"]
    assert main([*apply, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    keep = {group["name"]: group["width"] / group["base"] for group in content["widths"]["groups"]}
    assert keep["layer1.1.conv1"] < 0.6 * keep["layer3.1.conv1"]


def test_a_budget_far_from_the_sources_is_one_line(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guideline = tmp_path / "guideline.yaml"
    main(["guide", *files, "--out", str(guideline)])
    capsys.readouterr()
    assert main(["apply", "--guideline", str(guideline), "--space", "vgg16", "--budget", "channels<=5%"]) == 2
    assert "within a factor of two of what the guideline covers" in capsys.readouterr().err


@pytest.fixture
def two_costs(files: list[str], tmp_path: Path) -> list[str]:
    """The same widths, one of them found at a bound on another cost."""
    other = tmp_path / "other.json"
    content = json.loads(Path(files[0]).read_text())
    other.write_text(json.dumps(content | {"budget": "macs<=50%", "seed": 9}))
    return [*files, str(other)]


def test_widths_of_two_costs_give_a_guideline_for_each(
    two_costs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "guideline.yaml"
    assert main(["guide", *two_costs, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "From 3 of 4 widths, found at bounds on channels:" in printed
    assert "From 1 of 4 widths, found at bounds on macs:" in printed
    for cost, count in (("channels", 3), ("macs", 1)):
        file = tmp_path / f"guideline-{cost}.yaml"
        assert f"Guideline: {file}, picture: {file.with_suffix('.png')}" in printed
        assert {one.cost for one in read_guideline(file).sources} == {cost}
        assert len(read_guideline(file).sources) == count
        assert file.with_suffix(".png").exists()
    assert not out.exists()
    (tmp_path / "guideline-channels.yaml").unlink()
    assert main(["guide", *two_costs, "--out", str(out)]) == 2  # nothing is half-written
    assert "guideline-channels.png, which exists" in capsys.readouterr().err
    assert not (tmp_path / "guideline-channels.yaml").exists()
    assert main(["guide", *two_costs, "--cost", "macs", "--out", str(out)]) == 0
    assert "widths, found at bounds on" not in capsys.readouterr().out
    assert {one.cost for one in read_guideline(out).sources} == {"macs"}


def test_guidelines_of_two_costs_are_told_apart_for_programs(
    two_costs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["guide", *two_costs, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert set(content["by_cost"]) == {"channels", "macs"}
    assert content["by_cost"]["macs"]["sentences"]


def test_python_has_a_guideline_for_each_cost_and_says_what_one_alone_needs(two_costs: list[str]) -> None:
    paths = [Path(one) for one in two_costs]
    assert {cost: len(one.sources) for cost, one in nas_prune.fit_guidelines(paths).items()} == {
        "channels": 3,
        "macs": 1,
    }
    assert list(nas_prune.fit_guidelines(paths, cost="macs")) == ["macs"]
    with pytest.raises(GuidelineError, match=r"cost='channels'.*fit_guidelines\) makes one for each"):
        nas_prune.fit_guideline(paths)


def test_an_evaluation_takes_the_guideline_of_its_budgets_cost(
    two_costs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["evaluate", *two_costs, "--space", "torchvision:nosuch", "--networks", "2"]
    assert main([*typed, "--budget", "macs<=50%"]) == 2
    assert "the guideline is of those driven by macs, like the budget" in capsys.readouterr().err
    assert main([*typed, "--budget", "params<=50%"]) == 2  # none was driven by it
    assert "--cost channels" in capsys.readouterr().err
