"""What the rows of a table say is to be learned of their images: one class, several classes, or numbers.

Shape letters: N rows, K classes, D numbers.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_prune.data.csv_rows import Row
from nas_prune.data.listing import shortened
from nas_prune.data.pictures import Picture
from nas_prune.data.table import Labelled, sorted_labels
from nas_prune.data.targets import TargetKind
from nas_prune.errors import DataError

LISTED = "|;"  # either stands between the classes of an image
_MOST_CLASSES = 10_000
_LARGEST = float(np.finfo(np.float32).max)
_YES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no", ""), False),
}


@dataclass(frozen=True)
class Labelling(ABC):
    """How rows are read.

    Attributes:
        names: of the classes, or of the numbers.
    """

    names: tuple[str, ...]

    @abstractmethod
    def of(self, pictures: tuple[Picture, ...], rows: Sequence[Row]) -> Labelled:
        """Some pictures with what their rows say."""


def labelling_of(kind: TargetKind, rows: Sequence[Row], columns: tuple[str, ...], shown: str) -> Labelling:
    """How the rows of a table are read, once all are known to say what they must.

    Args:
        kind: what is to be learned.
        rows: all of the table.
        columns: the names of the columns of labels.
        shown: the file, for messages.

    Raises:
        DataError: a row says something else.
    """
    if kind == "class":
        return _OneClass(tuple(sorted_labels({row.label for row in rows})))
    if kind == "numbers":
        _check_numbers(rows, shown)
        return _Numbers(columns)
    if kind == "classes":
        return _several_classes(rows, columns, shown)
    raise DataError(
        f"masks must be in a folder beside the images, got {shown}. --data folder:PATH takes them."
    )


@dataclass(frozen=True)
class _OneClass(Labelling):
    """One class of each image."""

    def of(self, pictures: tuple[Picture, ...], rows: Sequence[Row]) -> Labelled:
        """As `Labelling`."""
        number = {name: number for number, name in enumerate(self.names)}
        return Labelled(pictures, np.array([number[row.label] for row in rows], dtype=np.int64))


@dataclass(frozen=True)
class _Numbers(Labelling):
    """Numbers of each image, a column each."""

    def of(self, pictures: tuple[Picture, ...], rows: Sequence[Row]) -> Labelled:
        """As `Labelling`."""
        values = [[float(text) for text in row.values] for row in rows]
        return _valued(pictures, np.array(values, dtype=np.float32).reshape(len(rows), len(self.names)))


@dataclass(frozen=True)
class _Flags(Labelling):
    """Several classes of each image, a column of yes and no for each class."""

    def of(self, pictures: tuple[Picture, ...], rows: Sequence[Row]) -> Labelled:
        """As `Labelling`."""
        values = [[_YES[text.lower()] for text in row.values] for row in rows]
        return _valued(pictures, np.array(values, dtype=np.float32).reshape(len(rows), len(self.names)))


@dataclass(frozen=True)
class _Lists(Labelling):
    """Several classes of each image, listed in one column."""

    def of(self, pictures: tuple[Picture, ...], rows: Sequence[Row]) -> Labelled:
        """As `Labelling`."""
        number = {name: number for number, name in enumerate(self.names)}
        values_NK = np.zeros((len(rows), len(self.names)), dtype=np.float32)
        for place, row in enumerate(rows):
            values_NK[place, [number[name] for name in _listed(row.values[0])]] = 1
        return _valued(pictures, values_NK)


def _valued(pictures: tuple[Picture, ...], values: NDArray[np.float32]) -> Labelled:
    return Labelled(pictures, np.zeros(len(values), dtype=np.int64), values)


def _listed(text: str) -> list[str]:
    """The classes that a text lists."""
    return [name for part in re.split(f"[{LISTED}]", text) if (name := part.strip())]


def _check_numbers(rows: Sequence[Row], shown: str) -> None:
    bad = [(row, text) for row in rows for text in row.values if not _is_number(text)]
    if bad:
        row, text = bad[0]
        raise DataError(
            f"every label in {shown} must be a number, but {len(bad):,} are not: first line {row.line}, {text[:60]!r}. "
            "For classes leave --task out."
        )


def _is_number(text: str) -> bool:
    """Whether a text is a number that single precision holds; Python would also take 1_000 and nan."""
    try:
        return "_" not in text and abs(float(text)) <= _LARGEST
    except ValueError:
        return False


def _several_classes(rows: Sequence[Row], columns: tuple[str, ...], shown: str) -> Labelling:
    if len(columns) > 1:
        bad = [(row, text) for row in rows for text in row.values if text.lower() not in _YES]
        if bad:
            row, text = bad[0]
            raise DataError(
                f"columns of {shown} for one class each must say 0 or 1, but {len(bad):,} fields do not: first line "
                f"{row.line}, {text[:60]!r}."
            )
        return _Flags(columns)
    names = sorted_labels({name for row in rows for name in _listed(row.values[0])})
    if not 1 <= len(names) <= _MOST_CLASSES:
        raise DataError(
            f"{shown} must list 1 to {_MOST_CLASSES:,} classes, got {len(names):,}. Write them as cat|dog."
        )
    if all(len(_listed(row.values[0])) <= 1 for row in rows):
        raise DataError(
            f"images of {shown} must be of several classes, some of them, got one for each of {len(rows):,}, such as "
            f"{shortened(names)}. Write several as cat|dog, or leave --task out."
        )
    return _Lists(tuple(names))
