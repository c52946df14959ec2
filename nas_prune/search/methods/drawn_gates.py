"""Random factors on channels: drawn before every pass of the network in training, at rest in evaluation."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nas_prune.errors import BadInputError
from nas_prune.search.methods.learned_gates import Gates, put_in
from nas_prune.space.search_space import SearchSpace


class DrawnGates(Gates):
    """Learned factors with, for each group by number, what was drawn for it last.

    What is drawn comes from PyTorch's generator, whose state a checkpoint holds.
    """

    def __init__(self, space: SearchSpace, columns: Sequence[int], start: float | Sequence[float]) -> None:
        super().__init__(space, columns, start)
        self.chance: dict[int, Tensor] = {}

    def of(self, column: int) -> Tensor:
        """The factors of one group: as they were last drawn in training, at rest in evaluation."""
        number = self.columns.index(column)
        if not self.training or number not in self.chance:
            return self.at_rest(column)
        return self.moved(self.factors[number], self.chance[number])

    @abstractmethod
    def moved(self, factor: Tensor, chance: Tensor) -> Tensor:
        """The factors of a group, C or N×C, from its parameters and what was drawn for it."""

    @abstractmethod
    def drawn(self, factor: Tensor, images: int) -> Tensor:
        """Random numbers for a group with these parameters, for this many images."""

    def draw(self, images: int) -> None:
        """Draw for every group."""
        for number, factor in enumerate(self.factors):
            self.chance[number] = self.drawn(factor.detach(), images)


class _Drawing:
    """Draws before every pass in training; a deep copy of the network has one for its own gates."""

    def __init__(self, gates: DrawnGates) -> None:
        self.gates = gates

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        if module.training:
            self.gates.draw(_images_in((inputs, named)))


def _images_in(inputs: Any) -> int:
    """How many images a network is called with: the first of what it is given that has a dimension tells.

    Raises:
        BadInputError: it is called without any tensor.
    """
    tensors = (one for one in pytree.tree_leaves(inputs) if isinstance(one, Tensor) and one.dim())
    first = next(tensors, None)
    if first is None:
        raise BadInputError("a network with drawn factors must be called with tensors in training, got none.")
    return len(first)


def put_in_drawn(model: nn.Module, space: SearchSpace, gates: DrawnGates) -> None:
    """Give a network factors that are drawn before every pass in training, in place."""
    put_in(model, space, gates)
    model.register_forward_pre_hook(_Drawing(gates), with_kwargs=True)
