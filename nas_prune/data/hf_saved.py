"""Images that Hugging Face's `datasets` has saved with `save_to_disk`: a directory, or one with one for each part.

They are read here by pyarrow alone, without the library that wrote them. Its `load_from_disk` (datasets 5.2) runs no
code of a data set and loads no pickle, but it trusts what the directory says: the names of parts and files in
`dataset_dict.json` and `state.json` may lead anywhere, with `::` and `://` over the network too; a column's `_type`
names a class to make, `_format_type` a library to import; a picture without bytes is fetched from wherever its path
says; and the offsets in Arrow files, at which the bytes of pictures lie, are believed. Here names are those of files in
the directory, nothing is downloaded, offsets are checked, and pictures go through the decoder that files go through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas_prune.data.arrow_file import read_shard
from nas_prune.data.columns import IMAGE, LABEL, check_choices, column_of, is_usual, plainly_written
from nas_prune.data.hf_layout import arrow_files, check_there, class_names_of, features_of, saved_parts
from nas_prune.data.pictures import Stored
from nas_prune.data.split import IntArray
from nas_prune.data.table import Labelled, Table, sorted_labels, without_unused
from nas_prune.errors import DataError
from nas_prune.runs.data_name import OwnData
from nas_prune.runs.directory import expanded
from nas_prune.runs.text import printable


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows of one part.

    Attributes:
        folder: its directory.
        names: those of its classes by number; None where a label is its own name.
        pictures: where each is.
        labels: of each; None, nothing or, where classes have numbers, -1 for a row without one.
    """

    folder: Path
    names: tuple[str, ...] | None
    pictures: tuple[Stored, ...]
    labels: tuple[int | str | None, ...]

    @property
    def missing(self) -> list[int]:
        """The rows without a label."""
        return [
            row
            for row, label in enumerate(self.labels)
            if label is None or label == "" or (self.names is not None and label == -1)
        ]


def read_saved(own: OwnData) -> Table:
    """The images of a saved data set.

    Raises:
        DataError: there is none, it is damaged, or it is not clear which columns are meant.
    """
    check_choices(own, ("image", "label"))
    root = expanded(own.place)
    check_there(root)
    folders, notes = saved_parts(root)
    rows = {part: _rows(folder, own) for part, folder in folders.items()}
    for part, found in list(rows.items()):
        missing = found.missing
        if missing and len(missing) == len(found.labels) and len(rows) > 1:
            notes.append(
                f"Left out: the part {printable(found.folder.name)}, whose {len(missing):,} images have no labels."
            )
            del rows[part]
        elif missing:
            raise DataError(
                f"every image of {printable(str(root))} must have a label, got {len(missing):,} without one, first "
                f"{printable(str(found.pictures[missing[0]]))}. Take them out with filter, and save it again."
            )
    class_names, numbers = _numbered(list(rows.values()), root)
    used, numbers = without_unused(class_names, numbers)
    if len(used) < len(class_names):
        notes.append(f"Left out: {len(class_names) - len(used):,} classes without images.")
    parts = {
        part: Labelled(found.pictures, own) for (part, found), own in zip(rows.items(), numbers, strict=True)
    }
    return Table(parts, tuple(used), printable(str(root)), root, tuple(notes))


def _rows(folder: Path, own: OwnData) -> _Rows:
    """The rows of a part, whose pictures stay where they are."""
    features = features_of(folder)
    images = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    image = str(column_of("image", IMAGE, list(features), own, among=images))
    label = _label_column(features, own)
    pictures, labels = list[Stored](), list[int | str | None]()
    for file in arrow_files(folder):
        shard = read_shard(file, image, label)
        pictures += [
            Stored(file, start, size, folder, row)
            for row, (start, size) in enumerate(shard.spans_N2.tolist(), len(pictures))
        ]
        labels += shard.labels
    without = [picture for picture in pictures if picture.size < 0]
    if without:
        raise DataError(
            f"every image of {printable(str(folder))} must be stored in it, got {len(without):,} without their bytes, "
            f"first {printable(str(without[0]))}. Open it with datasets and save it again: that puts them in."
        )
    return _Rows(folder, class_names_of(features[label], folder), tuple(pictures), tuple(labels))


def _label_column(features: Mapping[str, Mapping[str, Any]], own: OwnData) -> str:
    """The column of labels: the one of classes, if there is one alone and no other is called so, or one that is."""
    there = [name for name, feature in features.items() if feature.get("_type") in ("ClassLabel", "Value")]
    classes = [name for name in there if features[name].get("_type") == "ClassLabel"]
    called = [name for name in there if is_usual(name, LABEL)]
    if len(classes) == 1 and "label" not in own.columns and (classes[0] in called or not called):
        return classes[0]
    return str(column_of("label", (*LABEL, *map(plainly_written, classes)), list(features), own, among=there))


def _numbered(rows: Sequence[_Rows], root: Path) -> tuple[list[str], list[IntArray]]:
    """The names of the classes, and the number of each row's class.

    Raises:
        DataError: the parts have other classes, or labels are none of them.
    """
    names = rows[0].names
    if any(found.names != names for found in rows):
        raise DataError(
            f"the classes of {printable(str(root))} must be the same in every part, with the same numbers, got others. "
            "Save it with the same features."
        )
    if names is None:
        texts = [[str(label) for label in found.labels] for found in rows]
        order = sorted_labels({label for own in texts for label in own})
        number = {label: place for place, label in enumerate(order)}
        return order, [np.array([number[label] for label in own], dtype=np.int64) for own in texts]
    for found in rows:
        odd = [row for row, label in enumerate(found.labels) if not 0 <= _as_number(label) < len(names)]
        if odd:
            raise DataError(
                f"the labels of {printable(str(found.folder))} must be from 0 to {len(names) - 1}, got "
                f"{found.labels[odd[0]]!r:.40} in {printable(str(found.pictures[odd[0]]))}. Save it again."
            )
    return list(names), [np.array(found.labels, dtype=np.int64) for found in rows]


def _as_number(label: int | str | None) -> int:
    return label if isinstance(label, int) else -1
