"""One trial: its parameters, its widths, a short training from scratch, and what the dashboard shows of it."""

import json
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from time import perf_counter
from typing import BinaryIO, cast

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError
from torch import nn

from nas_prune.data import ImageData
from nas_prune.errors import FileError, NasPruneError
from nas_prune.runs.directory import RESULT, WIDTHS
from nas_prune.runs.files import saying_why, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import open_regular
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import MethodRecord, Widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH
from nas_prune.study.context import BUDGET, StudyContext
from nas_prune.study.judges.contract import Judge
from nas_prune.study.parameters import Parametrised
from nas_prune.study.short_numbers import short
from nas_prune.study.storage import TRANSIENT
from nas_prune.study.trainer import Asked
from nas_prune.study.trial_figure import widths_svg
from nas_prune.training.compute import pick_device

_ARTIFACTS, _TRIALS = "artifacts", "trials"


class Surplus(NasPruneError):  # noqa: N818  (it is no error)
    """A trial that is not needed."""


@dataclass(slots=True)
class Objective:
    """What Optuna calls.

    Attributes:
        context: what every trial needs.
        study: the Optuna study.
        budgets: its budget, or the two ends of its range.
        worker: the name of this process, by which others check that it is alive.
        progress: reports how far the work is.
        judge: says how good widths are that are not trained; None where every trial is.
        parametrisation: of the one budget, where there is one.
        number: of the trial that it was last called for.
    """

    context: StudyContext
    study: optuna.Study
    budgets: tuple[Budget, ...]
    worker: str
    progress: Progress = SILENT
    judge: Judge | None = None
    parametrisation: Parametrised = field(init=False)
    number: int | None = None
    cannot_write: FileError | None = None

    def __post_init__(self) -> None:
        self.parametrisation = self.context.parametrised(self.budgets[-1])

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Validation accuracy, and the cost if it is an objective too.

        Raises:
            NasPruneError: the trial has failed; its record holds the reason.
            optuna.TrialPruned: it fell behind.
        """
        self.number = trial.number
        trial.set_user_attr(record.WORKER, self.worker)
        try:
            return self._value(trial)
        except optuna.TrialPruned:
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(record.INTERRUPTED, True)  # noqa: FBT003  (it waits to be resumed)
            raise
        except FileError as error:  # no fault of the trial, nor of the next one
            self.cannot_write = error
            with suppress(FileError):
                trial.set_user_attr(record.INTERRUPTED, True)  # noqa: FBT003
            raise
        except NasPruneError as error:
            trial.set_user_attr(record.FAILED, str(error))
            raise
        except (*TRANSIENT, UpdateFinishedTrialError):  # no fault of the trial, which is to be tried again
            raise
        except Exception as error:
            trial.set_user_attr(record.FAILED, f"{type(error).__name__}: {' '.join(str(error).split())}.")
            self.progress.say(traceback.format_exc())
            raise

    def has_ended(self) -> bool:
        """Whether the trial that it was last called for has ended in the storage."""
        return (
            self.number is not None and self.study.get_trials(deepcopy=False)[self.number].state.is_finished()
        )

    def _value(self, trial: optuna.Trial) -> float | tuple[float, float]:
        config = self.context.config
        trials = self.study.get_trials(deepcopy=False)
        why = record.why_surplus(trials[trial.number], trials, config.trials)
        if why is not None:
            raise Surplus(why)
        own = trials[trial.number]
        judge = record.judge_for(own, trials, config.judging, config.judged)
        trial.set_user_attr(record.JUDGE, judge)
        if judge != SCRATCH and config.judged is not None:
            # Values of two judges must not be compared: to Optuna and its dashboard, what was not trained breaks a
            # constraint and cannot be the best. A list, since the dashboard does not read `set_constraint` yet.
            trial.storage.set_trial_system_attr(trial._trial_id, record.CONSTRAINTS, [1.0])  # noqa: SLF001
        widths = self._drawn(trial)
        # The rule asks again to know better: with other seeds, then.
        is_told = config.sampler != "rule" or judge != SCRATCH
        first = record.find_duplicate(widths.vector, trials, judge) if is_told else None
        if first is not None:
            accuracy = self._repeated(trial, first)
        elif judge != SCRATCH:
            accuracy = self._judged(trial, widths)
        else:
            seed = config.seed + config.seeds * record.count_earlier(own, widths.vector, trials)
            accuracy = self._trained(trial, widths, record.line_of(own), seed)
        is_share = judge in record.SHARES and record.metric_of(judge, config.metric).is_share
        accuracy = short(accuracy) if is_share else accuracy
        return accuracy if config.against is None else (accuracy, self._cost(trial, widths))

    def _drawn(self, trial: optuna.Trial) -> Widths:
        """The widths of a trial, noted in its record."""
        space, parametrisation = self.context.space, self.parametrisation
        budget = self.budgets[-1]
        if len(self.budgets) > 1:
            limit = exp(trial.suggest_float(BUDGET, *self.context.ends(self.budgets)))
            budget = Budget(budget.kind, absolute=int(limit * (1 + 1e-9)))
            parametrisation = self.context.parametrised(budget)
        parameters = {name: trial.suggest_float(name, *ends) for name, ends in parametrisation.ranges.items()}
        vector_G = parametrisation.widths_G(parameters)
        widths = artefact(self.context, vector_G, budget)
        trial.set_user_attr(record.WIDTHS, json.dumps(vector_G))
        trial.set_user_attr(record.MACS, widths.cost.macs)
        trial.set_user_attr(record.PARAMS, widths.cost.params)
        trial.set_user_attr(record.ACTIVATIONS, widths.cost.activations)
        if widths.target is not None:
            on_target = widths.target.cost
            for name, value in (
                (record.PREDICTED, on_target.latency_ms),
                (record.MEMORY, on_target.memory_bytes),
                (record.SIZE, on_target.size_bytes),
            ):
                if value is not None:
                    trial.set_user_attr(name, value)
        for name, share in kept_shares(space, vector_G, parametrisation.columns).items():
            trial.set_user_attr(f"kept {name}", share)
        return widths

    def _repeated(self, trial: optuna.Trial, first: optuna.trial.FrozenTrial) -> float:
        """The result of an earlier trial of the same widths, reported again."""
        trial.set_user_attr(record.REPEAT_OF, first.number)
        trial.set_user_attr(record.TRAINING_MACS, 0)
        if self.context.config.against is None:
            for step, value in first.intermediate_values.items():
                trial.report(value, step)
        if first.state == optuna.trial.TrialState.PRUNED:
            raise optuna.TrialPruned(f"as trial {first.number}, of the same widths")
        return float(first.values[0])

    def _judged(self, trial: optuna.Trial, widths: Widths) -> float:
        """What a judge says that trains nothing."""
        assert self.judge is not None
        started = perf_counter()
        judgement = self.judge.judged(widths.vector)
        trial.set_user_attr(record.SECONDS, round(perf_counter() - started, 3))
        trial.set_user_attr(record.TRAINING_MACS, judgement.macs)
        return judgement.accuracy

    def _asked_beside(self, trial: optuna.Trial, widths: Widths) -> int:
        """Let the judge, where there is one, say something of widths that are trained, too; the MACs that took."""
        if self.judge is None:
            return 0
        judgement = self.judge.judged(widths.vector)
        judge = self.context.config.judging
        is_share = judge in record.SHARES and self.context.config.metric.is_share
        accuracy = short(judgement.accuracy) if is_share else judgement.accuracy
        trial.set_user_attr(record.SAID.format(judge), accuracy)
        return judgement.macs

    def _trained(self, trial: optuna.Trial, widths: Widths, line: int, seed: int) -> float:
        trial.set_user_attr(record.SEED, seed)
        folder = trial_folder(self.context.run, self.study.study_name, line)
        with saying_why(folder):
            folder.mkdir(parents=True, exist_ok=True)
        widths.write(folder / WIDTHS)
        self._show(trial, folder, "widths.svg", widths_svg(widths, title=self._title(trial, widths)))
        started = perf_counter()
        context = self.context
        asked = Asked(context.config, context.space, widths, seed, folder, self.progress)
        told = context.trainer.trial(asked, trial)
        for name, value in told.attributes.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(record.EPOCHS, told.epochs)
        trial.set_user_attr(record.SECONDS, round(perf_counter() - started, 3))
        spent = context.trainer.macs(widths.cost.macs, told.epochs)
        spent += self._asked_beside(trial, widths)
        trial.set_user_attr(record.TRAINING_MACS, spent)
        self._show(trial, folder, "curve.csv", told.curve)
        write_whole(folder / RESULT, json.dumps(told.result) + "\n")
        context.trainer.tidy(folder)
        if told.is_stopped:
            raise optuna.TrialPruned(f"fell behind after epoch {told.epochs}")
        return told.score

    def _title(self, trial: optuna.Trial, widths: Widths) -> str:
        cost = widths.cost
        return f"trial {trial.number}: {cost.macs / 1e6:.3g}M MACs, {cost.params / 1e3:.3g}K parameters"

    def _show(self, trial: optuna.Trial, folder: Path, name: str, content: str) -> None:
        """Write a file to the trial's directory, and give the dashboard a copy."""
        path = folder / name
        write_whole(path, content)
        with saying_why(path):
            upload_artifact(
                artifact_store=artifact_store(self.context.run), file_path=str(path), study_or_trial=trial
            )

    def _cost(self, trial: optuna.Trial, widths: Widths) -> float:
        against = self.context.config.against
        if against != "latency":
            return float(widths.cost.macs if against == "macs" else widths.cost.params)
        network = self.context.space.build(widths, seed=0, device=pick_device(self.context.config.device))
        latency = latency_ms(network, self.context.data)
        trial.set_user_attr(record.LATENCY, round(latency, 4))
        return round(latency, 4)


def artefact(context: StudyContext, vector_G: Sequence[int], budget: Budget) -> Widths:
    """Widths of a study, with where they come from."""
    config = context.config
    return context.space.widths(
        vector_G,
        budget=str(budget),
        method=MethodRecord(name="study", is_automatic=True, settings={"study": config.name}),
        seed=config.seed,
        epochs=config.epochs if config.own is None else None,
        recipe=config.recipe.model_dump(mode="json") if config.own is None else None,
        versions=config.versions,
    )


def kept_shares(space: SearchSpace, vector_G: Sequence[int], columns: Sequence[int]) -> dict[str, float]:
    """The share of channels kept, by role and stage."""
    kept: dict[str, list[int]] = {}
    for column in columns:
        group = space.groups[column]
        own = kept.setdefault(f"{group.role} {group.stage}", [0, 0])
        own[0] += vector_G[column]
        own[1] += group.size
    return {name: round(width / base, 4) for name, (width, base) in sorted(kept.items())}


def trial_folder(run: Path, study: str, line: int) -> Path:
    """Where the training of a trial is kept, the same for all attempts at it."""
    return run / _TRIALS / folder_name(study) / f"{line:04d}"


def folder_name(study: str) -> str:
    """A study's name, which may hold a budget, as the name of a directory."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in study)


class _Artifacts(FileSystemArtifactStore):
    """Files alone: a pipe in the place of one would be waited for, and the dashboard with it."""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The file of an artifact, opened.

        Raises:
            ArtifactNotFound: there is none.
        """
        try:
            return cast("BinaryIO", open_regular(self._get_filepath(artifact_id)))
        except OSError as error:
            raise ArtifactNotFound("not found") from error


def artifact_store(run: Path) -> FileSystemArtifactStore:
    """Where the dashboard finds pictures."""
    folder = run / _ARTIFACTS
    with saying_why(folder):
        folder.mkdir(exist_ok=True)
    return _Artifacts(str(folder))


def latency_ms(network: nn.Module, data: ImageData) -> float:
    """Milliseconds for one image, the median of repeated runs on the device of the images, with one thread."""
    from torch.utils.benchmark import Timer  # warns of a missing CUDA toolkit when it is imported

    network.eval().requires_grad_(requires_grad=False)
    shape = (1, data.in_channels, data.image_size, data.image_size)
    device = next(network.parameters()).device
    timer = Timer(
        "network(image)",
        "import torch; image = torch.zeros(shape, device=device)",
        globals={"network": network, "shape": shape, "device": device},
        num_threads=1,
    )
    return 1e3 * float(timer.blocked_autorange(min_run_time=0.3).median)
