"""One number of trainings by default wherever networks are compared, and help says why."""

from inspect import signature

import click
import pytest

from nas_prune.cli import COMMANDS, app, main
from nas_prune.cli.seeds import SEEDS
from nas_prune.comparison.config import CompareConfig
from nas_prune.study.rank import rank_study
from nas_prune.training.config import TrainConfig


def seed_options(flag: str) -> dict[str, click.Option]:
    """The options of this name, by command."""
    context, found = click.Context(app), {}
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        below = command.commands if isinstance(command, click.Group) else {"": command}
        for inner, one in below.items():
            for own in one.params:
                if isinstance(own, click.Option) and own.opts[0] == flag:
                    found[f"{name} {inner}".strip()] = own
    return found


def test_all_commands_that_compare_train_as_often_and_say_why() -> None:
    found = seed_options("--seeds")
    assert sorted(found) == ["compare", "study rank", "train", "transfer"]
    assert {name: own.default for name, own in found.items()} == {**dict.fromkeys(found, SEEDS), "train": 1}
    for name, own in found.items():
        why = "1 gives a network to use" if name == "train" else "5 wherever networks are compared: of fewer"
        assert own.show_default, name
        assert why in str(own.help), name


def test_full_trainings_are_fewer_and_that_is_explained() -> None:
    (own,) = seed_options("--full-seeds").values()
    assert (own.default, own.show_default) == (3, True)
    assert "since each is dear" in str(own.help)


def test_python_has_the_same_defaults() -> None:
    assert (CompareConfig().seeds, len(TrainConfig().seeds)) == (SEEDS, 1)
    assert [signature(rank_study).parameters[name].default for name in ("seeds", "full_seeds")] == [SEEDS, 3]


def test_help_prints_number_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Number of trainings. 1 gives a network to use; how far it is luck only several say" in printed
    assert "[default: 1; 1<=x<=1000]" in printed
