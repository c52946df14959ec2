"""Creating a study, or finding the existing one and checking that it is the same."""

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from time import sleep
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.guideline.apply import Pattern
from nas_prune.guideline.artefact import Guideline, read_guideline
from nas_prune.guideline.hand import RULES
from nas_prune.hardware.use import identity_of_target, keep_target
from nas_prune.runs.directory import TARGET
from nas_prune.runs.files import refuse_links
from nas_prune.runs.settings import CONFIG, read_config, write_config
from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.config import GUIDELINE, SCRATCH, StudyConfig
from nas_prune.study.context import BUDGET, StudyContext
from nas_prune.study.parameters import is_uniform
from nas_prune.study.samplers import sampler_named, stopping_named
from nas_prune.study.short_numbers import shortest
from nas_prune.study.study_record import in_words, keep, kept
from nas_prune.study.trial_check import check_fit, check_study
from nas_prune.training.recipe import as_written_now

_FIXED = "fixed_params"  # Optuna's own name for what a waiting trial is to be
_CLAIM = ".claim"  # locked while a directory is claimed
_CREATOR_TAKES = 20  # seconds at most, or the creator was killed


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
    if not isinstance(pattern, Guideline):
        return next(name for name, rule in RULES.items() if rule is pattern)
    text = pattern.model_dump_json()
    return blake2b(text.encode(), digest_size=8).hexdigest()


def check_storage(context: StudyContext, storage: BaseStorage) -> None:
    """Check, before anything is written, that a storage holds no other study under the names of this one.

    Raises:
        BadInputError: it holds another.
    """
    there = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    for name in set(context.config.studies) & there:
        study = optuna.load_study(study_name=name, storage=storage)
        if record.READY in kept(study):
            _check_own(study, context)


@contextmanager
def claiming(run: Path) -> Iterator[bool]:
    """Claim a study's directory alone, for the time of the block; whether nobody has before.

    Workers that begin the same study at once wait for each other here.
    """
    is_ours, lock = not run.exists(), FileLock(run / _CLAIM, fallback_to_soft=False)
    if run.exists() and not run.is_dir():
        raise _taken(run)
    refuse_links(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from None
    with suppress(OSError):  # a file system without locks, or a directory that was taken away
        lock.acquire()
    try:
        yield not (run / CONFIG).exists()
    finally:
        with suppress(OSError):
            (run / _CLAIM).unlink()
        lock.release()
        if is_ours:
            with suppress(OSError):  # it stays where something is in it
                run.rmdir()


def _unwritable(error: OSError) -> BadInputError:
    return BadInputError(f"the study's directory must be writable, got: {error}. Choose another with --out.")


def _taken(run: Path) -> BadInputError:
    return BadInputError(
        f"--out must be a new or an empty directory, or that of this study, got {run}. Choose another name."
    )


def claim_directory(run: Path, config: StudyConfig, pattern: Pattern | None) -> None:
    """Write a study's settings to its directory, or check that the existing ones are of the same study.

    Raises:
        BadInputError: it is of another study, or holds something else.
    """
    if (run / CONFIG).exists():
        there = read_config(run, StudyConfig)
        check_same(there.fixed(), config.fixed(), f"the study in {run}")
        return
    if run.exists() and not _is_half_claimed(run, config, pattern):
        raise _taken(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from None
    if isinstance(pattern, Guideline):
        pattern.write(run / GUIDELINE)
    keep_target(config.target, run)
    write_config(run, config.relative_to(run))


def _is_half_claimed(run: Path, config: StudyConfig, pattern: Pattern | None) -> bool:
    """Whether a directory holds no more than what was written before a claim of this study was killed."""
    names = {path.name for path in run.iterdir()} - {_CLAIM}
    if not names <= {GUIDELINE, TARGET}:
        return False
    try:
        return (GUIDELINE not in names or read_guideline(run / GUIDELINE) == pattern) and (
            TARGET not in names or identity_of_target(str(run / TARGET)) == identity_of_target(config.target)
        )
    except (NasPruneError, OSError):
        return False


def write_wanted(run: Path, config: StudyConfig) -> None:
    """Store how many trials are wanted now, for a later resume without the file; and that no hours bound them, then."""
    there = read_config(run, StudyConfig)
    wishes = {name: getattr(config, name) for name in ("trials", "timeout", "hours")}
    if there.model_copy(update=wishes) != there:
        write_config(run, there.model_copy(update=wishes))


def check_same(then: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """Refuse settings that differ from those a study was created with.

    Raises:
        BadInputError: the first difference.
    """
    for name in [*then, *(name for name in now if name not in then)]:
        before = as_written_now(then.get(name)) if name == "recipe" else then.get(name)
        if before != now.get(name):
            raise BadInputError(
                f"{what} must be continued as it was created, but {name} was {_short(then.get(name))} and is "
                f"{_short(now.get(name))} now. Put it back, or begin a study of its own {_anew(now)}."
            )


def _anew(settings: Mapping[str, Any]) -> str:
    return "with another out" if "network" in settings else "with --new"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def open_studies(context: StudyContext, storage: BaseStorage) -> list[OneStudy]:
    """Every Optuna study of a configuration, created where it is not there yet.

    Raises:
        BadInputError: another study of that name exists.
    """
    return [
        OneStudy(name, _opened(context, storage, name, budgets), budgets)
        for name, budgets in context.config.studies.items()
    ]


def _opened(
    context: StudyContext, storage: BaseStorage, name: str, budgets: tuple[Budget, ...]
) -> optuna.Study:
    config = context.config
    assert config.sampler is not None
    directions = [StudyDirection.MAXIMIZE, *([] if config.against is None else [StudyDirection.MINIMIZE])]
    how: dict[str, Any] = {
        "sampler": sampler_named(config.sampler, context.parametrised(budgets[-1]), config.seed),
        "pruner": stopping_named(config.stopping, config.epochs),
    }
    try:
        study = optuna.create_study(study_name=name, storage=storage, directions=directions, **how)
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage, **how)
        _wait_until_ready(study)
    if record.READY not in kept(study):
        if record.SETTINGS not in kept(study) and study.get_trials(deepcopy=False):
            raise BadInputError(
                f"study {name!r} in the storage must be one of nas-prune, got one with other trials. "
                "Give yours another name."
            )
        _make_ready(study, context, budgets)
    _check_own(study, context)
    check_fit([study.get_trials(deepcopy=False)], context.space)
    return study


def _check_own(study: optuna.Study, context: StudyContext) -> None:
    """Refuse to resume a study with other settings, guideline or images."""
    config, name, known = context.config, study.study_name, kept(study)
    check_study(study, config)
    check_same(known.get(record.SETTINGS, {}), config.fixed(), f"study {name!r} in the storage")
    now = {
        record.PATTERN_HASH: fingerprint(context.pattern),
        record.IMAGES: context.trainer.identity,
        record.TARGET: identity_of_target(config.target),
    }
    what = {
        record.PATTERN_HASH: "guideline is another",
        record.IMAGES: "images are others",
        record.TARGET: "target is another",
    }
    for key, value in now.items():
        if (then := known.get(key)) != value:
            raise BadInputError(
                f"study {name!r} must be continued as it was created, but its {what[key]} now "
                f"({then or 'none'} then, {value or 'none'} now). Put back what was there, "
                f"or begin a study of its own {_anew(config.fixed())}."
            )


def _name_of_score(config: StudyConfig) -> str:
    """What Optuna's numbers are called."""
    metric = config.metric
    name = metric.key("val") if config.own is None else metric.name
    return name if metric.is_greater_better else f"negative {name}"


def _wait_until_ready(study: optuna.Study) -> None:
    """Wait for the worker that has just created a study to fill it."""
    for _ in range(_CREATOR_TAKES):
        if record.READY in kept(study):
            return
        sleep(1)


def _make_ready(study: optuna.Study, context: StudyContext, budgets: tuple[Budget, ...]) -> None:
    """Note what the study is, and let the guideline and uniform widths be its first trials."""
    config = context.config
    keep(study, record.SETTINGS, config.fixed())
    keep(study, record.PATTERN_HASH, fingerprint(context.pattern))
    keep(study, record.IMAGES, context.trainer.identity)
    if config.target is not None:
        keep(study, record.TARGET, identity_of_target(config.target))
    for name, said in in_words(config).items():
        study.set_user_attr(name, said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(
            [_name_of_score(config), *([] if config.against is None else [config.against])]
        )
    points = context.parametrised(budgets[-1])
    first = {"uniform": shortest(points, points.uniform)}
    if context.pattern is not None and not is_uniform(points):
        first = {"guideline": shortest(points, points.guideline), **first}
    at = {} if len(budgets) == 1 else {BUDGET: context.ends(budgets)[1]}
    # Where some trials are judged and others trained, these are both.
    for judge in [config.judging] if config.judged is None else [config.judging, SCRATCH]:
        about = {} if config.judged is None else {record.JUDGE: judge}
        known = [
            one.system_attrs.get(_FIXED)
            for one in study.get_trials(deepcopy=False)
            if one.user_attrs.get(record.JUDGE) == about.get(record.JUDGE)
        ]
        for source, parameters in first.items():
            own = {**at, **parameters}
            if own not in known:
                study.enqueue_trial(own, user_attrs={record.SOURCE: source, **about})
                known.append(own)
    keep(study, record.READY, value=True)
