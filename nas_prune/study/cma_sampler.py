"""The sampler `cma`: CMA-ES, whose state is worked out anew for each trial from the numbers of those before it.

Optuna's own sampler keeps its state as a pickle among the attributes of trials and loads it from there, so that whoever
can write to a storage can let its readers run anything. Here a trial notes one whole number: the generation that it was
drawn in. The parameters and values of whole generations are told again, in order, which takes milliseconds. What a
storage holds of pickled states is never looked at, in studies of before either: these go on from their trials' numbers.

What is drawn depends on the seed, on the trials that have ended and on the trial's place among all that were begun, not
on how often a worker died at one.

Shape suffix: P parameters, each as a share of its range.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas_prune.study import trial_record as record

if TYPE_CHECKING:
    from cmaes import CMA

Floats: TypeAlias = "NDArray[np.float64]"
Ranges: TypeAlias = "Mapping[str, tuple[float, float]]"

GENERATION = "cma:generation"  # as Optuna's sampler names it, whose studies go on with this one
_CENTRE, _STEP = 0.5, 1 / 6  # of a range: the first mean and standard deviation
_TRIES = 10  # draws for each parameter, until all lie within their ranges; after that, ends are taken


class CmaSampler(BaseSampler):
    """Optuna's way to ask CMA-ES, for one objective.

    Of each generation the first trials by number are told, as many as a generation has. Those that fail or fall behind
    are not, and what several workers draw beyond that number is of no use. Trials that were asked for by hand (the
    guideline, uniform widths) belong to no generation.

    Args:
        ranges: the least and the largest value of every parameter.
        seed: of what is drawn, not negative.
    """

    def __init__(self, ranges: Ranges, seed: int) -> None:
        self._ranges, self._seed = ranges, seed

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """All parameters together, but for those with one value."""
        return {name: FloatDistribution(*ends) for name, ends in self._ranges.items() if ends[0] < ends[1]}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters to be tried next."""
        ranges = {name: self._ranges[name] for name in search_space}
        if not ranges:
            return {}
        trials = study.get_trials(deepcopy=False)
        optimizer = optimizer_after(
            trials,
            ranges,
            is_maximised=study.direction == StudyDirection.MAXIMIZE,
            seed=self._chance(trials, trial),
        )
        storage, its_id = study._storage, trial._trial_id  # noqa: SLF001
        storage.set_trial_system_attr(its_id, GENERATION, optimizer.generation)
        low_P, high_P = np.array(list(ranges.values())).T
        drawn_P = np.clip(low_P + optimizer.ask() * (high_P - low_P), low_P, high_P)
        return dict(zip(ranges, drawn_P.tolist(), strict=True))

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that is not of the ranges, by chance alone."""
        chance = self._chance(study.get_trials(deepcopy=False), trial, param_name)
        return RandomSampler(seed=chance).sample_independent(study, trial, param_name, param_distribution)

    def _chance(self, trials: Iterable[FrozenTrial], trial: FrozenTrial, name: str = "") -> int:
        """A seed for one trial, or for one parameter of it."""
        own = record.line_of(trial)
        place = len({line for one in trials if (line := record.line_of(one)) < own})
        return int(np.random.SeedSequence([self._seed, place, *name.encode()]).generate_state(1)[0])


def optimizer_after(trials: Sequence[FrozenTrial], ranges: Ranges, *, is_maximised: bool, seed: int) -> "CMA":
    """The optimiser that has been told every whole generation of a study.

    CMA-ES goes by the order of values alone, so that their ranks are told. Once its steps are too small for the
    computer's numbers it is told nothing more.

    Args:
        trials: of the study.
        ranges: the least and the largest value of every parameter, the former smaller.
        is_maximised: whether large values are good.
        seed: of what it draws; what it has learnt does not depend on it.

    Returns:
        It draws from [0, 1] for each parameter, in the order of the ranges.
    """
    from cmaes import CMA

    count = len(ranges)
    optimizer = CMA(
        mean=np.full(count, _CENTRE),
        sigma=_STEP,
        bounds=np.tile([0.0, 1.0], (count, 1)),
        n_max_resampling=_TRIES * count,
        seed=seed,
    )
    size, generations = optimizer.population_size, _generations(trials, ranges)
    while (
        len(told := generations.get(optimizer.generation, ())[:size]) == size and not optimizer.should_stop()
    ):
        ranked = sorted(told, key=lambda one: one[1], reverse=is_maximised)
        optimizer.tell([(point_P, float(rank)) for rank, (point_P, _) in enumerate(ranked)])
    return optimizer


def _generations(
    trials: Iterable[FrozenTrial], ranges: Ranges
) -> Mapping[int, Sequence[tuple[Floats, float]]]:
    """Parameters and values of the complete trials of each generation, by number; of a retry counts the first.

    A storage may be a stranger's: what is no generation, or lies outside the ranges, is left out.
    """
    found: defaultdict[int, list[tuple[Floats, float]]] = defaultdict(list)
    low_P, high_P = np.array(list(ranges.values())).T
    for trial in sorted(trials, key=lambda one: (record.line_of(one), one.number)):
        generation, drawn = trial.system_attrs.get(GENERATION), [trial.params.get(name) for name in ranges]
        if trial.state != TrialState.COMPLETE or not isinstance(generation, int):
            continue
        if not all(isinstance(one, float) for one in drawn):
            continue
        drawn_P, value = np.array(drawn), float(trial.values[0])
        if ((low_P <= drawn_P) & (drawn_P <= high_P)).all() and not isnan(value):
            found[generation].append(((drawn_P - low_P) / (high_P - low_P), value))
    return found
