"""At which cost controls are matched."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from nas_prune.comparison.plan import driving_axis, is_of_target, plan_widths
from nas_prune.space.load import load_space
from nas_prune.space.widths import Widths

PLAIN = load_space("resnet20", (3, 8, 8), num_classes=4)


@dataclass(frozen=True, slots=True)
class Channels:
    """A device that takes a microsecond for each channel."""

    def __call__(self, vectors_NV: ArrayLike, /) -> NDArray[np.int64]:
        """Nanoseconds."""
        return np.asarray(1000 * np.asarray(vectors_NV, dtype=np.int64).sum(axis=-1))

    def real(self, vectors_NV: ArrayLike, /) -> NDArray[np.float64]:
        """The same between whole widths."""
        return np.asarray(1000 * np.asarray(vectors_NV, dtype=np.float64).sum(axis=-1))


SPACE = PLAIN.aimed("device", [1] * len(PLAIN.groups), {"latency": Channels()})
HALF_G = [base // 2 for base in SPACE.base_G]  # 50 % of the channels, 26 % of the parameters


def half(budget: str) -> Widths:
    return SPACE.widths(HALF_G, budget=budget)


@pytest.mark.parametrize(
    ("budget", "axis"),
    [
        ("macs<=50%", "macs"),
        ("params<=50%", "params"),
        ("channels<=50%", "macs"),
        ("activations<=60%", "macs"),
        ("latency<=50%", "latency"),
        ("latency<=51%, params<=90%", "latency"),
        ("params<=90%, latency<=51%", "latency"),  # the one that is used up, wherever it stands
        ("latency<=90%, params<=27%", "params"),
        ("latency<=90%, macs<=27%", "macs"),
        ("own", "macs"),
    ],
)
def test_controls_are_matched_at_what_bounded_the_search(budget: str, axis: str) -> None:
    assert driving_axis(half(budget), SPACE) == axis
    assert is_of_target(half(budget), SPACE) == (axis == "latency")


def test_without_the_target_they_are_matched_at_macs() -> None:
    assert driving_axis(half("latency<=50%"), PLAIN) == "macs"


@pytest.mark.parametrize("kind", ["uniform-target", "random"])
def test_controls_cost_as_much_on_the_target(kind: str) -> None:
    found = half("latency<=50%")
    planned = plan_widths(kind, 0, found, SPACE)  # type: ignore[arg-type]
    assert planned.target is not None
    assert found.target is not None
    cost, most = planned.target.cost.counts["latency"], found.target.cost.counts["latency"]
    assert 0.97 * most <= cost <= most
