"""A study over trainings of somebody's own in words, for those who print it."""

from collections.abc import Sequence
from statistics import fmean

from optuna.trial import FrozenTrial

from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.rank_result import Candidate, Ranking, notes_on

_BEST = 5


def words_of(config: StudyConfig, trials: Sequence[FrozenTrial], ranking: Ranking | None) -> str:
    """What came out: the best, trained again with new seeds; or the best trials, where none was.

    Args:
        config: of the study.
        trials: of the study.
        ranking: of its best; None where there is none.
    """
    ends = ", ".join(f"{count} {fate}" for fate, count in record.tally(trials).items())
    head = f"{config.name}: {ends} within {config.budgets[0]}, by {config.metric.heading}"
    if ranking is None:
        best = record.best_first(trials)[:_BEST]
        return "\n".join(
            [head, *(f"  trial {one.number}: {record.shown(one, config.metric)}" for one in best)]
        )
    gains = [
        f"Over {name} widths, in full: {gain.words_in(config.metric, 'rank(full_seeds=2)')}."
        for name in ranking.baselines
        if (gain := ranking.gain("full", name)) is not None
    ]
    short, full = map(config.length_words, (config.epochs, config.full_epochs))
    head = f"{head}; the best again with new seeds, {short} each, in full {full}:"
    rows = [f"  {_said(one, config)}" for one in ranking.candidates]
    return "\n".join([head, *rows, *gains, *notes_on(ranking, config), f"Winner: {ranking.winner.name}."])


def _said(one: Candidate, config: StudyConfig) -> str:
    """One line on a network."""

    def mean(scores: Sequence[float]) -> str:
        return f"{config.metric.shown(config.metric.score(fmean(scores)))} (n = {len(scores)})"

    full = f", in full {mean(one.full)}" if one.full else ""
    cost = one.widths.cost
    return (
        f"{one.name}: P(best) {one.probability:.2f}, {mean(one.short)}{full}; {cost.macs:,} MACs, "
        f"{cost.params:,} parameters"
    )
