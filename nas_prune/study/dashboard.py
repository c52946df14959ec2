"""What optuna-dashboard shows besides the trials of a study: a note and figures; nothing if not installed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.guideline.explain import sentences
from nas_prune.runs.directory import published
from nas_prune.runs.figure import BLUE, VERMILION
from nas_prune.space.budget import Budget
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, JudgeName, StudyConfig
from nas_prune.study.context import StudyContext
from nas_prune.study.creation import OneStudy
from nas_prune.study.judges.prepare import JUDGES
from nas_prune.study.parameters import is_uniform
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
        f"Layer widths of **{config.space}{factor}**{_on(context)} within **{bound}**. "
        f"{_judged_how(context)} No trial exceeds the budget."
    )
    how = f"Sampler {config.sampler}; early stopping: {config.stopping}; seed {config.seed}."
    about = _about_guideline(context, one.budgets[-1])
    lines = [
        f"# {one.name}",
        config.question,
        what,
        how,
        about,
        _PARAMETERS[config.parameters],
        _standing(trials, config),
        _table_of(known.expected, known.judge, record.metric_of(known.judge, config.metric)),
        _agreed(known),
        _as_list(_spent_on(context, one, trials)),
        _settings(context),
    ]
    return "\n\n".join(line for line in lines if line)


def _on(context: StudyContext) -> str:
    """What networks are trained on, where that is known."""
    if context.config.own is not None:
        return ""
    data = context.data
    return f" on **{published(context.config.data.name)}** ({data.image_size} px, {len(data.train):,} training images)"


def _trained_how(context: StudyContext) -> str:
    config = context.config
    if config.own is None:
        return (
            f"trained from random weights for {config.epochs} epochs; its value is the share of "
            f"{len(context.data.val):,} validation images that it gets right"
        )
    metric, length = config.metric, f" for {config.length_words(config.epochs)}" * config.own.has_epochs
    value = (
        metric.name
        if metric.is_greater_better
        else f"the negative of its {metric.name}, so that more is better"
    )
    unit = "; `training MACs` count one input an epoch"
    return f"trained from random weights by a function of one's own{length}; its value is {value}{unit}"


def _judged_how(context: StudyContext) -> str:
    config, trained = context.config, _trained_how(context)
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


def _table_of(expected: Sequence[Expected], judge: JudgeName, metric: Metric) -> str:
    """What the rule expects, as a table."""
    if not expected:
        return ""
    rows = [
        f"| {own.name} | {metric.bare(metric.score(own.mean))} | {metric.between(own.low, own.high)} "
        f"| {own.words(metric)} |"
        for own in expected
    ]
    head = f"| network | expected{', %' * metric.is_share} | 90 % interval | beside uniform{metric.gain_heading} |"
    what = "all trials" if judge == SCRATCH else f"all that {judge} said, not of trainings,"
    said = f"What the rule of {what} expects (`rule`: its answer among all widths, tried or not):"
    return "\n".join([said, "", head, "|---|--:|--:|--:|", *rows])


def _about_guideline(context: StudyContext, budget: Budget) -> str:
    if context.pattern is None:
        return "No guideline: trials are drawn around uniform widths. Trial 0 is uniform widths."
    said = [f"- {sentence}" for sentence in sentences(context.pattern)]
    head = f"Trial 0 is the guideline `{context.config.guideline}` itself, trial 1 uniform widths."
    if is_uniform(context.parametrised(budget)):
        head = f"The guideline `{context.config.guideline}` gives uniform widths here, which trial 0 is."
    return "\n".join([head, "", *said])


def _standing(trials: Sequence[FrozenTrial], config: StudyConfig) -> str:
    best_ones = record.best_first(trials)
    if not best_ones:
        return ""
    best, judge = best_ones[0], record.main_judge(trials)
    by = "" if judge == SCRATCH else f" by {judge}"
    name = "" if config.own is None else f" {config.metric.name}"
    ranking = "`nas-prune study rank`" if config.own is None else "a ranking"
    return (
        f"{record.count_finished(trials)} trials have ended; the best so far is trial {best.number} with "
        f"{record.shown(best, config.metric)}{by or name}. Among many trials the best one is partly luck: {ranking} "
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
    axis = _Axis.of(record.main_judge(trials), context.config)
    posterior = {"expected": _expected(expected, axis)} if expected else {}
    errors = {"errors": _errors(done, axis.label)} if axis.metric == ACCURACY else {}
    return posterior | {
        **errors,
        "macs": _against(done, record.MACS, 1e6, "MACs (millions)", axis),
        "params": _against(done, record.PARAMS, 1e3, "parameters (thousands)", axis),
        "kept": _kept(context, done),
    }


@dataclass(frozen=True, slots=True)
class _Axis:
    """What scores are drawn along: the metric they are of, and the label."""

    metric: Metric
    label: str

    @classmethod
    def of(cls, judge: JudgeName, config: StudyConfig) -> "_Axis":
        metric = record.metric_of(judge, config.metric)
        if judge == SCRATCH:
            return cls(metric, f"{'validation ' * (config.own is None)}{metric.heading}")
        unit = " (%)" * metric.is_share
        return cls(metric, f"{metric.name} by {judge}{unit}" if judge in record.SHARES else metric.heading)

    def at(self, score: float) -> float:
        return round(self.metric.drawn(score), _DIGITS) if self.metric.is_share else self.metric.drawn(score)


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


def _expected(expected: Sequence[Expected], axis: _Axis) -> "Figure":
    from plotly.graph_objects import Figure, Scatter

    means = [axis.at(own.mean) for own in expected]
    above = [abs(axis.at(own.high - own.mean)) for own in expected]
    figure = Figure(
        Scatter(
            x=[own.name for own in expected],
            y=means,
            mode="markers",
            marker_color=BLUE,
            error_y={"type": "data", "array": above},
        )
    )
    return _laid_out(figure, "What the rule expects, with 90 % intervals", "network", axis.label)


def _against(done: Sequence[FrozenTrial], name: str, unit: float, label: str, axis: _Axis) -> "Figure":
    from plotly.graph_objects import Figure, Scatter

    points = sorted(
        (round(trial.user_attrs[name] / unit, _DIGITS), float(trial.values[0]), trial.number)
        for trial in done
    )
    costs, scores = [cost for cost, _, _ in points], [score for _, score, _ in points]
    front_costs, front = pareto_front(costs, scores)
    figure = Figure()
    figure.add_trace(
        Scatter(
            x=costs,
            y=list(map(axis.at, scores)),
            text=[f"trial {number}" for _, _, number in points],
            mode="markers",
            marker_color=_GREY,
            name="trials",
        )
    )
    figure.add_trace(
        Scatter(
            x=front_costs,
            y=list(map(axis.at, front)),
            mode="lines+markers",
            line_shape="hv",
            line_color=VERMILION,
            name="none is better and cheaper",
        )
    )
    what = "Accuracy" if axis.metric == ACCURACY else axis.metric.name
    return _laid_out(figure, f"{what} against {label.partition(' ')[0]}", label, axis.label)


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
