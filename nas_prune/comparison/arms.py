"""The arms of a comparison: which widths, what they start from, how long they are trained, what they are compared with.

An arm is compared with the found widths under the same schedule. Arms that start from trained weights, and the whole
network, are compared with Scratch-B, as in Liu et al. 2019. Fine-tuning has two arms, since a rate of a hundredth is
too small for what is left after a deep cut (Le & Hua 2021): `rewound` repeats the whole recipe from its largest rate.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypeAlias

from nas_prune.errors import BadInputError
from nas_prune.training.schedules import Schedule

Kind: TypeAlias = Literal[
    "whole",
    "found",
    "uniform-params",
    "uniform-macs",
    "uniform-target",
    "random",
    "guided",
    "winner",
    "direct",
    "torch-pruning",
    "study",
]
Start: TypeAlias = Literal["random", "trained", "initial", "given", "cut"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to get a trained network.

    Attributes:
        name: what it is called.
        kind: which widths.
        schedule: how long, at which rate.
        start: random weights; the trained weights of the channels kept; their initial weights, which are the given ones
            where the search started from some; the given weights of the whole network; or what another program's cut of
            a trained network left.
        beside: the arm it is compared with; None for the one that others are compared with.
        words: what it is, for people.
        is_extra: only trained where it is asked for by name.
    """

    name: str
    kind: Kind
    schedule: Schedule
    start: Start = "random"
    beside: str | None = None
    words: str = ""
    is_extra: bool = False

    @property
    def inherits(self) -> bool:
        """Whether it needs a whole network that was trained before it."""
        return self.start in ("trained", "initial")


_WORDS: dict[Kind, str] = {
    "whole": "the whole network",
    "found": "the widths found",
    "uniform-params": "uniform widths of the same parameters",
    "uniform-macs": "uniform widths of the same MACs",
    "uniform-target": "uniform widths of the same latency, memory or size",
    "random": "random widths of the same cost, by seed",
    "guided": "the guideline's widths at the same cost",
    "winner": "the study's widths",
    "direct": "widths of a search on these images",
    "torch-pruning": "the whole network, cut by Torch-Pruning and trained on by the whole recipe",
    "study": "the winner of a study of its own for each seed",
}
OWN_EACH: tuple[Kind, ...] = ("torch-pruning", "study")  # what they train is found anew for each seed


def _both(kind: Kind, reference: Kind) -> list[Arm]:
    """Widths trained from random weights under Scratch-E and Scratch-B, each compared with the reference's."""
    named = {"found": "scratch"}
    beside = named.get(reference, reference)
    schedules: tuple[Schedule, ...] = ("scratch-e", "scratch-b")
    return [
        Arm(
            kind + schedule[-2:],
            kind,
            schedule,
            beside=beside + schedule[-2:],
            words=_WORDS[kind],
            is_extra=kind in OWN_EACH,
        )
        for schedule in schedules
    ]


_STRUCTURE_OR_WEIGHTS = (
    Arm("unpruned", "whole", "scratch-e", beside="scratch-b", words=_WORDS["whole"]),
    Arm(
        "unpruned-given",
        "whole",
        "scratch-e",
        "given",
        "scratch-b",
        "the whole network, from the given weights",
    ),
    Arm(
        "fine-tuned",
        "found",
        "fine-tune",
        "trained",
        "scratch-b",
        "inherited weights, a hundredth of the rate",
    ),
    Arm("rewound", "found", "rewind", "trained", "scratch-b", "inherited weights, the whole recipe again"),
    Arm("lottery", "found", "scratch-e", "initial", "scratch-e", "initial weights of the channels kept"),
    Arm("scratch-e", "found", "scratch-e", beside="scratch-b", words=_WORDS["found"]),
    Arm("scratch-b", "found", "scratch-b", words=_WORDS["found"]),
    *_both("uniform-params", "found"),
    *_both("uniform-macs", "found"),
    *_both("uniform-target", "found"),
    *_both("random", "found"),
    *_both("guided", "found"),
    *_both("winner", "found"),
    *_both("study", "found"),
    Arm(
        "torch-pruning",
        "torch-pruning",
        "rewind",
        "cut",
        "scratch-b",
        words=_WORDS["torch-pruning"],
        is_extra=True,
    ),
)
ARMS: dict[str, Arm] = {arm.name: arm for arm in _STRUCTURE_OR_WEIGHTS}


def equal_arms() -> dict[str, Arm]:
    """The arms of a comparison at equal training: each trained for what is left of the same total, once."""
    kinds: tuple[Kind, ...] = (
        *("found", "uniform-params", "uniform-macs", "uniform-target", "random", "guided", "winner"),
        *OWN_EACH,
    )
    return {
        kind: Arm(
            kind,
            kind,
            "rewind" if kind == "torch-pruning" else "scratch-e",
            "cut" if kind == "torch-pruning" else "random",
            beside=None if kind == "found" else "found",
            words=_WORDS[kind],
            is_extra=kind in OWN_EACH,
        )
        for kind in kinds
    }


def transfer_arms(schedule: Literal["scratch-e", "scratch-b"]) -> dict[str, Arm]:
    """The arms of a transfer: all compared with the guideline's widths, under one schedule."""
    kinds: tuple[Kind, ...] = ("guided", "uniform-params", "uniform-macs", "direct")
    return {
        kind: Arm(kind, kind, schedule, beside=None if kind == "guided" else "guided", words=_WORDS[kind])
        for kind in kinds
    }


def chosen_arms(asked: Sequence[str], missing: Collection[str], known: dict[str, Arm]) -> tuple[str, ...]:
    """The arms to train, in the order of the table: those asked for (all if none are), and what they are compared with.

    Args:
        asked: names.
        missing: names of those that cannot be trained.
        known: all there are.

    Raises:
        BadInputError: one is not known.
    """
    unknown = next((name for name in asked if name not in known), None)
    if unknown is not None:
        near = get_close_matches(unknown, known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadInputError(f"--arm must be one of {', '.join(known)}, got {unknown!r}.{hint}")
    usual = [name for name, arm in known.items() if not arm.is_extra]
    wanted = {name for name in asked or usual if name not in missing}
    while more := {known[name].beside or name for name in wanted} - wanted:
        wanted |= more
    return tuple(name for name in known if name in wanted)


# Training seeds 0 to 999 are of the first search's widths, 1000 to 1999 of the second's.
SEEDS_OF_A_SEARCH = 1000


def path_of(run: Path, kind: Kind, seed: int) -> Path:
    """Where the widths of an arm are stored; some differ from seed to seed, found ones from search to search."""
    folder, search = run / "widths", seed // SEEDS_OF_A_SEARCH
    if kind == "random" or kind in OWN_EACH:
        return folder / kind / f"{seed}.json"
    return folder / (f"found-{search}.json" if kind == "found" and search else f"{kind}.json")
