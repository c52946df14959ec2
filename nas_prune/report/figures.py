"""Figures as SVG inside a page: in its colours, light or dark, with nothing else to load.

Lines of one figure differ by colour, markers and dashes, so that they can be told apart in grey as well. Ink and greys
become those of the page; other colours have a lighter form for a dark one (`runs/colours.py`).
"""

import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.runs.colours import on_dark
from nas_prune.runs.figure import BLACK, BLUE, COLOURS, MARKERS, VERMILION, rendered
from nas_prune.training.accuracies import pareto_front

DASHES = ("-", "--", ":", "-.")
_TAG = re.compile(r"<[^>]*>")
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_USED = re.compile(r"var\(--on-([0-9a-f]{6}),")
_XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


def drawn(figure: Figure, name: str) -> str:
    """A figure as an `<svg>` element; the same bytes for the same figure.

    Args:
        figure: what is drawn.
        name: a different one for each figure of a page, since the parts of a figure refer to each other by names.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        written = rendered(figure, "svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = _TAG.sub(lambda found: _on_the_page(found.group(), name), text)
    start = text.index(">") + 1
    return text[:start] + _dark_style(text) + text[start:]


def _dark_style(text: str) -> str:
    """The colours of a picture on a dark page, where they would be too dark otherwise."""
    colours = sorted({f"#{one}" for tag in _TAG.findall(text) for one in _USED.findall(tag)})
    lighter = "".join(f"--on-{one[1:]}:{light};" for one in colours if (light := on_dark(one)) != one)
    return (
        f"<style>@media screen and (prefers-color-scheme:dark){{:root{{{lighter}}}}}</style>"
        if lighter
        else ""
    )


def _on_the_page(tag: str, name: str) -> str:
    """A tag as the page needs it. Text between tags is left as it is: it may be a name like `#000000`."""
    if tag.startswith("<svg"):
        tag = re.sub(r' (?:width|height)="[^"]*"', "", tag).replace(_XLINK, "")
    tag = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", tag)
    tag = _GREY.sub(_page_colour, tag.replace("xlink:href", "href"))
    return _COLOUR.sub(lambda found: f"var(--on-{found.group()[1:]}, {found.group()})", tag)


def _page_colour(found: "re.Match[str]") -> str:
    """A grey of the figure as a colour of the page: ink, muted ink, or the tint of grids and bands."""
    level = int(found.group(1), 16)
    if level < 60:
        return "currentColor"
    return "var(--muted)" if level < 190 else "var(--tint)" if level < 232 else "var(--band)"


def panels(titles: Sequence[str], *, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """An empty figure with panels side by side."""
    figure = Figure(figsize=(4.6 * len(titles), height), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(1, len(titles), squeeze=False)
    for axes, title in zip(rows[0], titles, strict=True):
        axes.set_title(title, fontsize=10, loc="left")
        axes.grid(color="0.88", linewidth=0.6)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, list(rows[0])


def curves_figure(
    curves: Mapping[str, Sequence[Sequence[float]]], *, what: str, metric: Metric = ACCURACY
) -> Figure:
    """Values by epoch, one line for each name: the mean of its trainings, with a band from the lowest to the highest.

    Args:
        curves: {name: for each training, a value after each epoch}. Unfinished trainings are shorter.
        what: what the values are.
        metric: that they are of.
    """
    figure, (axes,) = panels([what], height=3.8)
    figure.set_size_inches(8.4, 3.8)
    for number, (name, own) in enumerate(curves.items()):
        length = max(map(len, own))
        padded = np.full((len(own), length), np.nan)
        for row, values in zip(padded, own, strict=True):
            row[: len(values)] = metric.scale * np.asarray(values)
        epochs, colour = np.arange(1, length + 1), COLOURS[number % len(COLOURS)]
        axes.plot(
            epochs,
            np.nanmean(padded, axis=0),
            color=colour,
            linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)],
            markevery=max(1, length // 8),
            markersize=4,
            linewidth=1.4,
            label=f"{name} (n = {len(own)})" if len(own) > 1 else name,
        )
        if len(own) > 1:
            axes.fill_between(
                epochs,
                np.nanmin(padded, axis=0),
                np.nanmax(padded, axis=0),
                color=colour,
                alpha=0.12,
                linewidth=0,
            )
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("%" if metric.is_share else metric.name, fontsize=9)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    return figure


def dots_figure(
    values: Mapping[str, Sequence[float]],
    *,
    what: str,
    reference: float | None = None,
    metric: Metric = ACCURACY,
) -> Figure:
    """One row for each name, with a dot for every training and a bar for their mean.

    Args:
        values: {name: one value for each training}.
        what: what the values are.
        reference: a value that is marked across all rows.
        metric: that they are of.
    """
    figure, (axes,) = panels([""], height=1.0 + 0.3 * len(values))
    figure.set_size_inches(8.4, 1.0 + 0.3 * len(values))
    names = list(values)[::-1]
    for place, name in enumerate(names):
        shares = metric.scale * np.asarray(values[name])
        axes.plot(
            shares,
            [place] * len(shares),
            linestyle="",
            marker="o",
            color=BLUE,
            markersize=6,
            markeredgecolor="1.0",
        )
        axes.plot(
            [shares.mean()],
            [place],
            linestyle="",
            marker="|",
            color=BLACK,
            markersize=14,
            markeredgewidth=2,
        )
    if reference is not None:
        axes.axvline(metric.scale * reference, color="0.4", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(what, fontsize=9)
    return figure


def fronts_figure(
    points: Sequence[tuple[float, float, float]],
    *,
    what: str,
    marked: Mapping[str, int],
    metric: Metric = ACCURACY,
) -> Figure:
    """Accuracy against MACs and against parameters, each with its Pareto front.

    Args:
        points: (MACs, parameters, score) of each network: accuracy as a share, or by another metric.
        what: which accuracy it is.
        marked: {name: number of a point}, for networks with a marker of their own.
        metric: of the scores.
    """
    figure, both = panels([f"{what} against MACs", f"{what} against parameters"])
    for axes, column, unit, label in zip(
        both, (0, 1), (1e6, 1e3), ("MACs (millions)", "parameters (thousands)"), strict=True
    ):
        costs = [point[column] / unit for point in points]
        shares = [metric.drawn(point[2]) for point in points]
        axes.plot(costs, shares, linestyle="", marker="o", color="0.6", markersize=4, label="network")
        front_costs, best = pareto_front(costs, [point[2] for point in points])
        axes.step(
            front_costs,
            list(map(metric.drawn, best)),
            where="post",
            color=VERMILION,
            marker="s",
            markersize=4,
            label="none better and cheaper",
        )
        for number, (name, place) in enumerate(marked.items()):
            axes.plot(
                [costs[place]],
                [shares[place]],
                linestyle="",
                marker=MARKERS[number + 2],
                color=COLOURS[number + 2],
                markersize=9,
                markerfacecolor="none",
                markeredgewidth=2,
                label=name,
            )
        axes.set_xlabel(label, fontsize=9)
        axes.set_ylabel(f"{what}{' (%)' * metric.is_share}", fontsize=9)
    handles, labels = both[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, loc="outside lower center", ncols=4)
    return figure


def best_so_far_figure(values: Sequence[float], *, metric: Metric = ACCURACY) -> Figure:
    """The best score after each trial, and every trial's own, as values of a metric."""
    figure, (axes,) = panels(["Best so far"])
    figure.set_size_inches(8.4, 3.2)
    shares = np.array([metric.drawn(value) for value in values])
    best = [metric.drawn(value) for value in np.maximum.accumulate(values)]
    axes.plot(range(len(shares)), shares, linestyle="", marker="o", markersize=4, color="0.6", label="trial")
    axes.step(range(len(shares)), best, where="post", color=BLUE, label="best so far")
    axes.set_xlabel("trials that are complete", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("validation accuracy (%)" if metric == ACCURACY else metric.heading, fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return figure
