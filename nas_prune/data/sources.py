"""From the name of a data set to its source, or to the pictures to check a network with."""

from pathlib import Path
from shlex import quote

import numpy as np

from nas_prune.data.csv_file import read_csv
from nas_prune.data.folder import folder_source, labelled_images
from nas_prune.data.hf_layout import is_saved
from nas_prune.data.hf_saved import read_saved
from nas_prune.data.known import KNOWN_DATA
from nas_prune.data.listing import is_folder
from nas_prune.data.masks import mask_source, refuse_masks
from nas_prune.data.named import digits_source, downloaded_source
from nas_prune.data.own_datasets import datasets_called, source_of_datasets
from nas_prune.data.source import Source
from nas_prune.data.table import Labelled, Table, source_of
from nas_prune.data.tar_shards import read_shards
from nas_prune.data.targets import TargetKind
from nas_prune.errors import BadInputError
from nas_prune.runs.data_name import OwnData, own_data
from nas_prune.runs.directory import expanded
from nas_prune.runs.text import printable

_TABLES = (".csv", ".tsv")


def source_named(name: str, data_dir: Path | None, kind: TargetKind = "class") -> Source:
    """A data set whose images are still to be read.

    Args:
        name: one of `KNOWN_DATA`.
        data_dir: where downloads are kept; `~/.cache/nas-prune` when None.
        kind: what is to be learned of its images.

    Raises:
        BadInputError: there is none of that name, or it says nothing of the kind.
        DataError: its images are not there, or are not laid out as they must be.
    """
    datasets = datasets_called(name)
    if datasets is not None:
        return source_of_datasets(datasets, name, kind)
    own = own_data(name)
    if own is not None and own.place:
        _refuse_other_kind(own)
        _refuse_other_targets(name, own, kind)
        if own.kind == "folder":
            path = expanded(own.place)
            if kind == "mask":
                return mask_source(path)
            refuse_masks(path)
            return folder_source(path)
        return source_of(_table(own, kind))
    if name not in KNOWN_DATA or own is not None:
        meant = _meant(name)
        hint = "" if meant is None else f" There is {_what(meant)} of that name: --data {quote(meant)}."
        raise BadInputError(f"--data must be one of {', '.join(KNOWN_DATA)}, got {name!r}.{hint}")
    _refuse_other_targets(name, own, kind)
    if name == "digits":
        return digits_source()
    return downloaded_source(name, data_dir or Path.home() / ".cache" / "nas-prune")


def labelled_pictures(name: str) -> tuple[Labelled, tuple[str, ...], bool]:
    """The pictures to check a network with: of the test part where there is one, of all otherwise.

    Args:
        name: of one's own images; without a kind, of a folder.

    Returns:
        The pictures, the names of their classes, and whether they are of a part for testing.

    Raises:
        DataError: there are none of that name.
    """
    own = own_data(name) or OwnData("folder", name)
    _refuse_other_kind(own)
    if own.kind != "folder":
        table = _table(own)
        labelled, is_test = table.checked_with
        return labelled, table.class_names, is_test
    found, is_test = labelled_images(expanded(own.place))
    labels = np.repeat(np.arange(len(found)), [len(files) for _, files in found])
    files = tuple(file for _, own_files in found for file in own_files)
    return Labelled(files, labels), tuple(name for name, _ in found), is_test


def _table(own: OwnData, kind: TargetKind = "class") -> Table:
    if own.kind == "csv":
        return read_csv(own, kind)
    return read_shards(own) if own.kind == "wds" else read_saved(own)


_SAY = {
    "class": "one class of each image",
    "classes": "several classes",
    "numbers": "numbers",
    "mask": "masks",
}
_TAKE = {"classes": "csv:FILE", "numbers": "csv:FILE", "mask": "folder:PATH, with images and masks"}


def _refuse_other_targets(name: str, own: OwnData | None, kind: TargetKind) -> None:
    """Refuse images of which a data set of this sort cannot say what is to be learned.

    Raises:
        BadInputError: it cannot.
    """
    sort = None if own is None else own.kind
    if kind == "class" or (kind == "mask" and sort == "folder") or (kind != "mask" and sort == "csv"):
        return
    raise BadInputError(
        f"--data must say {_SAY[kind]} for this task, got {printable(name)}, which says {_SAY['class']}. Give "
        f"{_TAKE[kind]}."
    )


def _meant(place: str) -> str | None:
    """The data set that lies at a place, as it is typed."""
    path = expanded(place)
    try:
        if is_folder(path):
            return f"hf:{place}" if is_saved(path) else f"folder:{place}"
        return f"csv:{place}" if path.suffix.lower() in _TABLES and path.is_file() else None
    except OSError:
        return None


def _what(name: str) -> str:
    """What lies at the place of a name."""
    return {"folder": "a folder", "csv": "a CSV file", "hf": "a saved data set"}[name.partition(":")[0]]


def _refuse_other_kind(own: OwnData) -> None:
    """Refuse a kind that is not that of what lies there: each has a reader of its own.

    Raises:
        BadInputError: it is another.
    """
    meant = _meant(own.place)
    if own.kind == "wds" and (meant is None or meant.startswith("folder:")):
        return
    if meant is not None and not meant.startswith(f"{own.kind}:"):
        raise BadInputError(
            f"--data must say what {printable(own.place)} is, which is {_what(meant)}. Type --data {quote(meant)}."
        )
