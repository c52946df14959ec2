"""What bounds widths beside a budget: multiples, a least width, layers left whole; in every command's words."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from nas_prune.cli import main
from nas_prune.comparison.plan import plan_widths
from nas_prune.errors import BadInputError
from nas_prune.search.methods.registry import method_named, scorable
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut, matched
from nas_prune.space.limits import Limits
from nas_prune.space.load import load_space
from nas_prune.space.widths import Widths, read_widths
from nas_prune.study.config import read_study
from nas_prune.study.location import StudyLocation
from nas_prune.study.run import resume_study

RESNET = load_space("resnet20", (3, 16, 16))
NAMES = [group.name for group in RESNET.groups]


def columns(*names: str) -> set[int]:
    return {NAMES.index(name) for name in names}


@pytest.mark.parametrize(
    ("pattern", "whole"),
    [
        ("layer2.1.conv1", {"layer2.1.conv1"}),
        ("layer2.1", {"layer2.1.conv1", "layer2.0.conv2"}),  # its second convolution writes the stream
        ("layer?.0.conv1", {"layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1"}),
        ("*.1.bn1", {"layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1"}),
    ],
)
def test_a_pattern_leaves_layers_and_all_in_a_module_whole(pattern: str, whole: set[str]) -> None:
    limited = RESNET.limited(Limits(keep=(pattern,)))
    assert limited.left_whole == columns(*whole)
    assert not limited.left_whole & set(limited.searched("all"))
    assert set(limited.searched("all")) | limited.left_whole == set(RESNET.searched("all"))


def test_cuts_keep_to_multiples_and_least_widths_and_meet_the_budget() -> None:
    limited = RESNET.limited(Limits(divisor=4, min_width=6, keep=("layer3.0.conv1",)))
    rng = np.random.default_rng(0)
    searched = limited.searched("inner")
    scores = [rng.random(base) if c in searched else None for c, base in enumerate(limited.base_G)]
    found = cut(limited, scores, Budget.parse("macs<=50%"))
    assert found.count <= found.limit == RESNET.limit(Budget.parse("macs<=50%"))
    assert min(found.widths_G) == 8  # the first multiple of 4 that is not below 6
    assert all(width % 4 == 0 for width in found.widths_G)
    assert found.widths_G[NAMES.index("layer3.0.conv1")] == 64
    assert any(width < base for width, base in zip(found.widths_G, RESNET.base_G, strict=True))


def test_a_block_with_a_kept_layer_cannot_go() -> None:
    method = method_named("sss-blocks")
    limited = RESNET.limited(Limits(keep=("layer2.1.conv1",)))
    gone = {RESNET.blocks[c - len(NAMES)].path for c in scorable(RESNET, method, "inner")}
    left = {RESNET.blocks[c - len(NAMES)].path for c in scorable(limited, method, "inner")}
    assert gone - left == {"layer2.1"}
    last = RESNET.limited(Limits(keep=("layer3.2.conv2",)))  # it writes a group of the whole stage
    assert [RESNET.blocks[c - len(NAMES)].path for c in last.removable()] == [
        block.path for block in RESNET.blocks if block.path != "layer3.2"
    ]


def test_patterns_that_match_nothing_or_everything_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"got 'layer9', which none matches\. Layers are layer"):
        RESNET.limited(Limits(keep=("layer9",)))
    with pytest.raises(BadInputError, match=r"must leave something to search, got \*, which is every group"):
        RESNET.limited(Limits(keep=("*",)))


def test_widths_files_hold_the_limits_and_are_as_before_without(tmp_path: Path) -> None:
    plain = RESNET.widths(RESNET.base_G)
    assert "limits" not in plain.model_dump(mode="json")
    limits = Limits(divisor=8, keep=("conv1",))
    RESNET.limited(limits).widths(RESNET.base_G).write(tmp_path / "w.json")
    content = json.loads((tmp_path / "w.json").read_text())
    assert content["limits"] == {"divisor": 8, "keep": ["conv1"]}
    assert read_widths(tmp_path / "w.json").limits == limits
    assert RESNET.vector(read_widths(tmp_path / "w.json")) == RESNET.base_G  # still of the same network


def test_what_found_widths_are_compared_with_has_their_limits() -> None:
    limits = Limits(divisor=8, keep=("layer1",))
    limited = RESNET.limited(limits)
    widths_G = matched(limited, limited.searched("inner"), Budget.parse("macs<=50%")).widths_G
    left = [group.name for c, group in enumerate(limited.groups) if c not in limited.searched("inner")]
    found = limited.widths(widths_G, left_whole=left)
    for kind in ("uniform-params", "random"):
        other: Widths = plan_widths(kind, 0, found, RESNET.limited(found.limits))
        assert other.limits == limits
        assert all(group.width % 8 == 0 for group in other.groups)
        assert all(group.width == group.base for group in other.groups if group.name in left)


COMMANDS = {
    "search": ["search", "--space", "resnet20", "--method", "uniform"],
    "apply": ["apply", "--space", "resnet20", "--guideline", "uniform", "--image-size", "8"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_choose_widths_take_the_same_limits(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    limits = ["--divisor", "8", "--min-width", "16", "--keep", "layer3.*"]
    assert main([*COMMANDS[name], "--budget", "macs<=90%", *limits, "--out", str(out)]) == 0
    widths = read_widths(out if out.is_file() else out / "widths" / "macs-90pct.json")
    assert widths.limits == Limits(divisor=8, min_width=16, keep=("layer3.*",))
    inner = [group for group in widths.groups if group.role == "inner"]
    assert all(group.width == group.base for group in inner if group.name.startswith("layer3"))
    assert {group.width for group in inner if group.name.startswith("layer2")} <= {16, 24, 32}
    assert any(group.width < group.base for group in inner)


def test_a_study_takes_limits_from_its_file_or_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "one.yaml"
    content = {"space": "resnet20", "data": "digits", "trials": 2, "keep": "layer1", "divisor": 8}
    file.write_text(yaml.safe_dump(content))
    assert read_study(file).limits == Limits(divisor=8, keep=("layer1",))
    assert read_study(file, keep=("layer2",), min_width=4).limits == Limits(
        divisor=8, min_width=4, keep=("layer2",)
    )
    small = {"data": {"name": "digits", "max_images": 200}, "epochs": 1, "recipe": "digits"}
    file.write_text(yaml.safe_dump({**content, **small}))
    more = ["--keep", "layer2", "--out", str(tmp_path / "s"), "--format", "json"]
    assert main(["study", "run", str(file), *more]) == 2  # macs<=50% is out of reach: said, and nothing begun
    assert "loosen --divisor 8, --keep layer2" in capsys.readouterr().err
    file.write_text(yaml.safe_dump({**content, **small, "budget": "macs<=80%"}))
    assert main(["study", "run", str(file), *more]) == 0
    trials = resume_study(StudyLocation(tmp_path / "s")).trials["one"]
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 2
    for trial in trials:
        widths = dict(zip(NAMES, json.loads(trial.user_attrs["widths"]), strict=True))
        assert (widths["layer2.0.conv1"], widths["layer2.1.conv1"]) == (32, 32)
        assert all(width % 8 == 0 for width in widths.values())
        assert widths["layer1.0.conv1"] == 8
