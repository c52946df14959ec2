"""Every width method keeps the contract."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.search.methods.controls import RANDOM, UNIFORM
from nas_prune.search.methods.filters import FPGM, L1_NORM, filters
from nas_prune.search.methods.hard_concrete import L0
from nas_prune.search.methods.learned_gates import SSS, SSS_BLOCKS, SSS_GROUPS, gates_of
from nas_prune.search.methods.random_weights import RANDOM_WEIGHTS
from nas_prune.search.methods.reconstruction import OBS, REGRESSION, THINET
from nas_prune.search.methods.registry import METHODS, scorable
from nas_prune.search.methods.slimming import COST_AWARE, SLIMMING
from nas_prune.search.methods.slopes import OBD, TAYLOR
from nas_prune.search.methods.soft_filters import SOFT_FILTER
from nas_prune.search.methods.variational_dropout import VARIATIONAL_DROPOUT
from nas_prune.space.search_space import SearchSpace
from tests.search.methods.contract import Contract, space_of
from tests.search.methods.evidence import evidence

Kept = Sequence[NDArray[np.int64]]


def removed(space: SearchSpace, kept: Kept) -> list[tuple[int, NDArray[np.int64]]]:
    pairs = [
        (column, np.setdiff1d(np.arange(base), kept[column])) for column, base in enumerate(space.base_G)
    ]
    return [(column, indices) for column, indices in pairs if len(indices)]


class TestSlimming(Contract):
    method = SLIMMING


class TestCostAware(Contract):
    method = COST_AWARE


class _OfFactors(Contract):
    dead: ClassVar[float] = 0.0

    def _plant(self, model: nn.Module, space: SearchSpace, kept: Kept) -> None:
        for column, indices in removed(space, kept):
            with torch.no_grad():
                gates_of(model).factors[gates_of(model).columns.index(column)][torch.from_numpy(indices)] = (
                    self.dead
                )


class TestSss(_OfFactors):
    method = SSS


class TestSssGroups(_OfFactors):
    method = SSS_GROUPS
    networks = ("depthwise and grouped",)
    main = "depthwise and grouped"
    closeness = 0.5  # there are four to choose from


class TestSssBlocks(_OfFactors):
    method = SSS_BLOCKS
    networks = ("resnet20",)
    closeness = 0.5  # of seven blocks

    @pytest.mark.parametrize("name", ["resnet20"])
    def test_planted_dead_channels_score_lowest(self, name: str) -> None:
        space = space_of(name)
        columns = scorable(space, self.method, "inner")
        model = self._started(space, columns)
        with torch.no_grad():
            gates_of(model).factors[2].fill_(0.0)
        scores = [
            values for values in self.method.scores(evidence(model, space, columns)) if values is not None
        ]
        assert int(np.argmin(np.concatenate(scores))) == 2


class TestRandomWeights(_OfFactors):
    method = RANDOM_WEIGHTS


class TestL0(_OfFactors):
    method = L0
    dead = -4.0


class TestVariationalDropout(_OfFactors):
    method = VARIATIONAL_DROPOUT
    scores_below_zero = True

    def _plant(self, model: nn.Module, space: SearchSpace, kept: Kept) -> None:
        for column, indices in removed(space, kept):
            with torch.no_grad():
                mean, _ = gates_of(model).factors[gates_of(model).columns.index(column)]
                mean[torch.from_numpy(indices)] = 0


class TestTaylor(Contract):
    method = TAYLOR


class TestObd(Contract):
    method = OBD


class TestObs(Contract):
    method = OBS


class TestThinet(Contract):
    method = THINET


class TestRegression(Contract):
    method = REGRESSION


class TestL1Norm(Contract):
    method = L1_NORM

    def _plant(self, model: nn.Module, space: SearchSpace, kept: Kept) -> None:
        _set_filters(model, space, kept, lambda weight: torch.zeros_like(weight[0]))


class TestSoftFilter(Contract):
    method = SOFT_FILTER

    def _plant(self, model: nn.Module, space: SearchSpace, kept: Kept) -> None:
        SOFT_FILTER.after_epoch(model, space, kept)  # type: ignore[misc]


class TestFpgm(Contract):
    method = FPGM

    def _plant(self, model: nn.Module, space: SearchSpace, kept: Kept) -> None:
        _set_filters(model, space, kept, lambda weight: weight.mean(0))  # all others can stand for it


def _set_filters(model: nn.Module, space: SearchSpace, kept: Kept, value: "object") -> None:
    for column, indices in removed(space, kept):
        assert sum(1 for _ in filters(model, space, column)) == 1
        weight = model.get_parameter(f"{space.groups[column].layers[0]}.weight")
        with torch.no_grad():
            weight[torch.from_numpy(indices)] = value(weight)  # type: ignore[operator]


class _Control(Contract):
    @pytest.mark.skip(reason="a control does not look")
    def test_planted_dead_channels_score_lowest(self, name: str) -> None: ...


class TestUniform(_Control):
    method = UNIFORM


class TestRandom(_Control):
    method = RANDOM


def test_all_methods_are_tested() -> None:
    tested = {kind.method.name for kind in _subclasses(Contract) if hasattr(kind, "method")}
    assert tested >= set(METHODS)


def _subclasses(kind: type[Contract]) -> list[type[Contract]]:
    return [found for own in kind.__subclasses__() for found in (own, *_subclasses(own))]
