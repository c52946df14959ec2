"""Creating a study, or finding the one that is there and seeing that it is the same."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from time import sleep
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from nas_prune.budget import Budget
from nas_prune.errors import BadInputError
from nas_prune.guideline.apply import Pattern
from nas_prune.guideline.artefact import Guideline
from nas_prune.rundir import CONFIG, read_config, write_config
from nas_prune.study import record
from nas_prune.study.config import GUIDELINE, StudyConfig
from nas_prune.study.loaded import BUDGET, Loaded
from nas_prune.study.samplers import sampler_named, stopping_named

_CREATOR_TAKES = 20  # seconds at most, or it was killed at it


@dataclass(frozen=True, slots=True)
class OneStudy:
    """One of Optuna's studies: its name, the study, and its budget (or the two ends of its range)."""

    name: str
    study: optuna.Study
    budgets: tuple[Budget, ...]


def fingerprint(pattern: Pattern | None) -> str:
    """What tells one guideline from another."""
    if pattern is None:
        return "none"
    text = pattern.model_dump_json() if isinstance(pattern, Guideline) else repr(pattern)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def claim_directory(run: Path, config: StudyConfig, pattern: Pattern | None) -> None:
    """Make a study's directory, or see that the one there is of the same study.

    Raises:
        BadInputError: it is of another study, or holds something else.
    """
    if (run / CONFIG).exists():
        there = read_config(run, StudyConfig)
        check_same(there.fixed(), config.fixed(), f"the study in {run}")
        if there.trials != config.trials or there.timeout != config.timeout:
            write_config(run, config.beside(run))
        return
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise BadInputError(
            f"--out must be a new or an empty directory, or that of this study, got {run}. Choose another name."
        )
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            f"the study's directory must be writable, got: {error}. Choose another with --out."
        ) from None
    if isinstance(pattern, Guideline):
        pattern.write(run / GUIDELINE)
    write_config(run, config.beside(run))


def check_same(then: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """Refuse settings that differ from those a study was created with.

    Raises:
        BadInputError: the first difference.
    """
    for name in [*then, *(name for name in now if name not in then)]:
        if then.get(name) != now.get(name):
            raise BadInputError(
                f"{what} must be gone on with as it was created, but {name} was {_short(then.get(name))} and is "
                f"{_short(now.get(name))} now. Put it back, or begin a study of its own with --new."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def open_studies(loaded: Loaded, storage: BaseStorage) -> list[OneStudy]:
    """Every Optuna study of a configuration, created where it is not there yet.

    Raises:
        BadInputError: one of that name is there and is another.
    """
    return [
        OneStudy(name, _opened(loaded, storage, name, budgets), budgets)
        for name, budgets in loaded.config.studies.items()
    ]


def _opened(loaded: Loaded, storage: BaseStorage, name: str, budgets: tuple[Budget, ...]) -> optuna.Study:
    config = loaded.config
    assert config.sampler is not None
    directions = [StudyDirection.MAXIMIZE, *([] if config.against is None else [StudyDirection.MINIMIZE])]
    how: dict[str, Any] = {
        "sampler": sampler_named(config.sampler, config.seed),
        "pruner": stopping_named(config.stopping, config.epochs),
    }
    try:
        study = optuna.create_study(study_name=name, storage=storage, directions=directions, **how)
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage, **how)
        _wait_until_ready(study)
    if record.READY not in study.user_attrs:
        _make_ready(study, loaded, budgets)
    check_same(study.user_attrs[record.SETTINGS], config.fixed(), f"study {name!r} in the storage")
    if study.user_attrs[record.PATTERN_HASH] != fingerprint(loaded.pattern):
        raise BadInputError(
            f"study {name!r} must be gone on with under the guideline it was created with, but {config.guideline} "
            "holds another now. Put it back, or begin a study of its own with --new."
        )
    return study


def _wait_until_ready(study: optuna.Study) -> None:
    """Give the worker that has just created a study the time to fill it."""
    for _ in range(_CREATOR_TAKES):
        if record.READY in study.user_attrs:
            return
        sleep(1)


def _make_ready(study: optuna.Study, loaded: Loaded, budgets: tuple[Budget, ...]) -> None:
    """Note what the study is, and let the guideline and uniform widths be its first trials."""
    config = loaded.config
    study.set_user_attr(record.SETTINGS, config.fixed())
    study.set_user_attr(record.PATTERN_HASH, fingerprint(loaded.pattern))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(["val_accuracy", *([] if config.against is None else [config.against])])
    points = loaded.parametrised(budgets[-1])
    first = {"uniform": points.uniform}
    if loaded.pattern is not None:
        first = {"guideline": points.guideline, **first}
    at = {} if len(budgets) == 1 else {BUDGET: loaded.ends(budgets)[1]}
    for source, parameters in first.items():
        study.enqueue_trial({**at, **parameters}, user_attrs={record.SOURCE: source}, skip_if_exists=True)
    study.set_user_attr(record.READY, True)  # noqa: FBT003
