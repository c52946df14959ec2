"""A guideline on other images: its widths from scratch, compared with uniform ones and a search on these images."""

from dataclasses import dataclass, replace
from pathlib import Path

from nas_prune.comparison.arms import chosen_arms, path_of
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.job import Job, command_for, finish
from nas_prune.comparison.plan import groups_of, write_plan
from nas_prune.comparison.result import CompareResult
from nas_prune.comparison.run import reopened, resolved, tell_where
from nas_prune.comparison.statistics import check_test
from nas_prune.data import ImageData
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.guideline.apply import Pattern, apply_guideline, check_reachable
from nas_prune.guideline.artefact import Guideline
from nas_prune.hardware.use import keep_target, network_for
from nas_prune.runs.directory import begun_whole, check_out, make_run
from nas_prune.runs.files import alone_in
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import CONFIG, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import FixedInputs
from nas_prune.search.run import check_search, resume_search, search
from nas_prune.space.budget import Budget
from nas_prune.space.limits import NO_LIMITS, Limits
from nas_prune.space.load import images_for
from nas_prune.space.names import space_name
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.widths import Widths


@dataclass(frozen=True, slots=True)
class Target:
    """What a guideline is applied to.

    Attributes:
        space, width_multiplier, groups: the network, and which of its groups are narrowed.
        budget: the bound on the widths.
        limits: what else bounds them.
        target: what they are meant for; None for no device in particular.
    """

    space: str
    budget: Budget
    width_multiplier: float = 1.0
    groups: Groups = "inner"
    limits: Limits = NO_LIMITS
    target: str | None = None


def transfer(
    config: CompareConfig,
    target: Target,
    guideline: tuple[str, Pattern],
    out: Path | None = None,
    *,
    direct: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CompareResult:
    """Train a guideline's widths on other images, and uniform ones of the same parameters and of the same MACs.

    Args:
        config: every setting; its arms are worked out here.
        target: network and budget.
        guideline: its name, and the guideline.
        out: the run's directory, new or empty; the next free `runs/SPACE-transfer-DATA-NNN` if None.
        direct: the width method of a search on these same images, whose widths are trained too; None for no search.
        workers: how many trainings at once.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used; nothing has been written then.
    """
    check_out(out)
    config = config.checked()
    source = None if direct is None else direct_search(config, target, direct)
    data = images_for(space_name(target.space), config.data, config.data_seed, progress)
    with progress.waiting("tracing the network"):
        network = network_for(target, data)
    network.check_trainable(data.task.puts_out)
    check_reachable(network, target.budget, target.groups)
    applied = apply_guideline(guideline[1], network, target.budget, groups=target.groups)
    widths = applied.artefact(guideline[0])
    if source is not None:
        check_direct(source, data, network, progress)
    config = resolved(config, widths, data, workers, applied.notes)
    changes = {"command": "transfer", "source": source, "target": target.target}
    config = _with_arms(config.model_copy(update=changes))
    run = make_run(out, widths.space.name, config.command, config.data.name)
    with alone_in(run):
        check_out(run)  # again: another process may have begun there meanwhile
        with begun_whole(run):
            if isinstance(guideline[1], Guideline):
                guideline[1].write(run / "guideline.yaml")
            keep_target(config.target, run)
            _write(run, config, widths, network)
        tell_where(run, widths, data, config, progress)
        return _go_on(Job(run, config, widths, network, data), workers, progress)


def resume_transfer(
    run: Path,
    *,
    seeds: int | None = None,
    direct: str | None = None,
    data_name: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CompareResult:
    """Resume a transfer, or add seeds or a search to it; what is already trained is kept."""
    with reopened(run, "transfer", seeds=seeds, data_name=data_name, space=space, progress=progress) as job:
        config, widths = job.config, job.widths
        if seeds is not None or direct is not None:
            if direct is not None:
                if config.source is not None:
                    raise BadInputError(
                        f"a transfer has one search, and {run} has its own already. Leave --direct out."
                    )
                target = Target(
                    widths.space.name,
                    Budget.parse(str(widths.budget)),
                    widths.space.width_multiplier,
                    groups_of(widths),
                    widths.limits or NO_LIMITS,
                    config.target,
                )
                source = direct_search(config, target, direct)
                check_direct(source, job.data, job.space, progress)
                config = config.model_copy(update={"source": source})
            config = _with_arms(config)
            _write(run, config, widths, job.space)
        return _go_on(replace(job, config=config), workers, progress)


def direct_search(config: CompareConfig, target: Target, method: str) -> SearchConfig:
    """The settings of a search on the new images themselves.

    Raises:
        BadInputError: there is no such method, or it cannot be used for this.
    """
    try:
        found = method_named(method)
    except BadInputError as error:
        raise BadInputError(str(error).replace("--method", "--direct")) from None
    if found.is_control:
        raise BadInputError(f"--direct must be a width method that looks at the images, got {method}.")
    return resolve(
        SearchConfig(
            **config.of_trainings(),
            space=target.space,
            width_multiplier=target.width_multiplier,
            groups=target.groups,
            **target.limits.model_dump(),
            target=target.target,
            budgets=(target.budget,),
            method=method,
            recipe=config.recipe,
            seed=config.data_seed,
        )
    )


def check_direct(source: SearchConfig, data: ImageData, network: SearchSpace, progress: Progress) -> None:
    """Refuse a search that could not start, before anything is written.

    Raises:
        BadInputError: the method cannot judge this network, or no such widths meet the budget.
    """
    try:
        check_search(source, FixedInputs(given=(data, network)), progress)
    except NasPruneError as error:
        raise BadInputError(f"--direct {source.method} cannot be used here: {error}") from None


def _with_arms(config: CompareConfig) -> CompareConfig:
    missing = () if config.source is not None else ("direct",)
    arms = chosen_arms((), missing, config.known)
    check_test(config.test, config.seeds, sum(config.known[name].beside is not None for name in arms))
    return config.model_copy(update={"arms": arms})


def _write(run: Path, config: CompareConfig, widths: Widths, network: SearchSpace) -> None:
    """Write the settings and the widths of all arms except those that the search will find."""
    known = tuple(arm for arm in config.chosen if arm.kind != "direct")
    write_plan(
        run,
        known,
        config.seeds,
        widths,
        network,
        data_seed=config.data_seed,
        pattern=None,
        given={"guided": widths},
    )
    write_config(run, config.relative_to(run))


def _go_on(job: Job, workers: int, progress: Progress) -> CompareResult:
    source = job.config.source
    if source is not None and not path_of(job.run, "direct", 0).exists():
        folder, given = job.run / "search", FixedInputs(given=(job.data, job.space))
        progress = progress.without_words()
        settings = source.model_copy(
            update={"data": job.config.data, "threads": job.config.threads, "weights": None}
        )
        with resume_hint(command_for(job.run, job.widths, "transfer")):
            if (folder / CONFIG).exists():
                found = resume_search(
                    folder,
                    data_name=settings.data.name,
                    space=settings.space,
                    loaded=given,
                    progress=progress,
                )
            else:
                found = search(settings, folder, loaded=given, progress=progress)
        found.found[0].widths.write(path_of(job.run, "direct", 0))
    return finish(job, workers, progress)
