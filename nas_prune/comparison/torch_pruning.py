"""Torch-Pruning's cut of a trained network: what an arm of a comparison starts from.

Norms of coupled weights as importance, ranked in each layer or over all (with its isomorphic ranking), in one step or a
little at a time until the budget is met; a classifier's outputs are left alone (https://github.com/VainF/Torch-Pruning,
Fang et al. 2023). A little at a time over all layers, as in its benchmark, without a training between the steps, runs
away with the first layers of VGG.
"""

import copy
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.graph.axes import atoms_of
from nas_prune.space.bounds import Bounds, bounds_of
from nas_prune.space.budget import Budget
from nas_prune.space.of_network import vector_of
from nas_prune.space.search_space import SearchSpace

_RATIOS = 1024  # of channels, between none and all, that a cut in one step can be of


@dataclass(frozen=True, slots=True)
class Way:
    """How Torch-Pruning is asked to cut; its own words in brackets.

    Attributes:
        steps: from the whole network to nothing [`iterative_steps`], of which as many are taken as the budget asks for;
            or 1, for one step to the largest network within it.
        most: the largest share of a layer's channels that goes [`max_pruning_ratio`], which one step does not keep to.
        is_global: whether channels are ranked over layers, within groups of one kind [`global_pruning`, `isomorphic`].
    """

    steps: int = 1
    most: float = 1.0
    is_global: bool = False

    def __post_init__(self) -> None:
        """Refuse what the library would not do."""
        if self.steps == 1 and self.most < 1:
            raise BadInputError(f"most must come with several steps, got {self.most:g} with one.")


DEFAULT = Way()  # its documentation's first example, and the best in a pilot (studies/shootout/PLAN.md)


@dataclass(frozen=True, slots=True)
class Pruned:
    """A network that Torch-Pruning has cut.

    Attributes:
        widths_G: what is left of each searchable group.
        network: with the weights of the channels that are left.
    """

    widths_G: tuple[int, ...]
    network: nn.Module


def torch_pruning() -> ModuleType:
    """The library.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        import torch_pruning as library
    except ImportError:
        raise BadInputError(
            "--arm torch-pruning must have Torch-Pruning installed, got none. pip install 'nas-prune[peers]'"
        ) from None
    return library  # type: ignore[no-any-return]


def cut_by_torch_pruning(model: nn.Module, space: SearchSpace, budget: Budget, way: Way = DEFAULT) -> Pruned:
    """Cut a trained network of base widths until it is within a budget.

    Args:
        model: the network; it is not changed.
        space: its space. Groups that are frozen or kept whole there are left alone.
        budget: what the cut network may cost.
        way: how it is cut.

    Raises:
        BadInputError: the library is not installed, cannot cut this network, or cuts it to what is none of the space.
    """
    bounds = bounds_of(space, budget, range(len(space.groups)))
    try:
        found = (_at_once if way.steps == 1 else _step_by_step)(model, space, bounds, way)
    except (RuntimeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise BadInputError(
            f"Torch-Pruning must be able to cut {space.reference.name}, but fails: {type(error).__name__}: {error}"
        ) from error
    if found is None:
        raise BadInputError(f"Torch-Pruning must cut {space.reference.name} to {budget}, but ends above it.")
    return found


def _step_by_step(model: nn.Module, space: SearchSpace, bounds: Bounds, way: Way) -> Pruned | None:
    """The first network within the budget on the way to nothing."""
    own, pruner = _pruner(model, space, way, 1.0)
    for step in range(way.steps + 1):
        widths_G = vector_of(space, own)
        if float(bounds.used(widths_G)) <= 1:
            return Pruned(widths_G, _in_space(own, space, widths_G))
        if step < way.steps:
            pruner.step()
    return None


def _at_once(model: nn.Module, space: SearchSpace, bounds: Bounds, way: Way) -> Pruned | None:
    """The largest network within the budget that one step gives, by bisection of the share that goes."""
    too_few, enough, found = 0, _RATIOS, None
    while enough - too_few > 1:
        ratio = (too_few + enough + 1) // 2
        own, pruner = _pruner(model, space, way, ratio / _RATIOS)
        pruner.step()
        widths_G = vector_of(space, own)
        if float(bounds.used(widths_G)) <= 1:
            enough, found = ratio, Pruned(widths_G, _in_space(own, space, widths_G))
        else:
            too_few = ratio
    return found


def _pruner(model: nn.Module, space: SearchSpace, way: Way, ratio: float) -> tuple[nn.Module, Any]:
    """A copy of a network, and what prunes it."""
    library = torch_pruning()
    own = copy.deepcopy(model).to("cpu").eval()
    own.requires_grad_()  # its tracing follows gradients
    pruner = library.pruner.BasePruner(
        own,
        torch.zeros(1, *space.reference.image),
        importance=library.importance.GroupMagnitudeImportance(p=2),
        global_pruning=way.is_global,
        isomorphic=way.is_global,
        pruning_ratio=ratio,
        max_pruning_ratio=way.most,
        iterative_steps=way.steps,
        ignored_layers=left_alone(own, space),
        round_to=max(space.multiples_G) if max(space.multiples_G) > 1 else None,
    )
    return own, pruner


def left_alone(network: nn.Module, space: SearchSpace) -> list[nn.Module]:
    """The layers whose outputs keep their channels: of groups that are frozen or kept whole."""
    searched = {space.graph.searchable[column] for column in space.searched("all")}
    alone = {
        layer.path
        for layer in space.graph.layers
        if layer.kind in ("conv", "linear")
        and not {atom.index for atom in atoms_of(layer.channels)} <= searched
    }
    return [network.get_submodule(path) for path in sorted(alone)]


def _in_space(cut: nn.Module, space: SearchSpace, widths_G: tuple[int, ...]) -> nn.Module:
    """A network of the space with the weights of one that was cut."""
    network = space.build(widths_G, seed=0)
    network.load_state_dict(cut.state_dict())
    return network
