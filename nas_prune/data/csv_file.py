"""Images that a CSV file names: a row for each, with its path, its class and, if there is a column for it, its part."""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nas_prune.data.columns import csv_name
from nas_prune.data.csv_rows import Row, read_rows
from nas_prune.data.labelling import LISTED, labelling_of
from nas_prune.data.listing import Identity, shortened
from nas_prune.data.parts import parts_used
from nas_prune.data.table import WHOLE, Labelled, Table
from nas_prune.data.targets import TargetKind
from nas_prune.errors import DataError
from nas_prune.runs.data_name import OwnData
from nas_prune.runs.directory import expanded
from nas_prune.runs.text import printable

_MOST_LOOKED_IN = 100  # folders beside a file


def read_csv(own: OwnData, kind: TargetKind = "class") -> Table:
    """The images that a CSV file names. Their paths are relative to its directory, or to the folder chosen in it.

    Args:
        own: the file, and what is chosen of it.
        kind: what is to be learned of them.

    Raises:
        DataError: a file that is no such table, or rows that name no images.
    """
    file = expanded(own.place)
    rows, columns = read_rows(file, own, kind)
    base = file.parent / own.columns.get("folder", "")
    identities = _looked_at(rows, base, own)
    is_listed = kind == "classes" and len(columns) == 1
    if is_listed:
        rows = _with_all_labels(rows, identities)
    else:
        _check_one_label(rows, identities, file)
    by_part = defaultdict[str, list[int]](list)
    for place, row in enumerate(rows):
        by_part[row.part].append(place)
    labelling = labelling_of(kind, rows, columns, printable(str(file)))
    parts, seen, again = dict[str, Labelled](), set[Identity](), 0
    for name in parts_used(by_part) or [WHOLE]:
        new, before = [], frozenset(seen)
        for place in by_part[name]:
            if identities[place] not in seen:
                seen.add(identities[place])
                new.append(rows[place])
            # Within a part a listed image has a row for each of its labels.
            elif not is_listed or identities[place] in before:
                again += 1
        parts[name] = labelling.of(tuple(base / row.path for row in new), new)
    notes = (f"Passed over: {again:,} rows that name an image which is there already.",) if again else ()
    return Table(parts, labelling.names, printable(str(file)), base, notes, kind)


def _with_all_labels(rows: Sequence[Row], identities: Sequence[Identity]) -> list[Row]:
    """Rows whose image is named once for each of its labels, each with all of them."""
    found = defaultdict[Identity, list[str]](list)
    for row, identity in zip(rows, identities, strict=True):
        found[identity].append(row.label)
    return [
        row._replace(values=(LISTED[0].join(found[identity]),))
        for row, identity in zip(rows, identities, strict=True)
    ]


def _looked_at(rows: Sequence[Row], base: Path, own: OwnData) -> list[Identity]:
    """What tells the files of rows apart, whatever they are called.

    Raises:
        DataError: some are not there, or are no files.
    """
    found, missing = list[Identity](), list[tuple[Row, str]]()
    for row in rows:
        try:
            status = os.stat(base / row.path)  # noqa: PTH116  (in half the time)
        except (OSError, ValueError) as error:  # such as a NUL
            missing.append((row, getattr(error, "strerror", None) or str(error)))
            continue
        if stat.S_ISREG(status.st_mode):
            found.append((status.st_dev, status.st_ino))
        else:
            missing.append((row, "not a regular file"))
    if missing:
        first, why = missing[0]
        raise DataError(
            f"the images that {printable(own.place)} names must be there, but {len(missing):,} of {len(rows):,} are "
            f"not: first line {first.line}, {printable(first.path[:200])} ({why}). {_hint(first.path, base, own)}"
        )
    return found


def _hint(path: str, base: Path, own: OwnData) -> str:
    """What to do about a path at which there is no image."""
    if "://" in path:
        return "Nothing is downloaded: name files."
    if "\\" in path:
        return "Write / between the names of folders."
    chosen = own.columns.get("folder")
    if not chosen and (beside := _folder_with(path, base)):
        return f"It is in {printable(beside)}: type --data {csv_name(own, folder=beside)}."
    if re.fullmatch(r"[\w-]{1,100}", path) and (longer := next(base.glob(f"{path}.*"), None)):
        return f"There is {printable(longer.name)}: the column must have whole names."
    inside = f", and there to {printable(chosen)}" if chosen else ""
    return f"Paths are relative to the folder of the file{inside}."


def _folder_with(path: str, base: Path) -> str | None:
    """The folder beside a CSV file in which there is such a path."""
    with suppress(OSError, ValueError):  # of a name that none can have
        names = sorted(entry.name for entry in os.scandir(base) if entry.is_dir() and "," not in entry.name)
        return next((name for name in names[:_MOST_LOOKED_IN] if (base / name / path).is_file()), None)
    return None


def _check_one_label(rows: Sequence[Row], identities: Sequence[Identity], file: Path) -> None:
    """Refuse images that are of two classes.

    Raises:
        DataError: some are.
    """
    first, odd = dict[Identity, Row](), list[tuple[Row, Row]]()
    for row, identity in zip(rows, identities, strict=True):
        before = first.setdefault(identity, row)
        if before.values != row.values:
            odd.append((before, row))
    if odd:
        one, other = odd[0]
        labels = shortened([" ".join(one.values), " ".join(other.values)])
        raise DataError(
            f"an image must have one label, got {len(odd):,} of {len(rows):,} rows of {printable(str(file))} that "
            f"give one another: first lines {one.line} and {other.line}, {printable(other.path[:200])} ({labels}). "
            "Take one out."
        )
