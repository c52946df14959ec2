"""The rows of a CSV file: text that anybody may have written, read line by line and in bounded memory."""

import codecs
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from nas_prune.data.columns import LABEL, PATH, SPLIT, check_choices, column_of, label_columns
from nas_prune.data.listing import shortened
from nas_prune.data.parts import PARTS, part_called
from nas_prune.data.table import WHOLE
from nas_prune.data.targets import TargetKind
from nas_prune.errors import DataError
from nas_prune.runs.data_name import OwnData
from nas_prune.runs.reading import open_regular
from nas_prune.runs.text import printable

_MOST_BYTES, _MOST_ROWS = 2**30, 5_000_000  # four times the images of ImageNet
_LONGEST_LINE, _LONGEST_LABEL = 2**16, 255
_DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


class Row(NamedTuple):
    """What a row says of an image.

    Attributes:
        line: where it begins in the file, from 1.
        path: of the image, as it is written.
        label: its class; of several columns, what is in the first.
        part: `train`, `val` or `test`; `WHOLE` where no column says so.
        values: what is in all columns of labels.
    """

    line: int
    path: str
    label: str
    part: str
    values: tuple[str, ...] = ()


class Rows(NamedTuple):
    """All rows of a file.

    Attributes:
        rows: in their order.
        names: of the columns of labels.
    """

    rows: list[Row]
    names: tuple[str, ...]


def read_rows(file: Path, own: OwnData, kind: TargetKind = "class") -> Rows:
    """All rows of a CSV file: UTF-8, with commas, semicolons or tabs between what its first line names.

    Args:
        file: which.
        own: the data set's name, with the columns that are chosen.
        kind: what is to be learned: of classes and numbers there may be several columns.

    Raises:
        DataError: it is no such file, or a row says nothing of an image.
    """
    check_choices(own, ("path", "label", "split", "folder"))
    shown = printable(str(file))
    try:
        with open_regular(file) as stream:
            if (size := os.fstat(stream.fileno()).st_size) > _MOST_BYTES:
                raise DataError(f"{shown} must have at most {_MOST_BYTES:,} bytes, got {size:,}. Divide it.")
            lines = _lines(stream, shown)
            columns = _columns(next(lines, ""), shown, own, kind)
            rows = list(_rows(lines, shown, columns))
    except OSError as error:
        raise DataError(
            f"--data csv:FILE must name a CSV file, got {shown} ({error.strerror}). "
            "Its first line names columns: path,label."
        ) from None
    if not rows:
        raise DataError(f"{shown} must have a row for each image, got only the first line.")
    for what, bad in (
        ("the path of an image", [row for row in rows if not row.path]),
        ("a label", [row for row in rows if not all(row.values) and kind != "classes"]),
        (
            f"a label of at most {_LONGEST_LABEL} letters",
            [row for row in rows if kind == "class" and len(row.label) > _LONGEST_LABEL],
        ),
    ):
        if bad:
            raise DataError(
                f"every row of {shown} must have {what}, got {len(bad):,} of {len(rows):,} without one, first line "
                f"{bad[0].line}. Fill it in or take the row out."
            )
    return Rows(rows, tuple(columns.header[place] for place in columns.labels))


class _Columns(NamedTuple):
    """Where in a row is what."""

    delimiter: str
    header: list[str]
    path: int
    labels: tuple[int, ...]
    split: int | None


def _columns(first: str, shown: str, own: OwnData, kind: TargetKind) -> _Columns:
    """What the first line of a file says."""
    delimiter, header = _header(first, shown, own)
    split = column_of("split", SPLIT, header, own, is_needed=False)
    return _Columns(
        delimiter,
        header,
        header.index(str(column_of("path", PATH, header, own))),
        tuple(header.index(name) for name in label_columns(header, own, kind)),
        None if split is None else header.index(split),
    )


def _rows(lines: Iterator[str], shown: str, columns: _Columns) -> Iterator[Row]:
    header, split = columns.header, columns.split
    split_name = None if split is None else header[split]
    reader = csv.reader(lines, delimiter=columns.delimiter, strict=True)
    known = dict[str, str]()  # one text for each class and part, however many rows
    line = 2
    unknown = list[tuple[int, str]]()
    try:
        for row in reader:
            if any(map(str.strip, row)):
                _check_length(row, header, line, shown)
                part = WHOLE if split is None else row[split].strip()
                called = part if split is None else part_called(part)
                if called is None:
                    unknown.append((line, part))
                values = tuple(known.setdefault(row[at].strip(), row[at].strip()) for at in columns.labels)
                yield Row(line, row[columns.path].strip(), values[0], called or WHOLE, values)
            line = 2 + reader.line_num
            if line > _MOST_ROWS:
                raise DataError(f"{shown} must have at most {_MOST_ROWS:,} lines, got more. Divide it.")
    except csv.Error as error:
        raise DataError(
            f"{shown} must be a CSV file, but line {line} is none ({printable(str(error))}). "
            "Is a quotation mark missing?"
        ) from None
    if unknown:
        names = sorted({part for _, part in unknown}) if len(unknown) < 10_000 else [unknown[0][1]]
        raise DataError(
            f"the column {printable(str(split_name))} of {shown} must say {', '.join(PARTS)}, got "
            f"{shortened([repr(name[:50]) for name in names])} in {len(unknown):,} rows, first line {unknown[0][0]}."
        )


def _header(first: str, shown: str, own: OwnData) -> tuple[str, list[str]]:
    """What stands between the fields, and the names of the columns: the way that gives the most of them.

    Raises:
        DataError: they are none, or one name stands twice.
    """
    ways = dict[str, list[str]]()
    for delimiter in _DELIMITERS:
        try:
            ways[delimiter] = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        except csv.Error:
            continue
    delimiter = max(ways, key=lambda way: len(ways[way]), default="")
    header = ways.get(delimiter, [])
    if len(header) < 2:
        raise DataError(
            f"the first line of {shown} must name columns with {', '.join(_DELIMITERS.values())} between them, such as "
            f"path,label, got {printable(first.strip()[:60])!r}."
        )
    twice = sorted({name for name in header if name and header.count(name) > 1}) if len(header) < 1000 else []
    used = [name for name in twice if name in own.columns.values() or name.lower() in (*PATH, *LABEL, *SPLIT)]
    if used:
        raise DataError(f"the first line of {shown} must name each column once, got {shortened(used)} twice.")
    return delimiter, header


def _check_length(row: Sequence[str], header: Sequence[str], line: int, shown: str) -> None:
    if len(row) < len(header) or any(map(str.strip, row[len(header) :])):
        raise DataError(
            f"every row of {shown} must have the {len(header)} fields of its first line, got {len(row)} on line {line}"
            ". Put a field that holds a comma into quotation marks."
        )


def _lines(stream: IO[bytes], shown: str) -> Iterator[str]:
    """The lines of a file as text, without the mark that some systems put in front.

    Raises:
        DataError: a line is no text, or very long.
    """
    number = 0
    while raw := stream.readline(_LONGEST_LINE + 1):
        number += 1
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise DataError(f"{shown} must be UTF-8, got UTF-16. Save it as “CSV UTF-8”.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if len(raw) > _LONGEST_LINE:
            raise DataError(
                f"the lines of {shown} must have at most {_LONGEST_LINE:,} bytes, got more on line {number}."
            )
        try:
            yield raw.decode()
        except UnicodeDecodeError:
            raise DataError(
                f"{shown} must be UTF-8, but line {number} is not. Save it as “CSV UTF-8”."
            ) from None
