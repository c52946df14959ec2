"""What a network's quality is measured by: its name, whether more is better, and how its numbers are written.

Wherever networks are compared, a *score* is compared: the metric's value, or its negative where less is better. So more
is always better, and only what is printed goes back to the value.
"""

from math import floor, isfinite, log10
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_DIGITS = 4  # that count, of a number that is no share
_LARGEST, _SMALLEST = 1e9, 1e-4  # written without a power of ten


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Metric:
    """What says how good a network is.

    Attributes:
        name: as people write it, `accuracy`, `mIoU`, `RMSE`.
        is_greater_better: whether more is better.
        is_share: whether values are shares, in [0, 1] as a rule, that people read in percent.
    """

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f|<>`]+$")]
    is_greater_better: bool = True
    is_share: bool = False

    def score(self, value: float) -> float:
        """What is compared, of which more is better; the same function leads back from a score to its value.

        Example:
            >>> Metric("RMSE", is_greater_better=False).score(0.25)
            -0.25
        """
        return value if self.is_greater_better else -value

    def shown(self, value: float) -> str:
        """A value for people, with its unit.

        Example:
            >>> ACCURACY.shown(0.9123), Metric("RMSE", is_greater_better=False).shown(0.25)
            ('91.23 %', '0.2500')
        """
        return f"{self.bare(value)} %" if self.is_share else self.bare(value)

    def bare(self, value: float) -> str:
        """The same without a unit, where a heading has it.

        Example:
            >>> ACCURACY.bare(0.9123), Metric("perplexity", is_greater_better=False).bare(18_234.5)
            ('91.23', '18,234')
        """
        return f"{100 * value:.2f}" if self.is_share else _plain(value)

    def difference(self, scores: float) -> str:
        """A difference of scores for people, without its unit: above zero is better, whichever way the metric goes.

        Example:
            >>> ACCURACY.difference(0.0123), Metric("RMSE", is_greater_better=False).difference(-0.25)
            ('+1.23', '-0.2500')
        """
        return f"{100 * scores:+.2f}" if self.is_share else f"{'+' * (scores >= 0)}{_plain(scores)}"

    def between(self, low: float, high: float) -> str:
        """An interval of scores for people, as values without a unit.

        Example:
            >>> Metric("RMSE", is_greater_better=False).between(-0.5, -0.25)
            '0.2500 to 0.5000'
        """
        ends = sorted(map(self.score, (low, high)))
        return " to ".join(map(self.bare, ends))

    def drawn(self, score: float) -> float:
        """A score as a number in a picture: the value, in percent if that is how it is read."""
        return (100 if self.is_share else 1) * self.score(score)

    @property
    def unit(self) -> str:
        """Of a difference; nothing where the metric has none."""
        return " points" if self.is_share else ""

    @property
    def gain_heading(self) -> str:
        """Of a column of differences, what follows its name.

        Example:
            >>> "gain" + ACCURACY.gain_heading, "gain" + Metric("RMSE", is_greater_better=False).gain_heading
            ('gain, points', 'gain (+ is better)')
        """
        better = "" if self.is_greater_better else " (+ is better)"
        return f",{self.unit}{better}" if self.is_share else better

    @property
    def heading(self) -> str:
        """Of a column or an axis whose numbers are bare.

        Example:
            >>> ACCURACY.heading, Metric("PSNR").heading
            ('accuracy (%)', 'PSNR')
        """
        return f"{self.name} (%)" if self.is_share else self.name


def _plain(value: float) -> str:
    """A number with four digits that count, and all before its point.

    Example:
        >>> _plain(0.5), _plain(1234.5), _plain(-12.345), _plain(0.0)
        ('0.5000', '1,234', '-12.35', '0')
    """
    size = abs(value)
    if not isfinite(value) or size == 0:
        return f"{value:g}"
    if not _SMALLEST <= size < _LARGEST:
        return f"{value:.{_DIGITS - 1}e}"
    return f"{value:,.{max(0, _DIGITS - 1 - floor(log10(size)))}f}"


ACCURACY = Metric("accuracy", is_share=True)
