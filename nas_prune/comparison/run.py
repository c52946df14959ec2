"""Comparing arms: found widths beside all that should be compared with them, seed by seed."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from nas_prune.comparison.arms import Arm, Kind
from nas_prune.comparison.choosing import ALL, Wanted, extended, with_source
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.parents import beginnings, trained_parent
from nas_prune.comparison.plan import path_of, write_plan
from nas_prune.comparison.result import RESULT, CompareResult, Trained, read_trained, summary
from nas_prune.data import ImageData, Parked, park
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.files import passing_folder, saying_why, sweep, write_whole
from nas_prune.guideline.artefact import Guideline
from nas_prune.loading import load_referenced
from nas_prune.networks import check_trusted
from nas_prune.rundir import (
    check_out,
    from_run,
    library_versions,
    make_run,
    portable,
    published,
    read_config,
    write_config,
)
from nas_prune.scratch import TrainConfig, check_fit, train_one
from nas_prune.search_config import SearchConfig
from nas_prune.search_result import RESULT as SEARCHED
from nas_prune.setup import (
    RunConfig,
    load_images,
    pick_threads,
    resume_command,
    tell_of_versions,
    where_images_are,
)
from nas_prune.space import SearchSpace
from nas_prune.training.ranks import ALONE
from nas_prune.training.schedules import plan_training
from nas_prune.training.stopping import telling_how_to_go_on
from nas_prune.training.workers import in_workers
from nas_prune.watch import QUIET, Watch
from nas_prune.widths import Widths, read_widths

Task: TypeAlias = "tuple[str, int]"  # arm, or `inherited` for all that need one whole network; and seed
_INHERITED = "inherited"


def compare(
    config: CompareConfig,
    widths: Widths,
    out: Path | None = None,
    *,
    search: SearchConfig | None = None,
    wanted: Wanted = ALL,
    space: str | None = None,
    workers: int = 1,
    watch: Watch = QUIET,
) -> CompareResult:
    """Train every arm with every seed, and compare them in pairs.

    Args:
        config: every setting; its arms, source and notes are worked out here.
        widths: what is compared.
        out: the run's directory, new or empty; the next free `runs/SPACE-compare-DATA-NNN` if None.
        search: the settings of the search that found the widths, for the arms that inherit weights.
        wanted: which arms, a guideline, a study's widths.
        space: the network's name again, if it is one of your own.
        workers: how many trainings at once, each in a process of its own with its share of the threads.
        watch: told of progress.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    check_trusted(widths.space.name, space, "the widths file")
    check_out(out)
    data, network = _loaded(config, widths, watch)
    widths = network.priced(widths)
    threads = pick_threads(config.threads, widths.base_cost.macs, config.recipe.batch_size)
    known = widths.data
    name = published(config.data.name)
    notes = (
        (f"The widths were found on {known.name} and are compared on {name}.",)
        if known is not None and known.name != name
        else ()
    )
    config = config.model_copy(
        update={
            "threads": config.threads or max(1, threads // workers),
            "versions": library_versions(),
            "notes": notes,
            "num_train": len(data.train),
        }
    )
    config = with_source(config, search)
    config, given = extended(config, widths, network, wanted)
    run = make_run(out, widths.space.name, config.command, config.data.name)
    _write_all(run, config, widths, network, wanted, given)
    watch.say(where_images_are(data))
    watch.say(f"Writing to {run}. If it is stopped: {command_for(run, widths)}")
    return _finish(_Job(run, config, widths, network, data), workers, watch)


def resume_compare(
    run: Path,
    *,
    seeds: int | None = None,
    wanted: Wanted = ALL,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    watch: Watch = QUIET,
) -> CompareResult:
    """Go on with a comparison that was stopped, or add arms or seeds to it; what is trained is left as it is.

    Args:
        run: its directory.
        seeds: more than it has; None for as many.
        wanted: more arms; a guideline or a study's widths that it did not have are added by themselves.
        data_name: where the images are now, if they or the run were moved.
        space: the network's name again, if it is one of your own.
        workers: how many trainings at once.
        watch: told of progress.
    """
    stored, widths = read_config(run, CompareConfig), read_widths(path_of(run, _about(run), 0))
    check_trusted(widths.space.name, space, str(run))
    config = stored.model_copy(update={"data": stored.data.at(data_name or from_run(stored.data.name, run))})
    if seeds is not None and seeds < config.seeds:
        raise BadInputError(f"--seeds must be at least the {config.seeds} that the run has, got {seeds}.")
    tell_of_versions(config, watch)
    sweep(run)
    data, network = _loaded(config, widths, watch)
    if seeds is not None or wanted != ALL:
        for kind, what in (("guided", wanted.guideline), ("winner", wanted.winner)):
            if what is not None and path_of(run, kind, 0).exists():  # type: ignore[arg-type]
                raise BadInputError(
                    f"a comparison has one {kind} arm, and {run} has its own already. Begin another comparison."
                )
        config = config.model_copy(update={"seeds": seeds or config.seeds})
        config, given = extended(config, widths, network, wanted)
        _write_all(run, config, widths, network, wanted, given)
    return _finish(_Job(run, config, widths, network, data), workers, watch)


def _about(run: Path) -> Kind:
    return "found" if path_of(run, "found", 0).exists() else "guided"


def command_for(run: Path, widths: Widths, command: str = "compare") -> str:
    """What to type to go on."""
    return resume_command(command, run, widths.space.name, ALONE)


def _loaded(config: CompareConfig, widths: Widths, watch: Watch) -> tuple[ImageData, SearchSpace]:
    with watch.waiting("tracing the network"):
        network = load_referenced(widths.space)
    network.check_trainable()
    data = load_images(config.data, config.data_seed, watch, in_channels=widths.space.input_shape[0])
    check_fit(data, widths)
    return data, network


def _write_all(
    run: Path,
    config: CompareConfig,
    widths: Widths,
    network: SearchSpace,
    wanted: Wanted,
    given: dict[Kind, Widths],
) -> None:
    pattern = wanted.guideline
    if pattern is not None and isinstance(pattern[1], Guideline):
        pattern[1].write(run / "guideline.yaml")
    write_plan(
        run,
        config.chosen,
        config.seeds,
        widths,
        network,
        data_seed=config.data_seed,
        pattern=pattern,
        given=given,
    )
    moved = config.data.at(portable(config.data.name, run))
    source = None if config.source is None else config.source.model_copy(update={"data": moved})
    write_config(run, config.model_copy(update={"data": moved, "source": source}))


@dataclass(frozen=True, slots=True)
class _Job:
    """A comparison with everything loaded."""

    run: Path
    config: CompareConfig
    widths: Widths
    space: SearchSpace
    data: ImageData

    def folder(self, arm: str) -> Path:
        return self.run / "arms" / arm

    def done(self, arm: str, seed: int) -> Trained | None:
        return read_trained(self.folder(arm) / f"seed-{seed}")

    def parent(self, seed: int) -> Path:
        return self.run / "parents" / f"seed-{seed}"

    def tasks(self) -> list[Task]:
        """What is left to train; seed by seed, so that what is there after half of the time is half of every arm."""
        found: list[Task] = []
        for seed in range(self.config.seeds):
            left = [arm for arm in self.config.chosen if self.done(arm.name, seed) is None]
            found += [(_INHERITED, seed)] if any(arm.inherits for arm in left) else []
            found += [(arm.name, seed) for arm in left if not arm.inherits]
        return found

    def work(self, task: Task, watch: Watch) -> None:
        """Train one arm with one seed, or a whole network and all arms that inherit from it."""
        name, seed = task
        if name != _INHERITED:
            self.train(self.config.known[name], seed, watch)
            return
        assert self.config.source is not None
        folder = self.parent(seed)
        settings = self.config.source.model_copy(
            update={"seed": seed, "data": self.config.data, "threads": self.config.threads}
        )
        with saying_why(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        heard = Watch(progress=lambda _, done, of: watch.progress(f"whole network, seed {seed}", done, of))
        trained_parent(folder, settings, self.data, self.space, heard)
        starts = beginnings(folder, self.widths, self.data, self.space, seed)
        for arm in self.config.chosen:
            if arm.inherits and self.done(arm.name, seed) is None:
                self.train(arm, seed, watch, begin=starts[arm.start])

    def train(self, arm: Arm, seed: int, watch: Watch, begin: "Callable[[], object] | None" = None) -> None:
        """Train one network, note what came out, and drop its checkpoints."""
        folder, config = self.folder(arm.name), self.config
        with saying_why(folder):
            folder.mkdir(parents=True, exist_ok=True)
        widths = read_widths(path_of(self.run, arm.kind, seed))
        settings = TrainConfig(
            **config.model_dump(include=set(RunConfig.model_fields)),
            recipe=config.recipe,
            schedule=arm.schedule,
            cap=config.cap,
            seeds=(seed,),
            data_seed=config.data_seed,
        )
        heard = Watch(progress=lambda _, done, of: watch.progress(f"{arm.name}, seed {seed}", done, of))
        result = train_one(
            settings,
            widths,
            folder,
            network=self.space,
            data=self.data,
            watch=heard,
            begin=begin,  # type: ignore[arg-type]
        )
        plan, cost = plan_training(widths, config.recipe, arm.schedule, cap=config.cap), widths.cost
        trained = Trained(
            seed,
            result.val_accuracy,
            result.test_accuracy,
            plan.recipe.epochs,
            cost.macs,
            cost.params,
            result.seconds,
        )
        own = folder / f"seed-{seed}"
        write_whole(own / RESULT, json.dumps(asdict(trained), indent=1) + "\n")
        for checkpoint in own.glob("checkpoint*.safetensors"):
            checkpoint.unlink()


def _prepared(
    run: Path, config: CompareConfig, widths: Widths, parked: Parked
) -> "Callable[[Task, Watch], None]":
    """What one worker process does for a task."""
    job = _Job(run, config, widths, load_referenced(widths.space), parked.taken())
    return job.work


def _finish(job: _Job, workers: int, watch: Watch) -> CompareResult:
    """Train what is left; write the table."""
    tasks = job.tasks()
    failed: list[tuple[str, str]] = []
    with telling_how_to_go_on(command_for(job.run, job.widths, job.config.command)):
        if workers > 1 and len(tasks) > 1:
            with passing_folder(job.run) as folder:
                prepare = partial(_prepared, job.run, job.config, job.widths, park(job.data, folder))
                outcomes = in_workers(prepare, tasks, workers, watch)
            failed = [
                (f"{name}, seed {seed}", one.error)
                for (name, seed), one in zip(tasks, outcomes, strict=True)
                if one.error
            ]
        else:
            for count, task in enumerate(tasks):
                watch.progress("trainings", count, len(tasks))
                try:
                    job.work(task, watch)
                except NasPruneError as error:
                    failed.append((f"{task[0]}, seed {task[1]}", str(error)))
                watch.progress("trainings", count + 1, len(tasks))
    result = replace(read_comparison(job.run), failed=tuple(failed), config=job.config)
    if not any(result.arms.values()):
        raise BadInputError(f"at least one training must come to its end, got: {failed[0][1]}")
    write_comparison(result)
    return result


def read_comparison(run: Path) -> CompareResult:
    """What a comparison holds by now; nothing is trained.

    Raises:
        BadInputError: the directory is no comparison's.
    """
    config = read_config(run, CompareConfig)
    widths = read_widths(path_of(run, _about(run), 0))
    found = {
        arm.name: tuple(
            one
            for seed in range(config.seeds)
            if (one := read_trained(run / "arms" / arm.name / f"seed-{seed}")) is not None
        )
        for arm in config.chosen
    }
    parents = sum((folder / SEARCHED).exists() for folder in (run / "parents").glob("seed-*"))
    return CompareResult(run, config, widths, found, parents, config.num_train)


def write_comparison(result: CompareResult) -> None:
    """Write `result.json`."""
    write_whole(result.run / RESULT, json.dumps(summary(result), indent=1) + "\n")
