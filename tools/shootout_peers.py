"""What others would do: Torch-Pruning's training with a penalty, and widths that grow by a law of each layer's own.

Both are written from what their authors published; nothing of theirs is copied.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.comparison.torch_pruning import cut_by_torch_pruning, left_alone, torch_pruning
from nas_prune.data import ImageData
from nas_prune.data.preprocessing import preprocessing_of
from nas_prune.runs.directory import NETWORK
from nas_prune.space.budget import Budget
from nas_prune.space.cut import Cut, cut
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import MethodRecord, Widths, read_widths
from nas_prune.training.compute import Compute, limited_threads, takes_channels_last
from nas_prune.training.loop import Training
from nas_prune.training.network_file import NetworkRecord, read_network, set_weights, write_network
from nas_prune.training.recipe import Recipe
from nas_prune.training.resumable import facts_of, is_finished, train_in
from nas_prune.training.state import start

PENALTY = 5e-4  # of its benchmark on CIFAR; its GroupNormPruner has 1e-4 by default
GROWTH_BUDGETS = tuple(f"params<={share}%" for share in (80, 60, 45, 30, 20, 12))
_LEAST_GROWTH = 1e-3  # of a law's exponent: below it a layer keeps its width at every size


def sparsely_trained(
    space: SearchSpace, data: ImageData, recipe: Recipe, seed: int, folder: Path, *, bf16: bool
) -> nn.Module:
    """A whole network trained with the penalty of Torch-Pruning's `GroupNormPruner`; what is done is gone on with.

    Its benchmark trains so from a trained network; here the whole training has the penalty, since a total pays for one.
    As there, weights do not decay besides.
    """
    network = space.build(seed=seed)
    penalty = Penalty(space)
    is_last = takes_channels_last(network, space.reference.image) is None
    training = Training(
        data,
        recipe.model_copy(update={"weight_decay": 0.0}),
        seed,
        Compute(precision="bf16" if bf16 else "float32", channels_last=is_last),
        penalise=penalty.add,
        settings={"penalty": PENALTY},
    )
    folder.mkdir(parents=True, exist_ok=True)
    state = start(network, training.recipe)
    record = NetworkRecord(
        widths=space.widths(space.base_G), preprocessing=preprocessing_of(data), facts=facts_of(training)
    )
    if not is_finished(folder):
        with limited_threads(1):
            train_in(folder, state, training)
        write_network(folder / NETWORK, network, record)
    set_weights(network, read_network(folder / NETWORK, network))
    return network


class Penalty:
    """What Torch-Pruning's regulariser adds to gradients; its groups are those of the network that it first sees."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._pruner: object | None = None

    def add(self, model: nn.Module, _rate: float) -> None:
        """Called after each backward pass; the gradients are changed in place."""
        if self._pruner is None:
            self._pruner = self._made(model)
        self._pruner.regularize(model)  # type: ignore[attr-defined]

    def _made(self, model: nn.Module) -> object:
        library = torch_pruning()
        was_training = model.training
        made = library.pruner.GroupNormPruner(
            model,
            torch.zeros(1, *self._space.reference.image),
            importance=library.importance.GroupMagnitudeImportance(p=2),
            reg=PENALTY,
            global_pruning=True,
            isomorphic=True,
            pruning_ratio=1.0,
            ignored_layers=left_alone(model, self._space),
        )
        model.train(was_training)
        return made  # type: ignore[no-any-return]


def sparse_cut(
    space: SearchSpace, network: nn.Module, budget: Budget
) -> tuple[Widths, Callable[[], nn.Module]]:
    """Torch-Pruning's cut of such a network: the widths, and what makes the network with its weights."""
    found = cut_by_torch_pruning(network, space, budget)
    method = MethodRecord(name="torch-pruning", is_automatic=True, settings={"penalty": PENALTY})
    return space.widths(found.widths_G, budget=str(budget), method=method), partial(deepcopy, found.network)


def grown(space: SearchSpace, columns: Sequence[int], path: Sequence[Path], budget: Budget) -> Cut:
    """Widths by growth laws after NeuralScale (Lee and Lee, CVPR 2020): one round, from the cuts of one search.

    Each group's width is α τᵝ in the parameters τ of the network, fitted by least squares in logarithms to the cuts of
    a search by the Taylor criterion; τ is the largest that meets the budget. The paper removes neurons one after
    another while it trains and goes through fifteen rounds, from the widths of the one before; a total of three
    trainings pays for one.

    Args:
        space: the network.
        columns: the groups that were searched.
        path: the files of the widths that the search found.
        budget: what the widths may cost.
    """
    found = [read_widths(file) for file in path]
    widths_NG = np.array([one.vector for one in found], dtype=np.float64)
    alpha_G, beta_G = fitted_laws(widths_NG, np.array([one.cost.params for one in found], dtype=np.float64))
    scores = [
        _sizes_at(space.base_G[column], alpha_G[column], beta_G[column]) if column in columns else None
        for column in range(len(space.groups))
    ]
    return cut(space, scores, budget)


def fitted_laws(
    widths_NG: NDArray[np.float64], params_N: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The laws of all groups, log α and β: log width = log α + β · log parameters, by least squares.

    Example:
        >>> log_alpha_G, beta_G = fitted_laws(np.array([[4.0, 8.0], [8.0, 8.0]]), np.array([100.0, 400.0]))
        >>> (log_alpha_G.round(3) + 0).tolist(), (beta_G.round(3) + 0).tolist()
        ([-0.916, 2.079], [0.5, 0.0])
    """
    logs_N = np.log(params_N)
    design_N2 = np.stack([np.ones_like(logs_N), logs_N], axis=1)
    laws_2G, *_ = np.linalg.lstsq(design_N2, np.log(widths_NG), rcond=None)
    return laws_2G[0], laws_2G[1]


def _sizes_at(size: int, log_alpha: float, beta: float) -> NDArray[np.float64]:
    """Scores of the channels of a group: a threshold of −log τ leaves as many as the law gives at τ parameters."""
    wanted = np.log(np.arange(size) + 0.5)  # the law's width, rounded, reaches the k-th channel
    return -(wanted - log_alpha) / max(beta, _LEAST_GROWTH)
