"""Cutting scores of single weights at a budget: which weights stay.

Weights are ranked over all layers, equal scores by their place. The best ones stay for as long as every bound holds;
then single weights are added in the same order while they still fit, so that a budget is met to the weight. Each layer
keeps its best one, or nothing would pass.

Shape suffixes: W weights of all layers, L layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_prune.errors import NasPruneError
from nas_prune.patterns.costs import PatternCost, PatternCosts
from nas_prune.space.budget import Budget

_BLOCK, _LARGEST_BLOCK = 2**12, 2**20  # weights that are looked at together
Scores: TypeAlias = Mapping[str, Tensor]  # by a parameter's name, of its shape; more is more worth keeping


@dataclass(frozen=True, slots=True)
class PatternCut:
    """What stays at one budget.

    Attributes:
        budget: the budget.
        masks: by a parameter's name.
        cost: what is reached.
        limit: the most that the tightest bound allows.
        count: what is reached of that.
        at_floor: names of layers that would keep nothing without a floor.
    """

    budget: Budget
    masks: dict[str, Tensor]
    cost: PatternCost
    limit: int
    count: int
    at_floor: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """The share of the budget that is left."""
        return 1 - self.count / self.limit


def cut_weights(costs: PatternCosts, scores: Scores, budget: Budget, zero: float | None = None) -> PatternCut:
    """The weights that stay at a budget.

    Args:
        costs: of the network's patterns.
        scores: of every weight that may go.
        budget: what the pattern may cost; `own` keeps what scores more than `zero`.
        zero: what a weight scores that the method itself lets go.

    Raises:
        BudgetError: no pattern meets the budget.
        NasPruneError: a score is no number.
    """
    costs.check(budget)
    layers = costs.layers.layers
    ranked = _Ranked.of(costs, scores)
    if budget.is_own:
        assert zero is not None
        stays_W = ranked.values_W > zero
    else:
        stays_W = ranked.within(budget)
    at_floor = []
    masks: dict[str, Tensor] = {}
    for layer, own_W in zip(layers, np.split(stays_W, ranked.ends), strict=True):
        floor = ranked.best[layer.name]
        if own_W.sum() <= 1 and not _stays_alone(ranked, budget, layer.name, zero):
            at_floor.append(layer.name)
        own_W[floor] = True
        masks[layer.name] = torch.from_numpy(own_W.copy()).reshape(layer.shape)
    cost = costs.at([int(mask.sum()) for mask in masks.values()])
    limit, count = _tightest(costs, budget, cost)
    return PatternCut(budget, masks, cost, limit, count, tuple(at_floor))


def _stays_alone(ranked: "_Ranked", budget: Budget, name: str, zero: float | None) -> bool:
    """Whether the best weight of a layer stays by its score, and not by the floor."""
    if budget.is_own:
        assert zero is not None
        return float(ranked.best_value[name]) > zero
    return ranked.best_value[name] >= ranked.reached


def _tightest(costs: PatternCosts, budget: Budget, cost: PatternCost) -> tuple[int, int]:
    if budget.is_own:
        return cost.nonzero, cost.nonzero
    pairs = [(costs.limit(bound), cost.of(bound.kind)) for bound in budget.bounds]
    return max(pairs, key=lambda pair: pair[1] / pair[0])


@dataclass(slots=True)
class _Ranked:
    """All weights in the order in which they stay, each layer's best one first.

    Attributes:
        costs: of patterns.
        values_W: scores, layer after layer.
        order_W: places of all weights, the best first.
        layer_W: in this order, which layer each weight is of.
        ends: where layers end.
        best, best_value: of each layer, the place within it of its best weight, and its score.
        reached: the lowest score above which all weights stay, once a budget was met.
    """

    costs: PatternCosts
    values_W: NDArray[np.float64]
    order_W: NDArray[np.int64]
    layer_W: NDArray[np.int32]
    ends: list[int]
    best: dict[str, int]
    best_value: dict[str, float]
    reached: float = np.inf

    @classmethod
    def of(cls, costs: PatternCosts, scores: Scores) -> "_Ranked":
        layers, sizes = costs.layers.layers, costs.layers.sizes
        pieces = [scores[layer.name].detach().cpu().double().reshape(-1).numpy() for layer in layers]
        unknown = next(
            (layer.name for layer, piece in zip(layers, pieces, strict=True) if np.isnan(piece).any()), None
        )
        if unknown is not None:
            raise NasPruneError(
                f"scores must be numbers, got some of {unknown} that are none. Use a smaller --learning-rate."
            )
        values_W = np.concatenate(pieces)
        best_L = [int(piece.argmax()) for piece in pieces]
        first_L = np.cumsum([0, *sizes[:-1]]) + best_L
        is_rest_W = np.ones(len(values_W), dtype=bool)
        is_rest_W[first_L] = False
        order_W = np.argsort(-values_W, kind="stable")
        order_W = np.concatenate([first_L, order_W[is_rest_W[order_W]]])
        names = [layer.name for layer in layers]
        return cls(
            costs,
            values_W,
            order_W,
            np.repeat(np.arange(len(layers), dtype=np.int32), sizes)[order_W],
            np.cumsum(sizes)[:-1].tolist(),
            dict(zip(names, best_L, strict=True)),
            dict(zip(names, values_W[first_L].tolist(), strict=True)),
        )

    def within(self, budget: Budget) -> NDArray[np.bool_]:
        """Which weights stay, in the order of the layers: those of each layer for as long as its own fit.

        Weights are gone through in growing blocks. What does not fit now does not fit later, so that a layer is closed
        at its first weight that does not.
        """
        limits = {bound.kind: self.costs.limit(bound) for bound in budget.bounds}
        count, start, block = len(self.order_W), len(self.best), _BLOCK
        stays_W = np.zeros(count, dtype=bool)  # in the order of the scores
        stays_W[:start] = True
        kept_L, open_L = np.ones(start, dtype=np.int64), np.ones(start, dtype=bool)
        while start < count and open_L.any():
            places = start + np.flatnonzero(open_L[self.layer_W[start : start + block]])
            taken = self._most(kept_L, self.layer_W[places], limits)
            stays_W[places[:taken]] = True
            kept_L += self._by_layer(self.layer_W[places[:taken]])
            if taken < len(places):
                if open_L.all():
                    self._note_reached(int(places[taken]))
                open_L[self.layer_W[places[taken]]] = False
                start, block = int(places[taken]) + 1, _BLOCK
            else:
                start, block = start + block, min(2 * block, _LARGEST_BLOCK)
        if open_L.all():
            self._note_reached(count)
        found_W = np.zeros(count, dtype=bool)
        found_W[self.order_W[stays_W]] = True
        return found_W

    def _note_reached(self, count: int) -> None:
        """So many weights stay, the best of each layer among them: by scores alone as many would."""
        if count > len(self.best):
            self.reached = float(self.values_W[self.order_W[count - 1]])
        else:
            self.reached = float(np.partition(self.values_W, -count)[-count])

    def _by_layer(self, layer_R: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.bincount(layer_R, minlength=len(self.best))

    def _most(self, kept_L: NDArray[np.int64], layer_R: NDArray[np.int32], limits: Mapping[str, int]) -> int:
        """How many of some weights fit, in their order, beside those that stay."""
        least, most = 0, len(layer_R)
        middle = most  # often all of them do
        while least < most:
            if self._fits(kept_L + self._by_layer(layer_R[:middle]), limits):
                least = middle
            else:
                most = middle - 1
            middle = (least + most + 1) // 2
        return least

    def _fits(self, kept_L: NDArray[np.int64], limits: Mapping[str, int]) -> bool:
        cost = self.costs.at(kept_L)
        return all(cost.of(kind) <= limit for kind, limit in limits.items())
