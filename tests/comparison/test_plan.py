"""At which cost controls are matched."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from nas_prune.comparison.choosing import ALL, extended
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.plan import driving_axis, is_of_target, plan_widths
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
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


def test_controls_that_have_the_very_widths_found_are_named() -> None:
    few = PLAIN.aimed("device", [16] * len(PLAIN.groups), {"latency": Channels()})
    uniform = plan_widths("uniform-macs", 0, few.widths([16] * len(few.groups), budget="latency<=50%"), few)
    _, notes = _notes(few, uniform.model_copy(update={"budget": "latency<=50%"}))
    assert "The widths found are also those of uniform-params, uniform-macs, uniform-target" in notes[-1]
    assert "with the target device there are few others" in notes[-1]
    rng = np.random.default_rng(7)
    other_G = matched(SPACE, SPACE.searched("all"), Budget.parse("latency<=50%"), rng).widths_G
    assert _notes(SPACE, SPACE.widths(other_G, budget="latency<=50%"))[1] == ()


def _notes(space: SearchSpace, found: Widths) -> tuple[CompareConfig, tuple[str, ...]]:
    config, _ = extended(CompareConfig(seeds=2), found, space, ALL)
    return config, config.notes
