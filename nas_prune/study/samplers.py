"""Samplers, Optuna's and ours, and early stopping, as a study asks for them."""

import warnings
from collections.abc import Callable, Mapping
from hashlib import blake2b

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas_prune.study.cma_sampler import CmaSampler
from nas_prune.study.config import SCRATCH, JudgeName, SamplerName, Stopping
from nas_prune.study.falling_behind import BehindPruner
from nas_prune.study.parameters import Parametrised
from nas_prune.study.rule_sampler import RuleSampler
from nas_prune.study.short_numbers import ShortNumbers

_POPULATION = 12  # Optuna's 50 would be chance alone for the first 50 trials

SAMPLERS: Mapping[SamplerName, Callable[[int, Parametrised, JudgeName], BaseSampler]] = {
    "rule": lambda seed, points, judge: RuleSampler(points, seed, judge=judge),
    "cma": lambda seed, points, _: CmaSampler(points.ranges, seed),
    "tpe": lambda seed, *_: TPESampler(seed=seed),
    "gp": lambda seed, *_: GPSampler(seed=seed),
    "nsga2": lambda seed, *_: NSGAIISampler(seed=seed, population_size=_POPULATION),
    "random": lambda seed, *_: RandomSampler(seed=seed),
}


def sampler_named(
    name: SamplerName, points: Parametrised, *chance: object, judge: JudgeName = SCRATCH
) -> BaseSampler:
    """A sampler whose draws depend on the values given for chance alone.

    Args:
        name: which.
        points: how its parameters become widths.
        chance: anything.
        judge: what judges the trial that is asked for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return ShortNumbers(SAMPLERS[name](chance_of(*chance), points, judge))


def chance_of(*values: object) -> int:
    """A seed that depends on some values alone."""
    digest = blake2b("/".join(map(str, values)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % 2**31


def stopping_named(name: Stopping, epochs: int) -> BasePruner:
    """What ends trials that fall behind; set explicitly, since Optuna's own default ends the best ones.

    `median` ends a trial that is worse than the median of the others at the same epoch, from half of the epochs on and
    for two of them: while the learning rate is high, an accuracy says little of the last one.
    """
    return NopPruner() if name == "none" else BehindPruner(epochs)


def quiet() -> None:
    """Let Optuna log errors only: what becomes of trials is reported by us."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
