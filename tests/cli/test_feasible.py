"""A budget that cannot be met: what would be, the way out, and the command that shows the same numbers."""

import json
import re
import shlex
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.space.budget import Budget
from nas_prune.space.cut import check_feasible, feasible_range, least_share
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths
from tests.conftest import WriteDigits

REFUSED = re.compile(
    r"where (?P<least>[\d,]+) to (?P<most>[\d,]+) are feasible .*All ranges: nas-prune (?P<command>.*)"
)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert len([line for line in error.splitlines() if line.startswith("nas-prune: ")]) == 1
    return error.splitlines()[-1]


@pytest.mark.parametrize(
    "typed",
    [
        ["search", "--space", "resnet20", "--budget", "macs<=1%"],
        ["search", "--space", "resnet20", "--budget", "channels<=1%", "--groups", "all"],
        ["search", "--space", "resnet20", "--width-multiplier", "0.5", "--budget", "params<=1%"],
        ["search", "--space", "vgg11", "--method", "l1-norm", "--budget", "activations<=0.1%"],
        [
            "apply",
            "--guideline",
            "uniform",
            "--space",
            "resnet20",
            "--classes",
            "7",
            "--budget",
            "params<=1%",
        ],
    ],
)
def test_the_command_in_a_refusal_shows_the_same_numbers(
    typed: list[str], in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2
    found = REFUSED.search(refusal(capsys))
    assert found is not None
    least, most = (int(found[name].replace(",", "")) for name in ("least", "most"))
    assert main([*shlex.split(found["command"]), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    groups = "all" if "all" in typed else "inner"
    kind = typed[typed.index("--budget") + 1].partition("<=")[0]
    if kind == "channels":
        assert shown["feasible_channels"][groups] == [least, most]
    else:
        assert (shown["feasible"][groups][kind], shown["base"][kind]) == (least, most)
    assert not list(in_empty_directory.iterdir())


def test_the_way_out_is_named_where_there_is_one(
    in_empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["search", "--space", "resnet20", "--method", "uniform"]
    assert main([*typed, "--budget", "params<=1%"]) == 2
    said = refusal(capsys)
    assert (
        "Search residual streams too, which reaches params<=0.09% (--groups all, in a file groups: all)"
        in said
    )
    raised = re.search(r"or raise it to (\S+)\. ", said)
    assert raised is not None
    assert main([*typed, "--budget", "params<=1%", "--groups", "all", "--out", "all"]) == 0
    assert main([*typed, "--budget", raised[1], "--out", "raised"]) == 0
    capsys.readouterr()
    assert main([*typed, "--budget", "params<=0.01%"]) == 2
    assert "search residual streams too and raise it to params<=0.09%" in refusal(capsys)
    assert main([*typed, "--budget", "params<=0.01%", "--groups", "all"]) == 2
    assert "Raise it to params<=0.09%." in refusal(capsys)


def test_the_least_share_is_rounded_up_so_that_it_can_be_typed() -> None:
    space = load_space("resnet20", (3, 32, 32), num_classes=10)
    for kind in ("macs", "params", "activations", "channels"):
        columns = space.searched("inner")
        least = feasible_range(space, Budget(kind, 1.0), columns)
        check_feasible(space, Budget.parse(f"{kind}<={least_share(*least).replace(' ', '')}"), columns)


def test_inspect_says_on_which_images_its_shares_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--space", "vgg11"]) == 0
    assert "Shares depend on the images: --data says which." in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("in_empty_directory")
def test_apply_and_inspect_take_sizes_channels_and_classes_from_images(
    write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digits("my pictures", {"0": 20, "1": 20, "2": 20})
    images = ["--data", "folder:my pictures", "--image-size", "16"]
    give = ["apply", "--guideline", "erk", "--space", "vgg11", "--budget", "macs<=50%", *images]
    assert main([*give, "--out", "w.json"]) == 0
    assert "Next:   nas-prune train w.json --data 'folder:my pictures'" in capsys.readouterr().out
    space = read_widths("w.json").space
    assert (space.input_shape[1:], space.num_classes) == ((16, 16), 3)
    assert main(["train", "w.json", *images[:2], "--epochs", "1", "--out", "t"]) == 0
    assert main(["inspect", "--space", "vgg11", "--data", "digits", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["space"]["input_shape"] == [1, 8, 8]
    assert main(["inspect", *images, "--classes", "3"]) == 2
    assert "--data must stand without --input, --in-channels and --classes" in capsys.readouterr().err
