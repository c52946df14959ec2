"""Evaluating a guideline: networks drawn from it, trained briefly, and compared with controls of the same cost."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from nas_prune.comparison.evaluate_result import (
    AXES,
    CONTROLS,
    DIRECT,
    GUIDED,
    EvaluateConfig,
    EvaluateResult,
    control_name,
    summary,
    title,
)
from nas_prune.data import ImageData, SharedImages, share
from nas_prune.data.identity import identity_of
from nas_prune.errors import BadInputError
from nas_prune.guideline.apply import (
    Pattern,
    apply_guideline,
    check_reachable,
    guideline_named,
    sample_widths,
    setting_of,
)
from nas_prune.guideline.artefact import Guideline, read_guideline
from nas_prune.guideline.hand import RULES
from nas_prune.hardware.use import keep_target, network_for
from nas_prune.runs.directory import RESULT, WIDTHS, begun_whole, make_run
from nas_prune.runs.files import alone_in, passing_folder, saying_why, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import library_versions, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.runs.workers import in_workers
from nas_prune.space.budget import Budget
from nas_prune.space.cut import matched
from nas_prune.space.load import images_for
from nas_prune.space.names import space_name
from nas_prune.space.quantities import MEASURED
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import MethodRecord, Widths, read_widths
from nas_prune.training.compute import pick_threads
from nas_prune.training.config import TrainConfig, checked_images, resume_command
from nas_prune.training.job import Inputs
from nas_prune.training.notes import before_training
from nas_prune.training.ranks import ALONE
from nas_prune.training.result import Trained, read_trained
from nas_prune.training.run import train_member

_GUIDELINE = "guideline.yaml"

Member: TypeAlias = "tuple[str, int]"


def evaluate_guideline(
    config: EvaluateConfig,
    out: Path | None = None,
    *,
    pattern: Pattern | None = None,
    direct: Sequence[Widths] = (),
    workers: int = 1,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Draw networks from a guideline, and train them and controls of the same cost.

    Number i of a control population has the parameters, or the MACs, of number i of the guided one.

    Args:
        config: every setting.
        out: the run's directory, new or empty; the next free `runs/SPACE-evaluate-DATA-NNN` if None.
        pattern: the guideline itself, instead of the one that the settings name.
        direct: widths found on the same data, repeated until there are as many networks.
        workers: how many are trained at once, each in a process of its own with its share of the threads.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    pattern = pattern or guideline_named(config.guideline)
    config = config.checked().model_copy(
        update={
            "space": space_name(config.space),
            "direct": len(direct),
            "versions": library_versions(),
            "guideline": _name(pattern),
        }
    )
    data, space = _loaded(config, progress)
    config = config.model_copy(update={"images": identity_of(data)})
    check_reachable(space, config.budget, config.groups)
    notes = _notes(pattern, space, config)
    for widths in direct:
        space.vector(widths)
    drawn = _drawn(config, space, pattern, direct)
    threads = pick_threads(config.threads, space.cost_at(space.base_G).macs, config.recipe.batch_size)
    config = config.model_copy(update={"threads": config.threads or max(1, threads // workers)})
    run = make_run(out, config.space, config.command, config.data.name)
    with begun_whole(run):
        if isinstance(pattern, Guideline):
            pattern.write(run / _GUIDELINE)
        keep_target(config.target, run)
        for (population, number), widths in drawn.items():
            folder = _folder(run, (population, number))
            with saying_why(folder):
                folder.mkdir(parents=True)
            widths.write(folder / WIDTHS)
        write_config(run, config.relative_to(run))
    progress.say(before_training(data, config.recipe))
    progress.say(f"Writing to {run}. If it is stopped: {_command(run, config)}")
    return _finish(run, config, space, data, notes, workers, progress)


def resume_evaluation(
    run: Path,
    *,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Resume an evaluation; networks that are already trained are kept."""
    config = reopen(run, EvaluateConfig, trusted=space, data_name=data_name, progress=progress)
    pattern = RULES[config.guideline] if config.guideline in RULES else read_guideline(run / _GUIDELINE)
    data, network = _loaded(config, progress)
    notes = _notes(pattern, network, config)
    return _finish(run, config, network, data, notes, workers, progress)


def _notes(pattern: Pattern, space: SearchSpace, config: EvaluateConfig) -> tuple[str, ...]:
    """What the guideline had to guess, and what the controls do not share with its networks."""
    notes = apply_guideline(pattern, space, config.budget, groups=config.groups).notes
    others = " and ".join(bound.kind for bound in config.budget.bounds if bound.kind in MEASURED)
    said = f"The controls have the parameters or the MACs of the guideline's networks, not their {others}."
    return (*notes, said) if others else notes


def _name(pattern: Pattern) -> str:
    """What the run's settings call a guideline, so that it is found again."""
    if isinstance(pattern, Guideline):
        return _GUIDELINE
    name = next((name for name, rule in RULES.items() if rule is pattern), None)
    if name is None:
        raise BadInputError(f"a rule to be evaluated must be one of {', '.join(RULES)}, got another.")
    return name


def _command(run: Path, config: EvaluateConfig) -> str:
    return resume_command("evaluate", run, config.space, ALONE, config.data)


def _loaded(config: EvaluateConfig, progress: Progress) -> tuple[ImageData, SearchSpace]:
    data = images_for(config.space, config.data, config.seed, progress)
    checked_images(config, data)
    with progress.waiting("tracing the network"):
        space = network_for(config, data)
    space.check_trainable(data.task.puts_out)
    return data, space


def _drawn(
    config: EvaluateConfig, space: SearchSpace, pattern: Pattern, direct: Sequence[Widths]
) -> dict[Member, Widths]:
    """The widths of every member of every population."""
    rng = np.random.default_rng(config.seed)
    guided = sample_widths(
        pattern, space, config.budget, count=config.networks, rng=rng, groups=config.groups
    )
    drawn = {(GUIDED, number): _artefact(space, vector_G, GUIDED) for number, vector_G in enumerate(guided)}
    columns = setting_of(space, config.groups).columns
    for number, vector_G in enumerate(guided):
        cost = space.cost_at(vector_G)
        for axis in AXES:
            bound = Budget(axis, absolute=getattr(cost, axis))
            for control in CONTROLS:
                found = matched(space, columns, bound, None if control == "uniform" else rng)
                drawn[control_name(control, axis), number] = _artefact(
                    space, found.widths_G, control, str(bound)
                )
    for number in range(config.networks if direct else 0):
        drawn[DIRECT, number] = space.priced(direct[number % len(direct)])
    return drawn


def _artefact(space: SearchSpace, vector_G: Sequence[int], name: str, budget: str | None = None) -> Widths:
    return space.widths(vector_G, budget=budget, method=MethodRecord(name=name, is_automatic=False))


def _folder(run: Path, member: Member) -> Path:
    return run / member[0] / f"{member[1]:03d}"


def _members(config: EvaluateConfig) -> list[Member]:
    names = [GUIDED, *(control_name(control, axis) for axis in AXES for control in CONTROLS)]
    names += [DIRECT] if config.direct else []
    # Number by number: after half of the time, half of every population is trained.
    return [(name, number) for number in range(config.networks) for name in names]


def _finish(
    run: Path,
    config: EvaluateConfig,
    space: SearchSpace,
    data: ImageData,
    notes: tuple[str, ...],
    workers: int,
    progress: Progress,
) -> EvaluateResult:
    members = _members(config)
    waiting = [member for member in members if _read_one(run, config, member) is None]
    with alone_in(run), resume_hint(_command(run, config)):
        if workers > 1 and len(waiting) > 1:
            with passing_folder(run) as folder:
                outcomes = in_workers(
                    partial(_worker, run, config, share(data, folder)), waiting, workers, progress
                )
            failed = [(member, one.error) for member, one in zip(waiting, outcomes, strict=True) if one.error]
        else:
            failed = []
            for count, member in enumerate(waiting, start=len(members) - len(waiting)):
                progress.update("networks", count, len(members))
                _train(member, progress, run=run, config=config, space=space, data=data)
            progress.update("networks", len(members), len(members))
    result = EvaluateResult(
        run,
        config,
        {
            name: tuple(
                one
                for number in range(config.networks)
                if (one := _read_one(run, config, (name, number))) is not None
            )
            for name in dict.fromkeys(name for name, _ in members)
        },
        tuple((f"{name} {number}", why or "") for (name, number), why in failed),
        notes,
    )
    if any(len(result.populations.get(name, ())) < 2 for name, _ in members):
        raise BadInputError(f"at least two networks of each population must be trained, got: {failed[0][1]}")
    _write(result)
    return result


def _worker(run: Path, config: EvaluateConfig, shared: SharedImages) -> Callable[[Member, Progress], Trained]:
    """What one worker process does for a network."""
    data = shared.attach()
    return partial(_train, run=run, config=config, space=network_for(config, data), data=data)


def _train(
    member: Member,
    progress: Progress,
    *,
    run: Path,
    config: EvaluateConfig,
    space: SearchSpace,
    data: ImageData,
) -> Trained:
    """Train one network."""
    folder = _folder(run, member)
    widths = read_widths(folder / WIDTHS)
    name = f"{member[0]} {member[1] + 1} of {config.networks}"
    settings = TrainConfig(
        **config.of_trainings(),
        recipe=config.recipe,
        schedule="scratch-e",
        seeds=(config.seed + member[1],),
        data_seed=config.seed,
    )
    return train_member(
        settings,
        widths,
        folder,
        Inputs(data, space),
        result=folder / RESULT,
        progress=progress.under(name),
    )


def _read_one(run: Path, config: EvaluateConfig, member: Member) -> Trained | None:
    """The result of training one network; None if it has not finished, or its file is damaged."""
    path = _folder(run, member) / RESULT
    return read_trained(path, seed=config.seed + member[1], epochs=config.recipe.epochs)


def _write(result: EvaluateResult) -> None:
    from nas_prune.comparison.edf_figure import draw_edfs

    write_whole(result.run / RESULT, json.dumps(summary(result), indent=1) + "\n")
    draw_edfs(result.panels(), result.run / "edf.png", title=title(result.config), metric=result.metric)
