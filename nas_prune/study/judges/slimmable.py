"""A slimmable network of any architecture: one training whose weights are shared by all widths of a study.

Yu and Huang (2019): each step trains the whole network, the smallest one and two drawn ones (the sandwich rule); the
narrow ones take the first channels of each group, and imitate the whole network's own scores of that step (in-place
distillation, section 3). Their norms use the statistics of the batch; whoever judges by the weights estimates these
anew. Narrow ones are drawn among widths that the study could ask for, where its candidates are.

Shape suffixes: G searchable groups, N networks.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from nas_prune.graph.selection import spread_order
from nas_prune.graph.slices import Slices
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.compute import Compute
from nas_prune.training.ranks import main_output

Vector: TypeAlias = "tuple[int, ...]"
DRAWN_EACH_STEP = 2


def channel_order(space: SearchSpace) -> tuple[NDArray[np.int64], ...]:
    """The channels of each group in the order in which widths take them: the first ones, or evenly of a selection."""
    return tuple(
        spread_order(group.size) if group.role == "selection" else np.arange(group.size)
        for group in space.groups
    )


@dataclass(frozen=True, slots=True)
class Narrow:
    """The narrow networks of a slimmable one.

    Attributes:
        smallest: widths that take part in every step.
        drawn: widths of which two take part.
    """

    smallest: Vector
    drawn: tuple[Vector, ...]


class Sandwich:
    """What a slimmable network learns from in each step beside its own loss.

    It looks at the whole network's training step, and adds the gradients of narrow networks. What it draws comes from
    torch's generator, whose state a training keeps.

    Args:
        model: the network, as the optimiser has it.
        space: its space.
        narrow: the widths that take part.
        compute: on what.
    """

    def __init__(self, model: nn.Module, space: SearchSpace, narrow: Narrow, compute: Compute) -> None:
        self.narrow = narrow
        self._order_G, self._compute = channel_order(space), compute
        self._slices = Slices(model, space.graph)  # before the hook, or its twin would have that, too
        self._seen: tuple[Tensor, Tensor] | None = None
        model.register_forward_hook(self._look)

    def penalise(self, _: nn.Module, __: float) -> None:
        """Add the gradients of the narrow networks to those of the whole one's loss."""
        assert self._seen is not None
        images, scores = self._seen
        self._seen = None
        drawn = self.narrow.drawn
        places = torch.randint(len(drawn), (DRAWN_EACH_STEP,)).tolist()
        wanted = log_softmax(scores.float(), 1)
        for vector_G in (self.narrow.smallest, *(drawn[place] for place in places)):
            with self._compute.rounding():
                own = main_output(self._slices(self._kept(vector_G), images)).float()
            kl_div(log_softmax(own, 1), wanted, reduction="batchmean", log_target=True).backward()

    def _look(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module.training:
            self._seen = (inputs[0].detach(), main_output(output).detach())

    def _kept(self, vector_G: Vector) -> list[NDArray[np.int64]]:
        return [np.sort(order[:width]) for order, width in zip(self._order_G, vector_G, strict=True)]


def macs_of_step(space: SearchSpace, narrow: Narrow) -> int:
    """MACs of one image's forward passes in a step, on average."""
    mean = float(np.mean([space.cost_at(vector_G).macs for vector_G in narrow.drawn]))
    one = space.cost_at(space.base_G).macs + space.cost_at(narrow.smallest).macs
    return round(one + DRAWN_EACH_STEP * mean)
