"""Colours: how a budget looks in every picture, and how colours of a white page look on a dark one.

Contrast is that of WCAG 2: lines and dots need 3 against what they lie on, text 4.5.
"""

from dataclasses import dataclass
from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]

LEAST_OF_GRAPHICS, LEAST_OF_TEXT = 3.0, 4.5
DARK_PAPER = "#16181b"  # of the report's page, as page.css has it
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# From the tightest budget to none, each step lighter, so that the order is seen in grey and by colour-blind readers.
_TONES = ("#190a4b", "#4b0fa3", "#b3247c", "#dd5a33", "#a87d00")
_DASHES = {"macs": "-", "params": "--", "channels": ":", "activations": "-."}
_OTHER_DASHES = (0, (5, 1, 1, 1, 1, 1))
_WHITE: Rgb = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Look:
    """How a line is drawn, in the words of matplotlib."""

    colour: str
    marker: str
    dashes: "str | tuple[int, tuple[int, ...]]" = "-"


def look_of_budget(kind: str, share: float) -> Look:
    """The look of a budget, which depends on nothing else: it is the same in every picture.

    The colour says how tight it is, the dashes what it bounds, and the marker tells apart what lies close together.

    Args:
        kind: what it bounds: `macs`, `params`, …
        share: of the whole network, from 0 to 1.

    Example:
        >>> look_of_budget("macs", 0.5)
        Look(colour='#b3247c', marker='s', dashes='-')
    """
    share = min(1.0, max(0.0, share))
    steps = len(_TONES) - 1
    first = min(steps - 1, int(share * steps))
    low, high = rgb(_TONES[first]), rgb(_TONES[first + 1])
    marker = MARKERS[round(100 * share) % len(MARKERS)]
    return Look(_hex(_mixed(low, high, share * steps - first)), marker, _DASHES.get(kind, _OTHER_DASHES))


def on_dark(colour: str) -> str:
    """The same colour for a dark page: as much white is mixed in as it needs to be seen.

    Example:
        >>> on_dark("#ffffff")
        '#ffffff'
    """
    own = rgb(colour)
    steps = (_hex(_mixed(own, _WHITE, part / 50)) for part in range(51))
    return next(one for one in steps if contrast(one, DARK_PAPER) >= LEAST_OF_TEXT)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21.

    Example:
        >>> round(contrast("#000000", "#ffffff"), 6)
        21.0
    """
    low, high = sorted(_luminance(rgb(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def rgb(colour: str) -> Rgb:
    """Red, green and blue of `#rrggbb`, from 0 to 1."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def _hex(colour: Rgb) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def _mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(colour: Rgb) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
