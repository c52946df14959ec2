"""Images that are there twice: in two parts, so that a network is tested with what it has seen, or in two classes.

In memory, pixels are compared as a network gets them. Of images that stay in their files no pixel is known yet, and
decoding them all would take as long as an epoch: their files are compared, which finds exact copies and no others.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b

import numpy as np
from torch import Tensor

from nas_prune.data.pictures import Picture, opened, shown
from nas_prune.data.source import Source
from nas_prune.data.split import IntArray
from nas_prune.errors import NasPruneError
from nas_prune.runs.text import printable

_PARTS = ("training", "validation", "test")
_MOST_LOOKED_AT = 20_000  # files of a part, evenly spread: enough to find copies that count
_TAIL = 4096  # bytes at a file's end, where compressed pixels of two images differ

Pair = tuple[int, int]  # the places of an image and of an earlier one that is the same


def same_pixels(images: Tensor) -> list[Pair]:
    """The images that have the pixels of an earlier one, each with the first such.

    Args:
        images: uint8, N×C×H×W.
    """
    first, pairs = dict[bytes, int](), list[Pair]()
    for place, image in enumerate(images.contiguous().numpy()):
        digest = blake2b(image, digest_size=16).digest()
        before = first.setdefault(digest, place)
        if before != place:
            pairs.append((place, before))
    return pairs


def same_files(pictures: Sequence[Picture], counts: Sequence[int], sizes: IntArray) -> list[Pair]:
    """The pictures for validation and testing whose files have the bytes of one for training.

    Args:
        pictures: part after part.
        counts: how many each part has.
        sizes: of each picture's file, in bytes.
    """
    held = _spread(range(counts[0], len(pictures)))
    is_size_held = np.isin(sizes, sizes[held])
    earlier = _spread([place for place in range(counts[0]) if is_size_held[place]])
    by_tail = defaultdict[tuple[int, bytes], list[int]](list)
    for place in earlier:
        by_tail[int(sizes[place]), _digest(pictures[place], tail=True)].append(place)
    pairs = list[Pair]()
    for place in held:
        alike = by_tail.get((int(sizes[place]), _digest(pictures[place], tail=True)), [])
        if alike:
            whole = _digest(pictures[place])
            pairs += [(place, other) for other in alike if whole and _digest(pictures[other]) == whole][:1]
    return pairs


def _spread(places: Sequence[int]) -> list[int]:
    return list(places[:: max(1, -(-len(places) // _MOST_LOOKED_AT))])


def _digest(picture: Picture, *, tail: bool = False) -> bytes:
    """Of a picture's bytes, or the last of them; nothing where they cannot be read, which is said when they are."""
    digest = blake2b(digest_size=16)
    try:
        with opened(picture) as (stream, _):
            if tail:
                stream.seek(max(0, stream.seek(0, 2) - _TAIL))
            while block := stream.read(2**20):
                digest.update(block)
    except (OSError, NasPruneError):
        return b""
    return digest.digest()


def notes_of_copies(
    pairs: Sequence[Pair], source: Source, chosen: IntArray, counts: Sequence[int]
) -> tuple[str, ...]:
    """What a person should know of images that are there twice, in sentences.

    Args:
        pairs: of images, by their places among those chosen.
        source: of them.
        chosen: which of its images are used, part after part.
        counts: how many each part has: training, validation, test.
    """
    names = {
        place: shown(source.files[chosen[place]], source.root) if source.files else f"item {chosen[place]}"
        for pair in pairs
        for place in pair
    }
    labels = {place: int(source.labels[chosen[place]]) for place in names}
    return (*_in_two_parts(pairs, counts, names), *_in_two_classes(pairs, labels, names, source.class_names))


def _in_two_parts(pairs: Sequence[Pair], counts: Sequence[int], names: Mapping[int, str]) -> Iterator[str]:
    ends = np.cumsum(counts)
    across = [
        pair
        for pair in pairs
        if np.searchsorted(ends, pair[0], "right") != np.searchsorted(ends, pair[1], "right")
    ]
    if not across:
        return
    later, before = across[-1]  # of the test part, if one is
    parts = np.searchsorted(ends, [place for place, _ in across], "right")
    numbers = " and ".join(
        f"{count:,} of the {_PARTS[part]} part"
        for part, count in zip(*np.unique(parts, return_counts=True), strict=True)
    )
    yield (
        f"The same pixels are in two parts: an earlier part has {numbers} too, such as {names[later]}, which is "
        f"{names[before]}. Accuracy on them says nothing of other images."
    )


def _in_two_classes(
    pairs: Sequence[Pair], labels: Mapping[int, int], names: Mapping[int, str], class_names: Sequence[str]
) -> Iterator[str]:
    other = [pair for pair in pairs if labels[pair[0]] != labels[pair[1]]]
    if other:
        one, two = (f"{names[place]} ({printable(class_names[labels[place]])})" for place in other[0])
        times = "once" if len(other) == 1 else f"{len(other):,} times"
        yield f"The same pixels are in two classes {times}: first {one}, which is {two}."
