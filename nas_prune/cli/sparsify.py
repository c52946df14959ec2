"""`nas-prune sparsify`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.named import refuse_run, run_argument, to_resume
from nas_prune.cli.next_steps import training_of
from nas_prune.cli.option_types import NETWORK, SPARSIFIED, Setup, positive
from nas_prune.cli.options import (
    SPACE_HELP,
    format_option,
    keep_checkpoints_option,
    log_option,
    packed,
    refuse_with_resume,
    seed_option,
    setup_options,
    target_option,
    weights_option,
    width_multiplier_option,
)
from nas_prune.cli.output import count, counted, echo, percent, print_json, print_table, showing_progress
from nas_prune.cli.suggestions import pattern_methods
from nas_prune.runs.text import printable

if TYPE_CHECKING:
    from nas_prune.patterns.config import SparsifyConfig
    from nas_prune.patterns.pattern import Pattern
    from nas_prune.patterns.result import SparsifyResult
    from nas_prune.training.event_log import LogName

_MOST_STAGES = 8  # columns of a table


@dataclass(frozen=True, slots=True)
class SparsifyOptions:
    """Which weights are looked for, and by what."""

    named: Path | None
    space: str | None
    method: str
    budgets: tuple[str, ...]
    scope: Literal["global", "deviation", "local"] | None
    iterations: int | None
    strength: float | None
    rewind: float | None
    guideline: Path | None
    weights: str | None
    width_multiplier: float
    target: str | None
    keep: tuple[str, ...]
    seed: int
    keep_checkpoints: bool
    log: "LogName | None"


_options = packed(
    "wanted",
    SparsifyOptions,
    run_argument("[RUN]", SPARSIFIED),
    click.option("--space", type=NETWORK, help=f"{SPACE_HELP}  [default: resnet]"),
    click.option(
        "--method",
        shell_complete=pattern_methods,
        default="magnitude",
        show_default=True,
        help="A name from `nas-prune methods --weights`.",
    ),
    click.option(
        "--budget",
        "budgets",
        multiple=True,
        help="Upper bound on what stays: nonzero<=10% of the weights, macs<=20%, size<=100KiB (a bit for each weight "
        "that may stay, and those that do); or own: what the method itself removes. Repeatable. Default: nonzero<=50%, "
        "20%, 10%.",
    ),
    click.option(
        "--scope",
        type=click.Choice(["global", "deviation", "local"]),
        help="global compares the weights of all layers, deviation in units of their layer's deviation; local keeps "
        "the same share of each layer; by default the method's own.",
    ),
    click.option(
        "--iterations",
        type=int,
        help="Remove weights in so many steps while the network trains, and score again what is left; of lottery the "
        "rounds. With one --budget.",
    ),
    click.option("--strength", type=float, help="Strength of the method's penalty; by default its own."),
    click.option(
        "--rewind",
        type=float,
        metavar="EPOCHS",
        help="lottery: after how many epochs of the first round the weights are taken that all rounds start from; 0 "
        "for the first weights, 0.1 for those after a tenth of the first epoch's steps.  [default: 1]",
    ),
    click.option(
        "--guideline",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="guided: what `nas-prune guide` wrote of other searches for patterns.",
    ),
    weights_option,
    width_multiplier_option,
    target_option,
    click.option(
        "--keep",
        multiple=True,
        metavar="LAYER",
        help="Leave a layer, or all in a module, dense: conv1, layer4, 'layer*.0.conv2'. Repeatable.",
    ),
    seed_option,
    keep_checkpoints_option,
    log_option,
)


@click.command(
    epilog=examples(
        "nas-prune sparsify --space vgg16 --budget 'nonzero<=10%'",
        "nas-prune sparsify --method obs --data folder:photos --budget 'size<=90KiB'",
    )
)
@_options
@setup_options(are_sized=True)
@format_option
@click.pass_context
def command(context: click.Context, /, *, wanted: SparsifyOptions, setup: Setup, style: str) -> None:
    """Find which single weights stay, and write them as patterns without weights.

    RUN is such a search that was stopped, to be gone on with; a new one needs none.
    """
    from nas_prune.patterns.result import summary
    from nas_prune.patterns.run import resume_sparsify, sparsify

    resume = to_resume(setup.run, [wanted.named], "sparsify")
    if resume is not None:
        refuse_with_resume(context)
    else:
        refuse_run(wanted.named, "sparsify", "For a new one: --space names the network.")
    with showing_progress() as progress:
        if resume is not None:
            result = resume_sparsify(
                resume, data_name=setup.images.data_name, space=wanted.space, progress=progress
            )
        else:
            result = sparsify(_config(wanted, setup), setup.run.out, progress=progress)
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)


def _config(wanted: SparsifyOptions, setup: Setup) -> "SparsifyConfig":
    from nas_prune.patterns.config import DEFAULT_BUDGETS, MOST_STEPS, SparsifyConfig
    from nas_prune.space.budget import Budget

    if wanted.strength is not None and not 0 <= wanted.strength < float("inf"):
        raise click.UsageError(f"--strength must be at least 0, got {wanted.strength:g}.")
    if wanted.rewind is not None and not 0 <= wanted.rewind < float("inf"):
        raise click.UsageError(f"--rewind must be at least 0, got {wanted.rewind:g}.")
    return setup.config(
        SparsifyConfig,
        recipe=setup.training.recipe(setup.images.name, has_own_epochs=True),
        space=wanted.space or "resnet",
        width_multiplier=wanted.width_multiplier,
        target=wanted.target,
        keep=wanted.keep,
        method=wanted.method,
        budgets=tuple(map(Budget.parse, wanted.budgets)) or DEFAULT_BUDGETS,
        epochs=positive("--epochs", setup.training.epochs),
        scope=wanted.scope,
        iterations=None
        if wanted.iterations is None
        else positive("--iterations", wanted.iterations, MOST_STEPS),
        strength=wanted.strength,
        rewind=wanted.rewind,
        guideline=None if wanted.guideline is None else str(wanted.guideline),
        weights=wanted.weights,
        seed=wanted.seed,
        keep_checkpoints=wanted.keep_checkpoints,
        log=wanted.log,
    )


def _print(result: "SparsifyResult") -> None:
    from nas_prune.patterns.pattern import PATTERNS
    from nas_prune.patterns.result import DENSE_KERNELS, PICTURE
    from nas_prune.space.quantities import shown

    whole, metric = result.costs.whole, result.metric
    stages = sorted({layer.stage for layer in result.costs.layers.layers})[:_MOST_STAGES]
    echo(_summary_line(result) + "\n")
    rows = [
        ["whole", *("100 %" for _ in stages), count(whole.nonzero), "", count(whole.macs), "",
         shown("size", whole.size_bytes), "", metric.told(result.val_score, 1)]
    ]  # fmt: skip
    for found in result.found:
        cost = found.pattern.cost
        rows.append(
            [
                found.pattern.budget or "",
                *(_share(found.pattern, stage) for stage in stages),
                count(cost.nonzero),
                percent(cost.nonzero / whole.nonzero, 1),
                count(cost.macs),
                percent(cost.macs / whole.macs, 1),
                shown("size", cost.size_bytes),
                "–" if found.pattern.budget == "own" else percent(found.gap, 2),
                metric.told(found.val_score_cut, 1),
            ]
        )
    headings = [
        "budget",
        *(f"stage {stage}" for stage in stages),
        "weights",
        "",
        "MACs of\nnon-zeros",
        "",
        "size with\na bitmap",
        "unused\nbudget",
        f"val. {metric.name}\nafter the cut",
    ]
    print_table(headings, rows)
    echo(
        f"\nStages: share of the weights that stay. {metric.title}: on the validation part, before further training."
    )
    for found in result.found:
        echo(_channels(found.pattern))
    echo(f"\n{DENSE_KERNELS}")
    echo(f"\nPatterns: {result.run / PATTERNS}   picture: {result.run / PICTURE}")
    first = str(result.found[0].pattern.budget) if len(result.found) > 1 else None
    echo(f"Next:     {training_of(result.run, result.config, first)}")


def _share(pattern: "Pattern", stage: int) -> str:
    own = [layer for layer in pattern.layers if layer.stage == stage]
    return percent(sum(layer.nonzero for layer in own) / sum(layer.size for layer in own), 1)


def _channels(pattern: "Pattern") -> str:
    """Whole channels that a pattern leaves out: a structured cut for free."""
    unread = sum(group.unread for group in pattern.groups)
    constant = sum(group.constant for group in pattern.groups)
    base = sum(group.base for group in pattern.groups)
    return (
        f"{pattern.budget}: {counted(unread, 'whole channel')} of {base:,} that no weight reads, and {constant:,} that "
        "no weight writes."
    )


def _summary_line(result: "SparsifyResult") -> str:
    from nas_prune.patterns.methods.registry import method_named

    config = result.config
    method = method_named(config.method)
    parts = [f"{config.space}, {config.method} on {printable(config.data.name)}"]
    parts.append(counted(result.epochs_done, "epoch") if method.trains else "no training")
    if config.scope is not None:
        parts.append(f"--scope {config.scope}")
    if config.iterations is not None and config.iterations > 1:
        parts.append(counted(config.iterations, "round" if method.rounds else "step"))
    if config.strength is not None:
        parts.append(f"strength {config.strength:.3g}")
    return ", ".join([*parts, f"seed {config.seed}", f"{result.seconds:.0f} s"])
