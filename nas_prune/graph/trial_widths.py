"""At which widths a network is tried, so that few runs show whether its channel graph is right."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

_MOST_RANDOM = 8
_STEPS_OF_SIDES = 2_000  # operations of all runs, beyond which a group is either wide or narrow in a vector
_STEPS_OF_RANDOM = 1_000  # likewise, beyond which fewer random vectors follow


def opposites(base: Sequence[int], rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Two random width vectors; which of two like groups is the wider one differs between them.

    Widths are below the base. They are at least two where possible, since one channel says little of what lies
    where. A group of two is narrowed in one of the vectors.
    """
    choices: dict[int, Iterator[int]] = {}
    widths, opposite = [], []
    for size in base:
        lowest = max(2, size // 3) if size > 3 else 1
        highest = max(size - 1, min(size, 2))
        width = next(choices.get(size, iter(())), None)
        if width is None:
            choices[size] = iter((rng.permutation(highest - lowest + 1) + lowest).tolist())
            width = next(choices[size])
        widths.append(width)
        opposite.append(lowest + highest - width)
    return widths, opposite


def beyond(base: Sequence[int], small: Sequence[int], rng: np.random.Generator) -> list[int]:
    """A random width vector in which some small groups are wider than in the whole network.

    Where channels are a product of two or three and others, a layout that the code bakes in looks like any other at
    one channel, and two are all there is below the base.

    Args:
        base: the widths of the whole network.
        small: which groups are to be wider, by place.
        rng: draws the widths.
    """
    widths, _ = opposites(base, rng)
    for number, place in enumerate(small):
        widths[place] = _PRIMES[number % len(_PRIMES)]
    return widths


_PRIMES = (5, 7)


def unlike(base: Sequence[int], rng: np.random.Generator, steps: int) -> Iterator[list[int]]:
    """Width vectors that tell groups of one size apart: of any two, one is narrow and one wide in some vector.

    Code that halves an axis of several pieces, say, runs as long as the pieces happen to be equal. The first vector
    is one below the base, so that no group of two escapes and few widths are even. Where a run is cheap, each of two
    groups is the wider one in some vector, and random vectors follow.

    Args:
        base: the widths of the whole network.
        rng: draws the widths.
        steps: how many operations one run takes.
    """
    yield [max(1, size - 1) for size in base]
    seen: Counter[int] = Counter()
    ranks = []  # among the groups of its size
    for size in base:
        ranks.append(seen[size])
        seen[size] += 1
    digits = max(1, (max(seen.values()) - 1).bit_length())
    sides = (0, 1) if 2 * digits * steps <= _STEPS_OF_SIDES else (0,)
    for digit in range(digits):
        for side in sides:
            is_wide = [rank >> digit & 1 == side for rank in ranks]
            yield [_half(*one, rng) for one in zip(base, is_wide, strict=True)]
    for _ in range(2 * digits, min(_MOST_RANDOM, _STEPS_OF_RANDOM // steps)):
        yield [int(rng.integers(_lowest(size), size + 1)) for size in base]


def _half(size: int, is_wide: bool, rng: np.random.Generator) -> int:  # noqa: FBT001
    """A width from the upper or the lower half of those that a group is tried at."""
    lowest = _lowest(size)
    middle = (lowest + size) // 2
    low, high = (min(size, middle + 1), size) if is_wide else (lowest, middle)
    return int(rng.integers(low, high + 1))


def _lowest(size: int) -> int:
    """The smallest width that a group is tried at, together with others."""
    return max(2, size // 3) if size > 2 else 1
