"""Trained networks that others start from or learn from: what a search or a training left in its directory.

A finished search that trained a network leaves `network.safetensors`, the whole network without what its method had put
in, and `kept.json`, which of its channels each cut keeps. No search code is needed to read them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.errors import BadInputError, DamagedError
from nas_prune.graph.resize import Kept
from nas_prune.runs.directory import CHECKPOINT, NETWORK, RESULT, seed_folders
from nas_prune.runs.files import write_whole
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import read_json
from nas_prune.space.load import load_referenced
from nas_prune.space.names import check_trusted, is_own
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.checkpoint import read_weights
from nas_prune.training.compute import Compute
from nas_prune.training.config import resume_command
from nas_prune.training.evaluation import class_scores
from nas_prune.training.loss import Teacher
from nas_prune.training.network_file import NetworkFile, read_network, set_weights
from nas_prune.training.ranks import ALONE

KEPT = "kept.json"
_Listed = list[Annotated[int, Field(ge=0, lt=2**31)]]
_Packed = Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]
_KEPT = TypeAdapter(dict[str, list[_Listed | _Packed]])
_MOST_LISTED = 500_000  # channels; a file of JSON with a million values is refused
_MOST_NAMED = 4  # classes in a message


def write_kept(run: Path, kept: Mapping[str, Kept]) -> None:
    """Write which channels of the trained network each cut keeps, by the name of its widths file (for fine-tuning).

    Each group's channels are a list of their numbers. Where all together are very many it is one text instead: a bit
    for each channel, the first of a byte its lowest, each byte as two hexadecimal digits.
    """
    size = sum(len(indices) for kept_G in kept.values() for indices in kept_G)
    is_listed = size <= _MOST_LISTED
    content = {
        name: [one.tolist() if is_listed else _packed(one) for one in kept_G] for name, kept_G in kept.items()
    }
    write_whole(run / KEPT, json.dumps(content) + "\n")


def _packed(indices: NDArray[np.int64]) -> str:
    """Channels as bits.

    Example:
        >>> _packed(np.array([0, 1, 8]))
        '0301'
    """
    bits = np.zeros(1 + int(indices.max(initial=-1)), dtype=bool)
    bits[indices] = True
    return np.packbits(bits, bitorder="little").tobytes().hex()


def _unpacked(kept: Sequence[int] | str) -> NDArray[np.int64]:
    if not isinstance(kept, str):
        return np.array(kept, dtype=np.int64)
    octets = np.frombuffer(bytes.fromhex(kept), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(octets, bitorder="little"))


def read_kept(run: Path) -> dict[str, list[NDArray[np.int64]]]:
    """What `write_kept` wrote.

    Raises:
        BadInputError: the search has not finished, or its method trains no network.
    """
    path = run / KEPT
    if not path.exists():
        raise BadInputError(
            f"--from must be a finished search that trained a network, got {run}, without {KEPT}."
        )
    try:
        content = _KEPT.validate_python(read_json(path), strict=True)
    except ValidationError as error:
        raise DamagedError(f"{path} cannot be used: {first_problem(error)}.") from None
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} must be whole JSON, got: {error}.") from None
    return {name: [*map(_unpacked, kept)] for name, kept in content.items()}


def inherited(run: Path, widths: Widths, *, space: str | None = None) -> Callable[[], nn.Module]:
    """A search's trained network, cut to widths that it found: the start of fine-tuning.

    Args:
        run: the search's directory.
        widths: one of the width vectors it found.
        space: the network again, if it is one of your own.

    Returns:
        A function that makes the network, its weights those of the channels kept.

    Raises:
        BadInputError: the directory is not that of a finished search that trained a network, or has other widths.
    """
    kept_G = kept_in(run, widths)
    whole = load_referenced(read_widths(run / "widths" / "whole.json").space, space, str(run))
    return partial(whole.narrow, trained_network(run, whole), kept_G, widths.removed_blocks)


def kept_in(run: Path, widths: Widths) -> Sequence[NDArray[np.int64]]:
    """The channels of each group that a search kept for widths that it found.

    Raises:
        BadInputError: the directory is not that of a finished search that trained a network, or has other widths.
    """
    kept = read_kept(run)
    for found in run.glob("widths/*.json"):
        own = read_widths(found)
        if found.stem in kept and (own.groups, own.removed_blocks) == (widths.groups, widths.removed_blocks):
            return kept[found.stem]
    raise BadInputError(f"--from must be the search that found the widths, got {run}, which found others.")


def trained_network(run: Path, whole: SearchSpace) -> nn.Module:
    """The whole network as a search left it, without what its method had put in.

    Args:
        run: the search's directory.
        whole: its network.

    Raises:
        BadInputError: the search has not finished, is of a version that wrote no network, or the file is damaged.
    """
    return _of_search(run, whole)[0]


def _of_search(run: Path, whole: SearchSpace) -> tuple[nn.Module, NetworkFile]:
    """The same, with its file."""
    path, again = run / NETWORK, resume_command("search", run, whole.reference.name, ALONE)
    if not path.exists():
        raise BadInputError(
            f"a search whose weights are used must hold {NETWORK}, got {run}. Write it: {again}"
        )
    try:
        network = whole.build(seed=0)
        file = read_network(path, network)
        set_weights(network, file)
    except DamagedError as error:
        raise BadInputError(f"{error.problem} Write it again: {again}") from None
    return network, file


def load_teacher(run: Path, like: Preprocessing, compute: Compute, *, space: str | None = None) -> Teacher:
    """The scores that a run's trained network gives (Hinton et al. 2015).

    It gets images as its own training had them, and its scores are put in the order of the pupil's classes. Networks of
    versions that did not write down either are taken to agree.

    Args:
        run: of a search, for the whole network it trained; or of a training, for the network of its lowest seed.
        like: the images and classes of the network that is to learn from it: shape and classes must be the same.
        compute: on what.
        space: the teacher's name again, if it is one of your own.

    Returns:
        The scores of B images as the pupil sees them: B×K, in the order of its classes.

    Raises:
        BadInputError: the directory holds no trained network, or one for other images or classes.
    """
    of_search, of_training = run / "widths" / "whole.json", run / "widths.json"
    if not (run / RESULT).exists() or not (of_search.exists() or of_training.exists()):
        raise BadInputError(f"--teacher must be the directory of a finished search or training, got {run}.")
    widths = read_widths(of_search if of_search.exists() else of_training)
    named = space if is_own(widths.space.name) else None
    check_trusted(widths.space.name, named, str(run))
    theirs, shape = widths.space, (like.channels, like.size, like.size)
    if (theirs.input_shape, theirs.num_classes) != (shape, len(like.classes)):
        raise BadInputError(
            f"--teacher must know images of shape {list(shape)} in {len(like.classes)} classes, "
            f"got {list(theirs.input_shape)} in {theirs.num_classes}."
        )
    whole = load_referenced(theirs, named, str(run))
    if of_search.exists():
        network, file = _of_search(run, whole)
    else:
        network = whole.build(widths, seed=0)
        file = _trained_file(run, network)
        set_weights(network, file)
    known = like if file.record is None else file.record.preprocessing
    check_same_classes(known, like)
    return _scores_of(
        network.to(compute.device).eval().requires_grad_(requires_grad=False), compute, known, like
    )


def check_same_classes(theirs: Preprocessing, ours: Preprocessing) -> None:
    """Refuse a teacher of other classes, or of another kind; the order may be another.

    Raises:
        BadInputError: it is one.
    """
    if theirs.kind != ours.kind:
        raise BadInputError(
            f"--teacher must be trained for the same kind of task, got {theirs.task}, to teach {ours.task}."
        )
    if set(theirs.classes) != set(ours.classes):
        raise BadInputError(
            f"--teacher must know the classes of the images, {_few(ours, theirs)}, got {_few(theirs, ours)}. "
            "Name one that was trained on images of these classes."
        )


def _few(own: Preprocessing, other: Preprocessing) -> str:
    """Some classes in words, first those that the other does not know."""
    ordered = sorted(own.classes, key=lambda name: name in other.classes)
    more = len(ordered) - _MOST_NAMED
    return ", ".join(ordered[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _trained_file(run: Path, like: nn.Module) -> NetworkFile:
    """The network of a training's lowest seed; earlier versions left a checkpoint alone."""
    folders = [run, *seed_folders(run)]
    for folder in folders:
        if (folder / NETWORK).exists():
            return read_network(folder / NETWORK, like)
    path = next(
        (folder / CHECKPOINT for folder in folders if (folder / CHECKPOINT).exists()), run / CHECKPOINT
    )
    return NetworkFile(path, read_weights(path, like), None)


def _scores_of(network: nn.Module, compute: Compute, theirs: Preprocessing, ours: Preprocessing) -> Teacher:
    """What gives a teacher's scores for images that are normalised for its pupil."""
    are_same = (theirs.mean, theirs.std) == (ours.mean, ours.std)
    pairs = [*zip(theirs.mean, theirs.std, ours.mean, ours.std, strict=True)]
    factor, offset = (
        torch.tensor(values, device=compute.device).view(-1, 1, 1)
        for values in ([b / d for _, d, _, b in pairs], [(m - n) / d for n, d, m, _ in pairs])
    )
    order = [theirs.classes.index(name) for name in ours.classes]
    is_in_order = theirs.classes == ours.classes

    @torch.no_grad()
    def scores(images: Tensor) -> Tensor:
        with compute.rounding():
            found = class_scores(network, images if are_same else images * factor + offset)
        return found if is_in_order else found[:, order]

    return scores
