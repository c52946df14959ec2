"""Pictures: one palette, and PNG files that are whole and the same bytes for the same figure."""

import io
import warnings
from pathlib import Path

from matplotlib.figure import Figure

from nas_prune.runs.files import write_whole

# Distinct in greyscale and for colour-blind readers (Okabe & Ito), each with a marker of its own.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG: whole or not at all, and the same bytes for the same figure."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a folder's name, say
        figure.savefig(buffer, format="png", metadata={"Software": "nas-prune"})
    write_whole(path, buffer.getvalue())
