"""`nas-prune study`: run a study, rank what it found, recover what dead workers left."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli import suggestions
from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import NETWORK, STUDY_RUN
from nas_prune.cli.options import LIMITS, Decorator, Function, format_option, packed
from nas_prune.cli.output import counted, echo, print_json, showing_progress
from nas_prune.cli.seeds import seeds_option
from nas_prune.cli.trials import check_finished, print_study

if TYPE_CHECKING:
    from nas_prune.study.config import JudgeName, SamplerName
    from nas_prune.study.journal import Mended
    from nas_prune.training.schedules import Schedule

_STORAGE_HELP = (
    "Where the trials are: a URL that Optuna takes (postgresql+psycopg://…, sqlite:///…, redis://…, grpc://HOST:PORT) "
    "or a journal file; by default a journal in the study's directory."
)
# Settings of a study that can be typed: those that may differ when it is resumed, and those that may not.
_SETTINGS = ("trials", "timeout")
_CREATING = (
    "sampler",
    "judge",
    "budget_training",
    "hours",
    "groups",
    "target",
    "divisor",
    "min_width",
    "keep",
)


@click.group()
def command() -> None:
    """Let Optuna sample widths around a guideline, and train the best from scratch."""


def storage_option(function: Function) -> Function:
    """Where the trials are."""
    return click.option("--storage", help=_STORAGE_HELP)(function)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options of the processes of this machine that work on a study."""

    workers: int
    space: str | None
    data_name: str | None


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """How a study is started or resumed; None for what was not typed."""

    sampler: "SamplerName | None"
    judge: "JudgeName | None"
    budget_training: str | None
    hours: float | None
    trials: int | None
    timeout: float | None
    groups: str | None
    target: str | None
    divisor: int | None
    min_width: int | None
    keep: tuple[str, ...]
    is_new: bool
    heartbeat: float


_worker_options: Decorator[Any] = packed(
    "machine",
    WorkerOptions,
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Number of processes on this machine, each with its share of the threads.",
    ),
    click.option(
        "--space",
        type=NETWORK,
        help="The name of a network of your own, which permits its import; of any without a file.",
    ),
    click.option(
        "--data",
        "data_name",
        shell_complete=suggestions.images,
        help="Where the images are, if not where the study says.",
    ),
)
_study_options: Decorator[Any] = packed(
    "wanted",
    StudyOptions,
    click.option(
        "--sampler",
        type=click.Choice(["rule", "cma", "tpe", "gp", "nsga2", "random"]),
        help="What asks for trials: by default rule, which is fitted to all of them, or tpe with two objectives.",
    ),
    click.option(
        "--judge",
        type=click.Choice(["scratch", "inherited", "slimmable", "synflow", "log-widths"]),
        help="What says how good a trial's widths are: a short training from scratch, or something cheaper.",
    ),
    click.option(
        "--budget-training",
        help="What the whole study may take, in trainings of the whole network (10x): judge, trials and finalists.",
    ),
    click.option(
        "--hours",
        type=click.FloatRange(min=0, min_open=True),
        help="The same as time on this machine, all workers together.",
    ),
    click.option("--trials", type=click.IntRange(1, 100_000), help="Number of trials for each budget."),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        help="Start no new trial after this many seconds.",
    ),
    click.option(
        "--groups",
        type=click.Choice(["inner", "all", "selections"]),
        help="inner leaves residual streams whole; all narrows them too; selections, as in search. The file's by "
        "default.",
    ),
    *LIMITS,
    click.option("--new", "is_new", is_flag=True, help="Start another study and keep the existing one."),
    click.option(
        "--heartbeat",
        type=click.FloatRange(min=1),
        default=60.0,
        show_default=True,
        help="Seconds between a worker's heartbeats in a database; one that misses three counts as dead.",
    ),
)


@command.command(
    epilog=examples(
        "nas-prune study run quickstart",
        "nas-prune study run --space vgg16 --data folder:my-images --hours 2",
    )
)
@click.argument("file", required=False, metavar="[RUN|FILE]", shell_complete=suggestions.studies)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The study's directory, new or existing; runs/NAME by default.",
)
@_study_options
@storage_option
@_worker_options
@format_option
def run(
    *,
    file: str | None,
    out: Path | None,
    wanted: StudyOptions,
    storage: str | None,
    machine: WorkerOptions,
    style: str,
) -> None:
    """Create the study of FILE, or go on with it; RUN is a study's directory, FILE a YAML file, or `quickstart`.

    Without them, --space and --data name a network and images, and all else is as is best by default.

    Run the same command in more terminals or on more machines to add workers.
    """
    from nas_prune.study.file import study_path

    if file is not None:
        study_path(file)  # before any library is loaded
    if file is None and machine.space is None:
        raise click.UsageError("name a study's FILE, or a network with --space (and images with --data).")
    from nas_prune.study.config import read_study, study_of
    from nas_prune.study.location import StudyLocation
    from nas_prune.study.run import resume_study, run_study

    with showing_progress() as progress:
        if file is not None and Path(file).is_dir():
            _refuse_beside_directory(out, wanted)
            result = resume_study(
                StudyLocation(Path(file), storage, wanted.heartbeat),
                trials=wanted.trials,
                timeout=wanted.timeout,
                **asdict(machine),
                progress=progress,
            )
        else:
            typed = {name: getattr(wanted, name) or None for name in (*_SETTINGS, *_CREATING)}
            if file is None:
                config = study_of(machine.space or "", machine.data_name, **typed)
            else:
                config = read_study(file, data_name=machine.data_name, space=machine.space, **typed)
            result = run_study(
                config,
                out,
                storage=storage,
                workers=machine.workers,
                is_new=wanted.is_new,
                heartbeat=wanted.heartbeat,
                progress=progress,
            )
    if style == "json":
        from nas_prune.study.result import summary

        print_json(summary(result))
        check_finished(result)
    else:
        print_study(result)


def _refuse_beside_directory(out: Path | None, wanted: StudyOptions) -> None:
    given = {"out": out, "new": wanted.is_new, **{name: getattr(wanted, name) for name in _CREATING}}
    beside = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if beside:
        raise click.UsageError(
            f"a study's directory must stand without {', '.join(beside)}, since the study's settings hold. "
            "Give its file instead."
        )


@command.command(
    epilog=examples(
        "nas-prune study rank runs/quickstart",
        "nas-prune study rank runs/quickstart --top 3 --full-seeds 5",
    )
)
@click.argument("directory", metavar="RUN", type=STUDY_RUN)
@click.option("--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="Number of trials.")
@seeds_option("Most short trainings of each; those that are hardly the best get fewer.")
@click.option(
    "--full-seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of full trainings of the winner, the guideline and uniform widths. 3, since each is dear: they tell a "
    "gain of 2.5 times the noise of seeds; 5 of them tell 1.7 times.",
)
@click.option(
    "--schedule",
    type=click.Choice(["scratch-e", "scratch-b"]),
    default="scratch-e",
    show_default=True,
    help="Schedule of the full trainings: the recipe's epochs, or the total MACs of the whole network.",
)
@storage_option
@_worker_options
@format_option
def rank(
    *,
    directory: Path,
    top: int,
    seeds: int,
    full_seeds: int,
    schedule: "Schedule",
    storage: str | None,
    machine: WorkerOptions,
    style: str,
) -> None:
    """Race the best trials of a study with new seeds, then train them in full.

    In every round those that may still be the best get one more short training. The winner's widths are written to
    RUN/rank/NAME/widths.json. The same command goes on with what was stopped.
    """
    from nas_prune.cli.ranking import print_ranking
    from nas_prune.study.location import StudyLocation, read_trials
    from nas_prune.study.rank import rank_study
    from nas_prune.study.rank_result import summary

    location = StudyLocation(directory, storage)
    with showing_progress() as progress:
        rankings = rank_study(
            location,
            top=top,
            seeds=seeds,
            full_seeds=full_seeds,
            schedule=schedule,
            **asdict(machine),
            progress=progress,
        )
    config = read_trials(location).config
    if style == "json":
        print_json([summary(one, config) for one in rankings])
        return
    for one in rankings:
        print_ranking(one, config)


@command.command(
    epilog=examples(
        "nas-prune study recover runs/quickstart",
        "nas-prune study recover runs/quickstart --older-than 3600",
    )
)
@click.argument("directory", metavar="RUN", type=STUDY_RUN)
@click.option(
    "--older-than",
    type=click.FloatRange(min=1),
    help="Also recover trials started this many seconds ago on machines that cannot be checked from here.",
)
@storage_option
@format_option
def recover(directory: Path, older_than: float | None, storage: str | None, style: str) -> None:
    """Put back the trials of dead workers, and repair a journal whose last line is incomplete.

    `study run` does this by itself for workers of the same machine or shared directory.
    """
    from nas_prune.study.location import StudyLocation, recover_study

    recovery = recover_study(StudyLocation(directory, storage), older_than=older_than)
    dropped, found = recovery.journal.dropped, recovery.trials
    if style == "json":
        print_json(
            {
                "lines_dropped": dropped,
                "journal_before": None if recovery.journal.before is None else str(recovery.journal.before),
                "put_back": [[one.study, one.number] for one in found if not one.is_given_up],
                "given_up": [[one.study, one.number] for one in found if one.is_given_up],
            }
        )
        return
    if dropped:
        echo(f"journal: {_mended(recovery.journal)}")
    for one in found:
        what = "given up: several workers died at it" if one.is_given_up else "put back, to be resumed"
        echo(f"{one.study}, trial {one.number}: {what}")
    if not dropped and not found:
        echo("Nothing to recover.")


def _mended(journal: "Mended") -> str:
    """What was done to a journal, for people."""
    if journal.before is None:
        return f"{counted(journal.dropped, 'unfinished line')} removed"
    what = "from the first that cannot be told to the end" if journal.is_cut else "that cannot be told"
    return f"{counted(journal.dropped, 'line')} removed {what}; {journal.before.name} holds the journal as it was"
