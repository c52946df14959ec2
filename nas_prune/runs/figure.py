"""Pictures: one palette, and files that are the same bytes for the same figure.

matplotlib is loaded when a picture is written: the palette alone costs nothing.
"""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_prune.runs.colours import MARKERS as _MARKERS
from nas_prune.runs.files import write_whole
from nas_prune.runs.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Near to Okabe and Ito's, which colour-blind readers can tell apart; three are darker, to be seen on white. Some are
# alike in grey: give each a marker or dashes too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C16A9B", "#B98000", "#2F8FC4", "#000000")
MARKERS = _MARKERS  # one for each colour
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK = COLOURS


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG: whole or not at all, and the same bytes for the same figure."""
    write_whole(path, rendered(figure, "png", metadata={"Software": "nas-prune"}))


def rendered(figure: "Figure", kind: str, **options: Any) -> bytes:
    """The content of a picture file.

    Names in the figure are shown as they are: a `$` in one does not begin a formula.

    Args:
        figure: what is drawn.
        kind: `png` or `svg`.
        options: what else matplotlib's `savefig` takes.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
            text.set_text(printable(text.get_text(), keeps="\n"))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font"
        )  # in a folder's name, for example
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
