"""The spread of errors, and the networks that none beats."""

import pytest

from nas_prune.training.accuracies import edf, pareto_front


def test_a_distribution_function_rises_by_one_step_for_each_network() -> None:
    errors, shares = edf([0.3, 0.1, 0.2, 0.2])
    assert errors.tolist() == [0.1, 0.2, 0.2, 0.3]
    assert shares.tolist() == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("costs", "accuracies", "front"),
    [
        ([3, 1, 2], [0.9, 0.7, 0.8], ([1, 2, 3], [0.7, 0.8, 0.9])),
        ([1, 2, 3], [0.9, 0.8, 0.9], ([1], [0.9])),
        ([1, 1, 1], [0.7, 0.9, 0.9], ([1], [0.9])),
        ([2, 1], [0.5, 0.0], ([1, 2], [0.0, 0.5])),
        ([], [], ([], [])),
    ],
    ids=["all", "the cheapest is best", "equal costs and equal networks", "an accuracy of zero", "none"],
)
def test_the_front_holds_the_networks_that_none_as_cheap_reaches(
    costs: list[float], accuracies: list[float], front: tuple[list[float], list[float]]
) -> None:
    assert pareto_front(costs, accuracies) == front
