"""The network that a search trained: its state at the start, as it was left, and cut to the widths found."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.directory import CHECKPOINT, read_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods import WidthMethod, method_named, scorable
from nas_prune.search.result import read_kept
from nas_prune.space.load import load_referenced
from nas_prune.space.networks import check_trusted
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.checkpoint import read_checkpoint
from nas_prune.training.state import TrainState, start


def first_state(
    space: SearchSpace,
    method: WidthMethod,
    columns: Sequence[int],
    config: SearchConfig,
    device: torch.device | str = "cpu",
) -> TrainState:
    """The state that a search starts from."""
    model = space.build(seed=config.seed, device=device)
    if method.sparsity is not None:
        method.sparsity.prepare(model, space, columns)
    return start(model, config.search_recipe)


def inherited(run: Path, widths: Widths, *, space: str | None = None) -> Callable[[], nn.Module]:
    """What a search's trained network is when cut to widths it found: the start of fine-tuning.

    Args:
        run: the search's directory.
        widths: one of the width vectors it found.
        space: the network again, if it is one of your own.

    Returns:
        A function that makes the network, its weights those of the channels kept.

    Raises:
        BadInputError: the directory is no finished search's, or its widths are others.
    """
    config = read_config(run, SearchConfig)
    check_trusted(config.space, space, str(run))
    whole = load_referenced(read_widths(run / "widths" / "whole.json").space)
    method = method_named(config.method)
    if not method.trains:
        raise BadInputError(
            f"--from must be a search that trained a network, got {run}, whose method trains none."
        )
    kept = read_kept(run)
    for found in run.glob("widths/*.json"):
        own = read_widths(found)
        if found.stem in kept and (own.groups, own.removed_blocks) == (widths.groups, widths.removed_blocks):
            model = trained_network(run, config, whole)
            return partial(whole.narrow, model, kept[found.stem], widths.removed_blocks)
    raise BadInputError(f"--from must be the search that found the widths, got {run}, which found others.")


def trained_network(run: Path, config: SearchConfig, whole: SearchSpace) -> nn.Module:
    """The whole network as a search left it, without what its method had put in."""
    method = method_named(config.method)
    state = first_state(whole, method, scorable(whole, method, config.groups), config)
    read_checkpoint(run / CHECKPOINT, state)
    return state.trained if method.sparsity is None else method.sparsity.settled(state.trained, whole)
