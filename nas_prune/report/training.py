"""Trainings and evaluations of guidelines as parts of a report."""

from functools import partial
from pathlib import Path
from typing import Any

from nas_prune.comparison.edf_figure import edfs_figure
from nas_prune.comparison.evaluate_result import EvaluateConfig, title
from nas_prune.data.guessing import guesses
from nas_prune.data.metric import ACCURACY, Metric, metric_in
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import drawn
from nas_prune.report.numbers import costs, mean_words, million, name_of
from nas_prune.report.sections import curves, metric_of, read_result, settings_section, unfinished
from nas_prune.runs.directory import published
from nas_prune.runs.settings import read_config
from nas_prune.space.widths import read_widths
from nas_prune.training.config import TrainConfig


def part_of_training(run: Path, name: str) -> Part:
    """Widths trained over several seeds, as far as they are."""
    config, widths, numbers = (
        read_config(run, TrainConfig),
        read_widths(run / "widths.json"),
        read_result(run / "result.json"),
    )
    at = widths.budget or "the widths given"
    headline = f"{name_of(widths)} at {at} on {published(config.data.name)}: {config.schedule}"
    said = []
    if config.pattern is not None and config.pattern_macs is not None:
        headline = f"{name_of(widths)}, pattern {config.pattern}, on {published(config.data.name)}: {config.schedule}"
        share = 100 * config.pattern_macs / widths.base_cost.macs
        said.append(f"Masked by a pattern of single weights: {share:.1f} % of the MACs are of non-zeros.")
    if numbers is None:
        said.append(
            unfinished(f"{config.epochs} epochs are to be trained with each of {len(config.seeds)} seeds")
        )
    folders = [] if numbers is not None else [run / f"seed-{seed}" for seed in config.seeds]
    done = [read_result(folder / "result.json") for folder in folders]
    tables, metric = [], metric_of(config.data, numbers, *done)
    if numbers is not None and guesses(numbers[f"{metric.key('test')}_mean"], numbers.get("guess")):
        said.append("It is no better than guessing the largest class may be.")
    if numbers is not None:
        rows = [
            [str(one["seed"]), *(metric.bare(one[metric.key(part)]) for part in ("val", "test"))]
            for one in numbers["seeds"]
        ]
        rows.append(["all", "", mean_words([one[metric.key("test")] for one in numbers["seeds"]], metric)])
        tables.append(
            Table(
                ["seed", f"validation{_unit(metric)}", f"test{_unit(metric)}"],
                rows,
                1,
                f"{metric.title} {config.recipe.of_which_epoch}; ± standard deviation over seeds.",
            )
        )
    tables.append(
        Table(["MACs (10⁶)", "of the whole", "parameters (10⁶)", "of the whole"], [costs(widths)], 0)
    )
    seeds = {f"seed {seed}": [run / f"seed-{seed}"] for seed in config.seeds}
    sections = [
        Section(metric.title, said, tables=tables),
        Section("Learning curves", pictures=curves(seeds, f"{name}a", metric)),
        settings_section(run),
    ]
    return Part(run.name, "train", headline, sections, numbers or {})


def part_of_evaluation(run: Path, name: str) -> Part:
    """A guideline evaluated by populations, as far as they are trained."""
    config, numbers = read_config(run, EvaluateConfig), read_result(run / "result.json")
    members = _members(run)
    metric = metric_of(config.data, numbers, *(one for own in members.values() for one in own))
    said, tables = [], []
    if numbers is None:
        done = sum(map(len, members.values()))
        said.append(unfinished(f"{done} networks are trained"))
    else:
        said += [note for note in numbers["notes"] if "guessing the largest class" in note]
        tables.append(_comparisons(numbers))
    rows = [
        [
            population,
            str(len(own)),
            million(sum(one["macs"] for one in own) / len(own)),
            million(sum(one["params"] for one in own) / len(own)),
            mean_words([_error(one, metric) for one in own], metric),
        ]
        for population, own in members.items()
    ]
    tables.append(
        Table(
            ["population", "n", "MACs (10⁶)", "parameters (10⁶)", f"test {metric.error_name}{_unit(metric)}"],
            rows,
        )
    )
    sections = [
        Section(
            "Errors of guided, uniform and random networks",
            said,
            tables=tables,
            pictures=_edfs(members, config, f"{name}a", metric),
        ),
        settings_section(run),
    ]
    return Part(run.name, "evaluate", title(config), sections, numbers or {"populations": members})


def _members(run: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(run.glob("*/[0-9]*/result.json")):
        one = read_result(path)
        if one is not None:
            found.setdefault(path.parent.parent.name, []).append(one)
    return found


def _unit(metric: Metric) -> str:
    return " (%)" if metric.is_share else ""


def _error(one: dict[str, Any], metric: Metric) -> float:
    """What is to be small of a network on test images."""
    return metric.error(metric.score(one[metric.key("test")]))


def _comparisons(numbers: dict[str, Any]) -> Table:
    metric = metric_in(numbers)
    rows = [
        [
            f"{other} at matched {axis}" if axis != "direct" else other,
            metric.difference(one["difference"]),
            f"{metric.difference(one['low'])} to {metric.difference(one['high'])}",
            f"{one['p_value']:.2g}",
            one["verdict"],
        ]
        for axis, found in numbers["comparisons"].items()
        for other, one in found.items()
    ]
    headings = [
        "guided beside",
        f"median {metric.error_name}{' (points)' * metric.is_share}",
        "90 % interval",
        "p (Kolmogorov, Smirnov)",
        "guided is",
    ]
    return Table(headings, rows)


def _edfs(
    members: dict[str, list[dict[str, Any]]], config: EvaluateConfig, name: str, metric: Metric
) -> list[Picture]:
    errors = {population: [_error(one, metric) for one in own] for population, own in members.items()}
    if not errors:
        return []
    panels = {}
    for axis, words in (("params", "parameters"), ("macs", "MACs")):
        own = {
            population.removesuffix(f"-{axis}"): found
            for population, found in errors.items()
            if population in ("guided", "direct") or population.endswith(f"-{axis}")
        }
        panels[f"at matched {words}"] = own
    figure = edfs_figure(panels, title=title(config), metric=metric)
    return [
        Picture(
            partial(drawn, figure, name),
            f"Share of networks with an {metric.error_name} of at most e; further left is better."
            if metric == ACCURACY
            else f"Share of networks whose {metric.error_name} is at most e; further left is better.",
        )
    ]
