"""Whether trials can be ours: a storage may hold anything, and what stands in trials is believed after this."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import get_args

import optuna
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas_prune.errors import StorageError
from nas_prune.space.search_space import SearchSpace
from nas_prune.study import trial_record as record
from nas_prune.study.config import JudgeName, StudyConfig
from nas_prune.study.study_record import kept

_JUDGES: tuple[str, ...] = get_args(JudgeName)
_LONGEST = 1000  # characters of a name


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e308 < value < 1e308


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    return _is_text(value) and len(str(value)) <= _LONGEST


def _is_settings(value: object) -> bool:
    return isinstance(value, dict)


_STUDY_KINDS: dict[str, Callable[[object], bool]] = {
    record.SETTINGS: _is_settings,
    record.PATTERN_HASH: _is_name,
    record.IMAGES: _is_name,
    record.TARGET: _is_name,
}
_KINDS: dict[str, Callable[[object], bool]] = {
    record.WIDTHS: _is_text,
    record.SOURCE: _is_name,
    record.WORKER: _is_name,
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
    record.PREDICTED: _is_number,
    record.MEMORY: _is_count,
    record.SIZE: _is_count,
    record.GUESS: _is_number,
    record.VAL_IMAGES: _is_count,
    record.JUDGE: lambda value: value in _JUDGES,
    **{record.SAID.format(judge): _is_number for judge in _JUDGES},
}


def check_study(study: optuna.Study, config: StudyConfig) -> None:
    """Refuse a study that cannot be one of ours.

    Raises:
        StorageError: it cannot be read, has other directions, or a trial has attributes, parameters or values of
            another kind than ours, or follows trials that are not there.
    """
    name = study.study_name
    wanted = [StudyDirection.MAXIMIZE, *([] if config.against is None else [StudyDirection.MINIMIZE])]
    try:
        directions, attributes = study.directions, kept(study)
        trials = study.get_trials(deepcopy=False)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise StorageError(
            f"study {name!r} must be one of nas-prune, got what Optuna cannot read ({type(error).__name__}: "
            f"{' '.join(str(error).split()):.100})."
        ) from None
    if directions != wanted:
        found = ", ".join(one.name.lower() for one in directions)
        raise StorageError(f"study {name!r} must have the directions of nas-prune, got {found}.")
    if not all(_STUDY_KINDS[key](attributes[key]) for key in attributes.keys() & _STUDY_KINDS.keys()):
        raise StorageError(f"study {name!r} must have settings as they are written here, got others.")
    check_trials(trials)


def check_trials(trials: Sequence[FrozenTrial]) -> None:
    """Refuse trials that cannot be ours.

    Args:
        trials: all of a study, in order.

    Raises:
        StorageError: as `check_study`.
    """
    lengths: set[int] = set()
    for trial in trials:
        why = _odd_history(trial, len(trials)) or _odd_attribute(trial, len(trials)) or _odd_numbers(trial)
        if why is not None:
            raise StorageError(f"trial {trial.number} must {why}.")
        lengths.add(len(record.widths_of(trial) or ()))
    if len(lengths - {0}) > 1:
        raise StorageError(f"trials must have widths of one network, got {sorted(lengths - {0})} of them.")


def check_fit(studies: Iterable[Sequence[FrozenTrial]], space: SearchSpace) -> None:
    """Refuse trials whose widths are not of a network.

    Args:
        studies: the trials of each.
        space: the network.

    Raises:
        StorageError: a trial has more widths than the network, fewer, or larger ones.
    """
    for trial in chain.from_iterable(studies):
        vector = record.widths_of(trial)
        if vector is not None and (
            len(vector) != len(space.base_G)
            or any(width > base for width, base in zip(vector, space.base_G, strict=True))
        ):
            raise StorageError(
                f"trial {trial.number} must have widths of {space.reference.name}, got others."
            )


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
