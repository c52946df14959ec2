"""Penalties that a loop calls inside of a step, as Lightning does, or behind it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, AdamW, Optimizer

import nas_prune
from nas_prune.errors import BadInputError
from nas_prune.search.own_loop import MethodInLoop
from tests.search.test_own_loop import SPACE, ours, sgd, stepped


def closure_of(own: MethodInLoop, optimiser: Optimizer, clip_at: float) -> Callable[[], float]:
    """What Lightning hands to a step: gradients, hooks before the step, and clipping behind them."""

    def closure() -> float:
        optimiser.zero_grad()
        images, labels = next(ours(0))
        loss = cross_entropy(own.model(images), labels)
        loss.backward()
        own.penalty(optimiser)
        if clip_at:
            nn.utils.clip_grad_norm_(own.model.parameters(), clip_at)
        return float(loss.detach())

    return closure


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
def test_a_penalty_in_a_closure_is_that_of_a_plain_loop_and_clipping_behind_it_is_refused(
    make: Callable[..., Optimizer], *, fused: bool
) -> None:
    networks = []
    for has_closure in (True, False):
        model = SPACE.build(seed=0)
        own = nas_prune.slimming(SPACE, model, strength=0.01)
        optimiser = make(model.parameters(), lr=0.01, fused=fused, weight_decay=1e-4)
        for _ in range(5):
            if has_closure:
                optimiser.step(closure_of(own, optimiser, 0))
            else:
                closure_of(own, optimiser, 0)()
                optimiser.step()
        networks.append(list(model.parameters()))
    assert all(map(torch.equal, *networks))
    if not fused:
        with pytest.raises(
            BadInputError, match=r"last in the closure of .* got gradients that change after it"
        ):
            optimiser.step(closure_of(own, optimiser, 1e-3))


def test_a_penalty_on_gradients_that_a_step_was_taken_on_is_refused() -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.slimming(SPACE, model, strength=0.01)
    optimiser = sgd(model)
    stepped(own, model, optimiser)
    with pytest.raises(BadInputError, match=r"must come before optimiser.step\(\)"):
        own.penalty(optimiser)
    optimiser.zero_grad(set_to_none=False)
    stepped(own, model, optimiser)
    stepped(own, model, optimiser)  # gradients that are never cleared are no longer those of the step


@pytest.mark.parametrize("method", ["slimming", "sss"])
def test_widths_of_a_network_that_was_fused_are_refused(method: str) -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=0.01)
    lost = SPACE.groups[3].norms[0]
    parent, _, name = lost.rpartition(".")
    delattr(model.get_submodule(parent), name)
    with pytest.raises(BadInputError, match=f"got none at {lost}. Ask for widths before"):
        own.widths("macs<=50%")
