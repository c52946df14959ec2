"""Arrow files, as streams of record batches: where the bytes of pictures lie in them, and the labels beside."""

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas_prune.data.split import IntArray
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.reading import open_regular
from nas_prune.runs.text import printable


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The rows of a file.

    Attributes:
        spans_N2: where the bytes of each picture begin in the file, and how many they are; -1 where there are none.
        labels: of each, as they stand there: numbers or text; None for a row without one.
    """

    spans_N2: IntArray
    labels: list[int | str | None]


def pyarrow() -> Any:
    """The library, which is an extra.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise BadInputError(
            "--data hf:DIR must have pyarrow installed, got none. pip install 'nas-prune[hf]'"
        ) from None
    return pa


def read_shard(path: Path, image: str, label: str) -> Shard:
    """What an Arrow file holds of two columns, its pictures left where they are.

    Args:
        path: the file. It is mapped into memory while it is read: the pictures themselves are not touched.
        image: the column of pictures: structs with their `bytes`.
        label: the column of labels.

    Raises:
        BadInputError: pyarrow is not installed.
        DataError: the file cannot be read, is damaged, or has other columns.
    """
    arrow = pyarrow()
    try:
        with open_regular(path) as stream:
            content = arrow.py_buffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        batches = [
            (_spans(arrow, batch.column(image), content), _labels(arrow, batch.column(label)))
            for batch in _batches(arrow, content, (image, label))
        ]
    except (OSError, ValueError, TypeError, struct.error, arrow.ArrowException, MemoryError) as error:
        said = printable(" ".join(str(getattr(error, "strerror", None) or error).split())[:150])
        raise DataError(
            f"{printable(str(path))} must be a whole Arrow file as save_to_disk writes it, got: {said}. "
            "Save the data set again."
        ) from None
    spans = [spans for spans, _ in batches] or [np.empty((0, 2), dtype=np.int64)]
    return Shard(np.concatenate(spans), [one for _, labels in batches for one in labels])


def _batches(arrow: Any, content: Any, names: Sequence[str]) -> Iterator[Any]:
    """Some columns of each batch, checked: what is wrong in a file must not lead out of it."""
    for message in arrow.ipc.MessageReader.open_stream(arrow.BufferReader(content)):
        if message.type not in ("schema", "record batch"):
            raise ValueError(f"a {message.type}")
        # a few bytes could become any number of them
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("a compressed batch")
    schema = arrow.ipc.open_stream(arrow.BufferReader(content)).schema
    places = [schema.get_all_field_indices(name) for name in names]
    if any(len(found) != 1 for found in places):
        raise ValueError(f"it has not one column {' and one '.join(names)}")
    options = arrow.ipc.IpcReadOptions(included_fields=[found[0] for found in places], use_threads=False)
    for batch in arrow.ipc.open_stream(arrow.BufferReader(content), options=options):
        batch.validate(full=True)
        yield batch


# Of Arrow's format, as flatbuffers lay it out: the third field of a message is the batch, the fourth of which says how
# it is compressed.
_BATCH, _COMPRESSION = 2, 3


def _is_compressed(message: bytes) -> bool:
    """Whether a batch is, by its description. pyarrow does not tell, and would allocate whatever the batch asks for.

    Raises:
        struct.error: it is damaged.
    """
    (table,) = struct.unpack_from("<I", message)
    place = _field(message, table, _BATCH)
    if not place:
        raise ValueError("a batch without a description")
    (batch,) = struct.unpack_from("<I", message, place)
    return _field(message, place + batch, _COMPRESSION) != 0


def _field(message: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 where it has none."""
    (back,) = struct.unpack_from("<i", message, table)
    fields = table - back
    if fields < 0:
        raise ValueError("a table that begins before the file")
    (size,) = struct.unpack_from("<H", message, fields)
    if size < 6 + 2 * number:
        return 0
    (offset,) = struct.unpack_from("<H", message, fields + 4 + 2 * number)
    return table + offset if offset else 0


def _spans(arrow: Any, column: Any, content: Any) -> IntArray:
    """Where the bytes of each picture begin in the file, and how many they are."""
    if not arrow.types.is_struct(column.type) or column.type.get_field_index("bytes") < 0:
        raise ValueError(f"pictures as {column.type}")
    pictures = column.field("bytes")
    kinds = {arrow.binary(): np.int32, arrow.large_binary(): np.int64}
    if pictures.type not in kinds:
        raise ValueError(f"bytes of pictures as {pictures.type}")
    _, offsets, data = pictures.buffers()
    spans_N2 = np.full((len(column), 2), -1, dtype=np.int64)
    is_there = ~np.asarray(column.is_null()) & ~np.asarray(pictures.is_null())
    if not is_there.any():
        return spans_N2
    first = data.address - content.address
    if first < 0 or first + data.size > content.size:
        raise ValueError("bytes of pictures that are not in the file")
    ends = np.frombuffer(offsets, dtype=kinds[pictures.type], count=pictures.offset + len(column) + 1)
    ends = ends[pictures.offset :].astype(np.int64)
    spans_N2[is_there, 0] = (first + ends[:-1])[is_there]
    spans_N2[is_there, 1] = np.diff(ends)[is_there]
    return spans_N2


def _labels(arrow: Any, column: Any) -> list[int | str | None]:
    types = arrow.types
    if types.is_integer(column.type) or types.is_string(column.type) or types.is_large_string(column.type):
        return list(column.to_pylist())
    if types.is_boolean(column.type):
        return [None if one is None else int(one) for one in column.to_pylist()]
    raise ValueError(f"labels as {column.type}")
