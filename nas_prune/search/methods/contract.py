"""What every width method provides, and what it may judge channels by.

A method of your own is a `WidthMethod` like those here. `nas_prune.register_method` makes it known to a program; an
entry point in the group `nas_prune.methods` makes it known to every program, and to the command line, where its package
is installed. `studies/examples/own_method.py` shows both.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_prune.data import ImageData
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.recipe import OptimizerName

Scope: TypeAlias = Literal["global", "local"]
DrivingCost: TypeAlias = Literal["macs", "params", "activations"]
Penalty: TypeAlias = Callable[[nn.Module, float], None]
Strength: TypeAlias = Callable[[float, SearchSpace], float]
OwnLoss: TypeAlias = Callable[[nn.Module, Any], Tensor]
AfterEpoch: TypeAlias = Callable[[nn.Module, SearchSpace, Sequence[NDArray[np.int64]]], None]


@dataclass(frozen=True, slots=True)
class GivenBatches:
    """Batches of somebody's own to score on.

    Attributes:
        batches: they are gone through from the first.
        loss: called with the network and a batch; the mean over the batch. None for the cross entropy of batches that
            are (inputs, labels).
    """

    batches: Iterable[Any]
    loss: OwnLoss | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a method judges channels by.

    Attributes:
        model: the network, trained as the method wants it; it is not to be changed.
        space: its search space.
        columns: what is searched, by place: groups, or behind the last group the blocks that can go. The method can
            score them all.
        data: the images; only the training part is looked at. In a training loop of somebody's own there are none, and
            asking for them is refused.
        seed: of the search; what a method draws depends on it alone.
        given: batches to score on instead of images; `samples.samples` gives what there is.
    """

    model: nn.Module
    space: SearchSpace
    columns: tuple[int, ...]
    data: ImageData
    seed: int = 0
    given: GivenBatches | None = None

    def for_each(self, score: "Callable[[int], NDArray[np.float64]]") -> Scores:
        """The scores of all columns by a function of the column; None for those that are not searched."""
        searched = set(self.columns)
        count = max(len(self.space.groups), *(column + 1 for column in searched))
        return [score(column) if column in searched else None for column in range(count)]


@dataclass(frozen=True, slots=True)
class PenaltyTarget:
    """Which channels are pulled towards zero, and how strongly.

    Attributes:
        space: the search space.
        columns: the groups or blocks, by place.
        strength: λ.
        cost: which cost weighs the penalty, for methods that a cost drives.
        is_decoupled: whether the optimiser makes steps of one size of whatever gradients it is given, as AdamW does:
            the penalty must then take steps of its own, as AdamW's weight decay does, or λ would mean nothing.
    """

    space: SearchSpace
    columns: tuple[int, ...]
    strength: float
    cost: DrivingCost | None = None
    is_decoupled: bool = False


def by_distance(enough: float, _: SearchSpace) -> float:
    """The strength that takes an idle channel to zero, and no other."""
    return enough


def as_it_is(model: nn.Module, _: SearchSpace) -> nn.Module:
    """The trained network where nothing was put into it for the training."""
    return model


@dataclass(frozen=True, slots=True)
class Sparsity:
    """How a method pulls channels towards zero while the whole network trains.

    Attributes:
        prepare: changes a fresh network before training, in place.
        penalty: makes the function that adds the method's penalty after each backward pass, called with the network and
            the learning rate of the step.
        distance: how far a channel that nothing else moves is to be pulled over the training by default: from
            where it starts to zero.
        without_gates: makes the trained network without the method: with the space's own parameters only, and the same
            outputs in evaluation.
        momentum: of the steps that the penalty takes; None where the recipe's optimiser takes them, and its weight
            decay acts, too.
        strength: the default strength on a network, given the one that is just enough for `distance`.
        distance_in: for a method that pulls parameters of the network's own: how far from zero they are on average. A
            network of given weights keeps them, so that `prepare` is left out there; None for a method that puts in
            parameters.
        optimizers: of recipes that the penalty is right for; with others the search is refused. A penalty for `adamw`
            goes by `PenaltyTarget.is_decoupled`, or does not depend on the recipe's optimiser at all.
    """

    prepare: Callable[[nn.Module, SearchSpace, Sequence[int]], None]
    penalty: Callable[[PenaltyTarget], Penalty]
    distance: float = 1.0
    without_gates: Callable[[nn.Module, SearchSpace], nn.Module] = as_it_is
    momentum: float | None = None
    strength: Strength = by_distance
    distance_in: Callable[[nn.Module, SearchSpace, Sequence[int]], float] | None = None
    optimizers: tuple[OptimizerName, ...] = ("sgd",)


@dataclass(frozen=True, slots=True)
class WidthMethod:
    """An algorithm that turns a network and images into channel scores, and so into widths.

    Attributes:
        name: what `--method` takes, and the name of directories: small letters, digits and hyphens.
        summary: one line.
        scope: `global` compares the channels of all groups with each other, so that the method itself decides how
            many each keeps (the paper calls it automatic); `local` keeps the same share of each group (predefined).
        citation: where it was published.
        scores: one value for each channel of each searched group (for each block, behind the last group), a larger one
            is more worth keeping; None for what is not searched.
        can_score: whether the method can judge the channels of a group at all.
        asks: what a group must have for that, for people.
        trains: whether the whole network is trained before it is judged.
        sparsity: how it is pulled while it trains; None for training as usual.
        after_epoch: changes the network in place after each epoch, given the channels of each group that the cut at
            the first budget keeps then; None where nothing does.
        is_cheap: scores cost next to nothing, so that they can be looked at after every epoch.
        is_driven: a cost weighs its penalty.
        zero: a channel with this score or less counts as removed by the method itself; None where none does.
        of: whether it judges channels, or whole residual blocks, so that the search finds a depth.
        is_control: it looks at neither weights nor images, and is there to be compared with.
        needs_classes: its scores are of class scores, so that each image must be of one class.
    """

    name: str
    summary: str
    scope: Scope
    citation: str
    scores: Callable[[Evidence], Scores]
    can_score: Callable[[SearchSpace, int], bool]
    asks: str
    trains: bool = True
    sparsity: Sparsity | None = None
    after_epoch: AfterEpoch | None = None
    is_cheap: bool = False
    is_driven: bool = False
    zero: float | None = None
    of: Literal["channels", "blocks"] = "channels"
    is_control: bool = False
    needs_classes: bool = False

    def kind(self, scope: Scope | None = None) -> str:
        """The paper's word for how widths come about, at a scope: `automatic` or `predefined`; or `control`."""
        if self.is_control:
            return "control"
        return "automatic" if (scope or self.scope) == "global" else "predefined"

    @property
    def changes_training(self) -> bool:
        """Whether the method changes how the network trains."""
        return self.sparsity is not None or self.after_epoch is not None

    @property
    def scores_as_usual(self) -> bool:
        """Whether it scores the channels of a network that was trained as if there were no method."""
        return self.trains and not self.changes_training and self.of == "channels"

    @property
    def takes_scope(self) -> bool:
        """Whether its scores can be compared within each group instead of over all groups."""
        return not self.is_control and self.of == "channels"

    def shows_widths(self, scope: Scope | None = None) -> bool:
        """Whether widths are worth a look after every epoch: they cost next to nothing, and are searched."""
        return self.is_cheap and self.kind(scope) == "automatic"
