"""Pictures with labels, part by part: what a file of rows says, before any pixel is read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.data.decode import file_reader
from nas_prune.data.parts import indices_of_parts, parts_used, said_of_parts
from nas_prune.data.pictures import Picture
from nas_prune.data.source import Source
from nas_prune.data.split import IntArray
from nas_prune.data.targets import TargetKind, Targets
from nas_prune.errors import DataError
from nas_prune.runs.text import printable

WHOLE = ""  # the part where there are no parts


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Pictures of which it is known what is to be learned of them.

    Attributes:
        pictures: where each is.
        labels: the class of each, by its number; 0 where there are values.
        values: several classes or numbers of each, float32, a row for each picture; None for one class.
    """

    pictures: tuple[Picture, ...]
    labels: IntArray
    values: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Pictures with labels.

    Attributes:
        parts: by name, `train`, `test`, `val`; or all of them as `WHOLE`.
        class_names: one for each number, without those that no picture has.
        where: the file or the directory, as it is shown.
        root: the folder that messages name files relative to.
        notes: what a person should know, in sentences.
        kind: what is to be learned.
    """

    parts: Mapping[str, Labelled]
    class_names: tuple[str, ...]
    where: str
    root: Path
    notes: tuple[str, ...] = ()
    kind: TargetKind = "class"

    @property
    def checked_with(self) -> tuple[Labelled, bool]:
        """The pictures to check a network with, and whether they are a part for that: all of them otherwise."""
        for part in ("test", "val"):
            if part in self.parts:
                return self.parts[part], True
        return next(iter(self.parts.values())), False


def without_unused(
    class_names: Sequence[str], labels: Sequence[IntArray]
) -> tuple[list[str], list[IntArray]]:
    """The classes that some picture has, and the pictures' classes by their numbers among these."""
    used = np.zeros(len(class_names), dtype=bool)
    for own in labels:
        used[own] = True
    number_K = np.cumsum(used) - 1
    return [name for name, is_used in zip(class_names, used, strict=True) if is_used], [
        number_K[own] for own in labels
    ]


def sorted_labels(labels: Collection[str]) -> list[str]:
    """Classes in order: numbers as numbers, if they all are."""
    try:
        return sorted(labels, key=lambda label: (_number(label), label))
    except ValueError:
        return sorted(labels)


def _number(label: str) -> float:
    if not label.isascii() or not label.lstrip("+-")[:1].isdigit():  # no nan, no infinity
        raise ValueError(label)
    return float(label)


def source_of(table: Table) -> Source:
    """The images of a table, not yet decoded, in the parts that folders have.

    Raises:
        DataError: one class only, or no images to train with.
    """
    if len(table.class_names) < 2 and table.kind == "class":
        got = f"only {printable(table.class_names[0])!r}" if table.class_names else "none"
        raise DataError(f"{table.where} must have images of at least two classes, got {got}. Add another.")
    names = [name for name in parts_used(table.parts) if len(table.parts[name].labels)] or [WHOLE]
    if names not in ([WHOLE], ["train"]) and "train" not in names:
        raise DataError(
            f"{table.where} must have images to train with, got only the part {' and '.join(names)}. "
            "Call one part train, or none, so that a fifth is kept for testing."
        )
    chosen = [table.parts[name] for name in names]
    train, test, val = indices_of_parts([part.labels for part in chosen])
    pictures = tuple(picture for part in chosen for picture in part.pictures)
    return Source(
        np.concatenate([part.labels for part in chosen]),
        train,
        test,
        val,
        class_names=table.class_names,
        flip=table.kind != "numbers",  # which may be another in a mirror
        image_size=32,
        in_channels=3,
        read=file_reader(pictures, table.root),
        files=pictures,
        root=table.root,
        notes=(*table.notes, *said_of_parts(names)),
        keeps_fifth=len(names) == 1,
        targets=_targets_of(table.kind, chosen),
    )


def _targets_of(kind: TargetKind, chosen: Sequence[Labelled]) -> Targets | None:
    """What is to be learned of the pictures of some parts, part after part; None for their labels."""
    values = [part.values for part in chosen if part.values is not None]
    if kind == "class":
        return None
    table = torch.from_numpy(np.concatenate(values))

    def read(indices: IntArray, _: int, __: object) -> Tensor:
        return table[torch.from_numpy(indices)]

    return Targets(kind, read)
