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

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.graph.resize import Kept
from nas_prune.runs.directory import CHECKPOINT, NETWORK, RESULT
from nas_prune.runs.files import write_whole
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import read_json
from nas_prune.space.load import load_referenced
from nas_prune.space.names import check_trusted, is_own
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import SpaceReference, Widths, read_widths
from nas_prune.training.checkpoint import read_weights
from nas_prune.training.compute import Compute
from nas_prune.training.config import resume_command
from nas_prune.training.evaluation import class_scores
from nas_prune.training.loss import Teacher
from nas_prune.training.network_file import NetworkFile, read_network, set_weights
from nas_prune.training.ranks import ALONE

KEPT = "kept.json"
_KEPT = TypeAdapter(dict[str, list[list[Annotated[int, Field(ge=0, lt=2**31)]]]])


def write_kept(run: Path, kept: Mapping[str, Kept]) -> None:
    """Write which channels of the trained network each cut keeps, by the name of its widths file (for fine-tuning)."""
    content = {name: [indices.tolist() for indices in kept_G] for name, kept_G in kept.items()}
    write_whole(run / KEPT, json.dumps(content) + "\n")


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
    return {name: [np.array(indices, dtype=np.int64) for indices in kept] for name, kept in content.items()}


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
    path, again = run / NETWORK, resume_command("search", run, whole.reference.name, ALONE)
    if not path.exists():
        raise BadInputError(
            f"a search whose weights are used must hold {NETWORK}, got {run}. Write it: {again}"
        )
    try:
        network = whole.build(seed=0)
        set_weights(network, read_network(path, network))
    except DamagedError as error:
        raise BadInputError(f"{error.problem} Write it again: {again}") from None
    return network


def load_teacher(run: Path, like: SpaceReference, compute: Compute, *, space: str | None = None) -> Teacher:
    """The scores that a run's trained network gives (Hinton et al. 2015).

    Args:
        run: of a search, for the whole network it trained; or of a training, for the network of its first seed.
        like: the network that is to learn from it: images and classes must be the same.
        compute: on what.
        space: the teacher's name again, if it is one of your own.

    Raises:
        BadInputError: the directory holds no trained network, or one for other images or classes.
    """
    of_search, of_training = run / "widths" / "whole.json", run / "widths.json"
    if not (run / RESULT).exists() or not (of_search.exists() or of_training.exists()):
        raise BadInputError(f"--teacher must be the directory of a finished search or training, got {run}.")
    widths = read_widths(of_search if of_search.exists() else of_training)
    named = space if is_own(widths.space.name) else None
    check_trusted(widths.space.name, named, str(run))
    theirs, ours = widths.space, like
    if (theirs.input_shape, theirs.num_classes) != (ours.input_shape, ours.num_classes):
        raise BadInputError(
            f"--teacher must know images of shape {list(ours.input_shape)} in {ours.num_classes} classes, "
            f"got {list(theirs.input_shape)} in {theirs.num_classes}."
        )
    whole = load_referenced(theirs, named, str(run))
    if of_search.exists():
        network = trained_network(run, whole)
    else:
        network = whole.build(widths, seed=0)
        set_weights(network, _trained_file(run, network))
    return _scores_of(network.to(compute.device).eval().requires_grad_(requires_grad=False), compute)


def _trained_file(run: Path, like: nn.Module) -> NetworkFile:
    """The network of a training's first seed; earlier versions left a checkpoint alone."""
    folders = [run, *sorted(run.glob("seed-*"))]
    for folder in folders:
        if (folder / NETWORK).exists():
            return read_network(folder / NETWORK, like)
    path = next(
        (folder / CHECKPOINT for folder in folders if (folder / CHECKPOINT).exists()), run / CHECKPOINT
    )
    return NetworkFile(path, read_weights(path, like), None)


def _scores_of(network: nn.Module, compute: Compute) -> Teacher:
    @torch.no_grad()
    def scores(images: Tensor) -> Tensor:
        with compute.rounding():
            return class_scores(network, images)

    return scores
