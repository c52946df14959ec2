"""What optuna-dashboard shows besides the trials of a study: a note and figures; nothing if not installed."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from nas_prune.guideline.explain import sentences
from nas_prune.runs.directory import published
from nas_prune.runs.figure import BLUE, VERMILION
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName
from nas_prune.study.context import StudyContext
from nas_prune.study.creation import OneStudy
from nas_prune.study.judges.prepare import JUDGES
from nas_prune.study.spending import said_of, spent
from nas_prune.study.standing import Expected, Known, known_of
from nas_prune.study.study_record import in_words
from nas_prune.training.accuracies import edf, pareto_front

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_GREY = "#999999"
_DIGITS = 4  # behind the point, of what is shown when a point is touched

_PARAMETERS = {
    "shape": "`offset` and `slope` move the widths of a stage and role, in units of the guideline's uncertainty; "
    "`kept` is the share of channels that is left there.",
    "layers": "`keep` is the logarithm of a group's keep ratio before all of them are cut to the budget together.",
}


def show_study(context: StudyContext, one: OneStudy) -> None:
    """Write or renew the note and the figures of a study, as far as the libraries for them are installed."""
    if find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import save_note, save_plotly_graph_object

    trials = one.study.get_trials(deepcopy=False)
    known = known_of(context, one.budgets[-1], trials)
    save_note(one.study, note(context, one, trials, known))
    if find_spec("plotly") is None:
        return
    for name, figure in figures(context, trials, known.expected).items():
        save_plotly_graph_object(one.study, figure, graph_object_id=name)


def note(
    context: StudyContext, one: OneStudy, trials: Sequence[FrozenTrial], known: Known | None = None
) -> str:
    """The study in words, as Markdown.

    Args:
        context: what it is of.
        one: the study.
        trials: its trials.
        known: what these say together; worked out if None.
    """
    config = context.config
    known = known or known_of(context, one.budgets[-1], trials)
    factor = "" if config.width_multiplier == 1 else f" ×{config.width_multiplier:g}"
    bound = " to ".join(map(str, one.budgets))
    what = (
        f"Layer widths of **{config.space}{factor}** on **{published(config.data.name)}** "
        f"({context.data.image_size} px, {len(context.data.train):,} training images) within **{bound}**. "
        f"{_judged_how(context)} No trial exceeds the budget."
    )
    how = f"Sampler {config.sampler}; early stopping: {config.stopping}; seed {config.seed}."
    about = _about_guideline(context)
    lines = [
        f"# {one.name}",
        config.question,
        what,
        how,
        about,
        _PARAMETERS[config.parameters],
        _standing(trials),
        _table_of(known.expected, known.judge),
        _agreed(known),
        _as_list(_spent_on(context, one, trials)),
        _settings(context),
    ]
    return "\n\n".join(line for line in lines if line)


def _judged_how(context: StudyContext) -> str:
    config, images = context.config, f"{len(context.data.val):,} validation images"
    trained = (
        f"trained from random weights for {config.epochs} epochs; its value is the share of {images} that it gets "
        "right"
    )
    if config.judging == SCRATCH:
        return f"Each trial is a network of other widths, {trained}. No trial inherits weights."
    judged = f"judged by **{config.judging}** ({JUDGES[config.judging]})"
    if config.judged is None:
        return f"Each trial is a network of other widths, {judged}; nothing is trained for it."
    return (
        f"Each trial is a network of other widths. The first {config.judged} are {judged}; the others are {trained}. "
        "The attribute `judge` says which; values of the two are not to be compared, so that judged trials "
        "are shown as infeasible, which the best one cannot be. What the judge says leads the rule as far as trainings "
        "confirm it; no trained trial inherits weights."
    )


def _agreed(known: Known) -> str:
    """How well judges rank networks, by the trainings of the study so far; nothing before there are some."""
    if not known.agreements:
        return ""
    return _as_list(["Rank correlation with trainings:", *(own.words for own in known.agreements)])


def _spent_on(context: StudyContext, one: OneStudy, trials: Sequence[FrozenTrial]) -> list[str]:
    """What was spent; of several budgets, on this one, without the judge's network that they share."""
    found = spent(context, {one.name: trials})
    is_all = len(context.config.studies) == 1
    return said_of(context, found if is_all else replace(found, preparing=0), is_all=is_all)


def _settings(context: StudyContext) -> str:
    """What does not change within the study, as a table."""
    rows = [
        f"| {name} | {value.replace('|', '&#124;')} |" for name, value in in_words(context.config).items()
    ]
    return "\n".join(["## Settings", "", "| setting | value |", "|---|---|", *rows])


def _as_list(lines: Sequence[str]) -> str:
    """A head and what belongs to it."""
    return "\n".join([lines[0], "", *(f"- {line.strip()}" for line in lines[1:])])


def _table_of(expected: Sequence[Expected], judge: JudgeName) -> str:
    """What the rule expects, as a table."""
    if not expected:
        return ""
    rows = [
        f"| {own.name} | {100 * own.mean:.2f} | {100 * own.low:.2f} to {100 * own.high:.2f} | {own.words} |"
        for own in expected
    ]
    head = "| network | expected, % | 90 % interval | beside uniform, points |"
    what = "all trials" if judge == SCRATCH else f"all that {judge} said, not of trainings,"
    said = f"What the rule of {what} expects (`rule`: its answer among all widths, tried or not):"
    return "\n".join([said, "", head, "|---|--:|--:|--:|", *rows])


def _about_guideline(context: StudyContext) -> str:
    if context.pattern is None:
        return "No guideline: trials are drawn around uniform widths. Trial 0 is uniform widths."
    said = [f"- {sentence}" for sentence in sentences(context.pattern)]
    head = f"Trial 0 is the guideline `{context.config.guideline}` itself, trial 1 uniform widths."
    return "\n".join([head, "", *said])


def _standing(trials: Sequence[FrozenTrial]) -> str:
    best_ones = record.best_first(trials)
    if not best_ones:
        return ""
    best, judge = best_ones[0], record.main_judge(trials)
    by = "" if judge == SCRATCH else f" by {judge}"
    return (
        f"{record.count_finished(trials)} trials have ended; the best so far is trial {best.number} with "
        f"{record.shown(best)}{by}. Among many trials the best one is partly luck: `nas-prune study rank` "
        "trains the best again with other seeds."
    )


def figures(
    context: StudyContext, trials: Sequence[FrozenTrial], expected: Sequence[Expected] = ()
) -> "dict[str, Figure]":
    """Plotly figures by name: errors, accuracy against each cost, keep ratios, and what the rule expects.

    Of trials by the main judge alone; none before one of them is complete.
    """
    done = [trial for trial in record.of_main_judge(trials) if record.MACS in trial.user_attrs]
    if not done:
        return {}
    judge = record.main_judge(trials)
    value = "validation accuracy (%)" if judge == SCRATCH else f"accuracy by {judge} (%)"
    posterior = {"expected": _expected(expected, value)} if expected else {}
    return posterior | {
        "errors": _errors(done, value),
        "macs": _against(done, record.MACS, 1e6, "MACs (millions)", value),
        "params": _against(done, record.PARAMS, 1e3, "parameters (thousands)", value),
        "kept": _kept(context, done),
    }


def _errors(done: Sequence[FrozenTrial], value: str) -> "Figure":
    from plotly.graph_objects import Figure, Scatter

    errors, shares = edf([_percent(1 - trial.values[0]) for trial in done])
    figure = Figure(
        Scatter(x=errors.tolist(), y=shares.round(_DIGITS).tolist(), mode="lines+markers", line_shape="hv")
    )
    figure.update_traces(line_color=BLUE)
    return _laid_out(
        figure, "Errors of all trials", f"100 - {value}: error e", "share of trials with error ≤ e"
    )


def _expected(expected: Sequence[Expected], value: str) -> "Figure":
    from plotly.graph_objects import Figure, Scatter

    means = [_percent(own.mean) for own in expected]
    above = [_percent(own.high - own.mean) for own in expected]
    figure = Figure(
        Scatter(
            x=[own.name for own in expected],
            y=means,
            mode="markers",
            marker_color=BLUE,
            error_y={"type": "data", "array": above},
        )
    )
    return _laid_out(figure, "What the rule expects, with 90 % intervals", "network", value)


def _against(done: Sequence[FrozenTrial], name: str, unit: float, label: str, value: str) -> "Figure":
    from plotly.graph_objects import Figure, Scatter

    points = sorted(
        (round(trial.user_attrs[name] / unit, _DIGITS), _percent(trial.values[0]), trial.number)
        for trial in done
    )
    costs, accuracies = [cost for cost, _, _ in points], [accuracy for _, accuracy, _ in points]
    front_costs, front_accuracies = pareto_front(costs, accuracies)
    figure = Figure()
    figure.add_trace(
        Scatter(
            x=costs,
            y=accuracies,
            text=[f"trial {number}" for _, _, number in points],
            mode="markers",
            marker_color=_GREY,
            name="trials",
        )
    )
    figure.add_trace(
        Scatter(
            x=front_costs,
            y=front_accuracies,
            mode="lines+markers",
            line_shape="hv",
            line_color=VERMILION,
            name="none is better and cheaper",
        )
    )
    return _laid_out(figure, f"Accuracy against {label.partition(' ')[0]}", label, value)


def _kept(context: StudyContext, done: Sequence[FrozenTrial]) -> "Figure":
    """Keep ratios along the depth: of the guideline, of uniform widths and of the best trial."""
    from plotly.graph_objects import Figure, Scatter

    best = max(done, key=lambda trial: trial.values[0])
    shown = {trial.user_attrs[record.SOURCE]: trial for trial in done if record.SOURCE in trial.user_attrs}
    shown[f"best (trial {best.number})"] = best
    figure = Figure()
    columns = context.space.searched(context.config.groups)
    groups = context.space.groups
    for number, (name, trial) in enumerate(shown.items()):
        widths = record.widths_of(trial) or ()
        ratios = [round(widths[column] / groups[column].size, _DIGITS) for column in columns]
        figure.add_trace(
            Scatter(
                x=[groups[column].name for column in columns],
                y=ratios,
                mode="lines+markers",
                name=name,
                marker_symbol=number,
                line_dash=("solid", "dash", "dot")[number % 3],
                line_color=(BLUE, _GREY, VERMILION)[number % 3],
            )
        )
    return _laid_out(figure, "Keep ratio along the depth", "channel group", "width / base width")


def _percent(share: float) -> float:
    return round(100 * share, _DIGITS)


def _laid_out(figure: "Figure", title: str, x: str, y: str) -> "Figure":
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="none", height=420)
    figure.update_xaxes(automargin=True)
    return figure
