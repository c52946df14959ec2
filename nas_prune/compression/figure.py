"""The picture of a compression: how many bytes each way to write the network takes, and bits a weight by layer."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nas_prune.compression.result import Compressed
from nas_prune.runs.figure import BLACK, BLUE, GREEN, ORANGE, SKY_BLUE, VERMILION, save

_MOST_LAYERS = 60


def draw_account(result: Compressed, path: Path) -> None:
    """Write `account_figure` as PNG."""
    save(account_figure(result), path)


def account_figure(result: Compressed) -> Figure:
    """Bytes of each form on the left; on the right, what the bits of each layer's weights are for."""
    rows = max(len(result.forms) + 1, min(_MOST_LAYERS, len(result.layers)))
    figure = Figure(figsize=(12, 1.6 + 0.3 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _forms(left, result)
    _layers(right, result)
    return figure


def _forms(axes: Axes, result: Compressed) -> None:
    metric, bound = result.measure, result.account.bound_bytes
    for row, form in enumerate(result.forms):
        axes.barh(row, form.bytes / 1024, color=VERMILION if form.is_step else SKY_BLUE, height=0.7)
        score = "" if form.test is None else f", {metric.shown(form.test, 1)}"
        share = f"{form.bytes / 1024:,.1f} KiB (1/{result.account.whole_bytes / form.bytes:.3g}){score} "
        axes.annotate(
            share, (form.bytes / 1024, row), (3, 0), textcoords="offset points", va="center", fontsize=7
        )
    axes.axvline(
        bound / 1024, color=BLACK, linestyle=":", linewidth=1, label="entropy of the symbols, and tables"
    )
    axes.set_yticks(range(len(result.forms)), [form.name for form in result.forms], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    low, high = min(bound, *(form.bytes for form in result.forms)), max(form.bytes for form in result.forms)
    axes.set_xlim(low / 1024 / 2, high / 1024 * (high / low) ** 0.7)
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(FuncFormatter(_power))
    axes.set_xlabel(
        f"KiB (share of the whole network's parameters in 32 bits), test {metric.name}", fontsize=9
    )
    axes.legend(fontsize=7, frameon=False, loc="lower right")


def _power(value: float, _: int) -> str:
    return f"{value:,g}" if f"{value:e}"[0] == "1" and value == float(f"{value:.0e}") else ""


def _layers(axes: Axes, result: Compressed) -> None:
    layers = result.layers[:_MOST_LAYERS]
    left = [0.0] * len(layers)
    parts = (
        ("which value", BLUE, [layer.index_bits for layer in layers]),
        ("where", ORANGE, [layer.position_bits for layer in layers]),
        ("values", GREEN, [8 * (layer.value_bytes + layer.table_bytes) for layer in layers]),
    )
    for name, colour, bits in parts:
        own = [one / layer.weights for one, layer in zip(bits, layers, strict=True)]
        axes.barh(range(len(layers)), own, left=left, color=colour, height=0.7, label=name)
        left = [before + one for before, one in zip(left, own, strict=True)]
    names = [
        f"{layer.name.removesuffix('.weight')} ({100 * layer.nonzeros / layer.weights:.3g} %)"
        for layer in layers
    ]
    axes.set_yticks(range(len(layers)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("bits a weight, zeros included (share of weights that are not zero)", fontsize=9)
    axes.legend(fontsize=7, frameon=False)
