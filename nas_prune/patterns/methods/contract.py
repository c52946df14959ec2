"""What every way to find a pattern provides, and what it may judge weights by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from nas_prune.data import ImageData
from nas_prune.patterns.costs import PatternCosts
from nas_prune.patterns.cut import Scores
from nas_prune.patterns.guideline import PatternGuideline
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.masks import Masks
from nas_prune.training.state import TrainState

Scope: TypeAlias = Literal["global", "deviation", "local"]
SCOPES: tuple[Scope, ...] = ("global", "deviation", "local")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a method judges weights by.

    Attributes:
        model: the network, trained as the method wants it; it is not to be changed.
        space: what it is built by.
        costs: of its patterns, with the layers whose weights may go.
        data: the images; only the training part is looked at.
        seed: of the run; what a method draws depends on it alone.
        scope: `global` compares the weights of all layers, `deviation` in units of their layer's deviation, `local`
            keeps the same share of each layer.
        guideline: of patterns, for the method that draws from one.
    """

    model: nn.Module
    space: SearchSpace
    costs: PatternCosts
    data: ImageData
    seed: int = 0
    scope: Scope = "global"
    guideline: PatternGuideline | None = None

    def weights(self) -> dict[str, Tensor]:
        """The weights that may go, by name, as they are."""
        own = dict(self.model.named_parameters())
        return {layer.name: own[layer.name].detach() for layer in self.costs.layers.layers}


@dataclass(frozen=True, slots=True)
class Setting:
    """For what a method prepares a training.

    Attributes:
        space: the network.
        costs: of its patterns.
        budget: the one that the training goes to; the first of several.
        scope: as in `Evidence`.
        epochs: of the training.
        steps_per_epoch: of it.
        num_images: of its training part.
        strength: of the method's penalty; None for methods without.
    """

    space: SearchSpace
    costs: PatternCosts
    budget: Budget
    scope: Scope
    epochs: int
    steps_per_epoch: int
    num_images: int
    strength: float | None = None

    def step_of(self, state: TrainState) -> int:
        """How many steps of the whole training are done."""
        return state.epochs_done * self.steps_per_epoch + state.steps_done


def unchanged(model: nn.Module) -> nn.Module:
    """The trained network where nothing was put into it."""
    return model


@dataclass(frozen=True, slots=True)
class Course:
    """What a method does while the network trains.

    Attributes:
        prepare: changes a fresh network before training, in place.
        penalise: called after each backward pass with the network and the learning rate; adds to gradients, or moves
            parameters of its own.
        after_step: called after each step with the state, whose count of steps is that before the step; changes
            the network in place.
        plain: makes the trained network without what was put in, of the space's own parameters only, with the same
            outputs in evaluation. The network it is given is not used again.
    """

    prepare: Callable[[nn.Module], None]
    penalise: Callable[[nn.Module, float], None] | None = None
    after_step: Callable[[TrainState], None] | None = None
    plain: Callable[[nn.Module], nn.Module] = unchanged


@dataclass(frozen=True, slots=True)
class PatternMethod:
    """An algorithm that turns a network and images into scores of single weights, and so into a pattern.

    Attributes:
        name: what `--method` takes.
        summary: one line.
        citation: where it was published.
        scores: one value for each weight that may go, of the network as its training leaves it, with what the method
            has put in; more is more worth keeping. A weight that is zero in a network whose course removed it must
            score less than all others.
        trains: whether the whole network is trained before it is judged.
        course: what the method does while the network trains; None for training as usual.
        settled: the weights of those that stay, for methods that move them as others go, from the evidence and the
            masks; None where they stay as they are.
        scopes: those that mean something for it, its own first; empty where there is nothing to compare.
        strength: the default strength of its penalty; None for methods without.
        zero: a weight with this score or less is removed by the method itself (`--budget own`); None where none is.
        takes_iterations: weights may go in several steps while the network trains, and be scored again each time.
        takes_budgets: whether scores of one training can be cut at several budgets; else the training goes to one.
        rounds: it trains several times over from rewound weights (lottery tickets).
        needs_classes: its scores are of class scores, so that each image must be of one class.
        needs_guideline: it draws from a guideline of patterns.
        is_control: it looks at neither weights nor images, and is there to be compared with.
    """

    name: str
    summary: str
    citation: str
    scores: Callable[[Evidence], Scores]
    trains: bool = True
    course: Callable[[Setting], Course] | None = None
    settled: Callable[[Evidence, Masks], Mapping[str, Tensor]] | None = None
    scopes: tuple[Scope, ...] = field(default=SCOPES)
    strength: float | None = None
    zero: float | None = None
    takes_iterations: bool = False
    takes_budgets: bool = True
    rounds: bool = False
    needs_classes: bool = False
    needs_guideline: bool = False
    is_control: bool = False


def compared(scores: Mapping[str, Tensor], weights: Mapping[str, Tensor], scope: Scope) -> dict[str, Tensor]:
    """Scores as they are compared over layers.

    Args:
        scores: by name.
        weights: by name, for their deviations; those that are zero have been removed and count nothing.
        scope: `global` for the scores as they are; `deviation` divides by that of the layer's weights, so that a
            threshold is so many deviations (Han et al. 2015); `local` ranks within layers, so that it is the same share
            of each.
    """
    if scope == "deviation":
        return {name: values / _deviation(weights[name]) for name, values in scores.items()}
    if scope == "local":
        return {name: within_layer(values) for name, values in scores.items()}
    return dict(scores)


def within_layer(values: Tensor) -> Tensor:
    """The same order at scores of which a global threshold of 1/t leaves the share t of a layer.

    Example:
        >>> within_layer(torch.tensor([3.0, 1.0, 2.0, 9.0])).numpy().round(2).tolist()
        [2.67, 1.14, 1.6, 8.0]
    """
    flat = values.double().reshape(-1)
    rank = torch.empty_like(flat)
    rank[flat.argsort(descending=True, stable=True)] = torch.arange(
        len(flat), dtype=torch.float64, device=flat.device
    )
    return (len(flat) / (rank + 0.5)).reshape(values.shape)


def _deviation(weight: Tensor) -> float:
    there = weight[weight != 0].double()
    return max(float(there.std(correction=0)) if len(there) > 1 else 0.0, 1e-12)
