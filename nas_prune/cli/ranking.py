"""What `nas-prune study rank` prints for people."""

from collections.abc import Sequence
from statistics import fmean

from nas_prune.cli.on_target import on_target
from nas_prune.cli.output import count, echo, print_table
from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.study.config import StudyConfig
from nas_prune.study.race import why_ended
from nas_prune.study.rank_result import Candidate, Ranking, notes_on, range_in_full, words_in_full

_NAMED = {"guideline": "the guideline", "uniform": "uniform widths"}
_HEADINGS = (
    "network",
    "P(best)",
    "expected",
    "short: {short} ep. (n)",
    "90 % interval",
    "full: {full} ep. (n)",
    "full, test",
    "MACs",
    "parameters",
)


def print_ranking(ranking: Ranking, config: StudyConfig) -> None:
    """A table of the networks, and what it says."""
    short = f"{ranking.study}: {config.length_words(config.epochs)} from scratch with new seeds"
    full = f", then in full by {ranking.schedule} of {words_in_full(ranking, config)}"
    echo(f"{short}{full * any(one.full for one in ranking.candidates)}\n")
    low, high = range_in_full(ranking, config)
    epochs = {"short": config.epochs, "full": low if low == high else f"{low} to {high}"}
    rows = [_row(one, config.metric) for one in ranking.candidates]
    print_table([one.format(**epochs) for one in _HEADINGS], rows)
    echo(
        f"\n{'Accuracies' if config.metric == ACCURACY else 'Values'} are of validation images where nothing else is "
        "said. The order is that of the short trainings."
    )
    for note in notes_on(ranking, config):
        echo(note)
    by = (
        "the rule of all trials and these short trainings"
        if config.sampler == "rule"
        else "these short trainings, drawn towards their mean as far as the noise of seeds says"
    )
    echo(f"Expected, which orders the networks, and P(best): by {by}.")
    course, spent = ranking.course, ranking.spent
    echo(
        f"The race ended after {course.rounds} round{'s' * (course.rounds > 1)}: "
        f"{why_ended(course.ended, course.bound, course.most)}."
    )
    brief, whole = spent.short / spent.whole_network, spent.full / spent.whole_network
    echo(
        f"Training took {brief + whole:.2f} times the MACs of the whole network trained once in full: "
        f"short {brief:.2f}, full {whole:.2f}."
    )
    echo(f"Rank correlation between short and full training: {ranking.correlation.words}")
    _print_verdict(ranking, config.metric)
    for name, why in ranking.failed:
        echo(f"Not trained to its end: {name}: {why}")
    if ranking.winner.widths.target is not None:
        echo(f"The winner{on_target(ranking.winner.widths)}.")
    echo(f"Widths of the winner, {ranking.winner.name}: {ranking.folder / 'widths.json'}")


def _row(one: Candidate, metric: Metric) -> list[str]:
    def shown(scores: Sequence[float]) -> str:
        return metric.shown(metric.score(fmean(scores)))

    found = one.interval
    spread = "–"
    if found.high > found.low:
        # No accuracy lies beyond these.
        low, high = (max(0, found.low), min(1, found.high)) if metric == ACCURACY else (found.low, found.high)
        spread = metric.between(low, high)
    return [
        one.name,
        f"{one.probability:.2f}",
        shown([one.expected]),
        f"{shown([found.mean])} ({found.n})",
        spread,
        f"{shown(one.full)} ({len(one.full)})" if one.full else "–",
        shown(one.full_test) if one.full_test else "–",
        count(one.widths.cost.macs),
        count(one.widths.cost.params),
    ]


def _print_verdict(ranking: Ranking, metric: Metric) -> None:
    winner = ranking.winner.name
    if winner in ranking.baselines:
        echo(
            f"The winner is {_NAMED[winner]}, which needs no trials: the study has found nothing better."
            if winner == "guideline"
            else "The winner is uniform widths, which need no search: the study has found nothing better."
        )
    for name in ranking.baselines:
        over = f"Gain over just training {_NAMED[name]}"
        has_said = False
        for kind, words in (("full", "full training"), ("full_test", "full, test images")):
            found = ranking.gain(kind, name)  # type: ignore[arg-type]
            if found is not None:
                echo(f"{over}, {words}: {found.words_in(metric)}")
                has_said = True
        drawn = ranking.shrunk(name)
        if drawn is not None:
            echo(f"{over}, shrunk: {drawn.words_in(metric)}")
        elif not has_said and name != winner:
            echo(
                f"{over}: no gain can be told, since nothing was trained in full (`nas-prune study rank` does)."
            )
    if not ranking.baselines:
        echo("What needs no search was not trained to its end: whether the study gains cannot be told.")
