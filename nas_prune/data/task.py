"""A task: what a network is to say of an image, what it is taught by, and what it is measured by.

Shape letters: B images of a batch, K classes, D numbers, H rows, W columns, S statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from nas_prune.data.metric import Metric
from nas_prune.data.targets import TargetKind


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What networks are trained for.

    The outputs that these functions get are those of the network's main output, as float32: B×K or B×D, or B×K×H×W for
    masks, where a network may put out fewer pixels than its images have. Targets are as `kind` says: `class` int64, B;
    `classes` float32, B×K; `numbers` float32, B×D; `mask` uint8, B×H×W, where 255 counts nowhere.

    Attributes:
        name: what `--task` takes.
        kind: what is to be learned of an image, and how it is read.
        metric: what `value` is.
        loss: (outputs, targets) to their mean over the batch. Numbers are learned with mean 0 and deviation 1.
        statistics: (outputs, targets) to what the metric is worked out from, in float64: S numbers that add up over
            batches, or where it is collected a row for each image, B×S. Numbers are in their own units here.
        value: from the sum S, or all rows N×S, to the metric's value.
        is_collected: whether every image's row is needed at once, as for ranks.
    """

    name: str
    kind: TargetKind
    metric: Metric
    loss: Callable[[Tensor, Tensor], Tensor]
    statistics: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], float]
    is_collected: bool = False

    @property
    def is_classification(self) -> bool:
        """Whether an image is of one class, which is what recipes with shares of classes are for."""
        return self.kind == "class"

    @property
    def puts_out(self) -> Literal["row", "map"]:
        """What a network must put out for each image."""
        return "map" if self.kind == "mask" else "row"

    def score(self, statistics: Tensor) -> float:
        """The metric's value as it is compared: more is better."""
        return self.metric.score(float(self.value(statistics)))
