"""`nas-prune train`."""

from shlex import quote
from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.named import run_argument, to_resume
from nas_prune.cli.option_types import NETWORK, SEARCH_RUN, TEACHER_RUN, TRAINED, WIDTHS_FILE, Setup
from nas_prune.cli.options import (
    format_option,
    keep_checkpoints_option,
    log_option,
    packed,
    refuse_with_resume,
    setup_options,
    weights_option,
    workers_option,
)
from nas_prune.cli.output import count, counted, echo, percent, print_json, print_table, showing_progress
from nas_prune.cli.seeds import seeds_option
from nas_prune.cli.train_options import TrainOptions
from nas_prune.runs.progress import is_main_process
from nas_prune.runs.text import printable

if TYPE_CHECKING:
    from nas_prune.comparison.subject import Subject
    from nas_prune.training.config import TrainConfig
    from nas_prune.training.result import Trained, TrainResult


_train_options = packed(
    "wanted",
    TrainOptions,
    run_argument("[RUN|FILE]", TRAINED),
    click.option("--widths", "widths_file", metavar="FILE", type=WIDTHS_FILE, help="The same as FILE."),
    click.option(
        "--budget", help="Which of RUN's widths, if it found several: macs<=50%, written as in the search."
    ),
    click.option(
        "--space", type=NETWORK, help="The network's name, needed if the widths are of a network of your own."
    ),
    click.option(
        "--schedule",
        type=click.Choice(["scratch-e", "scratch-b", "fine-tune", "rewind"]),
        default="scratch-b",
        show_default=True,
        help="From random weights: scratch-e, the recipe's epochs; scratch-b, the same total MACs as the whole "
        "network. From the search's weights: fine-tune, a quarter of the epochs at a hundredth of the rate; rewind, "
        "the recipe.",
    ),
    click.option(
        "--from",
        "source",
        metavar="RUN",
        type=SEARCH_RUN,
        help="The search that fine-tune and rewind inherit from, if it is neither RUN nor that of FILE; with --weights "
        "of the whole network, the one whose channels are kept.",
    ),
    weights_option,
    click.option(
        "--teacher",
        metavar="RUN",
        type=TEACHER_RUN,
        help="A search or training whose network is imitated.",
    ),
    click.option(
        "--cap",
        type=float,
        help="Largest factor on the epochs of scratch-b; none by default, 4 for a pattern of single weights.",
    ),
    click.option(
        "--draw",
        "draws",
        is_flag=True,
        help="A pattern of single weights: draw each seed's masks from its statistics, instead of its own masks.",
    ),
    seeds_option(
        "Number of trainings.",
        default=1,
        why="1 gives a network to use; how far it is luck only several say (comparisons make 5).",
    ),
    keep_checkpoints_option,
    log_option,
)


@click.command(
    epilog=examples(
        "nas-prune train runs/resnet20-slimming-digits-001 --budget 'macs<=50%'",
        "nas-prune train widths.json --data folder:my-images --seeds 5",
    )
)
@_train_options
@workers_option
@setup_options()
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    wanted: TrainOptions,
    workers: int,
    setup: Setup,
    style: str,
) -> None:
    """Train found widths, from random weights or from those of their search.

    RUN is a search (with --budget, if it found widths at several), a study that was ranked (its winner), or a training
    that was stopped, to be gone on with. FILE is a widths file. A search for single weights, and a pattern's file, are
    trained with its masks.
    """
    from nas_prune.cli.train_pattern import is_pattern, train_of_pattern
    from nas_prune.training.result import summary
    from nas_prune.training.run import resume_train, train

    stopped = to_resume(setup.run, [wanted.named], "train")
    if stopped is not None:
        refuse_with_resume(context)
        with showing_progress() as progress:
            result = resume_train(
                stopped,
                data_name=setup.images.data_name,
                space=wanted.space,
                workers=workers,
                progress=progress,
            )
    elif is_pattern(wanted.named):
        with showing_progress() as progress:
            result = train_of_pattern(wanted, setup, workers, progress)
    else:
        subject = _subject(wanted)
        widths, config = subject.widths, _config(wanted, subject, setup)
        with showing_progress() as progress:
            result = train(
                config, widths, setup.run.out, space=wanted.space, workers=workers, progress=progress
            )
    if not is_main_process():
        return
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)
    if result.failed:
        context.exit(1)


def _subject(wanted: TrainOptions) -> "Subject":
    """What is trained, if the typed options fit together."""
    from nas_prune.comparison.subject import subject_named
    from nas_prune.space.budget import Budget

    if wanted.draws:
        raise click.UsageError("--draw must come with a pattern of single weights, got widths.")
    if wanted.cap is not None and wanted.schedule != "scratch-b":
        raise click.UsageError(
            f"--cap must come with --schedule scratch-b, got {wanted.schedule}, which has no multiplier."
        )
    if wanted.source is not None and wanted.schedule.startswith("scratch"):
        raise click.UsageError(
            f"--from must come with --schedule fine-tune or rewind, got {wanted.schedule}, from random weights."
        )
    named = wanted.named or wanted.widths_file
    if named is None or None not in (wanted.named, wanted.widths_file):
        raise click.UsageError(
            "RUN must name one search or widths file, e.g. nas-prune train runs/resnet20-slimming-digits-001, got "
            f"{'none' if named is None else 'a second one with --widths'}."
        )
    budget = None if wanted.budget is None else Budget.parse(wanted.budget)
    return subject_named(named, budget)


def _config(wanted: TrainOptions, subject: "Subject", setup: Setup) -> "TrainConfig":
    from nas_prune.training.config import TrainConfig, images_for
    from nas_prune.training.schedules import recipe_of

    widths = subject.widths
    data = images_for(widths, found_on=subject.images, **setup.images.chosen)
    source = wanted.source
    if source is None and subject.search is not None and not wanted.schedule.startswith("scratch"):
        source = subject.home
    recorded = recipe_of(widths) if setup.training.recipe_name is None else None
    return setup.config(
        TrainConfig,
        data,
        setup.training.recipe(recorded or data.name),
        schedule=wanted.schedule,
        cap=wanted.cap,
        seeds=tuple(range(wanted.seeds)),
        keep_checkpoints=wanted.keep_checkpoints,
        log=wanted.log,
        data_seed=widths.seed or 0,
        inherits_from=None if source is None else str(source),
        weights=wanted.weights,
        teacher=None if wanted.teacher is None else str(wanted.teacher),
    )


def _print(result: "TrainResult") -> None:
    from nas_prune.cli.train_pattern import print_pattern
    from nas_prune.space.names import is_own
    from nas_prune.training.config import resume_command
    from nas_prune.training.ranks import ALONE
    from nas_prune.training.result import guessing

    config, widths = result.config, result.widths
    if config.pattern is None:
        _print_widths(result)
    else:
        print_pattern(result)
    _print_seeds(result)
    if guessing({"": result.seeds}, widths.space.num_classes):
        echo("It is no better than guessing the largest class may be. Train for more epochs (--epochs).")
    for seed, why in result.failed:
        again = resume_command("train", result.run, widths.space.name, ALONE, config.data)
        echo(f"Seed {seed} was not trained to its end: {why.rstrip('.')}. Try it again: {again}")
    echo(f"Run: {result.run}")
    if not result.failed:
        space = widths.space.name
        again = f" --space {quote(space)}" if is_own(space) else ""
        echo(f"Next: nas-prune predict {quote(str(result.run))}{again} IMAGES…")


def _print_widths(result: "TrainResult") -> None:
    config, widths = result.config, result.widths
    whole = "full width" if widths.cost == widths.base_cost else "the widths given"
    where = (
        f"{widths.space.name} at {widths.budget or whole}, {config.schedule} on {printable(config.data.name)}"
    )
    factor = f"the recipe's {config.recipe.epochs} × {config.epochs / config.recipe.epochs:.2f}"
    cost = f"{count(widths.cost.macs)} MACs, {count(widths.cost.params)} parameters"
    echo(f"{where}: {counted(config.epochs, 'epoch')} ({factor}), {cost}\n")


def _print_seeds(result: "TrainResult") -> None:
    """A table of all seeds, and the mean of their test accuracies."""
    from nas_prune.training.result import mean_and_deviation

    seeds, asked, metric = result.seeds, result.config.epochs, result.seeds[0].metric
    columns = {
        "seed": [str(one.seed) for one in seeds],
        f"val. {metric.name}": [metric.told(one.val_score) for one in seeds],
        f"test {metric.name}": [metric.told(one.test_score) for one in seeds],
        "balanced test accuracy": [
            "" if one.test_balanced_accuracy is None else percent(one.test_balanced_accuracy, 2)
            for one in seeds
        ],
        "best epoch": ["" if one.kept_epoch is None else str(one.kept_epoch) for one in seeds],
        "epochs": ["" if one.kept_epoch is None else _epochs(one.epochs, asked) for one in seeds],
        "time": [f"{one.seconds:.0f} s" for one in seeds],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    print_table(list(shown), [list(row) for row in zip(*shown.values(), strict=True)])
    mean, deviation = mean_and_deviation([metric.score(one.test_score) for one in seeds])
    spread = "" if deviation is None else f" ± {metric.bare(deviation)}"
    over = "one seed" if deviation is None else f"mean ± standard deviation over {len(seeds)} seeds"
    unit = " %" * metric.is_share
    echo(f"\nTest {metric.name} {metric.bare(mean)}{spread}{unit} ({over}), {_where(seeds)}.")


def _epochs(done: int, asked: int) -> str:
    return str(done) if done == asked else f"{done} of {asked}"


def _where(seeds: "tuple[Trained, ...]") -> str:
    """After which epochs the networks are those that are kept."""
    if seeds[0].kept_epoch is None:
        return "after the last epoch"
    which = [f"{one.kept_epoch} of {one.epochs}" for one in seeds]
    return (
        f"at the best epoch by validation, {which[0]}"
        if len(which) == 1
        else (f"at each seed's best epoch by validation ({', '.join(which)})")
    )
