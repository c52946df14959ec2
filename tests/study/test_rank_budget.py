"""What a budget pays for: the verdict first, then the race, then what is only good to know."""

import pytest

from nas_prune.study.rank_budget import Prices, full_trainings, race_share

NAMES = ["guideline", "uniform", "rule", "trial 4", "trial 2"]
PRICES = Prices(dict.fromkeys(NAMES, 10), {**dict.fromkeys(NAMES, 100), "rule": 110})
BASELINES = ("guideline", "uniform")


def test_the_verdict_is_kept_out_of_the_races_share() -> None:
    assert race_share(PRICES, BASELINES, 3, None).most_macs is None
    plenty = race_share(PRICES, BASELINES, 3, 1000)
    assert (plenty.names, plenty.most_macs) == (tuple(NAMES), 1000 - 2 * 210)
    assert race_share(PRICES, BASELINES, 1, 1000).most_macs == 1000 - 210
    assert race_share(PRICES, BASELINES, 3, 470).most_macs == 50
    assert race_share(PRICES, BASELINES, 3, 469).most_macs == 469 - 210
    assert race_share(PRICES, ("uniform",), 3, 470).most_macs == 50
    assert race_share(PRICES, (), 3, 270).most_macs == 50


def test_the_last_networks_are_left_out_where_the_first_round_cannot_be_paid() -> None:
    found = race_share(PRICES, BASELINES, 3, 240)
    assert found.names == ("guideline", "uniform", "rule")
    assert found.most_macs == 30
    assert found.full_seeds == 3


@pytest.mark.parametrize(("budget", "names", "spent"), [(239, 5, 239), (49, 4, 49), (5, 3, 30)])
def test_a_budget_that_pays_for_no_verdict_goes_to_the_race(budget: int, names: int, spent: int) -> None:
    found = race_share(PRICES, BASELINES, 3, budget)
    assert (found.names, found.most_macs, found.full_seeds) == (tuple(NAMES[:names]), spent, 0)


def test_winner_and_baselines_are_trained_with_all_seeds_and_the_others_once() -> None:
    order = ["trial 4", "uniform", "rule", "guideline", "trial 2"]
    found = full_trainings(order, BASELINES, PRICES, 3, None)
    assert sorted(found) == sorted(
        [(name, seed) for name in ("trial 4", "uniform", "guideline") for seed in range(3)]
        + [("rule", 0), ("trial 2", 0)]
    )
    assert len(full_trainings(["uniform", *order[::2]], BASELINES, PRICES, 1, None)) == 5
    assert full_trainings(["guideline", "rule"], ("guideline",), PRICES, 2, None)[:2] == [
        ("guideline", 0),
        ("guideline", 1),
    ]


@pytest.mark.parametrize(
    ("left", "counts"),
    [
        (0, {"trial 4": 1, "uniform": 1}),
        (399, {"trial 4": 1, "uniform": 1}),
        (400, {"trial 4": 2, "uniform": 2}),
        (600, {"trial 4": 2, "uniform": 2, "guideline": 2}),
        (899, {"trial 4": 2, "uniform": 2, "guideline": 2}),
        (900, {"trial 4": 3, "uniform": 3, "guideline": 3}),
        (1010, {"trial 4": 3, "uniform": 3, "guideline": 3, "rule": 1}),
    ],
)
def test_a_budget_pays_for_the_verdict_first(left: int, counts: dict[str, int]) -> None:
    order = ["trial 4", "uniform", "rule", "guideline", "trial 2"]
    found = full_trainings(order, BASELINES, PRICES, 3, left)
    assert {name: sum(one == name for one, _ in found) for name, _ in found} == counts
