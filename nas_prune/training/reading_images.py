"""Image files as a trained network takes them, some at a time."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from nas_prune.data.decode import decode_files
from nas_prune.data.kinds import KindArray, notes_of
from nas_prune.data.pictures import Picture, absolute
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.runs.progress import Progress

_AT_A_TIME, _MOST_PIXELS = 250, 50_000_000


def decoded(files: Sequence[Picture], known: Preprocessing, progress: Progress) -> Iterator[Tensor]:
    """The pictures in files, batch by batch: uint8, N×C×H×W; at the end, what they do not keep of their files is said.

    Raises:
        DataError: files that cannot be read.
    """
    named = list(map(absolute, files))
    root = Path(os.path.commonpath({Path(str(file)).parent for file in named}))
    kinds = list[KindArray]()
    at_a_time = max(1, min(_AT_A_TIME, _MOST_PIXELS // (known.channels * known.size**2)))
    for first in range(0, len(files), at_a_time):
        progress.update("images", first, len(files))
        some = named[first : first + at_a_time]
        found = decode_files(some, image_size=known.size, in_channels=known.channels, root=root)
        kinds += [] if found.kinds_N is None else [found.kinds_N]
        yield found.images
    progress.update("images", len(files), len(files))
    for note in notes_of(np.concatenate(kinds), named, root):
        progress.say(note)
