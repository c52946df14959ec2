"""`nas-prune evaluate`: compares networks drawn from a guideline with control populations."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.named import to_resume
from nas_prune.cli.option_types import (
    EVALUATED,
    FITTED,
    GUIDELINE,
    NETWORK,
    FitOptions,
    NetworkOptions,
    Setup,
)
from nas_prune.cli.options import (
    BUDGET_HELP,
    GUIDELINE_HELP,
    SPACE_HELP,
    fit_options,
    format_option,
    network_options,
    packed,
    refuse_with_resume,
    seed_option,
    setup_options,
    was_typed,
    workers_option,
)
from nas_prune.cli.output import count, echo, print_json, print_table, showing_progress
from nas_prune.cli.suggestions import guidelines

if TYPE_CHECKING:
    from nas_prune.comparison.evaluate_result import EvaluateConfig, EvaluateResult
    from nas_prune.guideline.apply import Pattern
    from nas_prune.space.budget import Budget


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is evaluated: on which network, at which cost, by how many networks."""

    named: tuple[Path, ...]
    guideline: str | None
    space: str | None
    budget: str | None
    networks: int
    direct: tuple[Path, ...]
    seed: int


_evaluate_options = packed(
    "wanted",
    EvaluateOptions,
    click.argument("named", nargs=-1, metavar="[RUN]...", type=EVALUATED),
    click.option(
        "--guideline",
        type=GUIDELINE,
        shell_complete=guidelines,
        help=f"{GUIDELINE_HELP} Use it instead of RUN.",
    ),
    click.option("--space", type=NETWORK, help=f"The network to evaluate it on. {SPACE_HELP}"),
    click.option("--budget", help=f"What the networks may cost: {BUDGET_HELP}"),
    click.option(
        "--networks",
        type=click.IntRange(2, 1000),
        default=10,
        show_default=True,
        help="Number of networks in each population.",
    ),
    click.option(
        "--direct",
        multiple=True,
        metavar="RUN|FILE",
        type=FITTED,
        help="A search on these images (its widths at --budget), or a widths file, to be trained too; repeatable.",
    ),
    seed_option,
)


@click.command(
    epilog=examples(
        "nas-prune evaluate runs/resnet20-* --space vgg11 --budget 'macs<=50%'",
        "nas-prune evaluate --guideline erk --space vgg11 --budget 'params<=30%'",
    )
)
@_evaluate_options
@network_options
@fit_options
@workers_option
@setup_options(are_sized=True)
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    wanted: EvaluateOptions,
    network: NetworkOptions,
    fitting: FitOptions,
    workers: int,
    setup: Setup,
    style: str,
) -> None:
    """Does a guideline help? Compare networks drawn from it with uniform and random ones of the same cost.

    The guideline is fitted to RUNs (searches, or widths files) or given with --guideline. The networks of each
    population are trained briefly from random weights. Then their errors are compared: once at the same parameters and
    once at the same MACs. A single RUN that is an evaluation is gone on with.
    """
    from nas_prune.comparison.evaluate import evaluate_guideline, resume_evaluation
    from nas_prune.comparison.evaluate_result import summary
    from nas_prune.comparison.subject import subject_named

    stopped = to_resume(setup.run, wanted.named, "evaluate")
    if stopped is not None:
        refuse_with_resume(context)
        with showing_progress() as progress:
            result = resume_evaluation(
                stopped,
                data_name=setup.images.data_name,
                space=wanted.space,
                workers=workers,
                progress=progress,
            )
    else:
        _refuse_unfitted(context, wanted)
        config = _config(wanted, network, setup)
        pattern = _pattern(wanted, fitting, config.budget)
        direct = [subject_named(path, _budget_of(path, config.budget)).widths for path in wanted.direct]
        with showing_progress() as progress:
            result = evaluate_guideline(
                config, setup.run.out, pattern=pattern, direct=direct, workers=workers, progress=progress
            )
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)
    if result.failed:
        context.exit(1)


def _budget_of(path: Path, budget: "Budget") -> "Budget | None":
    """Which of a run's widths are meant; None of a file, which has no others."""
    return budget if path.is_dir() else None


def _refuse_unfitted(context: click.Context, wanted: EvaluateOptions) -> None:
    """Refuse both runs and a guideline, none of the two, and options of a fit with a guideline."""
    if bool(wanted.named) == (wanted.guideline is not None):
        raise click.UsageError(
            "name runs to fit a guideline to, or a guideline with --guideline, one of the two."
        )
    refuse_fitting(context, wanted.guideline)


def refuse_fitting(context: click.Context, guideline: str | None) -> None:
    """Refuse options of a fit if a guideline is given."""
    names = [name for name in ("model", "match", "cost", "confidence") if was_typed(context, name)]
    if guideline is not None and names:
        raise click.UsageError(f"--{', --'.join(names)} must come with runs to fit, got --guideline.")


def _pattern(wanted: EvaluateOptions, fitting: FitOptions, budget: "Budget") -> "Pattern":
    """The guideline that is named, or that of the runs; of runs driven by several costs, by the budget's own."""
    from nas_prune.guideline.apply import guideline_named
    from nas_prune.guideline.files import read_sources
    from nas_prune.guideline.fit import by_cost, counts_by_cost, fit_guideline

    if wanted.guideline is not None:
        return guideline_named(wanted.guideline)
    spaces = () if wanted.space is None else (wanted.space,)
    read, notes = read_sources(wanted.named, spaces=spaces, with_guesses=fitting.with_guesses)
    if fitting.cost is None and len(by_cost(read)) > 1 and budget.kind in by_cost(read):
        fitting = replace(fitting, cost=budget.kind)
        echo(
            f"The widths were driven by several costs ({counts_by_cost(read)}); the guideline is of those driven by "
            f"{budget.kind}, like the budget. --cost chooses others.",
            err=True,
        )
    return fit_guideline(read, notes=notes, **asdict(fitting))


def _config(wanted: EvaluateOptions, network: NetworkOptions, setup: Setup) -> "EvaluateConfig":
    from nas_prune.comparison.evaluate_result import EvaluateConfig
    from nas_prune.space.budget import Budget

    if wanted.space is None:
        raise click.UsageError("--space must name the network to evaluate the guideline on, got none.")
    if wanted.budget is None:
        raise click.UsageError("--budget must say what the networks may cost, e.g. --budget 'macs<=50%'.")
    return setup.config(
        EvaluateConfig,
        guideline=wanted.guideline or "guideline.yaml",
        space=wanted.space,
        **network.settings,
        budget=Budget.parse(wanted.budget),
        networks=wanted.networks,
        seed=wanted.seed,
    )


def _print(result: "EvaluateResult") -> None:
    from nas_prune.comparison.evaluate_result import AXES, DIRECT, guessing_words, title
    from nas_prune.training.result import mean_and_deviation

    echo(f"{title(result.config)}: {result.config.recipe.epochs} epochs from scratch each\n")
    rows, metric = [], result.metric
    for name, own in result.populations.items():
        errors = [metric.error(one.test_score) for one in own]
        (mean, deviation), ordered = mean_and_deviation(errors), sorted(errors)
        rows.append(
            [
                name,
                str(len(own)),
                count(sum(one.macs for one in own) // len(own)),
                count(sum(one.params for one in own) // len(own)),
                metric.shown((ordered[(len(own) - 1) // 2] + ordered[len(own) // 2]) / 2),
                f"{metric.bare(mean)} ± {metric.bare(deviation or 0)}{' %' * metric.is_share}",
            ]
        )
    print_table(["population", "n", "MACs", "parameters", f"median {metric.error_name}", "mean ± std"], rows)
    echo()
    rows = []
    for axis, found in result.compared().items():
        for name, one in found.items():
            rows.append(
                [
                    f"{name} at matched {AXES[axis]}" if axis in AXES else name,
                    f"{metric.difference(one.difference)}{metric.unit}",
                    f"{metric.difference(one.low)} to {metric.difference(one.high)}",
                    f"{one.ks:.2f}",
                    f"{one.p_value:.2g}",
                    one.verdict,
                ]
            )
    headings = ["guided beside", f"median {metric.error_name}", "90 % interval", "KS", "p", "guided is"]
    print_table(headings, rows)
    if DIRECT in result.populations:
        echo("direct: widths that a search on these images found; their cost is their own, not matched.")
    for note in (*result.notes, *guessing_words(result)):
        echo(f"Note: {note}")
    for name, why in result.failed:
        echo(f"Not trained to its end: {name}: {why}")
    echo(f"\nPicture: {result.run / 'edf.png'}\nRun: {result.run}")
