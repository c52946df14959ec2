"""Read a compressed network, `net.nasp`, with numpy alone.

    weights, header = load("net.nasp")      # arrays by name
    header["network"]["preprocessing"]      # names of the classes, and the images' size, mean and deviation

As a command it writes the arrays: python decode.py net.nasp weights.npz

The file: "NASP", its version and the header's length (little-endian, 2 and 4 bytes), the header (JSON, deflated), the
tensors in the header's order, and a BLAKE2b digest of 16 bytes over all before it. A tensor is plain, or shared: a few
values, for each non-zero the index of its value, and for each the gap to the one before, as canonical Huffman codes.
"""

import hashlib
import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAGIC, VERSION, HEAD = b"NASP", 1, struct.Struct("<4sHI")
DIGEST = 16  # bytes
CHUNK = 4096  # symbols of a stream that are decoded one behind the other; chunks are decoded side by side
LONGEST = 15  # bits of a code
MOST_HEADER = 2**26  # bytes


def load(path: Path | str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays by name, and the header, of a file."""
    header, payload = parts(Path(path).read_bytes())
    return decoded(header, payload), header


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the bytes of the tensors."""
    if len(content) < HEAD.size + DIGEST or content[:4] != MAGIC:
        raise ValueError("it is no compressed network")
    _, version, length = HEAD.unpack_from(content)
    if version != VERSION:
        raise ValueError(f"it is of version {version}, and version {VERSION} can be read")
    if hashlib.blake2b(content[:-DIGEST], digest_size=DIGEST).digest() != content[-DIGEST:]:
        raise ValueError("its checksum differs")
    deflated = zlib.decompressobj()
    header = deflated.decompress(content[HEAD.size : HEAD.size + length], MOST_HEADER)
    return json.loads(header), content[HEAD.size + length : -DIGEST]


def decoded(header: dict[str, Any], payload: bytes) -> dict[str, Array]:
    """Arrays by name."""
    arrays: dict[str, Array] = {}
    at = 0
    for tensor in header["tensors"]:
        own = payload[at : at + tensor.get("bytes", 0)]
        at += len(own)
        if "same_as" in tensor:
            arrays[tensor["name"]] = arrays[tensor["same_as"]]
            continue
        values = np.frombuffer(own, np.dtype(tensor["dtype"]).newbyteorder("<"), tensor["values"])
        values = values.astype(np.float32 if tensor["dtype"] == "float16" else tensor["dtype"])
        flat = weights(tensor, values, own[values.size * np.dtype(tensor["dtype"]).itemsize :])
        arrays[tensor["name"]] = flat.reshape(tensor["shape"])
    return arrays


def weights(tensor: dict[str, Any], values: Array, streams: bytes) -> Array:
    """One tensor, flat."""
    if "indices" not in tensor:
        return values
    indices = symbols(tensor["indices"], streams[: tensor["indices"]["bytes"]])
    if tensor["zeros"] == "none":
        return values[indices]
    if tensor["zeros"] == "indices":  # the first index means zero
        return np.concatenate([np.zeros(1, np.float32), values])[indices]
    gaps = symbols(tensor["gaps"], streams[tensor["indices"]["bytes"] :])
    last = len(tensor["gaps"]["lengths"]) - 1  # stands for so many zeros, and no weight
    places = np.cumsum(np.where(gaps == last, last, gaps + 1)) - 1
    flat = np.zeros(int(np.prod(tensor["shape"])), np.float32)
    if places[-1] >= len(flat):
        raise ValueError("its gaps lead out of the tensor")
    flat[places[gaps != last]] = values[indices]
    return flat


def symbols(stream: dict[str, Any], content: bytes) -> Array:
    """The symbols of one stream of codes, given the length of each symbol's code."""
    count, lengths = stream["count"], np.array(stream["lengths"])
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    if len(order) == 1:  # one symbol alone takes no bits
        return np.full(count, order[0])
    chunks = -(-count // CHUNK)
    sizes = np.frombuffer(content, "<u2", chunks - 1).astype(np.int64)  # of all chunks but the last, in bits
    at = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    bits = np.frombuffer(content[2 * (chunks - 1) :] + bytes(3), np.uint8).astype(np.int32)
    windows, end = bits[:-2] << 16 | bits[1:-1] << 8 | bits[2:], 8 * (len(bits) - 3)
    table = np.repeat(
        order, 1 << (LONGEST - lengths[order])
    )  # canonical codes rise with length, then with symbol
    if len(table) != 1 << LONGEST:
        raise ValueError("its codes are not complete")
    found = np.empty((chunks, min(count, CHUNK)), np.int64)
    for number in range(found.shape[1]):
        found[:, number] = table[windows[at >> 3] >> (24 - LONGEST - (at & 7)) & (1 << LONGEST) - 1]
        at = np.minimum(at + lengths[found[:, number]], end)
    return found.ravel()[:count]


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[2], "w") as archive:
        for name, array in load(sys.argv[1])[0].items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
