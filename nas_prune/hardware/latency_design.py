"""Which networks are timed to know the latency of all others: a pure function of the space and a seed.

Each group's width is drawn by itself, so that every layer meets pairs of all kinds of widths; half of them evenly on a
scale of doublings, half evenly on the widths themselves, and half of them multiples of what runtimes compute in.
Networks that only the errors are judged by have widths drawn evenly, each width as likely as any other.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal, TypeAlias

import numpy as np

from nas_prune.space.search_space import SearchSpace

Use: TypeAlias = Literal["fit", "calibrate", "held-out"]
_NARROWEST = 16  # an evenly drawn doubling begins at the base width divided by this
_MULTIPLES = (1, 1, 1, 1, 4, 8, 16, 32)


def networks(space: SearchSpace, fitted: int, checked: int, seed: int) -> list[tuple[Use, tuple[int, ...]]]:
    """What each network is for, and its widths.

    Args:
        space: the network.
        fitted: how many the layers' times are fitted to; the first is the whole network.
        checked: how many are held out, which judge the prediction.
        seed: fixes the widths.
    """
    rng = np.random.default_rng([seed, 7])
    found: list[tuple[Use, tuple[int, ...]]] = [("fit", space.base_G)]
    found += [("fit", _drawn(space, rng)) for _ in range(fitted - 1)]
    return found + [("held-out", _even(space, rng)) for _ in range(checked)]


def identity_of_networks(space: SearchSpace, planned: Sequence[tuple[Use, tuple[int, ...]]]) -> str:
    """What tells networks that are timed from others: a digest of their widths, and of what tells the pace."""
    content = json.dumps([reference(space), *planned], default=int)
    return blake2b(content.encode(), digest_size=16).hexdigest()


def reference(space: SearchSpace) -> tuple[int, ...]:
    """The widths of the network that is timed again and again: half of each group's."""
    return tuple(
        min(allowed, key=lambda width: abs(width - group.size / 2))
        for allowed, group in zip(space.allowed_G, space.groups, strict=True)
    )


def _drawn(space: SearchSpace, rng: np.random.Generator) -> tuple[int, ...]:
    widths = []
    for group, allowed in zip(space.groups, space.allowed_G, strict=True):
        is_doubling, where, multiple = rng.random() < 0.5, rng.random(), rng.choice(_MULTIPLES)
        least = max(1.0, group.size / _NARROWEST)
        wanted = least * (group.size / least) ** where if is_doubling else 1 + where * (group.size - 1)
        fitting = [width for width in allowed if width % multiple == 0] or list(allowed)
        widths.append(min(fitting, key=lambda width: abs(width - wanted)))
    return tuple(widths)


def _even(space: SearchSpace, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(rng.choice(allowed)) for allowed in space.allowed_G)
