"""Tables for a terminal of any width, in which no name, number or path is ever broken.

A table that is too wide has its headings and sentences wrapped at spaces; if that is not enough, its columns are
written in several tables below each other, each of which begins with the first column again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

Lines = tuple[str, ...]

JOINT = "\u00a0"  # a space that a cell is never broken at
_GAPS = (2, 1)  # spaces between columns, if there is room
# Where a cell may be broken: at a space that stands neither within a number and its unit nor within a range.
_SIGNS = "%<>=≤≥±×+–"
_BREAK = re.compile(
    rf" {{2,}}|(?<![{_SIGNS}])(?<!\d of)(?<!\d to) (?![{_SIGNS}]|(?:of|to) [\d+–-]|(?:s|ms|points?)\b)"
)
_SPACE = re.compile(" ")


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its heading and cells, and where they may be broken."""

    heading: str
    cells: tuple[str, ...]
    is_left: bool

    @property
    def widest(self) -> int:
        """Its width if nothing is broken but what has lines of its own."""
        lines = [line for text in (self.heading, *self.cells) for line in text.split("\n")]
        return max(map(cell_len, lines), default=0)

    @property
    def narrowest(self) -> int:
        """Its width if everything is broken that may be."""
        words = [word for line in self.heading.split("\n") for word in line.split(" ")]
        words += [piece for cell in self.cells for line in cell.split("\n") for piece in _BREAK.split(line)]
        return max(map(cell_len, words), default=0)

    def head(self, width: int) -> Lines:
        """The lines of the heading."""
        return _wrapped(self.heading, width, _SPACE)

    def lines(self, row: int, width: int) -> Lines:
        """The lines of a cell."""
        return _wrapped(self.cells[row], width, _BREAK)

    def used(self, width: int) -> int:
        """How much of a width the lines need."""
        cells = (line for row in range(len(self.cells)) for line in self.lines(row, width))
        return max(map(cell_len, (*self.head(width), *cells)), default=0)

    def placed(self, text: str, width: int) -> str:
        """One line in its place."""
        text, space = text.replace(JOINT, " "), " " * (width - cell_len(text))
        return text + space if self.is_left else space + text


def table_lines(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, width: int | None = None
) -> tuple[list[str], frozenset[int]]:
    """A table as lines, and which of them are headings.

    Args:
        headings: of the columns; they may have several lines.
        rows: of cells.
        left: how many columns, the first ones, are aligned at their left.
        width: of the terminal, in columns; None if it is without end. A word that is longer is left whole.

    Example:
        >>> for line in table_lines(["budget", "val. accuracy"], [["macs<=50%", "98.6 %"]], width=20)[0]:
        ...     print(repr(line))
        '               val.'
        'budget     accuracy'
        'macs<=50%    98.6 %'
    """
    columns = [
        _Column(heading, tuple(row[place] for row in rows), place < left)
        for place, heading in enumerate(headings)
    ]
    least = sum(column.narrowest for column in columns)
    fitting = [gap for gap in _GAPS if width is None or least + gap * (len(columns) - 1) <= width]
    gap = fitting[0] if fitting else _GAPS[0]
    lines: list[str] = []
    heads: set[int] = set()
    for number, part in enumerate([columns] if fitting else _parts(columns, width or 0, gap)):
        lines += [""] * (number > 0)
        written, count = _written(part, _widths(part, width, gap), gap)
        heads |= set(range(len(lines), len(lines) + count))
        lines += written
    return lines, frozenset(heads)


def _parts(columns: Sequence[_Column], width: int, gap: int) -> list[list[_Column]]:
    """The columns of each table, as few as there can be; all begin with the first column."""
    parts = [[columns[0]]]
    for number, column in enumerate(columns[1:], 1):
        # Columns without a heading say the same as the one before them in another unit: they stay with it.
        beside = next(
            (i for i, one in enumerate(columns[number + 1 :], number + 1) if one.heading), len(columns)
        )
        block = columns[number:beside] if column.heading else [column]
        needed = sum(one.narrowest + gap for one in (*parts[-1], *block)) - gap
        if needed > width and column.heading and len(parts[-1]) > 1:
            parts.append([columns[0]])
        parts[-1].append(column)
    return parts


def _widths(columns: Sequence[_Column], width: int | None, gap: int) -> list[int]:
    """How wide each column is written: the widest give way first."""
    found = [column.widest for column in columns]
    if width is None:
        return found
    least = [column.narrowest for column in columns]
    over = sum(found) + gap * (len(found) - 1) - width
    while over > 0:
        yielding = [place for place, own in enumerate(found) if own > least[place]]
        if not yielding:
            break
        place = max(yielding, key=found.__getitem__)
        found[place] -= 1
        over -= 1
    return [column.used(size) for column, size in zip(columns, found, strict=True)]


def _written(columns: Sequence[_Column], widths: Sequence[int], gap: int) -> tuple[list[str], int]:
    """The lines of one table, and how many of them are headings."""
    heads = [one.head(size) for one, size in zip(columns, widths, strict=True)]
    count = max(map(len, heads), default=0)
    heads = [("",) * (count - len(lines)) + lines for lines in heads]  # at the bottom, next to the cells
    written = _rows(columns, widths, heads, gap)
    for row in range(len(columns[0].cells) if columns else 0):
        cells = [one.lines(row, size) for one, size in zip(columns, widths, strict=True)]
        written += _rows(columns, widths, cells, gap)
    return written, count


def _rows(columns: Sequence[_Column], widths: Sequence[int], cells: Sequence[Lines], gap: int) -> list[str]:
    """The lines of one row."""
    written = []
    for number in range(max(map(len, cells), default=0)):
        own = [lines[number] if number < len(lines) else "" for lines in cells]
        placed = [one.placed(text, size) for one, text, size in zip(columns, own, widths, strict=True)]
        written.append((" " * gap).join(placed).rstrip())
    return written


def _wrapped(text: str, width: int, where: "re.Pattern[str]") -> Lines:
    """A text in lines that are no wider than this, if it may be broken so."""
    found: list[str] = []
    for line in text.split("\n"):
        pieces, gaps = where.split(line), where.findall(line)
        start = pieces[0]
        for gap, piece in zip(gaps, pieces[1:], strict=True):
            if cell_len(start + gap + piece) > width:
                found.append(start)
                start = piece
            else:
                start += gap + piece
        found.append(start)
    return tuple(found)
