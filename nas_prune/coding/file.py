"""The file of a compressed network: its bytes, and reading it as what anybody may have written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal
from zlib import compress, decompressobj
from zlib import error as ZlibError

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas_prune.coding.decode import (
    DIGEST,
    HEAD,
    LONGEST,
    MAGIC,
    MOST_HEADER,
    VERSION,
    decoded,
)
from nas_prune.coding.tensor import Tensors
from nas_prune.errors import DamagedError
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_json, read_bytes

SUFFIX = ".nasp"
NAME = f"net{SUFFIX}"
FORMAT = "nas-prune/compressed/1"
_MOST = 2**31  # bytes of a file
_MOST_WEIGHTS = 2**31  # that a file may say it holds
_DTYPES = ("float16", "float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_Length = Annotated[int, Field(ge=0, le=LONGEST, strict=True)]
_Size = Annotated[int, Field(ge=0, le=_MOST_WEIGHTS, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _StreamLine(_Strict):
    count: _Size
    lengths: tuple[_Length, ...] = Field(max_length=1 << LONGEST)
    bytes: _Size

    @model_validator(mode="after")
    def _is_a_code(self) -> "_StreamLine":
        own = [length for length in self.lengths if length]
        if self.count and not own:
            raise ValueError("a stream must have codes for its symbols")
        if len(own) > 1 and sum(1 << LONGEST - length for length in own) != 1 << LONGEST:
            raise ValueError("the codes of a stream must be complete")
        return self


class _TensorLine(_Strict):
    name: str = Field(min_length=1, max_length=1000)
    shape: tuple[_Size, ...] | None = Field(default=None, max_length=16)
    dtype: Literal[_DTYPES] | None = None  # type: ignore[valid-type]
    values: _Size | None = None
    zeros: Literal["none", "gaps", "indices"] | None = None
    indices: _StreamLine | None = None
    gaps: _StreamLine | None = None
    same_as: str | None = None
    bytes: _Size = 0

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "_TensorLine":
        given = self.model_fields_set - {"name", "bytes"}
        if self.same_as is not None:
            wanted = {"same_as"}
        elif self.indices is None:
            wanted = {"shape", "dtype", "values"}
        else:
            wanted = {"shape", "dtype", "values", "zeros", "indices", *(["gaps"] * (self.zeros == "gaps"))}
        if given != wanted:
            raise ValueError(f"{self.name!r:.60} must say {', '.join(sorted(wanted))}")
        if self.same_as is None:
            self._check_sizes()
        return self

    def _check_sizes(self) -> None:
        assert self.shape is not None
        assert self.values is not None
        size = prod(self.shape)
        if size > _MOST_WEIGHTS:
            raise ValueError(f"{self.name!r:.60} must have at most {_MOST_WEIGHTS:,} numbers, got {size:,}")
        if self.indices is None:
            if self.values != size:
                raise ValueError(f"{self.name!r:.60} must have {size:,} numbers, got {self.values:,}")
            return
        symbols = self.values + (self.zeros == "indices")
        if len(self.indices.lengths) != symbols or not self.values:
            raise ValueError(f"{self.name!r:.60} must have a code for each of its {self.values:,} values")
        count = self.indices.count
        if count > size or (self.zeros != "gaps" and count != size):
            raise ValueError(f"{self.name!r:.60} must have an index for each of its weights, got {count:,}")
        if self.gaps is not None and (len(self.gaps.lengths) < 2 or not count <= self.gaps.count <= size):
            raise ValueError(f"{self.name!r:.60} must have a gap for each of its non-zeros")


class _Header(_Strict):
    format: Literal["nas-prune/compressed/1"]
    made_by: str = Field(max_length=200)
    network: dict[str, Any]
    tensors: tuple[_TensorLine, ...] = Field(max_length=1_000_000)

    @model_validator(mode="after")
    def _goes_together(self) -> "_Header":
        seen = set[str]()
        for line in self.tensors:
            if line.name in seen or (line.same_as is not None and line.same_as not in seen):
                raise ValueError(
                    f"{line.name!r:.60} must stand once, behind the tensor that it is the same as"
                )
            seen.add(line.name)
        if sum(prod(line.shape) for line in self.tensors if line.shape is not None) > _MOST_WEIGHTS:
            raise ValueError(f"a file must hold at most {_MOST_WEIGHTS:,} numbers")
        return self


@dataclass(frozen=True, slots=True)
class CompressedFile:
    """What a file holds.

    Attributes:
        arrays: by name.
        network: what is known of the network, as plain JSON.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    network: Mapping[str, Any]


def content_of(tensors: Tensors, network: Mapping[str, Any]) -> bytes:
    """The bytes of a file; equal networks are equal bytes.

    Args:
        tensors: by name.
        network: what is known of the network, as plain JSON.
    """
    header = _header(tensors, network)
    payload = (one.content for one in tensors.values() if not isinstance(one, str))
    before = b"".join([HEAD.pack(MAGIC, VERSION, len(header)), header, *payload])
    return before + blake2b(before, digest_size=DIGEST).digest()


def header_bytes(tensors: Tensors, network: Mapping[str, Any]) -> int:
    """How many bytes of a file are no tensor's: the header, what stands before it, and the digest."""
    return HEAD.size + len(_header(tensors, network)) + DIGEST


def _header(tensors: Tensors, network: Mapping[str, Any]) -> bytes:
    lines = [
        {"name": name, **({"same_as": tensor} if isinstance(tensor, str) else tensor.line)}
        for name, tensor in tensors.items()
    ]
    header = {
        "format": FORMAT,
        "made_by": f"nas-prune {version('nas-prune')}",
        "network": network,
        "tensors": lines,
    }
    return compress(json.dumps(header, separators=(",", ":"), sort_keys=True).encode(), 9)


def is_writable(dtype: npt.DTypeLike) -> bool:
    """Whether a file can hold numbers of a type."""
    return np.dtype(dtype).name in _DTYPES


def is_compressed(path: Path) -> bool:
    """Whether a file begins as one of these."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_header(path: Path) -> dict[str, Any]:
    """What a file says of its network, without the weights.

    Raises:
        DamagedError: it is missing, damaged, or of a newer version.
    """
    return _parts(path)[0].network


def read_compressed(path: Path, most: int | None = None) -> CompressedFile:
    """What a file holds.

    Args:
        path: the file.
        most: numbers that it may hold; None for any.

    Raises:
        DamagedError: it is missing, damaged, of a newer version, or holds more.
    """
    header, payload = _parts(path)
    sizes: dict[str, int] = {}
    for line in header.tensors:
        sizes[line.name] = sizes[line.same_as] if line.same_as is not None else prod(line.shape or ())
    size = sum(sizes.values())  # a name that stands for another tensor counts as often
    if most is not None and size > most:
        raise _damaged(path, f"it has {size:,} numbers, more than the {most:,} of its network")
    if sum(line.bytes for line in header.tensors) != len(payload):
        raise _damaged(path, "its tensors do not fill it")
    try:
        arrays = decoded(header.model_dump(mode="json", exclude_none=True), payload)
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    return CompressedFile(arrays, header.network)


def _parts(path: Path) -> tuple[_Header, bytes]:
    try:
        content = read_bytes(path, most=_MOST)
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise _damaged(path, why) from None
    if len(content) < HEAD.size + DIGEST or content[: len(MAGIC)] != MAGIC:
        raise _damaged(path, "it does not begin as one")
    _, own, length = HEAD.unpack_from(content)
    if own != VERSION:
        raise DamagedError(
            f"a compressed network must be of version {VERSION}, got {path.name}, of version {own}.",
            "Read it with the nas-prune that wrote it, or a newer one.",
        )
    if blake2b(content[:-DIGEST], digest_size=DIGEST).digest() != content[-DIGEST:]:
        raise _damaged(path, "its checksum differs")
    if HEAD.size + length > len(content) - DIGEST:
        raise _damaged(path, "its header is longer than the file")
    try:
        header = _Header.model_validate(load_json(_inflated(content[HEAD.size : HEAD.size + length])))
    except ValidationError as error:
        raise _damaged(path, first_problem(error)) from None
    except (ZlibError, ValueError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    return header, content[HEAD.size + length : -DIGEST]


def _inflated(deflated: bytes) -> bytes:
    unpacked = decompressobj()
    text = unpacked.decompress(deflated, MOST_HEADER)
    if not unpacked.eof:
        raise ValueError(f"its header is not whole, or has more than {MOST_HEADER:,} bytes")
    return text


def _damaged(path: Path, why: str) -> DamagedError:
    return DamagedError(f"a compressed network must be whole, got {path.name} ({why}).", "Get it again.")


def same_bits(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> bool:
    """Whether two arrays are the same, to the bit."""
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
