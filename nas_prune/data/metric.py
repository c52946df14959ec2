"""What a network's quality is measured by: its name, whether more is better, and how its numbers are written.

Wherever networks are compared, a *score* is compared: the metric's value, or its negative where less is better. So more
is always better, and only what is printed goes back to the value.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from math import floor, isfinite, log10
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
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

    def shown(self, value: float, decimals: int = 2) -> str:
        """A value for people, with its unit.

        Example:
            >>> ACCURACY.shown(0.9123), Metric("RMSE", is_greater_better=False).shown(0.25)
            ('91.23 %', '0.2500')
        """
        return f"{self.bare(value, decimals)}{' %' * self.is_share}"

    def bare(self, value: float, decimals: int = 2) -> str:
        """The same without a unit, where a heading has it.

        Example:
            >>> ACCURACY.bare(0.9123), Metric("perplexity", is_greater_better=False).bare(18_234.5)
            ('91.23', '18,234')
        """
        return f"{100 * value:.{decimals}f}" if self.is_share else _plain(value)

    def told(self, score: float | None, decimals: int = 2) -> str:
        """A score for people: the value that it is of, with its unit.

        Args:
            score: more is better; None for none.
            decimals: of a percentage.

        Example:
            >>> ACCURACY.told(0.9123, 1), Metric("RMSE", is_greater_better=False).told(-0.25), ACCURACY.told(None)
            ('91.2 %', '0.2500', '–')
        """
        return "–" if score is None else self.shown(self.score(score), decimals)

    def difference(self, scores: float) -> str:
        """A difference of scores for people, without its unit: above zero is better, whichever way the metric goes.

        Example:
            >>> ACCURACY.difference(0.0123), Metric("RMSE", is_greater_better=False).difference(-0.25)
            ('+1.23', '-0.2500')
        """
        return f"{100 * scores:+.2f}" if self.is_share else f"{'+' * (scores >= 0)}{_plain(scores)}"

    def error(self, score: float) -> float:
        """What is to be small, of a score: what a share lacks of one, or the value where less is better.

        Example:
            >>> ACCURACY.error(0.75), Metric("RMSE", is_greater_better=False).error(-0.25)
            (0.25, 0.25)
        """
        return 1 - score if self.is_share and self.is_greater_better else -score

    def key(self, part: str) -> str:
        """What a file calls the value on a part of the images.

        Example:
            >>> ACCURACY.key("val"), Metric("mean F1").key("test")
            ('val_accuracy', 'test_mean_f1')
        """
        return f"{part}_{self.slug}"

    @property
    def slug(self) -> str:
        """The name as a key of JSON.

        Example:
            >>> Metric("mean F1 (macro)").slug
            'mean_f1_macro'
        """
        return re.sub("[^a-z0-9]+", "_", self.name.lower()).strip("_") or "metric"

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
        return self.scale * self.score(score)

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
    def unit(self) -> str:
        """Of a difference; nothing where the metric has none."""
        return " points" if self.is_share else ""

    @property
    def scale(self) -> float:
        """What values and errors are multiplied by in pictures: 100 where people read them in percent."""
        return 100.0 if self.is_share else 1.0

    @property
    def error_name(self) -> str:
        """Of what `error` gives.

        Example:
            >>> ACCURACY.error_name, Metric("mIoU", is_share=True).error_name, Metric("MAE", False).error_name
            ('error', '1 - mIoU', 'MAE')
        """
        if self.is_greater_better:
            return "error" if self.name == "accuracy" else f"{'1 ' * self.is_share}- {self.name}"
        return self.name

    @property
    def title(self) -> str:
        """The name as the first word of a sentence.

        Example:
            >>> ACCURACY.title, Metric("mIoU").title
            ('Accuracy', 'mIoU')
        """
        return self.name.capitalize() if self.name.islower() else self.name

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
_ADAPTER = TypeAdapter(Metric)


def metric_in(content: Mapping[str, Any]) -> Metric:
    """The metric that a result's file is of: accuracy where it names none.

    Raises:
        ValidationError: it names something else.
    """
    return _ADAPTER.validate_python(content["metric"]) if "metric" in content else ACCURACY


def named_metric(metric: Metric) -> dict[str, Any]:
    """What a result's file says of its metric: nothing of accuracy.

    Example:
        >>> named_metric(ACCURACY), named_metric(Metric("mIoU", is_share=True))
        ({}, {'metric': {'name': 'mIoU', 'is_greater_better': True, 'is_share': True}})
    """
    return {} if metric == ACCURACY else {"metric": asdict(metric)}
