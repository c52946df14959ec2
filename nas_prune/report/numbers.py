"""How numbers are written in reports."""

from collections.abc import Sequence

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.space.widths import Widths
from nas_prune.training.result import mean_and_deviation


def million(number: float) -> str:
    """A count in millions: three digits that count, or one after the point where it is large.

    Example:
        >>> million(2_530_000), million(68_100)
        ('2.53', '0.0681')
    """
    value = number / 1e6
    return f"{value:,.1f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def percent(share: float) -> str:
    """A share in percent, without the sign."""
    return f"{100 * share:.2f}"


def mean_words(values: Sequence[float], metric: Metric = ACCURACY) -> str:
    """Mean ± standard deviation of values of a metric, without its unit; the mean alone of a single one."""
    mean, deviation = mean_and_deviation(values)
    return metric.bare(mean) if deviation is None else f"{metric.bare(mean)} ± {metric.bare(deviation)}"


def name_of(widths: Widths) -> str:
    """A network's name with its width multiplier."""
    factor = widths.space.width_multiplier
    return widths.space.name if factor == 1 else f"{widths.space.name} ×{factor:g}"


def costs(widths: Widths) -> list[str]:
    """MACs and parameters of widths, each with its share of the whole network's."""
    cost, base = widths.cost, widths.base_cost
    return [
        million(cost.macs),
        f"{100 * cost.macs / base.macs:.1f} %",
        million(cost.params),
        f"{100 * cost.params / base.params:.1f} %",
    ]
