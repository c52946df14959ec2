"""A study in a narrower network: how much narrower, and what it gives the network itself."""

import pytest

from nas_prune.comparison.lengths import lengths
from nas_prune.comparison.narrow import narrow_factor
from nas_prune.space.load import load_space


@pytest.mark.parametrize(
    ("name", "multiplier", "factor"),
    [("vgg16", 1.0, 0.25), ("resnet20", 1.0, 0.25), ("resnet20", 0.5, 0.5), ("resnet20", 0.25, 1.0)],
)
def test_no_searched_group_gets_fewer_than_four_channels(name: str, multiplier: float, factor: float) -> None:
    space = load_space(name, (3, 32, 32), width_multiplier=multiplier)
    assert narrow_factor(space, space.searched("inner")) == factor


def test_small_totals_make_short_trainings_and_large_ones_half_of_the_recipes() -> None:
    assert lengths(0.1, 0.4, 30) == {"epochs": 1, "judge_epochs": 1}
    assert lengths(100, 0.4, 30) == {"epochs": 15, "judge_epochs": 30}
