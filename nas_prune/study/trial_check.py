"""Whether trials can be ours: a storage may hold anything, and what stands in trials is believed after this."""

from collections.abc import Callable, Sequence
from typing import get_args

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from nas_prune.errors import StorageError
from nas_prune.study import trial_record as record
from nas_prune.study.config import JudgeName

_JUDGES: tuple[str, ...] = get_args(JudgeName)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e308 < value < 1e308


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_KINDS: dict[str, Callable[[object], bool]] = {
    record.WIDTHS: _is_text,
    record.SOURCE: _is_text,
    record.WORKER: _is_text,
    record.FAILED: _is_text,
    record.MACS: _is_count,
    record.PARAMS: _is_count,
    record.ACTIVATIONS: _is_count,
    record.TRAINING_MACS: _is_count,
    record.EPOCHS: _is_count,
    record.SEED: _is_count,
    record.REPEAT_OF: _is_count,
    record.SECONDS: _is_number,
    record.LATENCY: _is_number,
    record.JUDGE: _JUDGES.__contains__,
    **{record.SAID.format(judge): _is_number for judge in _JUDGES},
}


def check_readable(trials: Sequence[FrozenTrial]) -> None:
    """Refuse trials that cannot be ours.

    Args:
        trials: all of a study, in order.

    Raises:
        StorageError: one of them has attributes, parameters or values of another kind than ours, or follows trials that
            are not there.
    """
    for trial in trials:
        why = _odd_history(trial, len(trials)) or _odd_attribute(trial, len(trials)) or _odd_numbers(trial)
        if why is not None:
            raise StorageError(f"trial {trial.number} must {why}.")


def _odd_history(trial: FrozenTrial, count: int) -> str | None:
    """What a trial must have, and has not; None where all is well."""
    if not isinstance(trial.user_attrs, dict) or not isinstance(trial.system_attrs, dict):
        return "have attributes by name, got something else"
    before = record.followed(trial)
    if not all(isinstance(one, int) and _is_count(one) and one < count for one in before):
        return f"follow trials of its study, got {before!s:.60}"
    return None


def _odd_attribute(trial: FrozenTrial, count: int) -> str | None:
    for name, value in trial.user_attrs.items():
        is_ours = name not in _KINDS or _KINDS[name](value)
        if not is_ours or (name == record.REPEAT_OF and value >= count):
            return f"have attributes as they are written here, got {name}={value!s:.60}"
    return None


def _odd_numbers(trial: FrozenTrial) -> str | None:
    for name, value in trial.params.items():
        if not _is_within(trial.distributions.get(name), value):
            return f"have parameters within their bounds, got {name}={value!s:.60}"
    if trial.state == TrialState.COMPLETE and (not trial.values or record.PARAMS not in trial.user_attrs):
        return "have a value and widths, since it is complete"
    values = [*(trial.values or ()), *trial.intermediate_values.values()]
    return None if all(map(_is_number, values)) else f"have numbers as values, got {values!s:.60}"


def _is_within(distribution: object, value: object) -> bool:
    """Whether a parameter is one of ours, all of which are plain ranges of numbers."""
    if not isinstance(distribution, FloatDistribution) or distribution.step is not None or distribution.log:
        return False
    return (
        isinstance(value, int | float)
        and _is_number(value)
        and distribution.low <= value <= distribution.high
    )
