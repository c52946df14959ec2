"""Studies as parts of a report."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from nas_prune.comparison.edf_figure import edfs_figure
from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.guideline.artefact import read_guideline
from nas_prune.guideline.explain import sentences
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import best_so_far_figure, drawn, fronts_figure
from nas_prune.report.numbers import million
from nas_prune.report.sections import read_result, settings_section, unfinished
from nas_prune.runs.directory import published
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, StudyConfig
from nas_prune.study.doubts import doubts_about
from nas_prune.study.location import StudyLocation, read_trials
from nas_prune.study.objective import folder_name
from nas_prune.study.race import why_ended
from nas_prune.study.rank_statistics import Shrunk, gain_among
from nas_prune.study.result import summary

_BEST = 10


def part_of_study(run: Path, name: str, storage: str | None) -> Part:
    """A study, as far as it is done."""
    result = read_trials(StudyLocation(run, storage))
    config = result.config
    factor = "" if config.width_multiplier == 1 else f" ×{config.width_multiplier:g}"
    asked = config.question or "widths sampled by Optuna"
    on = (
        f" on {published(config.data.name)}" if config.own is None else ", trained by a function of one's own"
    )
    headline = f"{config.space}{factor}{on}: {asked}"
    sections: list[Section] = []
    for number, (study, trials) in enumerate(result.trials.items()):
        sections += _of_one(run, config, study, trials, f"{name}s{number}")
    sections += [*_guideline(run), settings_section(run)]
    numbers = {key: value for key, value in summary(result).items() if key != "run"}
    ranked = {
        study: read_result(run / "rank" / folder_name(study) / "result.json") for study in result.trials
    }
    return Part(run.name, "study", headline, sections, {**numbers, "ranked": ranked})


def _of_one(
    run: Path, config: StudyConfig, study: str, trials: Sequence[FrozenTrial], name: str
) -> list[Section]:
    done = [one for one in record.of_main_judge(trials) if record.MACS in one.user_attrs]
    said = []
    ended = record.count_finished(trials)
    if ended < config.trials:
        said.append(unfinished(f"{ended} of {config.trials} trials have ended"))
    ends = ", ".join(f"{count} {fate}" for fate, count in record.tally(trials).items() if count)
    said.append(
        f"Trials: {ends}. The best of many is partly luck; a ranking trains the best again with other seeds."
    )
    said += doubts_about(trials, config)
    budget = " to ".join(map(str, config.studies[study]))
    found = [
        Section(
            f"{study}: trials within {budget}",
            said,
            tables=[_best(done, config)] if done else [],
            pictures=_pictures(done, config, name),
        )
    ]
    ranked = read_result(run / "rank" / folder_name(study) / "result.json")
    if ranked is not None:
        found.append(_ranked(study, ranked, config))
    if config.own is not None:  # on nobody knows how many images
        return found
    spent = record.training_macs(trials)
    rows = [["all trials", f"{spent / 1e12:,.3f}"]]
    return [
        *found,
        Section(f"{study}: training spent", tables=[Table(["what", "training MACs (10¹²)"], rows)]),
    ]


def _best(done: Sequence[FrozenTrial], config: StudyConfig) -> Table:
    judge = record.main_judge(done)
    metric = record.metric_of(judge, config.metric)
    against, is_timed = config.against, config.against == "latency"
    ordered = sorted(done, key=lambda one: -one.values[0])
    first = ordered[:_BEST] if against is None else record.front(done)
    shown = [*first, *(one for one in ordered if record.SOURCE in one.user_attrs and one not in first)]
    rows = [
        [
            str(one.number),
            str(one.user_attrs.get(record.SOURCE, "")),
            metric.bare(metric.score(one.values[0])),
            million(one.user_attrs[record.MACS]),
            million(one.user_attrs[record.PARAMS]),
            *([f"{one.values[1]:.3g}"] if is_timed else []),
            " ".join(map(str, record.widths_of(one) or ())),
        ]
        for one in shown
    ]
    if judge == SCRATCH:
        value = metric.heading if config.own is not None else _heading("validation", metric)
    else:
        value = f"by {judge}{' (%)' * metric.is_share}"
    timed = ["latency (ms)"] if is_timed else []
    headings = ["trial", "what", value, "MACs (10⁶)", "parameters (10⁶)", *timed, "by group"]
    # Side by side, but not to be compared: the best were chosen by these very numbers.
    which = (
        f"best {_BEST}"
        if against is None
        else f"best for their {record.AGAINST[against]}, the cheapest first"
    )
    caption = f"The {which}, by what chose them (luck makes these too high), and what needs no search."
    return Table(headings, rows, 2, caption, ends_in_words=True)


def _pictures(done: Sequence[FrozenTrial], config: StudyConfig, name: str) -> list[Picture]:
    if not done:
        return []
    points = [(one.user_attrs[record.MACS], one.user_attrs[record.PARAMS], one.values[0]) for one in done]
    marked = {
        one.user_attrs[record.SOURCE]: number
        for number, one in enumerate(done)
        if record.SOURCE in one.user_attrs
    }
    judge = record.main_judge(done)
    metric = record.metric_of(judge, config.metric)
    if judge == SCRATCH:
        what = f"Validation {metric.name}" if config.own is None else metric.name
    else:
        what = f"{metric.name} by {judge}"
    fronts = fronts_figure(points, what=what, marked=marked, metric=metric)
    pictures = [Picture(partial(drawn, fronts, f"{name}a"), "Every complete trial on both cost axes.")]
    if config.against is None:
        scores = [one.values[0] for one in sorted(done, key=lambda one: one.number)]
        best = best_so_far_figure(scores, metric=metric)
        said = f"The best {what.replace('Validation', 'validation', 1)} so far, trial by trial."
        pictures.append(Picture(partial(drawn, best, f"{name}c"), said))
    if config.own is None and judge in record.SHARES:
        errors = edfs_figure(
            {"all trials": {"trials": [metric.error(one.values[0]) for one in done]}},
            title="",
            what=f"validation {metric.error_name} e{' (%)' * metric.is_share}",
            metric=metric,
        )
        said = (
            "Share of trials with an error of at most e."
            if metric == ACCURACY
            else f"Share of trials whose {metric.error_name} is at most e."
        )
        pictures.append(Picture(partial(drawn, errors, f"{name}b"), said))
    return pictures


def _heading(part: str, metric: Metric) -> str:
    """Of a column of values on a part of the images; that they are accuracies need not be said."""
    return f"{part} (%)" if metric == ACCURACY else f"{part} {metric.heading}"


def _ranked(study: str, ranked: dict[str, Any], config: StudyConfig) -> Section:
    """A ranking; files of earlier versions have neither a race nor probabilities."""
    is_race, has_test, metric = "race" in ranked, config.own is None, config.metric

    def shown(scores: Sequence[float]) -> str:
        return metric.bare(metric.score(sum(scores) / len(scores))) if scores else "–"

    rows = [
        [
            one["name"],
            *([f"{one['probability']:.2f}"] if is_race else []),
            shown([one["short_mean"]]),
            *([str(len(one["short"]))] if is_race else []),
            shown(one["full"]),
            *([shown(one["full_test"])] if has_test else []),
            str(len(one["full"])),
            million(one["macs"]),
            million(one["params"]),
        ]
        for one in ranked["candidates"]
    ]
    value = _heading("validation", metric) if has_test else metric.heading
    headings = [
        "network",
        *(["P(best)"] if is_race else []),
        f"short, {value}",
        *(["short, n"] if is_race else []),
        f"full, {value}",
        *([f"full, {_heading('test', metric)}"] if has_test else []),
        "full, n",
        "MACs (10⁶)",
        "parameters (10⁶)",
    ]
    caption = (
        f"Ordered by {ranked['short_epochs']} epochs with new seeds; in full by {ranked['schedule']} of "
        f"{ranked['full_epochs']} epochs."
        if config.own is None
        else f"Ordered by {config.length_words(config.epochs)} with new seeds; in full: "
        f"{config.length_words(config.full_epochs)}."
    )
    said = [*_verdict(ranked, config), *ranked.get("notes", []), *(_race(ranked) if is_race else [])]
    return Section(f"{study}: the best trained again", said, tables=[Table(headings, rows, 1, caption)])


def _verdict(ranked: dict[str, Any], config: StudyConfig) -> list[str]:
    """Who wins, and what that gains."""
    winner, centre = ranked["winner"], ranked["centre"]
    needs_none = ", which needs no search: the study has found nothing better" * (winner in record.SOURCES)
    said = [f"Winner: {winner}{needs_none}."]
    # Reckoned here from the accuracies: an earlier version's file holds another rule's answer.
    metric = config.metric
    kind, which = (
        ("full_test", f", test {metric.name}") if config.own is None else ("full", f", {metric.name}")
    )
    values = {one["name"]: one[kind] for one in ranked["candidates"]}
    for name in ranked.get("gains", [] if centre is None else [centre]):
        gain = gain_among(values, winner, name)
        if gain is not None:
            said.append(f"Over just training the {name}{which} in full: {gain.words_in(metric)}.")
        drawn = ranked.get("shrunk", {}).get(name)
        if drawn is not None:
            said.append(f"Over just training the {name}, shrunk: {Shrunk(**drawn).words_in(metric)}.")
    return said


def _race(ranked: dict[str, Any]) -> list[str]:
    """How the race went, and what it took."""
    race, spent = ranked["race"], ranked["training_macs"]
    times = (spent["short"] + spent["full"]) / spent["whole_network"]
    why = why_ended(race["ended"], race["bound"], race["most"])
    return [
        f"The race ended after {race['rounds']} round{'s' * (race['rounds'] > 1)}: {why}.",
        f"Ranking took {times:.2f} times the MACs of the whole network trained once in full.",
    ]


def _guideline(run: Path) -> list[Section]:
    path = run / "guideline.yaml"
    return [Section("The guideline", sentences(read_guideline(path)))] if path.exists() else []
