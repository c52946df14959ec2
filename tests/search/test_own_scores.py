"""Channels scored on batches and losses of somebody's own: as a search scores them, and unreadable ones are refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import nas_prune
from nas_prune.errors import BadInputError
from nas_prune.search.methods.contract import Evidence, Scope
from nas_prune.search.methods.registry import METHODS
from nas_prune.search.methods.samples import samples
from nas_prune.search.own_loop import no_images
from nas_prune.space.load import load_space
from tests.search.methods.evidence import digits

SPACE = load_space("vgg11", (1, 8, 8), width_multiplier=0.25)
DATA = digits(8, 1)


def cross(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("method", ["taylor", "thinet", "regression", "obs", "l1-norm", "fpgm"])
def test_scores_in_a_loop_are_those_of_a_search(method: str) -> None:
    model = SPACE.build(seed=3)
    found = nas_prune.scores(method, SPACE, model, _shown(), cross if method == "taylor" else None)
    assert model.training
    evidence = Evidence(model, SPACE, found.columns, DATA)
    expected = METHODS[method].scores(evidence)
    for one, other in zip(found.values, expected, strict=True):
        if one is not None and method in (
            "taylor",
            "l1-norm",
            "fpgm",
        ):  # others draw entries in the order of images
            assert other is not None
            assert np.allclose(one, other, rtol=1e-4) or METHODS[method].scope == "local"
    assert found.widths("macs<=50%").cost.macs <= 0.5 * SPACE.cost_at(SPACE.base_G).macs


def test_controls_are_recorded_as_such_and_take_no_scope() -> None:
    model = SPACE.build(seed=0)
    for name in ("uniform", "random"):
        method = nas_prune.scores(name, SPACE, model).widths("macs<=50%").method
        assert method is not None
        assert (method.is_automatic, dict(method.settings)) == (False, {"groups": "inner"})
        with pytest.raises(BadInputError, match=f"method {name} takes no scope, got 'local'. Leave it out."):
            nas_prune.scores(name, SPACE, model, scope="local")
    cases: list[tuple[Scope | None, bool]] = [("global", True), ("local", False), (None, False)]
    for scope, is_automatic in cases:
        method = nas_prune.scores("l1-norm", SPACE, model, scope=scope).widths("macs<=50%").method
        assert method is not None
        assert method.is_automatic == is_automatic


def _shown() -> list[tuple[Tensor, Tensor]]:
    return list(samples(Evidence(SPACE.build(seed=0), SPACE, (0,), DATA)))


@pytest.mark.parametrize(
    ("method", "batches", "loss", "says"),
    [
        ("taylor", [], None, "at least one batch"),
        ("taylor", [torch.zeros(2, 1, 8, 8)], None, r"a batch must be \(inputs, labels\)"),
        ("taylor", [(torch.zeros(2, 1, 8, 8), torch.zeros(2))], None, "with a class number"),
        ("taylor", [(torch.zeros(2, 1, 8, 8), torch.zeros(3).long())], None, "got 2 inputs and 3 labels"),
        (
            "taylor",
            _shown(),
            lambda model, batch: model(batch[0]),
            r"one number for a batch.*shape \[64, 10\]",
        ),
        ("taylor", _shown(), lambda *_: 3.0, "as a tensor, got float"),
        ("taylor", _shown(), lambda *_: torch.zeros(()), "does not reach"),
        ("obd", _shown(), cross, "draws labels from class scores"),
        ("slimming", _shown(), None, "acts during the training"),
    ],
)
def test_batches_and_losses_that_cannot_be_read(
    method: str, batches: list[object], loss: Callable[[nn.Module, object], Tensor] | None, says: str
) -> None:
    with pytest.raises(BadInputError, match=says):
        nas_prune.scores(method, SPACE, SPACE.build(seed=0), batches, loss)


def test_an_own_method_that_wants_images_is_refused_in_a_loop() -> None:
    def wanting(evidence: Evidence) -> list[None]:
        len(evidence.data.train)
        return []

    method = replace(METHODS["l1-norm"], name="wanting", scores=wanting)
    evidence = Evidence(SPACE.build(seed=0), SPACE, (1,), no_images(method))
    with pytest.raises(BadInputError, match="looks at images of a search"):
        method.scores(evidence)
