"""The arms of a comparison of patterns: which weights are there, what they start from, how long they are trained.

Each seed has a search of its own; what it found is trained from random weights (Scratch-E, Scratch-B), from the weights
that the search left (fine-tuned at a small rate, or by the whole recipe) and from early ones (a lottery ticket). Beside
it stand masks that know less: the same densities with all else drawn, all statistics with the rest drawn, a guideline
of other searches, and densities by rule; and dense networks, of uniform widths and of those that network slimming
finds, of the same MACs and the same bytes.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from nas_prune.errors import BadInputError
from nas_prune.training.schedules import Schedule

PatternKind: TypeAlias = Literal[
    "whole",
    "found",
    "shuffled",
    "drawn",
    "guided",
    "uniform",
    "erk",
    "random",
    "widths-macs",
    "widths-size",
    "slimming-macs",
    "slimming-size",
]


@dataclass(frozen=True, slots=True)
class PatternArm:
    """One way to get a trained network.

    Attributes:
        name: what it is called.
        kind: which weights are there.
        schedule: how long, at which rate.
        start: random weights; those that the search left; or early ones of the search: after the epoch to which lottery
            tickets are rewound, else before its first step.
        words: what it is, for people.
        beside: the arm it is compared with; None for the one that most others are compared with.
    """

    name: str
    kind: PatternKind
    schedule: Schedule
    start: Literal["random", "trained", "early"] = "random"
    words: str = ""
    beside: str | None = "scratch-e"

    @property
    def is_masked(self) -> bool:
        """Whether weights are left out one by one."""
        return self.kind != "whole" and self.widths_from is None

    @property
    def widths_from(self) -> Literal["uniform", "found"] | None:
        """Which widths a dense network has; None where it has its own."""
        if self.kind in ("widths-macs", "widths-size"):
            return "uniform"
        return "found" if self.kind in ("slimming-macs", "slimming-size") else None


ARMS: dict[str, PatternArm] = {
    arm.name: arm
    for arm in (
        PatternArm("whole", "whole", "scratch-e", words="all weights", beside="scratch-b"),
        PatternArm(
            "fine-tuned",
            "found",
            "fine-tune",
            "trained",
            "the search's weights, at a hundredth of the rate",
            beside="scratch-b",
        ),
        PatternArm(
            "rewound",
            "found",
            "rewind",
            "trained",
            "the search's weights, by the whole recipe",
            beside="scratch-b",
        ),
        PatternArm(
            "scratch-e", "found", "scratch-e", words="the masks found, from random weights", beside=None
        ),
        PatternArm(
            "scratch-b", "found", "scratch-b", words="as scratch-e, for the MACs of the whole network"
        ),
        PatternArm(
            "ticket", "found", "scratch-e", "early", "the masks found, from the search's early weights"
        ),
        PatternArm("drawn", "drawn", "scratch-e", words="masks drawn with the statistics of those found"),
        PatternArm("shuffled", "shuffled", "scratch-e", words="the densities of layers, all else shuffled"),
        PatternArm(
            "guided",
            "guided",
            "scratch-e",
            words="masks drawn after a guideline of other searches",
            beside="uniform",
        ),
        PatternArm("uniform", "uniform", "scratch-e", words="the same density in every layer"),
        PatternArm("erk", "erk", "scratch-e", words="densities by the sizes of layers"),
        PatternArm("random", "random", "scratch-e", words="drawn densities"),
        PatternArm(
            "widths-macs", "widths-macs", "scratch-e", words="uniform widths, dense, of the same MACs"
        ),
        PatternArm(
            "widths-size", "widths-size", "scratch-e", words="uniform widths, dense, of the same bytes"
        ),
        PatternArm(
            "slimming-macs",
            "slimming-macs",
            "scratch-e",
            words="widths found by slimming, dense, of the same MACs",
        ),
        PatternArm(
            "slimming-size",
            "slimming-size",
            "scratch-e",
            words="widths found by slimming, dense, of the same bytes",
        ),
    )
}


def arms_named(
    names: tuple[str, ...], *, has_guideline: bool, is_trained: bool = True
) -> tuple[PatternArm, ...]:
    """Arms by their names, in their usual order; all that can be trained if none is named.

    Args:
        names: of some, which bring those that they are compared with.
        has_guideline: whether there is one to draw from.
        is_trained: whether the search trains a network, from which arms may inherit.

    Raises:
        BadInputError: one is not known, needs a guideline, or a search that trains.
    """
    unknown = next((name for name in names if name not in ARMS), None)
    if unknown is not None:
        near = get_close_matches(unknown, ARMS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadInputError(f"--arm must be one of {', '.join(ARMS)}, got {unknown!r}.{hint}")
    if "guided" in names and not has_guideline:
        raise BadInputError("--arm guided must come with --guideline FILE, what nas-prune guide writes.")
    inheriting = next((name for name in names if ARMS[name].start != "random"), None)
    if inheriting is not None and not is_trained:
        raise BadInputError(
            f"--arm {inheriting} must come with a search that trains a network, got one that trains none."
        )
    can = {
        name
        for name, arm in ARMS.items()
        if (name != "guided" or has_guideline) and (arm.start == "random" or is_trained)
    }
    beside = {name for wanted in names if (name := ARMS[wanted].beside) is not None}
    wanted = {*names, *beside} if names else can
    return tuple(arm for arm in ARMS.values() if arm.name in wanted)
