"""Judging widths without any image: what a network of random weights tells, or its widths alone.

Neither says an accuracy: a logarithm of any size, of which larger is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from sys import float_info

import torch

from nas_prune.space.search_space import SearchSpace
from nas_prune.study.judges.contract import Judgement
from nas_prune.training.evaluation import class_scores

_LEAST = -1000.0  # where nothing flows


@dataclass(frozen=True, slots=True)
class Synflow:
    """The sum of |θ ∂R/∂θ| over all parameters, R the sum of scores of an image of ones by |θ| (Tanaka et al. 2020).

    In evaluation mode, so that norms are their fresh statistics' identity (Abdelfattah et al. 2021). The logarithm.
    """

    space: SearchSpace
    seed: int

    def judged(self, vector_G: Sequence[int]) -> Judgement:
        """Of a network of these widths, with the study's seed."""
        network = self.space.build(list(vector_G), seed=self.seed).double().eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.abs_()
        ones = torch.ones(1, *self.space.reference.input_shape, dtype=torch.float64)
        parameters = [one for one in network.parameters() if one.requires_grad]
        slopes = torch.autograd.grad(class_scores(network, ones).sum(), parameters, allow_unused=True)
        pairs = zip(parameters, slopes, strict=True)
        total = sum(float((one.detach() * slope).sum()) for one, slope in pairs if slope is not None)
        macs = 3 * self.space.cost_at(vector_G).macs
        return Judgement(log(min(total, float_info.max)) if total > 0 else _LEAST, macs)


@dataclass(frozen=True, slots=True)
class LogWidths:
    """The mean logarithm of the keep ratios of the groups that are narrowed."""

    space: SearchSpace
    columns: tuple[int, ...]

    def judged(self, vector_G: Sequence[int]) -> Judgement:
        """Of the widths alone."""
        kept = [log(vector_G[column] / self.space.base_G[column]) for column in self.columns]
        return Judgement(sum(kept) / len(kept), 0)
