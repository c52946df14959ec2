"""Searches for patterns, their comparisons and guidelines as parts of a report."""

from functools import partial
from pathlib import Path

from nas_prune.comparison.pattern_result import (
    PatternComparison,
    mean_and_spread,
    read_pattern_comparison,
    summary,
)
from nas_prune.data.guessing import is_guess
from nas_prune.data.metric import metric_in
from nas_prune.errors import DamagedError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.figure import first_layer_figure, guideline_figure, patterns_figure
from nas_prune.patterns.guideline import PatternGuideline, read_pattern_guideline
from nas_prune.patterns.pattern import PATTERNS, Pattern, read_pattern
from nas_prune.patterns.result import DENSE_KERNELS
from nas_prune.patterns.words import sentences
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import dots_figure, drawn
from nas_prune.report.numbers import million
from nas_prune.report.sections import curves, metric_of, read_result, settings_section, unfinished
from nas_prune.runs.directory import published, read_metrics
from nas_prune.runs.settings import read_config
from nas_prune.space.budget import Budget
from nas_prune.training.masks import read_masks


def part_of_patterns(run: Path, name: str) -> Part:
    """A search for patterns, as far as it is done."""
    config, numbers = read_config(run, SparsifyConfig), read_result(run / "result.json")
    factor = "" if config.width_multiplier == 1 else f" ×{config.width_multiplier:g}"
    headline = f"{config.space}{factor} on {published(config.data.name)}: single weights by {config.method}"
    paths = sorted((run / PATTERNS).glob("*.json"), key=lambda path: -read_pattern(path).density)
    found = [read_pattern(path) for path in paths]
    rounds = sorted(run.glob("round-*"), key=_number)
    epochs = sum(len(read_metrics(folder)) for folder in rounds or [run])
    said = [] if numbers else [unfinished(f"{epochs} epochs are done")]
    if is_guess((numbers or {}).get("base", {})):
        said.append(
            "The whole network is hardly better than guessing the largest class: which of its weights stay says little."
        )
    folders = {folder.name: [folder] for folder in rounds} if rounds else {"whole network": [run]}
    learned = curves(folders, f"{name}c", metric_of(config.data, numbers))
    sections = [
        Section("Weights that stay", [*said, DENSE_KERNELS], tables=_tables(found, numbers or {})),
        Section("Where they stay", pictures=_pictures(found, paths, name)),
        *([Section("Learning curve", pictures=learned)] if learned or numbers is None else []),
        settings_section(run),
    ]
    return Part(run.name, "sparsify", headline, sections, numbers or {})


def _number(folder: Path) -> int:
    """Of a round, by the name of its directory."""
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def _tables(found: list[Pattern], numbers: dict[str, object]) -> list[Table]:
    if not found:
        return []
    return [_costs(found, numbers), _layers(found), *([_channels(found)] if found[0].groups else [])]


def _costs(found: list[Pattern], numbers: dict[str, object]) -> Table:
    """What each pattern costs, and what the trained network gives with it before any more training."""
    metric, base = metric_in(numbers), found[0].base_cost
    listed = numbers.get("patterns")
    scores = (
        {one["budget"]: one.get(f"{metric.key('val')}_cut") for one in listed}
        if isinstance(listed, list)
        else {}
    )
    rows = [
        ["whole", f"{base.nonzero:,}", "100", million(base.macs), "100", f"{base.size_bytes / 1024:,.0f}", ""]
    ]
    for one in found:
        score = scores.get(one.budget)
        rows.append(
            [
                one.budget or "–",
                f"{one.cost.nonzero:,}",
                f"{100 * one.density:.2f}",
                million(one.cost.macs),
                f"{100 * one.cost.macs / base.macs:.2f}",
                f"{one.cost.size_bytes / 1024:,.0f}",
                "" if score is None else metric.bare(score),
            ]
        )
    headings = [
        "budget",
        "weights",
        "%",
        "MACs of non-zeros (10⁶)",
        "%",
        "KiB with a bitmap",
        f"val. {metric.name} after the cut",
    ]
    return Table(headings, rows, 1)


def _layers(found: list[Pattern]) -> Table:
    """Densities by layer, dead filters and inputs, N:M."""
    last = found[-1]
    ratios = list(dict.fromkeys(ratio for layer in last.layers for ratio in layer.n_of_m))
    rows = [
        [
            layer.name.removesuffix(".weight"),
            "×".join(map(str, layer.shape)),
            *(f"{100 * one.layers[number].density:.2f}" for one in found),
            str(layer.filters.empty),
            str(layer.inputs.empty),
            *(f"{100 * layer.n_of_m[ratio]:.0f}" if ratio in layer.n_of_m else "–" for ratio in ratios),
        ]
        for number, layer in enumerate(last.layers)
    ]
    budgets = [f"% at {one.budget}" for one in found]
    headings = [
        "layer",
        "weight",
        *budgets,
        "empty filters",
        "empty inputs",
        *(f"{ratio} (%)" for ratio in ratios),
    ]
    return Table(headings, rows, 2, f"Empty filters, empty inputs and N:M are those at {last.budget}.")


def _channels(found: list[Pattern]) -> Table:
    """Whole channels that patterns leave out, and the widths that are left."""
    rows = [
        [
            one.budget or "–",
            str(sum(group.base for group in one.groups)),
            str(sum(group.unread for group in one.groups)),
            str(sum(group.constant for group in one.groups)),
            ", ".join(str(group.width) for group in one.groups),
        ]
        for one in found
    ]
    return Table(
        ["budget", "channels", "that no weight reads", "that no weight writes", "widths left"],
        rows,
        1,
        "A channel that no weight reads can go, and nothing changes; of one that none writes a constant is left.",
        ends_in_words=True,
    )


def _pictures(found: list[Pattern], paths: list[Path], name: str) -> list[Picture]:
    if not found:
        return []
    pictures = [
        Picture(
            partial(drawn, patterns_figure(found), f"{name}a"),
            "Densities along the depth beside those of Erdős–Rényi kernels, and which positions of kernels stay.",
        )
    ]
    last = found[-1]
    if last.mask is None:
        return pictures
    try:
        figure = first_layer_figure(last, read_masks(paths[-1].parent / last.mask.file))
    except (DamagedError, KeyError):
        return pictures
    if figure is not None:
        pictures.append(
            Picture(partial(drawn, figure, f"{name}b"), f"Masks of the first layer at {last.budget}.")
        )
    return pictures


def part_of_pattern_comparison(run: Path, name: str) -> Part:
    """A comparison of patterns, as far as it is done."""
    result = read_pattern_comparison(run)
    config = result.config
    headline = (
        f"{config.search.space} on {published(config.data.name)}: single weights by {config.search.method}, structure "
        "or weights?"
    )
    done = sum(len(own) for own in result.trained.values())
    going_on = [] if result.is_finished else [unfinished("trainings are left")]
    sections = [
        Section(
            "What was compared",
            [
                f"{done} trainings are done, of {config.seeds} seed{'s' * (config.seeds > 1)}.",
                *going_on,
                DENSE_KERNELS,
            ],
        )
    ]
    for number, budget in enumerate(config.budgets):
        sections.append(_compared(result, budget, f"{name}{number}"))
    return Part(run.name, "compare", headline, [*sections, settings_section(run)], summary(result))


def _compared(result: PatternComparison, budget: Budget, name: str) -> Section:
    metric, differences = result.metric, result.compared(budget)
    rows, values = [], {}
    for arm in result.config.chosen:
        own = result.of(budget, arm.name)
        if not own:
            continue
        scores = [metric.score(own[seed].test_score) for seed in sorted(own)]
        values[arm.name] = scores
        mean, deviation = mean_and_spread(scores)
        difference = differences.get(arm.name)
        cells = ["", "", ""]
        if difference is not None:
            one = difference.contrast
            ends = f"{metric.difference(one.low)} to {metric.difference(one.high)}" if one.freedom else "–"
            p = "–" if difference.holm != difference.holm else f"{difference.holm:.2g}"
            cells = [metric.difference(one.difference), ends, p]
        spread = "" if deviation is None else f" ± {metric.bare(deviation)}"
        rows.append(
            [
                arm.name,
                f"{metric.bare(mean)}{spread}",
                str(len(scores)),
                arm.beside or "",
                *cells,
                *_cost_cells(result, budget, arm.name),
                arm.words,
            ]
        )
    if not rows:
        return Section(f"At {budget}", [*result.notes(budget), unfinished("no training is done")])
    table = Table(
        [
            "arm",
            f"test {metric.name}",
            "n",
            "beside",
            "points" if metric.is_share else "better by",
            "95 % interval",
            "p (Holm)",
            "MACs (10⁶)",
            "KiB",
            "what it is",
        ],
        rows,
        1,
        "Paired by seed: each seed has a search of its own.",
        ends_in_words=True,
    )
    figure = dots_figure(values, what=f"test {metric.name}{' (%)' * metric.is_share}", metric=metric)
    picture = Picture(partial(drawn, figure, name), "Every training, and the mean of each arm.")
    return Section(f"At {budget}", result.notes(budget), tables=[table], pictures=[picture])


def _cost_cells(result: PatternComparison, budget: Budget, arm: str) -> list[str]:
    """MACs of the weights that are there, and bytes."""
    costs = result.cost_of(budget, arm)
    return ["–", "–"] if costs is None else [million(costs[0]), f"{costs[1] / 1024:,.0f}"]


def part_of_pattern_guideline(path: Path, name: str) -> Part:
    """A guideline of patterns, in words and as a picture."""
    guideline: PatternGuideline = read_pattern_guideline(path)
    said = [*sentences(guideline), *(f"Note: {note}" for note in guideline.notes)]
    picture = Picture(
        partial(drawn, guideline_figure(guideline), name),
        "Odds of weights to stay, by stage and kernel position.",
    )
    section = Section("What patterns have in common", said, pictures=[picture])
    headline = f"A guideline of single weights, from {len(guideline.sources)} patterns"
    return Part(path.name, "guideline", headline, [section], guideline.model_dump(mode="json"))
