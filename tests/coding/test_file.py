"""A file is read as it was written, by us and by its own decoder; anything else is refused in one line."""

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_prune.coding import decode
from nas_prune.coding.decode import DIGEST, HEAD, MAGIC, VERSION
from nas_prune.coding.file import (
    content_of,
    header_bytes,
    is_compressed,
    read_compressed,
    read_header,
    same_bits,
)
from nas_prune.coding.sharing import shared
from nas_prune.coding.tensor import Tensors, coded, plain
from nas_prune.errors import DamagedError

KNOWN = {"classes": ["cat", "dog"], "mean": [0.5]}


def tensors() -> Tensors:
    rng = np.random.default_rng(0)
    own = rng.normal(size=(20, 30)).astype(np.float32)
    return {
        "sparse": coded(shared(own * (rng.random(own.shape) < 0.1), 8)),
        "dense": coded(shared(own, 16)),
        "many": coded(shared(own * (rng.random(own.shape) < 0.9), 16)),
        "bias": plain(own[0]),
        "count": plain(np.array(3)),
        "tied": "dense",
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "net.nasp").write_bytes(content_of(tensors(), KNOWN))
    return tmp_path / "net.nasp"


def with_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The same file with another header and a right digest."""
    content = path.read_bytes()
    _, _, length = HEAD.unpack_from(content)
    header = json.loads(zlib.decompress(content[HEAD.size : HEAD.size + length]))
    change(header)
    text = zlib.compress(json.dumps(header).encode())
    return signed(path, HEAD.pack(MAGIC, VERSION, len(text)) + text + content[HEAD.size + length : -DIGEST])


def signed(path: Path, before: bytes) -> Path:
    path.write_bytes(before + blake2b(before, digest_size=DIGEST).digest())
    return path


def test_a_file_is_read_as_it_was_written(file: Path) -> None:
    found = read_compressed(file)
    own = tensors()
    assert found.network == KNOWN == read_header(file)
    assert list(found.arrays) == list(own)
    for name, array in found.arrays.items():
        tensor = own["dense" if name == "tied" else name]
        assert not isinstance(tensor, str)
        assert same_bits(tensor.shared.dense() if hasattr(tensor, "shared") else tensor.dense(), array), name
    sizes = sum(one.total for one in own.values() if not isinstance(one, str))
    assert file.stat().st_size == sizes + header_bytes(own, KNOWN)
    assert is_compressed(file)


def test_equal_networks_are_equal_bytes(file: Path) -> None:
    assert file.read_bytes() == content_of(tensors(), KNOWN)


def test_the_decoder_alone_reads_the_same_without_nas_prune(file: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "decode.py").write_bytes(Path(decode.__file__).read_bytes())
    code = "import sys; sys.modules['nas_prune'] = sys.modules['torch'] = None; import runpy; "
    code += "sys.argv = ['decode.py', *sys.argv[1:]]; runpy.run_path('decode.py', run_name='__main__')"
    subprocess.run([sys.executable, "-c", code, str(file), str(alone / "w.npz")], check=True, cwd=alone)
    with np.load(alone / "w.npz") as theirs:
        ours = read_compressed(file).arrays
        assert sorted(theirs.files) == sorted(ours)
        assert all(same_bits(ours[name], theirs[name]) for name in ours)


def test_every_cut_and_every_flipped_bit_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for length in [0, 1, 4, 5, HEAD.size, HEAD.size + DIGEST, *rng.integers(0, len(whole), 40)]:
        file.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=r"net\.nasp"):
            read_compressed(file)
    for place in [*range(HEAD.size), *rng.integers(0, len(whole), 60)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(flipped)
        with pytest.raises(DamagedError, match=r"net\.nasp"):
            read_compressed(file)


def test_a_newer_version_says_so(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4] = 2
    signed(file, bytes(content[:-DIGEST]))
    with pytest.raises(DamagedError, match=r"must be of version 1, got net\.nasp, of version 2"):
        read_compressed(file)
    with pytest.raises(ValueError, match="of version 2"):
        decode.load(file)


def test_a_missing_and_a_foreign_file_say_so(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="no such file"):
        read_compressed(tmp_path / "none.nasp")
    (tmp_path / "other.nasp").write_text("x" * 100, encoding="utf-8")
    with pytest.raises(DamagedError, match="does not begin as one"):
        read_compressed(tmp_path / "other.nasp")


def test_more_numbers_than_the_network_has_are_not_unpacked(file: Path) -> None:
    with pytest.raises(DamagedError, match="more than the 10 of its network"):
        read_compressed(file, most=10)


def test_names_that_stand_for_a_tensor_count_as_often(file: Path) -> None:
    def more(header: dict[str, Any]) -> None:
        header["tensors"] += [{"name": f"tied{number}", "same_as": "dense"} for number in range(1000)]

    with pytest.raises(DamagedError, match="more than the 10,000 of its network"):
        read_compressed(with_header(file, more), most=10_000)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another format": lambda header: header.update(format="nas-prune/compressed/9"),
    "a field of its own": lambda header: header.update(more=1),
    "no tensors": lambda header: header.pop("tensors"),
    "a name twice": lambda header: header["tensors"].append(header["tensors"][0]),
    "the same as nothing": lambda header: header["tensors"][5].update(same_as="nothing"),
    "the same as itself": lambda header: header["tensors"][5].update(same_as="tied"),
    "a huge shape": lambda header: header["tensors"][0].update(shape=[2**31, 2**31]),
    "another shape": lambda header: header["tensors"][1].update(shape=[20, 31]),
    "a negative size": lambda header: header["tensors"][0].update(shape=[-20, 30]),
    "more indices": lambda header: header["tensors"][0]["indices"].update(count=601),
    "fewer indices": lambda header: header["tensors"][0]["indices"].update(count=3),
    "fewer gaps": lambda header: header["tensors"][0]["gaps"].update(count=1),
    "more gaps": lambda header: header["tensors"][0]["gaps"].update(count=600),
    "no codes": lambda header: header["tensors"][0]["indices"].update(lengths=[0] * 8),
    "codes that overlap": lambda header: header["tensors"][0]["indices"].update(lengths=[1] * 8),
    "codes that are too long": lambda header: header["tensors"][0]["indices"].update(lengths=[16] * 8),
    "another number of values": lambda header: header["tensors"][0].update(
        values=header["tensors"][0]["values"] + 1
    ),
    "no values": lambda header: header["tensors"][3].update(values=0),
    "objects": lambda header: header["tensors"][3].update(dtype="object"),
    "more bytes": lambda header: header["tensors"][0].update(bytes=10**6),
    "no bytes": lambda header: header["tensors"][0].update(bytes=0),
    "gaps without their codes": lambda header: header["tensors"][0].pop("gaps"),
    "zeros told otherwise": lambda header: header["tensors"][0].update(zeros="none"),
    "text for a number": lambda header: header["tensors"][0].update(values="8"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_headers_that_do_not_hold_are_refused(what: str, file: Path) -> None:
    with pytest.raises(DamagedError, match=r"must be whole, got net\.nasp \("):
        read_compressed(with_header(file, BROKEN[what]))


def test_a_header_that_unpacks_to_too_much_is_refused(file: Path) -> None:
    bomb = zlib.compress(b" " * (2**26 + 1), 9)
    signed(file, HEAD.pack(MAGIC, VERSION, len(bomb)) + bomb)
    with pytest.raises(DamagedError, match="more than"):
        read_compressed(file)


@pytest.mark.slow  # tools/fuzz.py looks for the same in the default run
def test_files_of_random_headers_never_end_in_another_error(file: Path) -> None:
    rng = np.random.default_rng(0)
    content = file.read_bytes()
    _, _, length = HEAD.unpack_from(content)
    text = zlib.decompress(content[HEAD.size : HEAD.size + length])
    refused = 0
    for _ in range(300):
        own = bytearray(text)
        for place in rng.integers(0, len(own), rng.integers(1, 4)):
            own[place] = int(rng.choice(list(b'0123456789,:{}[]"-enu')))
        packed = zlib.compress(bytes(own))
        payload = bytearray(content[HEAD.size + length : -DIGEST])
        payload[int(rng.integers(len(payload)))] ^= 255
        signed(file, HEAD.pack(MAGIC, VERSION, len(packed)) + packed + bytes(payload))
        try:
            read_compressed(file, most=10_000)
        except DamagedError:
            refused += 1
    assert refused > 200
