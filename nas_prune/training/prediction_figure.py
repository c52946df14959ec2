"""Pictures of predictions: which classes are taken for which, and the worst mistakes."""

from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.data.decode import decode_files
from nas_prune.data.pictures import absolute
from nas_prune.runs.figure import save
from nas_prune.training.prediction import Predictions

_MOST_NUMBERS, _MOST_NAMES = 20, 60  # classes up to which cells have numbers, and sides names
_COLUMNS, _WORST, _PIXELS = 6, 24, 160
_LONGEST = 24  # letters of a name


def draw_confusion(predictions: Predictions, path: Path) -> None:
    """Write, as PNG, the share of each class's images (row) that was taken for each class (column)."""
    counts_CC, names = predictions.confusion_CC, [_short(name) for name in predictions.classes]
    totals = counts_CC.sum(1, keepdims=True)
    shares_CC = counts_CC / np.maximum(1, totals)
    side = min(16.0, 2.4 + 0.42 * min(len(names), _MOST_NAMES))
    figure = Figure(figsize=(side + 0.8, side), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class's images")
    if len(names) <= _MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    if len(names) <= _MOST_NUMBERS:
        for row, column in zip(*np.nonzero(counts_CC), strict=True):
            colour = "white" if shares_CC[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(counts_CC[row, column]), ha="center", va="center", color=colour, fontsize=8
            )
    axes.set_title(
        f"{len(predictions.files):,} images: accuracy {100 * predictions.accuracy:.2f} %, "
        f"balanced {100 * predictions.balanced_accuracy:.2f} %",
        fontsize=10,
    )
    save(figure, path)


def draw_mistakes(predictions: Predictions, path: Path) -> bool:
    """Write, as PNG, a sheet of the images that were mistaken with the most certainty; whether there are any."""
    worst = predictions.worst(_WORST)
    assert predictions.labels_N is not None
    if not worst:
        return False
    files = [absolute(predictions.files[image]) for image in worst]
    pixels = decode_files(files, image_size=_PIXELS, in_channels=3, root=Path("/")).images
    columns = min(_COLUMNS, len(worst))
    rows = ceil(len(worst) / columns)
    figure = Figure(figsize=(1.75 * columns, 2.2 * rows + 0.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for place, image in enumerate(worst):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(pixels[place].permute(1, 2, 0).numpy())
        axes.set_axis_off()
        ((taken, share),) = predictions.best(image, 1)
        right = predictions.classes[int(predictions.labels_N[image])]
        axes.set_title(f"{_short(right)}\ntaken for {_short(taken)}, {100 * share:.0f} %", fontsize=7)
    figure.suptitle("The images whose class was found least probable", fontsize=10)
    save(figure, path)
    return True


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
