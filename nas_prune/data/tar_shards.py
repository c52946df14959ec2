"""Shards as WebDataset writes them: tar files of samples, each an image and its class under one name.

They are read here by tarfile alone. The library that wrote them decodes what it finds by its ending, pickles too, and
opens names that are commands; here an image is read out of its place in the shard by the decoder that files go through,
a class is a short text, and whatever else a sample holds stays unread.
"""

import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from nas_prune.data.columns import check_choices
from nas_prune.data.listing import is_folder, named_parts, shortened
from nas_prune.data.parts import part_called, parts_used
from nas_prune.data.pictures import Stored
from nas_prune.data.table import WHOLE, Labelled, Table, sorted_labels
from nas_prune.errors import DataError
from nas_prune.runs.data_name import OwnData
from nas_prune.runs.directory import expanded
from nas_prune.runs.reading import open_regular
from nas_prune.runs.text import printable

_IMAGES = ("jpg", "jpeg", "png", "ppm", "pgm", "bmp", "webp", "tif", "tiff", "gif", "avif", "jp2")
_LABELS = ("cls", "txt")
_LONGEST_LABEL = 255
_MOST_SAMPLES = 5_000_000


@dataclass(slots=True)
class _Sample:
    """What a shard has under one name."""

    image: Stored | None = None
    label: str | None = None


def read_shards(own: OwnData) -> Table:
    """The images of a directory of shards, which stay where they are.

    Raises:
        DataError: there are none, one is damaged, or a sample has no image or no class.
    """
    check_choices(own, ())
    root = expanded(own.place)
    if not is_folder(root):
        raise DataError(
            f"--data wds:DIR must name a directory of .tar files, got {printable(str(root))}, which is none."
        )
    samples, others = dict[str, list[_Sample]](), Counter[str]()
    for part, shards in _parts(root).items():
        samples[part] = [sample for shard in shards for sample in _samples(shard, root, others)]
    names = sorted_labels({str(sample.label) for own_ in samples.values() for sample in own_})
    number = {name: place for place, name in enumerate(names)}
    parts = {part: _labelled(found, number) for part, found in samples.items()}
    passed = ", ".join(f".{ending} ({count:,})" for ending, count in others.most_common(3))
    notes = (f"Passed over in the shards: {passed}.",) if passed else ()
    return Table(parts, tuple(names), printable(str(root)), root, notes)


def _labelled(samples: Sequence[_Sample], number: dict[str, int]) -> Labelled:
    pictures = tuple(sample.image for sample in samples if sample.image is not None)
    return Labelled(pictures, np.array([number[str(sample.label)] for sample in samples], dtype=np.int64))


def _parts(root: Path) -> dict[str, list[Path]]:
    """The shards of each part: in folders of their names, or with these in front of their own; all, otherwise.

    Raises:
        DataError: there are none.
    """
    found = {part: sorted(folder.glob("*.tar")) for part, folder in named_parts(root).items()}
    there = {part: shards for part, shards in found.items() if shards}
    if there:
        return {part: there[part] for part in parts_used(there)}
    shards = sorted(root.glob("*.tar"))
    if not shards:
        compressed = sorted(path.name for path in root.glob("*.tar.*"))
        hint = f" There is {printable(compressed[0])}: unpack it to a .tar." if compressed else ""
        raise DataError(f"{printable(str(root))} must hold .tar files, got none.{hint}")
    for shard in shards:
        front = next((word for word in shard.stem.replace("_", "-").split("-") if part_called(word)), "")
        there.setdefault(part_called(front) or WHOLE, []).append(shard)
    if WHOLE in there and len(there) > 1:
        raise DataError(
            f"every shard in {printable(str(root))} must have its part in its name, train or test, or none, got "
            f"{printable(there[WHOLE][0].name)} beside others."
        )
    return {part: there[part] for part in parts_used(there) or [WHOLE]}


def _samples(shard: Path, root: Path, others: "Counter[str]") -> Iterator[_Sample]:
    """The samples of a shard, in their order."""
    shown = printable(str(shard.relative_to(root)))
    found: dict[str, _Sample] = {}
    try:
        with open_regular(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                _note(member, shard, shown, stream, found, others)
                if len(found) > _MOST_SAMPLES:
                    raise DataError(
                        f"{shown} must have at most {_MOST_SAMPLES:,} samples, got more. Divide it."
                    )
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(f"{shown} must be a .tar file that is not compressed, got: {error}.") from None
    for what, odd in (
        ("an image", [name for name, sample in found.items() if sample.image is None]),
        ("a class (.cls)", [name for name, sample in found.items() if sample.label is None]),
    ):
        if odd:
            raise DataError(
                f"every sample of {shown} must have {what}, got {len(odd):,} without, first {shortened(odd)}."
            )
    yield from found.values()


def _note(
    member: tarfile.TarInfo,
    shard: Path,
    shown: str,
    stream: IO[bytes],
    found: dict[str, _Sample],
    others: "Counter[str]",
) -> None:
    """Note what a member of a shard is."""
    folder, _, base = member.name.rpartition("/")
    stem, dot, ending = base.partition(".")
    if not member.isreg() or member.issparse() or not dot or not stem:
        return
    key, ending = f"{folder}/{stem}" if folder else stem, ending.lower()
    if ending not in (*_IMAGES, *_LABELS):
        others[printable(ending[:20])] += 1
        return
    sample = found.setdefault(key, _Sample())
    if ending in _IMAGES:
        if sample.image is not None:
            raise DataError(f"a sample of {shown} must have one image, got two for {printable(key)}.")
        sample.image = Stored(shard, member.offset_data, member.size, shard, len(found) - 1)
        return
    if sample.label is None or ending == _LABELS[0]:
        sample.label = _text(member, shown, stream)


def _text(member: tarfile.TarInfo, shown: str, stream: IO[bytes]) -> str:
    """The class that a member says. The place where the archive is read is put back."""
    if member.size > _LONGEST_LABEL:
        raise DataError(
            f"a class in {shown} must have at most {_LONGEST_LABEL} letters, got {member.size:,}."
        )
    place = stream.tell()
    stream.seek(member.offset_data)
    text = stream.read(member.size)
    stream.seek(place)
    try:
        label = text.decode().strip()
    except UnicodeDecodeError:
        label = ""
    if not label:
        raise DataError(
            f"a class in {shown} must be a number or a name, got {text[:40]!r} for {printable(member.name)}."
        )
    return label
