"""Pictures of a shoot-out: accuracy by arm, and against the training that an arm has."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.runs.figure import BLACK, BLUE, save
from tools.shootout_plan import Plan
from tools.shootout_results import TaskResult, half_interval, of_what


def draw(plan: Plan, results: Sequence[TaskResult], path: Path) -> None:
    """Accuracies by arm, a panel for each task: every repetition, the mean and its 95 % interval."""
    shown = [one for one in results if any(one.rows.values())]
    figure = Figure(figsize=(4.6 * len(shown), 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, result in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _panel(axes, plan, result)
    save(figure, path)


def _panel(axes: Axes, plan: Plan, result: TaskResult) -> None:
    estimates = result.estimates()
    names = list(estimates)
    for place, name in enumerate(reversed(names)):
        one, each = estimates[name], [100 * accuracy for accuracy in result.accuracies(name)]
        colour = BLUE if name == "study" else BLACK
        axes.plot(each, [place] * len(each), "o", color=colour, alpha=0.25, ms=4)
        half = half_interval(one)
        axes.errorbar(
            100 * one.mean,
            place,
            xerr=None if isnan(half) else 100 * half,
            fmt="s",
            color=colour,
            capsize=3,
            ms=5,
        )
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_title(f"{result.task}, {plan.tasks[result.task].budget}", fontsize=10)
    axes.set_xlabel(f"{of_what(plan)} accuracy, %")
    axes.grid(axis="x", color="0.9")


def draw_totals(plan: Plan, result: TaskResult, path: Path) -> None:
    """Accuracy against the training that an arm has, for arms of several totals: `study`, `study-6`."""
    families: dict[str, list[tuple[float, float, float]]] = {}
    for name, one in result.estimates().items():
        family = name.split("-")[0] if plan.arms[name].total is not None else name
        total = plan.arms[name].total or plan.total
        families.setdefault(family, []).append((total, 100 * one.mean, 100 * half_interval(one)))
    several = {family: sorted(points) for family, points in families.items() if len(points) > 1}
    if not several:
        return
    figure = Figure(figsize=(5.2, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (family, points), colour in zip(several.items(), (BLACK, BLUE), strict=False):
        totals, means, halves = zip(*points, strict=True)
        axes.errorbar(totals, means, yerr=halves, fmt="s-", color=colour, capsize=3, ms=5, label=family)
    axes.set_xscale("log", base=2)
    axes.set_xticks(totals, [f"{total:g}" for total in totals])
    axes.set_xlabel("training, in trainings of the whole network")
    axes.set_ylabel(f"{of_what(plan)} accuracy, %")
    axes.set_title(f"{result.task}, {plan.tasks[result.task].budget}", fontsize=10)
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    save(figure, path)
