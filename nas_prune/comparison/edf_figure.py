"""The picture of populations of networks: empirical distribution functions (EDF) of their errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.runs.figure import BLACK, BLUE, GREEN, MARKERS, VERMILION, save
from nas_prune.training.accuracies import edf

# By name, so that a population looks the same in every panel. Dashes and markers tell them apart in grey.
_LOOKS = {
    "guided": (BLUE, "-", MARKERS[0]),
    "uniform": (BLACK, "--", MARKERS[1]),
    "random": (VERMILION, ":", MARKERS[2]),
    "direct": (GREEN, "-.", MARKERS[3]),
}


def draw_edfs(
    panels: Mapping[str, Mapping[str, Sequence[float]]], path: Path, *, title: str, metric: Metric = ACCURACY
) -> None:
    """Write `edfs_figure` as PNG."""
    save(edfs_figure(panels, title=title, metric=metric), path)


def edfs_figure(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str,
    what: str | None = None,
    metric: Metric = ACCURACY,
) -> Figure:
    """Empirical distribution functions of errors, in panels side by side.

    Args:
        panels: {heading: {population: errors}}.
        title: the title above all panels.
        what: what the errors are, for the axis; the metric's on test images if None.
        metric: of which they are the errors.
    """
    percent = " (%)" * metric.is_share
    what, scale = what or f"test {metric.error_name} e{percent}", metric.scale
    figure = Figure(figsize=(4.6 * len(panels), 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)
    for axes, (heading, populations) in zip(rows[0], panels.items(), strict=True):
        for name, errors in populations.items():
            colour, line, marker = _LOOKS.get(name, ("0.5", "-", "."))
            rising, shares = edf(errors)
            at, up = scale * np.concatenate([rising[:1], rising]), np.concatenate([[0.0], shares])
            median = metric.shown(float(np.median(errors)), 1)
            label = f"{name} (n = {len(errors)}, median {median})"
            axes.step(at, up, where="post", color=colour, linestyle=line, linewidth=1.8, label=label)
            axes.plot(scale * rising, shares, linestyle="", marker=marker, color=colour, markersize=4)
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel(what)
        axes.grid(color="0.9", linewidth=0.6)
        axes.legend(fontsize=7.5, loc="lower right")
    rows[0][0].set_ylabel(f"share of networks with {metric.error_name} ≤ e")
    rows[0][0].set_ylim(0, 1.03)
    figure.suptitle(title, fontsize=10)
    return figure
