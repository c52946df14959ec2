"""`nas-prune compare` of patterns of single weights."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_prune.cli.named import to_resume
from nas_prune.cli.option_types import RunOptions, Setup
from nas_prune.cli.options import refuse_with_resume, was_typed
from nas_prune.cli.output import count, echo, percent, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.cli.compare_options import CompareOptions
    from nas_prune.comparison.pattern_arms import PatternArm
    from nas_prune.comparison.pattern_config import PatternCompareConfig
    from nas_prune.comparison.pattern_result import PatternComparison, PatternDifference
    from nas_prune.space.budget import Budget

_OF_WIDTHS = ("widths_file", "source", "weights", "study", "searches", "equal_training", "test", "target")


def is_of_patterns(named: Path | None, run: RunOptions) -> bool:
    """Whether what is named is a search for patterns, or a comparison of patterns to go on with."""
    from nas_prune.runs.settings import command_of

    places = [one for one in (named, run.resume) if one is not None and one.is_dir()]
    return any(command_of(place) in ("sparsify", "compare-patterns") for place in places)


def compare_of_patterns(
    context: click.Context, asked: "CompareOptions", workers: int, setup: Setup, style: str
) -> None:
    """Compare patterns as the typed options say, and print what came out; exit code 1 if something failed."""
    from nas_prune.comparison.pattern_result import summary
    from nas_prune.comparison.pattern_run import compare_patterns, resume_compare_patterns

    for name in _OF_WIDTHS:
        if was_typed(context, name):
            option = "--" + {"widths_file": "widths", "source": "from"}.get(name, name).replace("_", "-")
            raise click.UsageError(f"{option} must come with widths, got it with patterns of single weights.")
    stopped = to_resume(setup.run, [asked.named], "compare-patterns")
    with showing_progress() as progress:
        if stopped is not None:
            refuse_with_resume(context, ("seeds",), "Only seeds can be added.")
            result = resume_compare_patterns(
                stopped,
                seeds=asked.seeds if was_typed(context, "seeds") else None,
                data_name=setup.images.data_name,
                space=asked.space,
                workers=workers,
                progress=progress,
            )
        else:
            config = _config(asked, setup)
            result = compare_patterns(
                config, setup.run.out, space=asked.space, workers=workers, progress=progress
            )
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        _print(result)
    if result.failed:
        context.exit(1)


def _config(asked: "CompareOptions", setup: Setup) -> "PatternCompareConfig":
    from nas_prune.comparison.pattern_arms import arms_named
    from nas_prune.comparison.pattern_config import PatternCompareConfig
    from nas_prune.patterns.config import SparsifyConfig
    from nas_prune.patterns.methods.registry import method_named
    from nas_prune.patterns.pattern import read_pattern
    from nas_prune.patterns.training import images_of, pattern_file, recipe_of
    from nas_prune.runs.settings import read_config
    from nas_prune.space.budget import Budget
    from nas_prune.training.given_weights import START

    run = asked.named
    assert run is not None
    search = read_config(run, SparsifyConfig).vouched(run, asked.space)
    budgets = (Budget.parse(asked.budget),) if asked.budget is not None else search.budgets
    path = pattern_file(run, budgets[0])
    pattern = read_pattern(path)
    data = images_of(pattern, path, **setup.images.chosen)
    is_trained = method_named(search.method).trains
    arms = arms_named(asked.arms, has_guideline=asked.guideline is not None, is_trained=is_trained)
    if asked.guideline is not None and all(arm.name != "guided" for arm in arms):
        raise click.UsageError("--guideline must come with --arm guided, or without --arm.")
    if asked.cap is not None and all(arm.schedule != "scratch-b" for arm in arms):
        raise click.UsageError("--cap must come with an arm that Scratch-B trains: --arm scratch-b.")
    recorded = recipe_of(pattern) if setup.training.recipe_name is None else None
    weights = None if search.weights is None else str(run / START)
    recipe = setup.training.recipe(recorded or data.name)
    search = search.resolved_from(run, None).model_copy(
        update={
            "data": data,
            "images": "",
            "versions": {},
            "machine": "",
            "weights": weights,
            "recipe": recipe,
        }
    )
    return setup.config(
        PatternCompareConfig,
        data,
        recipe,
        search=search,
        budgets=budgets,
        arms=tuple(arm.name for arm in arms),
        seeds=asked.seeds,
        cap=4.0 if asked.cap is None else asked.cap,
        guideline=asked.guideline,
    )


def _print(result: "PatternComparison") -> None:
    from nas_prune.patterns.result import DENSE_KERNELS

    config = result.config
    for budget in config.budgets:
        _print_budget(result, budget)
    capped = any(arm.schedule == "scratch-b" for arm in config.chosen)
    echo(
        "points: the arm's test score minus that of the arm it stands beside, seed by seed; 95 % intervals of paired t "
        "tests, p after Holm's correction over the arms of a budget. MACs are those of the weights that are there; KiB "
        "with a bit for each that may be."
    )
    if capped and config.cap is not None:
        echo(f"Scratch-B takes at most {config.cap:g} times the recipe's epochs.")
    echo(f"{DENSE_KERNELS}")
    for name, why in result.failed:
        echo(f"{name} was not trained to its end: {why}")
    echo(f"\nRun: {result.run}")
    echo(f"Next: {shlex.join(['nas-prune', 'report', str(result.run), '--out', 'report.html'])}")


def _print_budget(result: "PatternComparison", budget: "Budget") -> None:
    config, metric = result.config, result.metric
    patterns = result.patterns[str(budget)]
    kept = ""
    if patterns:
        one = patterns[0]
        share = one.cost.nonzero / one.base_cost.nonzero
        kept = f": {percent(share, 1)} of {count(one.base_cost.nonzero)} weights"
    echo(f"{config.search.space}, {config.search.method} at {budget}{kept}\n")
    differences = result.compared(budget)
    rows = [
        _row(result, budget, arm, differences.get(arm.name))
        for arm in config.chosen
        if result.of(budget, arm.name)
    ]
    headings = [
        "arm",
        "what it is",
        f"test {metric.name}{', %' * metric.is_share}",
        "n",
        "beside",
        "points" if metric.is_share else "better by",
        "p",
        "epochs",
        "MACs",
        "KiB",
    ]
    print_table(headings, rows, left=2)
    for note in result.notes(budget):
        echo(note)
    echo()


def _row(
    result: "PatternComparison", budget: "Budget", arm: "PatternArm", difference: "PatternDifference | None"
) -> list[str]:
    from nas_prune.comparison.pattern_result import mean_and_spread

    metric, own, costs = result.metric, result.of(budget, arm.name), result.cost_of(budget, arm.name)
    values = [metric.score(own[seed].test_score) for seed in sorted(own)]
    mean, deviation = mean_and_spread(values)
    beside = p = ""
    if difference is not None:
        contrast = difference.contrast
        ends = (
            f" ({metric.difference(contrast.low)} to {metric.difference(contrast.high)})"
            if contrast.freedom
            else ""
        )
        beside = f"{metric.difference(contrast.difference)}{ends}"
        p = "–" if difference.holm != difference.holm else f"{difference.holm:.2g}"
    epochs = sorted({one.epochs for one in own.values()})
    return [
        arm.name,
        arm.words,
        f"{metric.bare(mean)}{'' if deviation is None else f' ± {metric.bare(deviation)}'}",
        str(len(values)),
        arm.beside or "",
        beside,
        p,
        "–".join(map(str, dict.fromkeys((epochs[0], epochs[-1])))),
        "–" if costs is None else count(round(costs[0])),
        "–" if costs is None else f"{costs[1] / 1024:,.0f}",
    ]
