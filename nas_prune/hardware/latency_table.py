"""The file of a latency table: what each layer took at the widths it was timed at, and what it is a table of.

The first line is a comment in JSON; the rest is CSV. Files that others wrote are read with bounds, and refused in one
line.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas_prune.errors import BadInputError
from nas_prune.hardware.latency_caches import Beyond
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_json, read_text
from nas_prune.runs.text import printable
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import SpaceReference

LATENCY, NETWORKS = "latency.csv", "networks.csv"
COLUMNS = ("network", "layer", "in_width", "out_width", "latency_ns", "p95_ns", "runs")
MOST_ROWS, _MOST_WIDTH, _MOST_NS = 500_000, 10**7, 10**13
LEAST_FACTOR, MOST_FACTOR = 1e-3, 1e3
_Share = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Errors(_Strict):
    """How far predictions are from what was measured, over networks that nothing was fitted to.

    Attributes:
        networks: how many.
        median, p90: of the relative errors.
        twice_median, twice_p90: the same between two measurements of these networks; None where each was measured once.
    """

    networks: int
    median: _Share
    p90: _Share
    twice_median: _Share | None = None
    twice_p90: _Share | None = None


class Header(_Strict):
    """What a table is of.

    Attributes:
        nas_prune_schema: of the file.
        target: what the networks were timed in.
        threads: of the CPU.
        space: the network.
        groups: the names and base widths of its searchable groups.
        factor: what the sum of the layers is multiplied by to be the time of the whole.
        beyond: what is added then for weights that caches do not hold: pairs of a number of weights and nanoseconds for
            each weight above it.
        machine, versions, date: where and when.
        not_run: layers that were not seen by themselves: evaluation does not run them, or runs them within another.
        errors: of the predictions; None where no whole networks were timed.
        rows: how many there are below it, in a file; None in those of before, and in memory.
    """

    nas_prune_schema: Literal["nas-prune/latency/1"] = Field(default="nas-prune/latency/1", alias="schema")
    target: Annotated[str, Field(max_length=200)]
    threads: int | None = Field(default=None, ge=1, le=1024)
    space: SpaceReference
    groups: tuple[tuple[str, int], ...]
    factor: float = Field(default=1.0, ge=LEAST_FACTOR, le=MOST_FACTOR)
    beyond: Annotated[Beyond, Field(max_length=20)] = ()
    machine: str = ""
    versions: dict[str, str] = {}
    date: str = ""
    not_run: tuple[str, ...] = ()
    errors: Errors | None = None
    rows: int | None = None

    def check_space(self, space: SearchSpace, where: str) -> None:
        """Refuse another network than the table's.

        Raises:
            BadInputError: it is another, with the first difference.
        """
        ours, theirs = space.reference.model_dump(mode="json"), self.space.model_dump(mode="json")
        for key in dict.fromkeys((*ours, *theirs)):
            if ours.get(key) != theirs.get(key):
                raise BadInputError(
                    f"a latency table must be of the network it is used for, got {where}, whose {key} is "
                    f"{printable(str(theirs.get(key)))} where {space.reference.name} has {ours.get(key)}. "
                    "Measure one: nas-prune measure."
                )
        own = groups_of(space)
        if own != self.groups:
            other = next((one for one in self.groups if one not in own), ("", 0))
            raise BadInputError(
                f"a latency table must be of the channel groups of {space.reference.name}, got {where}, which has "
                f"{len(self.groups)} of them where there are {len(own)}, among them {printable(other[0])!r} of "
                f"{other[1]} channels. Measure one: nas-prune measure."
            )


class Row(NamedTuple):
    """What a layer took in one network, in nanoseconds."""

    network: int
    layer: str
    in_width: int
    out_width: int
    latency_ns: int
    p95_ns: int
    runs: int


@dataclass(frozen=True, slots=True)
class Table:
    """A latency table as its file has it."""

    header: Header
    rows: tuple[Row, ...]


def groups_of(space: SearchSpace) -> tuple[tuple[str, int], ...]:
    """The names and base widths of the searchable groups."""
    return tuple((group.name, group.size) for group in space.groups)


def table_text(table: Table) -> str:
    """A table as its file has it."""
    counted = table.header.model_copy(update={"rows": len(table.rows)})
    header = json.dumps(counted.model_dump(mode="json", by_alias=True), ensure_ascii=False)
    return f"# {header}\n{csv_text(COLUMNS, table.rows)}"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, below the names of their columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()


def read_table(path: Path) -> Table:
    """A latency table from its file, or from the directory that it is in.

    Raises:
        BadInputError: it cannot be read, or is none that nas-prune measure wrote.
    """
    path = path / LATENCY if path.is_dir() else path
    return table_in(text_of(path), path)


def table_in(text: str, path: Path) -> Table:
    """The table of a text.

    Args:
        text: of a file.
        path: of the file, for errors.

    Raises:
        BadInputError: as `read_table`.
    """
    first, _, rest = text.partition("\n")
    try:
        header = Header.model_validate(load_json(first.removeprefix("# ")))
    except ValidationError as error:
        raise BadInputError(f"{path} cannot be used: {first_problem(error)}.") from None
    except ValueError:
        raise BadInputError(
            f"a latency table must begin with what it is of, got {path}. nas-prune measure writes one; --import makes "
            "one of measurements from elsewhere."
        ) from None
    rows = tuple(_row(path, line, one) for line, one in rows_of(path, rest, COLUMNS, 2))
    if header.rows not in (None, len(rows)):
        raise BadInputError(
            f"{path} must have {header.rows:,} rows, as it says itself, got {len(rows):,}. Measure it again."
        )
    return Table(header.model_copy(update={"rows": None}), rows)


def text_of(path: Path) -> str:
    """The text of a file that a person names.

    Raises:
        BadInputError: it cannot be read.
    """
    try:
        return read_text(path).removeprefix("\ufeff")  # as spreadsheets begin a file
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"a latency table must be a file of text that can be read, got {path} "
            f"({error.strerror if isinstance(error, OSError) else 'it is not UTF-8'})."
        ) from None


def rows_of(path: Path, text: str, columns: Sequence[str], first: int) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV, by the names in its first line, each with its line in the file.

    Args:
        path: of the file, for errors.
        text: the CSV.
        columns: what it must have.
        first: the line in the file that the text begins with.

    Raises:
        BadInputError: it is no such CSV.
    """
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        names = reader.fieldnames or []
        missing = [name for name in columns if name not in names]
        if missing:
            raise BadInputError(
                f"{path} must have the columns {', '.join(columns)}, with commas between, got none called "
                f"{', '.join(missing)}."
            )
        found = []
        for row in reader:
            if None in row or None in row.values():
                raise BadInputError(
                    f"every row of {path} must have {len(names)} fields, got others on line "
                    f"{first - 1 + reader.line_num}."
                )
            found.append((first - 1 + reader.line_num, row))
            if len(found) > MOST_ROWS:
                raise BadInputError(f"{path} must have at most {MOST_ROWS:,} rows, got more.")
    except csv.Error as error:
        raise BadInputError(
            f"{path} must be CSV, but line {first - 1 + reader.line_num} is none ({printable(str(error))})."
        ) from None
    return found


def whole_number(path: Path, line: int, row: dict[str, str], name: str, most: int, least: int = 0) -> int:
    """A field that is a whole number within bounds.

    Raises:
        BadInputError: it is none.
    """
    written = row[name].strip()
    if not (written.isascii() and written.isdigit() and len(written) < 20 and least <= int(written) <= most):
        raise BadInputError(
            f"{name} must be a whole number from {least} to {most:,}, got {printable(written[:40])!r} "
            f"({path}, line {line})."
        )
    return int(written)


def _row(path: Path, line: int, row: dict[str, str]) -> Row:
    def number(name: str, most: int, least: int = 0) -> int:
        return whole_number(path, line, row, name, most, least)

    return Row(
        number("network", MOST_ROWS),
        row["layer"],
        number("in_width", _MOST_WIDTH, 1),
        number("out_width", _MOST_WIDTH, 1),
        number("latency_ns", _MOST_NS, 1),
        number("p95_ns", _MOST_NS),
        number("runs", MOST_ROWS),
    )
