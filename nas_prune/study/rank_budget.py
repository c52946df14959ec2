"""What a budget of training MACs pays for when a study is ranked. Pure arithmetic.

The verdict comes first: the winner and uniform widths in full, with two seeds each if that can be paid. What is left is
for the race, and then for more full trainings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

_WANTED = 2  # full trainings of winner and uniform widths that the race leaves room for


@dataclass(frozen=True, slots=True)
class Prices:
    """Multiply-accumulates of one training of each network, by name.

    Attributes:
        short, full: of a short and of a full training.
    """

    short: Mapping[str, int]
    full: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Share:
    """The race's share of a budget.

    Attributes:
        names: of the networks that race.
        most_macs: what their short trainings may take together; None for any number.
        full_seeds: full trainings of the winner, at most.
    """

    names: tuple[str, ...]
    most_macs: int | None
    full_seeds: int


def race_share(prices: Prices, baselines: Sequence[str], full_seeds: int, most_macs: int | None) -> Share:
    """Who races, and what for.

    A budget that pays for no verdict goes to the race alone; one that does not even pay for a first round of two
    networks is exceeded by it.

    Args:
        prices: of all networks, the first to be left out last.
        baselines: names of those that need no search, which always race.
        full_seeds: full trainings of the winner at most.
        most_macs: the budget; None for none.
    """
    names = list(prices.short)
    if most_macs is None:
        return Share(tuple(names), None, full_seeds)
    others = [name for name in names if name not in baselines]
    while True:
        first_round = sum(prices.short[name] for name in names)
        for seeds in range(min(_WANTED, full_seeds), min(0, full_seeds - 1), -1):
            kept = seeds * _pair_macs(prices, names, baselines)
            if first_round + kept <= most_macs:
                return Share(tuple(names), most_macs - kept, full_seeds)
        if len(others) < 2:
            no_verdict = Share(tuple(names), first_round, 0)
            return race_share(prices, baselines, 0, most_macs) if full_seeds else no_verdict
        names.remove(others.pop())


def _pair_macs(prices: Prices, names: Sequence[str], baselines: Sequence[str]) -> int:
    """One full training of the winner, whichever it is, and of uniform widths."""
    return max(prices.full[name] for name in names) + sum(prices.full[name] for name in baselines[-1:])


def full_trainings(
    order: Sequence[str], baselines: Sequence[str], prices: Prices, seeds: int, most_macs: int | None
) -> list[tuple[str, int]]:
    """Which networks are trained in full, and how often: names with the number of the training, from 0.

    The winner and uniform widths with two seeds each, a guideline's with two, all three with the rest, and then the
    other networks once, as long as it can be paid. The winner and uniform widths are trained once in any case.

    Args:
        order: names, the best first.
        baselines: names of those that need no search, uniform widths last.
        prices: of them.
        seeds: trainings of the winner and the baselines at most; 0 for none of any network.
        most_macs: what is left of the budget; None for any number.
    """
    if not seeds:
        return []
    pair = dict.fromkeys([order[0], *baselines[-1:]])
    rest = [name for name in baselines if name not in pair]
    few, many = range(min(_WANTED, seeds)), range(_WANTED, seeds)
    steps = [[(name, number) for name in pair] for number in few]
    steps += [[(name, number)] for number in few for name in rest]
    steps += [[(name, number) for name in (*pair, *rest)] for number in many]
    steps += [[(name, 0)] for name in order if name not in pair and name not in rest]
    left = inf if most_macs is None else most_macs
    found: list[tuple[str, int]] = []
    for step in steps:
        left -= sum(prices.full[name] for name, _ in step)
        if found and left < 0:
            break
        found += step
    return found
