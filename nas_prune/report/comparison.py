"""Comparisons and transfers as parts of a report: a table in the paper's form, and what it shows."""

from dataclasses import replace
from functools import partial
from math import isnan
from pathlib import Path

from nas_prune.comparison.arms import OWN_EACH, SEEDS_OF_A_SEARCH, path_of
from nas_prune.comparison.costs import arm_costs
from nas_prune.comparison.result import CompareResult, read_comparison
from nas_prune.comparison.sentences import sentences
from nas_prune.comparison.statistics import LEVEL, TestName
from nas_prune.comparison.summary import summary
from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import dots_figure, drawn
from nas_prune.report.numbers import costs, mean_words, million, name_of
from nas_prune.report.sections import curves, settings_section, unfinished
from nas_prune.runs.colours import MARKERS, Look
from nas_prune.runs.directory import published
from nas_prune.runs.figure import BLACK, BLUE, GREEN, SKY_BLUE, VERMILION
from nas_prune.space.widths import Widths, read_widths
from nas_prune.space.widths_figure import look_of, widths_figure


def part_of_comparison(run: Path, name: str) -> Part:
    """A comparison, or a transfer, as far as it is done."""
    result = read_comparison(run)
    config, widths = result.config, result.widths
    asked = "structure or weights?" if config.command == "compare" else "a guideline carried over"
    headline = (
        f"{name_of(widths)} at {widths.budget or 'the widths given'} on {published(config.data.name)}, "
        f"{widths.space.input_shape[1]} px: {asked}"
    )
    wanted = sum(len(seeds) for arm in config.chosen for seeds in config.seeds_of(arm))
    done = sum(map(len, result.arms.values()))
    said = [] if done == wanted else [unfinished(f"{done} of {wanted} trainings are done")]
    said += sentences(result)
    said += [f"Left out: {arm}: {why.rstrip('.')}." for arm, why in config.left_out.items()]
    said += [f"Not trained to its end: {training}: {why}" for training, why in result.failed]
    said += [f"Note: {note}" for note in config.notes]
    trained = {
        arm.name: [
            run / "arms" / arm.name / f"seed-{seed}" for seeds in config.seeds_of(arm) for seed in seeds
        ]
        for arm in config.chosen
    }
    sections = [
        Section("What the arms give", said, tables=[arms_table(result)], pictures=_dots(result, f"{name}a")),
        Section("Differences", [how_compared(result)], tables=[differences_table(result)]),
        Section("Widths", tables=[_widths(result)], pictures=[_drawn_widths(result, f"{name}b")]),
        Section("Learning curves", pictures=curves(trained, f"{name}c", result.metric)),
        Section("What each arm takes", tables=[costs_table(result)]),
        Section("Training spent by this run", tables=[_spent(result)]),
        settings_section(run),
    ]
    return Part(run.name, config.command, headline, sections, summary(result))


def arms_table(result: CompareResult) -> Table:
    """Each arm with its costs and accuracies."""
    rows, metric = [], result.metric
    unit, what = " (%)" * metric.is_share, "" if metric == ACCURACY else f" {metric.name}"
    for arm in result.config.chosen:
        own = result.arms.get(arm.name, ())
        if not own:
            rows.append([arm.name, arm.words, "–", "–", "–", "–", "–", "0"])
            continue
        n, epochs = len(own), [one.epochs for one in own]
        rows.append(
            [
                arm.name,
                arm.words,
                " to ".join(str(end) for end in sorted({min(epochs), max(epochs)})),
                million(sum(one.macs for one in own) / n),
                million(sum(one.params for one in own) / n),
                metric.bare(sum(metric.score(one.val_score) for one in own) / n),
                mean_words([metric.score(one.test_score) for one in own], metric),
                str(n),
            ]
        )
    headings = [
        "arm",
        "what",
        "epochs",
        "MACs (10⁶)",
        "parameters (10⁶)",
        f"validation{what}{unit}",
        f"test{what}{unit}",
        "seeds",
    ]
    over = "seeds and searches" if result.config.searches > 1 else "seeds"
    caption = (
        f"{metric.title} {result.config.recipe.of_which_epoch}: mean, and for test images ± standard deviation over "
        f"{over}. Nothing is chosen on test images."
    )
    return Table(headings, rows, 2, caption)


_MODERATED = (
    "unpaired t tests, each arm's variance moderated by those of all arms of fixed widths (Smyth 2004)"
)
_TESTS: dict[TestName, tuple[str, str]] = {  # what stands above the p values, and what it is
    "moderated": (
        "moderated t",
        f"{_MODERATED}, but random widths have their own",
    ),
    "t": ("paired t", "Student's t test, paired by seed"),
    "wilcoxon": ("signed ranks", "Wilcoxon's signed ranks, paired by seed"),
    "sign-flip": ("sign flips", "sign flips, paired by seed"),
}


def how_compared(result: CompareResult) -> str:
    """What the numbers in the table of differences are."""
    config = result.config
    several = (
        f" Searches are a random effect: the {config.searches} searches' means are the units, and arms that train the "
        "same widths are compared search by search, by a paired t test that is not moderated."
        if config.searches > 1
        else ""
    )
    what = f"test {result.metric.name}{' in points' * result.metric.is_share}"
    better = "" if result.metric.is_greater_better else "above zero where the arm is better, "
    own = "" if config.test == "moderated" else " Intervals are Student's, each for itself."
    return (
        f"Differences of {what}, {better}arm minus the arm it is compared with. p by "
        f"{_TESTS[config.test][1]}; Holm's correction over all comparisons planned, at {100 * LEVEL:.0f} %."
        f"{several}{own} Detectable: a true difference of this size would be called one by this test in four of five "
        "repeats of this comparison."
    )


def differences_table(result: CompareResult) -> Table:
    """Each arm and the one it is compared with."""

    def shown(value: float, digits: str) -> str:
        return "–" if isnan(value) else format(value, digits)

    is_paired, metric = result.config.test != "moderated", result.metric
    rows = [
        [
            name,
            one.beside,
            metric.difference(one.contrast.difference),
            "–"
            if isnan(one.contrast.low)
            else f"{metric.difference(one.contrast.low)} to {metric.difference(one.contrast.high)}",
            shown(one.contrast.p_value, ".2g"),
            shown(one.holm, ".2g"),
            _detectable(one.detectable, metric),
            str(one.contrast.n) if is_paired else f"{one.contrast.n}, {one.contrast.n_beside}",
            one.verdict,
        ]
        for name, one in result.compared().items()
    ]
    headings = [
        "arm",
        "beside",
        "points" if metric.is_share else f"{metric.name}{metric.gain_heading}",
        "95 % interval",
        f"p ({_TESTS[result.config.test][0]})",
        "p (Holm)",
        "detectable",
        "pairs" if is_paired else "n, beside",
        "arm is",
    ]
    return Table(headings, rows, 2, ends_in_words=True)


def _detectable(value: float, metric: Metric) -> str:
    if isnan(value):
        return "–"
    return "> 100" if metric.is_share and value > 1 else metric.bare(value)


def _dots(result: CompareResult, name: str) -> list[Picture]:
    metric = result.metric
    values = {arm: [metric.score(one.test_score) for one in own] for arm, own in result.arms.items() if own}
    if not values:
        return []
    asked = next((arm.name for arm in result.config.chosen if arm.beside is None), None)
    known = values.get(asked or "", [])
    middle = sum(known) / len(known) if known else None
    figure = dots_figure(values, what=f"test {metric.heading}", reference=middle, metric=metric)
    line = f", the dashed line is the mean of {asked}" if known else ""
    return [
        Picture(partial(drawn, figure, name), f"Test {metric.name} of every training; bars are means{line}.")
    ]


_OF_ONE_SEED = ("random", *OWN_EACH)  # whose widths differ from seed to seed


def _shown_widths(result: CompareResult) -> dict[str, Path]:
    """The files of widths that arms have for all of their seeds."""
    others = ("whole", *_OF_ONE_SEED)
    kinds = dict.fromkeys(arm.kind for arm in result.config.chosen if arm.kind not in others)
    paths: dict[str, Path] = {}
    for kind in kinds:
        for search in range(result.config.searches if kind == "found" else 1):
            name = f"{kind}, search {search + 1}" if kind == "found" and result.config.searches > 1 else kind
            paths[name] = path_of(result.run, kind, SEEDS_OF_A_SEARCH * search)
    return {name: path for name, path in paths.items() if path.exists()}


def _widths(result: CompareResult) -> Table:
    rows = [
        [kind, *costs(one := read_widths(path)), " ".join(map(str, one.vector))]
        for kind, path in _shown_widths(result).items()
    ]
    headings = ["widths", "MACs (10⁶)", "of the whole", "parameters (10⁶)", "of the whole", "by group"]
    left_out = dict.fromkeys(arm.kind for arm in result.config.chosen if arm.kind in _OF_ONE_SEED)
    caption = f"Not shown, since each seed has widths of its own: {', '.join(left_out)}." if left_out else ""
    return Table(headings, rows, caption=caption, ends_in_words=True)


def _drawn_widths(result: CompareResult, name: str) -> Picture:
    found = {kind: read_widths(path) for kind, path in _shown_widths(result).items()}
    left = set(next(iter(found.values())).left_whole or ())
    groups = next(iter(found.values())).groups
    columns = [column for column, group in enumerate(groups) if group.name not in left]
    looks = [_look(kind, number, one) for number, (kind, one) in enumerate(found.items())]
    figure = widths_figure(list(found.values()), names=list(found), searched=columns, looks=looks)
    return Picture(partial(drawn, figure, name), "Keep ratio of every channel group, in order of depth.")


def _look(kind: str, number: int, one: Widths) -> Look:
    """What was found looks as its budget does everywhere; what it is compared with has colours of its own."""
    marker = MARKERS[number % len(MARKERS)]
    if kind.startswith("found"):
        return replace(look_of(one), marker=marker)
    return Look(_COLOURS.get(kind, VERMILION), marker, "--")


# As in pictures of populations, where these are drawn, too.
_COLOURS = {
    "guided": BLUE,
    "guideline": BLUE,
    "direct": GREEN,
    "uniform-params": BLACK,
    "uniform-macs": SKY_BLUE,
    "uniform-target": SKY_BLUE,
    "winner": GREEN,
}


def costs_table(result: CompareResult) -> Table:
    """What each arm takes: its own trainings, and all that had to be trained before."""

    def shown(macs: int | None) -> str:
        return "not known" if macs is None else f"{macs / 1e12:,.3g}"

    rows = [
        [
            name,
            shown(cost.training),
            shown(cost.search),
            shown(cost.all),
            "; ".join(f"{one}" if one.macs is None else f"{one} {shown(one.macs)}" for one in cost.behind)
            or "nothing",
        ]
        for name, cost in arm_costs(result).items()
    ]
    caption = (
        "Training MACs (10¹²), forward and backward; backward counts twice. What arms share is charged to each. "
        "Scoring channels is not counted."
    )
    headings = ["arm", "own trainings (10¹² MACs)", "behind it", "in all", "what is behind it"]
    return Table(headings, rows, 1, caption, ends_in_words=True)


def _spent(result: CompareResult) -> Table:
    spent = result.training_macs()
    rows = [[arm, f"{macs / 1e12:,.3g}"] for arm, macs in spent.items() if macs]
    rows.append(["all", f"{sum(spent.values()) / 1e12:,.3g}"])
    caption = (
        "Forward and backward passes over the training images; backward counts twice. Each training once. parents: "
        "whole networks that arms inherit from; searches: those after the first."
    )
    return Table(["arm", "training MACs (10¹²)"], rows, 1, caption)
