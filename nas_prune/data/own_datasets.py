"""Images that come out of a person's own code: PyTorch data sets, registered by a program or made by a named function.

Every item is read once, into memory. What is seen of it is checked before anything is trained: that it is there, is an
image and what is to be learned of it, and is the same when it is asked for again.

Shape letters: C channels, H rows, W columns, K classes, D numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from nas_prune.data.known import KNOWN_DATA
from nas_prune.data.own_items import Item, items_of
from nas_prune.data.parts import indices_of_parts
from nas_prune.data.pixels import fit_images
from nas_prune.data.source import Decoded, OnDecoded, Source
from nas_prune.data.split import IntArray
from nas_prune.data.targets import MOST_MASK_CLASSES, UNLABELLED, TargetKind, Targets
from nas_prune.errors import BadInputError, DataError
from nas_prune.runs.own_code import imported, names_code
from nas_prune.runs.text import first_line, printable

_MOST_UNNAMED = 64  # classes of masks without names


@dataclass(frozen=True, slots=True, eq=False)
class Datasets:
    """A person's own data sets.

    An item is a pair: an image, as Pillow has it or as a tensor C×H×W with one or three channels (uint8, or floats from
    0 to 1: normalising is ours), and what is to be learned of it: a class's number; for several classes a row of 0 and
    1, K; a number, or D of them; a mask, H×W, of class numbers where 255 counts nowhere.

    Attributes:
        train: to train with: anything with a length and places, or a `DataLoader` over such (its data set is read).
        test: to test with; a fifth of `train` is kept for that if None.
        val: to validate with; cut from `train` if None.
        classes: names of the classes or numbers; those of the data set, or numbers, if empty.
        can_mirror: whether what is learned stays the same in a mirror.
    """

    train: Any
    test: Any = None
    val: Any = None
    classes: Sequence[str] = ()
    can_mirror: bool = True


_REGISTERED: dict[str, Datasets] = {}


def register_data(name: str, datasets: Datasets) -> None:
    """Make data sets known to this program by a name that `data` takes.

    Workers know it, too, where that is done at the top level of the script.

    Raises:
        BadInputError: the name is no plain one, or stands for other images already.
    """
    if not isinstance(datasets, Datasets):
        raise BadInputError(f"data must be nas_prune.Datasets, got {type(datasets).__name__}.")
    if not name.replace("-", "").replace("_", "").isalnum():
        raise BadInputError(f"a data set's name must be of letters, digits, - and _, got {name!r}.")
    if name in KNOWN_DATA:
        raise BadInputError(f"a data set's name must be its own, got {name}, which stands for other images.")
    _REGISTERED[name] = datasets


def datasets_called(name: str) -> Datasets | None:
    """The data sets that a name stands for: registered, or made by code of a person's own; None for other names.

    Raises:
        BadInputError: as `datasets_named`.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    return datasets_named(name) if names_code(name) else None


def datasets_named(name: str) -> Datasets:
    """What a function of a person's own gives: `Datasets`, a mapping of its attributes, or a data set to train with.

    Raises:
        BadInputError: only a file names it, or it fails, or gives something else.
    """
    made = imported(name, "--data", what="a function")
    if callable(made) and not isinstance(made, Datasets) and not hasattr(made, "__getitem__"):
        try:
            made = made()
        except Exception as error:
            said = f"{type(error).__name__}: {first_line(error)}"
            raise BadInputError(f"--data {name} must make data sets, got {said}.") from error
    if isinstance(made, Datasets):
        return made
    if isinstance(made, Mapping):
        known = {field.name for field in fields(Datasets)}
        if "train" not in made or set(made) - known:
            got = ", ".join(map(str, made))
            raise BadInputError(f"--data {name} must give train, test, val, classes, can_mirror, got {got}.")
        return Datasets(**made)
    return Datasets(made)


def source_of_datasets(datasets: Datasets, name: str, kind: TargetKind) -> Source:
    """The images of data sets, all read.

    Args:
        datasets: which.
        name: theirs, for messages.
        kind: what is to be learned.

    Raises:
        DataError: an item is no image, or says nothing that can be learned, or is another when it is asked for again.
    """
    parts = {part: _map_style(getattr(datasets, part), name, part) for part in ("train", "test", "val")}
    there = [(part, dataset) for part, dataset in parts.items() if dataset is not None]
    if not there or there[0][0] != "train":
        raise DataError(f"{printable(name)} must have a data set to train with, got none.")
    items = [items_of(dataset, kind, f"{printable(name)}, {part}") for part, dataset in there]
    items = items if kind != "mask" else _as_classes(items, name, has_names=bool(datasets.classes))
    every = [item for own in items for item in own]
    _check_alike(every, name, kind)
    names = _names(datasets, parts["train"], every, kind, name)
    labels = np.array([int(item.target) if kind == "class" else 0 for item in every], dtype=np.int64)
    train, test, val = indices_of_parts(np.split(labels, np.cumsum([len(own) for own in items])[:-1]))
    shapes = {tuple(item.image.shape) for item in every}
    (channels, height, width), *others = shapes
    return Source(
        labels,
        train,
        test,
        val,
        class_names=names,
        flip=datasets.can_mirror and kind != "numbers",
        image_size=height if not others and height == width else 32,
        in_channels=channels,
        read=_reader(every),
        keeps_fifth=False,
        targets=None if kind == "class" else Targets(kind, _target_reader(every, kind)),
        notes=("There is no part for testing: a fifth is kept for it.",) if len(items) == 1 else (),
        is_own=True,
    )


def _map_style(dataset: Any, name: str, part: str) -> Any:
    """The data set that is read, out of a loader too; None for none."""
    found = dataset
    if isinstance(dataset, DataLoader):
        found = dataset.dataset
        _check_whole(dataset, name, part)
    if found is None:
        return None
    if not (hasattr(found, "__getitem__") and hasattr(found, "__len__")):
        raise BadInputError(
            f"{part} of {printable(name)} must be a data set with a length and places, got {type(found).__name__}. A "
            "list of (image, label) does, too."
        )
    return found


def _check_whole(loader: "DataLoader[Any]", name: str, part: str) -> None:
    """Refuse a loader that gives other images than those of its data set, each once.

    Raises:
        BadInputError: it does, or cannot be told not to.
    """
    batches: Any = loader.batch_sampler
    sampler = loader.sampler if batches is None else getattr(batches, "sampler", batches)
    is_whole = isinstance(sampler, (SequentialSampler, RandomSampler, DistributedSampler)) and (
        batches is None or type(batches) is BatchSampler
    )
    if isinstance(sampler, RandomSampler) and len(sampler) != len(sampler.data_source):
        is_whole = False
    if not is_whole:
        raise BadInputError(
            f"{part} of {printable(name)} must be a loader over all of its data set, got one with a "
            f"{type(sampler).__name__}. Give the images that are meant: torch.utils.data.Subset."
        )


def _as_classes(items: Sequence[list[Item]], name: str, *, has_names: bool) -> list[list[Item]]:
    """Items whose masks are of class numbers: of two levels, 0 and 255, the second is class 1."""
    levels = {int(level) for own in items for item in own for level in item.target.unique()}
    is_black_and_white = levels == {0, UNLABELLED}
    if not is_black_and_white and len(levels - {UNLABELLED}) < 2 and not has_names:
        raise DataError(f"masks of {printable(name)} must be of at least two classes, got {sorted(levels)}.")
    if len(levels) > _MOST_UNNAMED and not has_names:
        raise DataError(
            f"masks of {printable(name)} must be of class numbers, got {len(levels)} levels, as pictures have. "
            "Name the classes if they are so many."
        )
    if not is_black_and_white:
        return [list(own) for own in items]
    return [[Item(item.image, (item.target > 0).to(torch.uint8)) for item in own] for own in items]


def _check_alike(items: Sequence[Item], name: str, kind: TargetKind) -> None:
    """Refuse items of other channels, or of which another number of things is to be learned."""
    channels = {item.image.shape[0] for item in items}
    if len(channels) > 1:
        raise DataError(f"all images of {printable(name)} must have as many channels, got 1 and 3.")
    if kind == "mask":
        odd = next(
            (place for place, item in enumerate(items) if item.image.shape[1:] != item.target.shape), None
        )
        if odd is not None:
            sizes = [list(one.shape[-2:]) for one in (items[odd].image, items[odd].target)]
            raise DataError(
                f"a mask of {printable(name)} must have the size of its image, {sizes[0]}, got {sizes[1]}."
            )
    elif len(lengths := {tuple(item.target.shape) for item in items}) > 1:
        raise DataError(
            f"as much must be learned of every image of {printable(name)}, got "
            f"{', '.join(str(list(one)) for one in sorted(lengths))}."
        )


def _names(
    datasets: Datasets, train: Any, items: Sequence[Item], kind: TargetKind, name: str
) -> tuple[str, ...]:
    """What classes or numbers are called."""
    if kind in ("classes", "numbers"):
        count = len(items[0].target)
    else:
        count = 1 + max(_largest(item.target, kind) for item in items)
    given = tuple(map(str, datasets.classes or (getattr(train, "classes", ()) if kind == "class" else ())))
    if not given:
        names = tuple(str(number) for number in range(max(count, 2 if kind in ("class", "mask") else 1)))
    elif len(given) < count or (kind in ("classes", "numbers") and len(given) != count):
        raise DataError(
            f"{printable(name)} must name all that is learned, got {len(given)} names and {count} classes or numbers."
        )
    else:
        names = given
    if len(set(names)) < len(names):
        raise DataError(f"{printable(name)} must name each class once, got one twice.")
    if kind == "mask" and len(names) > MOST_MASK_CLASSES:
        raise DataError(f"masks must be of at most {MOST_MASK_CLASSES} classes, got {len(names)}.")
    return names


def _largest(target: Tensor, kind: TargetKind) -> int:
    if kind == "class":
        return int(target)
    counted = target[target != UNLABELLED]
    return int(counted.max()) if counted.numel() else 0


def _centred(image: Tensor) -> Tensor:
    """The centred square of a tensor …×H×W."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


def _reader(items: Sequence[Item]) -> Callable[[IntArray, int, int, OnDecoded | None], Decoded]:
    def read(indices: IntArray, size: int, channels: int, progress: OnDecoded | None) -> Decoded:
        found = torch.empty((len(indices), channels, size, size), dtype=torch.uint8)
        for place, index in enumerate(indices):
            found[place] = fit_images(_centred(items[index].image).unsqueeze(0), size, channels)[0]
        if progress is not None:
            progress(len(indices), len(indices))
        return Decoded(found)

    return read


def _target_reader(
    items: Sequence[Item], kind: TargetKind
) -> Callable[[IntArray, int, Callable[[int, int], None] | None], Tensor]:
    def read(indices: IntArray, size: int, _: object) -> Tensor:
        if kind != "mask":
            return torch.stack([items[index].target for index in indices])
        return torch.stack([_nearest(_centred(items[index].target), size) for index in indices])

    return read


def _nearest(mask: Tensor, size: int) -> Tensor:
    """A square mask at another size: of each pixel the nearest one's class."""
    image = Image.fromarray(mask.numpy()).resize((size, size), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image))
