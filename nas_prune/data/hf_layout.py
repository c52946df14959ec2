"""What a directory that `save_to_disk` has written says of itself: its parts, their files, what their columns hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas_prune.data.listing import is_folder, shortened
from nas_prune.data.parts import PARTS, part_called
from nas_prune.data.table import WHOLE
from nas_prune.errors import DataError
from nas_prune.runs.directory import directory_name
from nas_prune.runs.reading import read_json
from nas_prune.runs.text import printable

_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"
_MOST_FILES, _MOST_CLASSES = 100_000, 1_000_000


def is_saved(path: Path) -> bool:
    """Whether a directory looks like one of `save_to_disk`."""
    return (path / _DICT).is_file() or ((path / _STATE).is_file() and (path / _INFO).is_file())


def check_there(root: Path) -> None:
    """Refuse what is no such directory, and say what to do for each.

    Raises:
        DataError: it is none.
    """
    shown = printable(str(root))
    if not is_folder(root):
        state = "is a file" if root.is_file() else "does not exist"
        raise DataError(
            f"--data hf:DIR must name a directory that save_to_disk has written, got {shown}, which {state}. Nothing "
            "is downloaded: in Python, datasets.load_dataset(…).save_to_disk(DIR) makes one."
        )


def saved_parts(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The directory of each part that is used, and what is said of the others.

    Raises:
        DataError: several are of one part, or none has a name that is known.
    """
    if (root / _STATE).is_file():
        return {WHOLE: root}, []
    content = _read(root / _DICT)
    names = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise _damaged(root / _DICT, "no list of splits")
    folders = {name: root / _plain(name, root / _DICT) for name in names}
    found, others = dict[str, Path](), list[str]()
    for name, folder in folders.items():
        part = part_called(name)
        if part is None:
            others.append(name)
        elif part in found:
            raise DataError(
                f"{printable(str(root))} must have one split for each part, got {found[part].name} and "
                f"{printable(name)}. Put them together with concatenate_datasets."
            )
        else:
            found[part] = folder
    if not found and len(folders) == 1:
        return {WHOLE: next(iter(folders.values()))}, []
    if not found:
        raise DataError(
            f"the splits of {printable(str(root))} must be called {', '.join(PARTS)}, got {shortened(others)}. "
            f"Name one of them: --data hf:{printable(str(next(iter(folders.values()))))}."
        )
    return found, [f"Left out: the splits {shortened(others)}."] if others else []


def features_of(folder: Path) -> dict[str, Mapping[str, Any]]:
    """What each column holds, by its name."""
    content = _read(folder / _INFO)
    features = content.get("features") if isinstance(content, dict) else None
    if not isinstance(features, dict):
        raise _damaged(folder / _INFO, "no features")
    return {name: one if isinstance(one, dict) else {} for name, one in features.items()}


def class_names_of(feature: Mapping[str, Any], folder: Path) -> tuple[str, ...] | None:
    """The names of classes by number; None where a label is its own name."""
    if feature.get("_type") != "ClassLabel":
        return None
    names, count = feature.get("names"), feature.get("num_classes")
    if names is None and isinstance(count, int) and 0 < count <= _MOST_CLASSES:
        return tuple(map(str, range(count)))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _damaged(folder / _INFO, "no names of classes")
    if len(set(names)) < len(names):
        raise _damaged(folder / _INFO, "a class's name twice")
    return tuple(names)


def arrow_files(folder: Path) -> list[Path]:
    """The Arrow files of a part, in order."""
    content = _read(folder / _STATE)
    files = content.get("_data_files") if isinstance(content, dict) else None
    if not isinstance(files, list) or len(files) > _MOST_FILES or content.get("_indices_data_files"):
        raise _damaged(folder / _STATE, "no list of _data_files, or one of rows chosen from them")
    names = [file.get("filename") if isinstance(file, dict) else None for file in files]
    return [folder / _plain(name, folder / _STATE) for name in names]


def _plain(name: Any, where: Path) -> str:
    """A name that leads to what lies in the directory itself."""
    if not isinstance(name, str):
        raise _damaged(where, "a name that is no text")
    try:
        return directory_name(name)
    except ValueError as error:
        raise _damaged(where, str(error)) from None


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(getattr(error, "strerror", None) or error)) from None


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{printable(str(path))} must be as save_to_disk writes it, got: {printable(' '.join(why.split())[:150])}. "
        "Save the data set again."
    )
