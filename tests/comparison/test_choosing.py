"""What is said of the arms that are trained where some were asked for by name."""

import pytest

from nas_prune.comparison.arms import ARMS, chosen_arms
from nas_prune.comparison.choosing import what_is_trained
from nas_prune.comparison.config import CompareConfig
from nas_prune.errors import BadInputError


@pytest.mark.parametrize(
    ("asked", "before", "said"),
    [
        (("scratch-b",), (), "Trains scratch-b."),
        (("scratch-e",), (), "Trains scratch-e and scratch-b, which it is compared with."),
        (
            ("random-e", "unpruned"),
            (),
            "Trains unpruned, random-e and scratch-e, scratch-b, which they are compared with.",
        ),
        (("lottery",), ("scratch-e", "scratch-b"), "Adds lottery to the run's 2 arms."),
        (
            ("lottery",),
            ("unpruned", "scratch-b"),
            "Adds lottery and scratch-e, which it is compared with, to the run's 2 arms.",
        ),
        (("scratch-b",), ("scratch-e", "scratch-b"), "The run has scratch-b already; it keeps its 2 arms."),
    ],
)
def test_what_comes_with_an_arm_is_said(asked: tuple[str, ...], before: tuple[str, ...], said: str) -> None:
    arms = chosen_arms([*asked, *before], (), ARMS)
    assert what_is_trained(asked, before, CompareConfig(arms=arms)) == said


def test_an_arm_that_is_misspelt_is_named() -> None:
    with pytest.raises(BadInputError, match=r"got 'scrach-e'\. Did you mean scratch-e\?"):
        chosen_arms(["scrach-e"], (), ARMS)
