"""Optuna's samplers and early stopping, as a study asks for them."""

import warnings
from collections.abc import Callable, Mapping
from hashlib import blake2b
from math import ceil

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner, PatientPruner
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from nas_prune.study.config import SamplerName, Stopping

_POPULATION = 12  # Optuna's 50 would be chance alone for the first 50 trials
_SEEN_BEFORE_STOPPING = 8  # trials
_PATIENCE = 1  # epochs that a trial may stay behind

SAMPLERS: Mapping[SamplerName, Callable[[int], BaseSampler]] = {
    "cma": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "tpe": lambda seed: TPESampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=_POPULATION),
    "random": lambda seed: RandomSampler(seed=seed),
}


def sampler_named(name: SamplerName, *chance: object) -> BaseSampler:
    """A sampler whose draws depend on the values given for chance alone."""
    digest = blake2b("/".join(map(str, chance)).encode(), digest_size=4).digest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](int.from_bytes(digest, "big") % 2**31)


def stopping_named(name: Stopping, epochs: int) -> BasePruner:
    """What ends trials that fall behind; set explicitly, since Optuna's own default ends the best ones.

    `median` ends a trial that is worse than the median of the others at the same epoch, from half of the epochs on and
    for two of them: while the learning rate is high, an accuracy says little of the last one.
    """
    if name == "none":
        return NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        median = MedianPruner(n_startup_trials=_SEEN_BEFORE_STOPPING, n_warmup_steps=ceil(epochs / 2))
        return PatientPruner(median, patience=_PATIENCE)


def quiet() -> None:
    """Let Optuna log errors only: what becomes of trials is reported by us."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
