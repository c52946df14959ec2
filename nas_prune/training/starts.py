"""Trained networks that other networks learn from (Hinton et al. 2015)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from nas_prune.errors import BadInputError
from nas_prune.runs.directory import CHECKPOINT, read_config
from nas_prune.search.config import SearchConfig
from nas_prune.searched import trained_network
from nas_prune.space.load import load_referenced
from nas_prune.space.networks import check_trusted, is_own
from nas_prune.space.widths import SpaceReference, read_widths
from nas_prune.training.checkpoint import check_same_network, read_weights
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import class_scores
from nas_prune.training.loop import Teacher


def load_teacher(run: Path, like: SpaceReference, compute: Compute, *, space: str | None = None) -> Teacher:
    """The scores that a run's trained network gives.

    Args:
        run: of a search, for the whole network it trained; or of a training, for the network of its first seed.
        like: the network that is to learn from it: images and classes must be the same.
        compute: on what.
        space: the teacher's name again, if it is one of your own.

    Raises:
        BadInputError: the directory holds no trained network, or one for other images or classes.
    """
    of_search, of_training = run / "widths" / "whole.json", run / "widths.json"
    if not (run / "result.json").exists() or not (of_search.exists() or of_training.exists()):
        raise BadInputError(f"--teacher must be the directory of a finished search or training, got {run}.")
    widths = read_widths(of_search if of_search.exists() else of_training)
    check_trusted(widths.space.name, space if is_own(widths.space.name) else None, str(run))
    theirs, ours = widths.space, like
    if (theirs.input_shape, theirs.num_classes) != (ours.input_shape, ours.num_classes):
        raise BadInputError(
            f"--teacher must know images of shape {list(ours.input_shape)} in {ours.num_classes} classes, "
            f"got {list(theirs.input_shape)} in {theirs.num_classes}."
        )
    whole = load_referenced(theirs)
    if of_search.exists():
        network = trained_network(run, read_config(run, SearchConfig), whole)
    else:
        network = whole.build(widths, seed=0)
        weights = read_weights(_checkpoint(run))
        check_same_network(_checkpoint(run), network.state_dict(), weights)
        network.load_state_dict(weights)
    return _scores_of(network.to(compute.device).eval().requires_grad_(requires_grad=False), compute)


def _checkpoint(run: Path) -> Path:
    folders = [run, *sorted(run.glob("seed-*"))]
    return next(
        (folder / CHECKPOINT for folder in folders if (folder / CHECKPOINT).exists()), run / CHECKPOINT
    )


def _scores_of(network: nn.Module, compute: Compute) -> Teacher:
    @torch.no_grad()
    def scores(images: Tensor) -> Tensor:
        with compute.rounding():
            return class_scores(network, images)

    return scores
