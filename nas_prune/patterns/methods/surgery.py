"""Weights that go while the network trains and may come back: dynamic network surgery (Guo et al. 2016).

Of each layer the mean and the deviation of |w| are frozen when surgery begins; with t = max(mean + c · deviation, 0) a
weight goes where |w| <= 0.9 t and comes back where |w| > 1.1 t. Only weights that are there act, all of them
learn: the gradient of what acts moves the weight behind it, also where it is left out.

The paper's free number is c. Here it is what meets the budget: found when surgery begins, and again from time to time,
since large weights grow and masked ones shrink, by which a c that is kept would miss the budget by far. At the stop the
masks are cut to the budget exactly and stay, and the rest of the training is for the weights that are left.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nas_prune.data import epoch_seed
from nas_prune.patterns.cut import Scores, cut_weights
from nas_prune.patterns.methods.contract import Course, Evidence, PatternMethod, Setting
from nas_prune.patterns.methods.on_weights import part_on, plain_twin, put_on, steps_of
from nas_prune.training.state import TrainState

_GOES, _COMES_BACK = 0.9, 1.1  # of the threshold
_FIRST, _STOP = 0.25, 0.75  # of the training; the paper begins with a trained network
_FINDS = 60  # how often c is found
_POWER = 1.0
_FALL = 1.4  # γ times the steps of surgery: 1e-4 times 14,000 in the authors' example (LeNet-5)
_OWN_C = 1.0  # where no budget says it: of normal weights a sixth stays


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens after which of a training's steps, counted from 1.

    Attributes:
        first: the means and deviations are frozen.
        stop: the masks are cut to the budget.
        finds: c is found, and the masks follow.
        updates: the masks follow.
    """

    first: int
    stop: int
    finds: frozenset[int]
    updates: frozenset[int]


def planned(setting: Setting) -> Plan:
    """The steps of surgery; masks follow with a chance of (1 + γ · iteration)^-power in each.

    What is drawn depends on nothing but the length of the training, so that all processes do the same.
    """
    total = steps_of(setting)
    first = max(1, round(_FIRST * total))
    stop = max(first, round(_STOP * total))
    iteration = np.arange(stop - first)
    chance = (1 + _FALL * iteration / max(1, stop - first)) ** -_POWER
    drawn = np.random.default_rng(epoch_seed(0, 0, "network surgery")).random(len(iteration)) < chance
    finds = {first + (stop - first) * number // _FINDS for number in range(_FINDS)}
    return Plan(first, stop, frozenset(finds), frozenset((first + iteration[drawn]).tolist()))


class Cuts(nn.Module):
    """Which weights of a layer act, and what decides it; all learn."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(like, dtype=torch.bool, requires_grad=False))
        for name in ("mean", "deviation", "threshold"):
            self.register_buffer(name, torch.zeros((), dtype=like.dtype, device=like.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weights that act; their slopes are those of all weights."""
        return weight - (weight.detach() * ~self.get_buffer("mask"))

    def freeze(self, weight: Tensor) -> None:
        """Note the mean and the deviation of |w|."""
        self.get_buffer("mean").copy_(weight.abs().mean())
        self.get_buffer("deviation").copy_(weight.abs().std(correction=0).clamp_min(1e-12))

    def most_c(self, weight: Tensor) -> Tensor:
        """The c from which on each weight would not be there, of its shape."""
        share = torch.where(self.get_buffer("mask"), _GOES, _COMES_BACK).double()
        return (weight.abs() / share - self.get_buffer("mean")) / self.get_buffer("deviation")

    def aim(self, c: float) -> None:
        """Set the threshold."""
        found = self.get_buffer("mean") + c * self.get_buffer("deviation")
        self.get_buffer("threshold").copy_(found.clamp_min(0))

    def follow(self, weight: Tensor) -> None:
        """Let weights go and come back; the largest one stays, or nothing would pass."""
        mask, threshold, size = self.get_buffer("mask"), self.get_buffer("threshold"), weight.abs()
        stays = (mask & (size > _GOES * threshold)) | (size > _COMES_BACK * threshold)
        mask.copy_(stays | (size == size.max()))


def course(setting: Setting) -> Course:
    """Surgery between one and three quarters of the training."""
    plan = planned(setting)

    @torch.no_grad()
    def after_step(state: TrainState) -> None:
        done = setting.step_of(state) + 1
        if not plan.first <= done <= plan.stop:
            return
        parts = _parts(state.model, setting)
        if done == plan.first:
            for cuts, weight in parts.values():
                cuts.freeze(weight)
        if done == plan.stop and not setting.budget.is_own:
            masks = cut_weights(setting.costs, _most_c(parts), setting.budget).masks
            for name, (cuts, _) in parts.items():
                cuts.get_buffer("mask").copy_(masks[name])
        elif done in plan.finds | plan.updates:
            c = found_c(setting, _most_c(parts)) if done in plan.finds else None
            for cuts, weight in parts.values():
                if c is not None:
                    cuts.aim(c)
                cuts.follow(weight)

    return Course(
        lambda model: put_on(model, setting, Cuts),
        after_step=after_step,
        plain=lambda model: plain_twin(model, setting.space),
    )


def _parts(model: nn.Module, setting: Setting) -> dict[str, tuple[Cuts, Tensor]]:
    found = {}
    for layer in setting.costs.layers.layers:
        cuts, weight = part_on(model, layer.name)
        found[layer.name] = (cuts, weight.detach())
    return found


def _most_c(parts: dict[str, tuple[Cuts, Tensor]]) -> Scores:
    return {name: cuts.most_c(weight) for name, (cuts, weight) in parts.items()}


def found_c(setting: Setting, most_c: Scores) -> float:
    """The c with which the weights that stay meet the budget.

    Weights ranked by the c from which on they go are cut at the budget. It lies between the best one that goes and the
    next better one, so that rounding changes neither.
    """
    if setting.budget.is_own:
        return _OWN_C
    masks = cut_weights(setting.costs, most_c, setting.budget).masks
    gone = [most_c[name].cpu()[~mask] for name, mask in masks.items()]
    best = max((float(values.max()) for values in gone if len(values)), default=float("-inf"))
    above = [values[values > best] for values in most_c.values()]
    following = min((float(values.min()) for values in above if len(values)), default=best)
    return (best + following) / 2


def scores(evidence: Evidence) -> Scores:
    """|w| of the weights that are there, zero for the others; of a network with its masks or without."""
    own = dict(evidence.model.named_parameters())
    found: dict[str, Tensor] = {}
    for layer in evidence.costs.layers.layers:
        if layer.name in own:
            found[layer.name] = own[layer.name].detach().abs()
        else:
            cuts, weight = part_on(evidence.model, layer.name)
            found[layer.name] = cuts(weight).detach().abs()
    return found


SURGERY = PatternMethod(
    name="surgery",
    summary="small weights go during the training, and come back where they grow",
    citation="Guo et al., Dynamic Network Surgery for Efficient DNNs, NIPS 2016",
    scores=scores,
    course=course,
    scopes=("global",),
    zero=0.0,
    takes_budgets=False,
)
