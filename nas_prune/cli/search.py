"""`nas-prune search`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from nas_prune.cli.all_methods import print_all
from nas_prune.cli.examples import examples
from nas_prune.cli.named import refuse_run, run_argument, to_resume
from nas_prune.cli.next_steps import shown_budget, training_of
from nas_prune.cli.on_target import target_columns, unaligned_in
from nas_prune.cli.option_types import NETWORK, SEARCHED, NetworkOptions, Setup, positive
from nas_prune.cli.options import (
    SPACE_HELP,
    format_option,
    keep_checkpoints_option,
    log_option,
    network_options,
    packed,
    refuse_with_resume,
    seed_option,
    setup_options,
    weights_option,
)
from nas_prune.cli.output import count, counted, echo, percent, print_json, print_table, showing_progress
from nas_prune.cli.suggestions import methods
from nas_prune.runs.progress import is_main_process
from nas_prune.runs.text import printable

if TYPE_CHECKING:
    from nas_prune.search.config import SearchConfig
    from nas_prune.search.result import SearchResult
    from nas_prune.training.event_log import LogName


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What is searched, and by what."""

    named: Path | None
    space: str | None
    method: str
    budgets: tuple[str, ...]
    sparsity: float | None
    scope: Literal["global", "local"] | None
    cost: Literal["macs", "params", "activations"] | None
    iterations: int
    stop: bool | None
    weights: str | None
    seed: int
    keep_checkpoints: bool
    log: "LogName | None"


_search_options = packed(
    "wanted",
    SearchOptions,
    run_argument("[RUN]", SEARCHED),
    click.option("--space", type=NETWORK, help=f"{SPACE_HELP}  [default: resnet]"),
    click.option(
        "--method",
        shell_complete=methods,
        default="slimming",
        show_default=True,
        help="A name from `nas-prune methods`, or all: each method that can score the network, in its own directory.",
    ),
    click.option(
        "--budget",
        "budgets",
        multiple=True,
        help="Upper bound on a cost: macs<=50%, params<=1.2M, channels<=40%, activations<=60%; or own: what the method "
        "itself removes. Repeatable. Default: macs<=75%, 50%, 25%.",
    ),
    click.option(
        "--sparsity",
        type=float,
        help="Strength of the method's penalty, 0 for a control without; by default its paper's (of cost-aware "
        "slimming's), or what the recipe's length asks for.",
    ),
    click.option(
        "--scope",
        type=click.Choice(["global", "local"]),
        help="global compares the channels of all groups; local keeps the same share of each; by default the "
        "method's own.",
    ),
    click.option(
        "--cost",
        type=click.Choice(["macs", "params", "activations"]),
        help="The cost that weights the penalty of cost-aware; by default that of the first budget.",
    ),
    click.option(
        "--iterations",
        type=int,
        default=1,
        help="Methods that score channels after training: remove them in so many steps in its second half, and score "
        "those that are left again each time. With one --budget.  [default: 1]",
    ),
    click.option(
        "--stop/--no-stop",
        default=None,
        help="End the training when the widths are stable; the default for methods that learn channels.",
    ),
    weights_option,
    seed_option,
    keep_checkpoints_option,
    log_option,
)


@click.command(
    epilog=examples(
        "nas-prune search --space vgg16 --data folder:my-images --image-size 32",
        "nas-prune search --method all --budget 'macs<=50%' --budget 'params<=20%'",
    )
)
@_search_options
@network_options
@setup_options(are_sized=True)
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    wanted: SearchOptions,
    network: NetworkOptions,
    setup: Setup,
    style: str,
) -> None:
    """Sparse-train a network and write the layer widths found at each budget.

    RUN is a search that was stopped, to be gone on with; a new one needs none.
    """
    from nas_prune.runs.settings import read_config
    from nas_prune.search.all_methods import ALL, resume_all, search_all
    from nas_prune.search.config import SearchConfig
    from nas_prune.search.methods.registry import REGISTRY
    from nas_prune.search.result import summary
    from nas_prune.search.run import resume_search, search

    data_name, space = setup.images.data_name, wanted.space
    resume = to_resume(setup.run, [wanted.named], "search")
    if resume is not None:
        refuse_with_resume(context)
    else:
        refuse_run(wanted.named, "search", "For a new search: --space names the network.")
    if resume is None and wanted.method not in (ALL, *REGISTRY.names):
        raise click.UsageError(
            f"--method must be all or one of {', '.join(REGISTRY.names)}, got {wanted.method!r}."
        )
    if (wanted.method if resume is None else read_config(resume, SearchConfig).method) == ALL:
        with showing_progress() as progress:
            if resume is not None:
                found = resume_all(resume, data_name=data_name, space=space, progress=progress)
            else:
                found = search_all(_config(wanted, network, setup), setup.run.out, progress=progress)
        print_all(found, style)
        return
    with showing_progress() as progress:
        if resume is not None:
            result = resume_search(resume, data_name=data_name, space=space, progress=progress)
        else:
            result = search(_config(wanted, network, setup), setup.run.out, progress=progress)
    if not is_main_process():
        return
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)


def _config(wanted: SearchOptions, network: NetworkOptions, setup: Setup) -> "SearchConfig":
    from nas_prune.search.config import DEFAULT_BUDGETS, MOST_STEPS, SearchConfig
    from nas_prune.space.budget import Budget

    if wanted.sparsity is not None and not 0 <= wanted.sparsity < float("inf"):
        raise click.UsageError(f"--sparsity must be at least 0, got {wanted.sparsity:g}.")
    return setup.config(
        SearchConfig,
        recipe=setup.training.recipe(setup.images.name, has_own_epochs=True),
        space=wanted.space or "resnet",
        **network.settings,
        method=wanted.method,
        budgets=tuple(map(Budget.parse, wanted.budgets)) or DEFAULT_BUDGETS,
        epochs=positive("--epochs", setup.training.epochs),
        sparsity=wanted.sparsity,
        scope=wanted.scope,
        cost=wanted.cost,
        iterations=positive("--iterations", wanted.iterations, MOST_STEPS),
        stop=wanted.stop,
        weights=wanted.weights,
        seed=wanted.seed,
        keep_checkpoints=wanted.keep_checkpoints,
        log=wanted.log,
    )


def _print(result: "SearchResult") -> None:
    from nas_prune.space.budget import OWN
    from nas_prune.space.widths import stage_means

    space = result.space
    base = space.cost_at(space.base_G)
    sizes = {space.groups[column].stage: space.groups[column].output_size for column in result.columns}
    stages = sorted(sizes)
    of_target, cells = target_columns([found.widths for found in result.found])
    echo(_summary_line(result) + "\n")
    headings = [
        "budget",
        *(f"stage {stage}\n{sizes[stage][0]}×{sizes[stage][1]}" for stage in stages),
        "MACs",
        "",
        "params",
        "",
        *of_target,
        "unused\nbudget",
        f"val. {result.metric.name}\nafter the cut",
    ]
    whole = [
        "whole",
        *("1.00" for _ in stages),
        count(base.macs),
        "",
        count(base.params),
        "",
        *cells[0],
        "",
        result.metric.told(result.val_score, 1),
    ]
    rows = [whole]
    for found, own in zip(result.found, cells[1:], strict=True):
        cost, kept = found.widths.cost, stage_means(found.widths, result.columns)
        rows.append(
            [
                found.widths.budget or "",
                *(f"{kept[stage]:.2f}" for stage in stages),
                count(cost.macs),
                percent(cost.macs / base.macs),
                count(cost.params),
                percent(cost.params / base.params),
                *own,
                "–" if found.widths.budget == OWN else percent(found.gap, 2),
                result.metric.told(found.val_score_cut, 1),
            ]
        )
    print_table(headings, rows)
    _print_remarks(result)


def _summary_line(result: "SearchResult") -> str:
    config, method = result.config, result.method
    parts = [
        f"{config.space}, {config.method_words} ({method.kind(config.scope)}) on {printable(config.data.name)}"
    ]
    asked = config.search_recipe.epochs
    if not method.trains:
        parts.append("no training")
    else:
        stopped = f"stopped at epoch {result.epochs_done} of {asked}: the widths were stable"
        parts.append(counted(asked, "epoch") if result.epochs_done == asked else stopped)
    if result.sparsity is not None:
        parts.append(f"λ = {result.sparsity:.3g}")
    if config.cost is not None:
        parts.append(f"weighed by {config.cost}")
    if method.of == "channels":
        parts.append(f"--groups {config.groups}")
    if config.limits:
        parts.append(config.limits.words)
    if result.space.target is not None:
        parts.append(f"for {result.space.target}")
    return ", ".join([*parts, f"seed {config.seed}", f"{result.seconds:.0f} s"])


def _print_remarks(result: "SearchResult") -> None:
    what = "channels" if result.method.of == "channels" else "channels inside blocks"
    echo(
        f"\nStages: share of the searched {what} kept. {result.metric.title}: on the validation part, before any "
        "further training."
    )
    for found in result.found:
        if result.method.of == "blocks":
            removed = found.widths.removed_blocks
            blocks = f"{len(removed)} of {len(result.space.blocks)} blocks go"
            echo(f"{found.widths.budget}: {blocks}{': ' if removed else ''}{', '.join(removed)}")
    if said := unaligned_in(result.space, [found.widths for found in result.found]):
        echo(said)
    if result.unscored:
        echo(
            f"Left whole, since {result.method.name} needs {result.method.asks}: {', '.join(result.unscored)}"
        )
    echo(f"\nWidths: {result.run / 'widths'}   picture: {result.run / 'widths.png'}")
    budget = str(result.found[shown_budget(result.config)].widths.budget)
    which = budget if len(result.found) > 1 else None
    echo(f"Next:   {training_of(result.run, result.config, which)}")
