"""Whether trials can be ours: a storage may hold anything, and what stands in trials is believed after this."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, get_args

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from nas_prune.errors import StorageError
from nas_prune.study import trial_record as record
from nas_prune.study.config import JudgeName

_JUDGES: tuple[str, ...] = get_args(JudgeName)
_COUNTS = (
    record.MACS,
    record.PARAMS,
    record.ACTIVATIONS,
    record.TRAINING_MACS,
    record.EPOCHS,
    record.SEED,
    record.REPEAT_OF,
)
_NUMBERS = (record.SECONDS, record.LATENCY, *(record.SAID.format(judge) for judge in _JUDGES))
_TEXTS = (record.WIDTHS, record.SOURCE, record.WORKER, record.FAILED)


def check_readable(trials: Sequence[FrozenTrial]) -> None:
    """Refuse trials that cannot be ours.

    Args:
        trials: all of a study, in order.

    Raises:
        StorageError: one of them has attributes, parameters or values of another kind than ours, or follows trials that
            are not there.
    """
    for trial in trials:
        why = _why_odd(trial, len(trials))
        if why is not None:
            raise StorageError(f"trial {trial.number} must {why}.")


def _why_odd(trial: FrozenTrial, count: int) -> str | None:
    """What a trial must have or do, and does not; None where all is well."""
    attributes = trial.user_attrs
    if not isinstance(attributes, dict) or not isinstance(trial.system_attrs, dict):
        return "have attributes by name, got something else"
    before = record.followed(trial)
    if not all(_is_count(one) and one < count for one in before):
        return f"follow trials of its study, got {before!s:.60}"
    odd = _first_odd(attributes, count)
    if odd is not None:
        return f"have attributes as they are written here, got {odd}={attributes[odd]!s:.60}"
    for name, value in trial.params.items():
        if not _is_within(trial.distributions.get(name), value):
            return f"have parameters within their bounds, got {name}={value!s:.60}"
    values = [*(trial.values or ()), *trial.intermediate_values.values()]
    if trial.state == TrialState.COMPLETE and (not trial.values or record.PARAMS not in attributes):
        return "have a value and widths, since it is complete"
    if not all(map(_is_number, values)):
        return f"have numbers as values, got {values!s:.60}"
    return None


def _first_odd(attributes: Mapping[str, Any], count: int) -> str | None:
    """The first attribute that is of another kind than we write."""
    for name, value in attributes.items():
        is_ours = (
            _is_count(value)
            if name in _COUNTS
            else _is_number(value)
            if name in _NUMBERS
            else isinstance(value, str)
            if name in _TEXTS
            else value in _JUDGES
            if name == record.JUDGE
            else True
        )
        if not is_ours or (name == record.REPEAT_OF and value >= count):
            return name
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]


def _is_within(distribution: object, value: object) -> bool:
    """Whether a parameter is one of ours, all of which are plain ranges of numbers."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None or distribution.log:
        return False
    return _is_number(value) and distribution.low <= float(value) <= distribution.high  # type: ignore[arg-type]
