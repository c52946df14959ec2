"""What `nas-prune study run` prints for people."""

from shlex import quote
from typing import TYPE_CHECKING

from nas_prune.cli.output import count, echo, print_table
from nas_prune.cli.tables import JOINT

if TYPE_CHECKING:
    from nas_prune.study.location import StudyResult

_BEST = 5


def _print_known(result: "StudyResult", name: str) -> None:
    """What all trials say together, beside the best of them, which is partly luck."""
    from nas_prune.study.config import SCRATCH
    from nas_prune.study.trial_record import metric_of

    known = result.known.get(name)
    if known is None:
        return
    metric = metric_of(known.judge, result.config.metric)
    if known.expected:
        rows = [
            [
                own.name,
                metric.shown(metric.score(own.mean)),
                metric.between(own.low, own.high),
                own.words(metric),
            ]
            for own in known.expected
        ]
        what = "all trials" if known.judge == SCRATCH else f"all that {known.judge} said, not of trainings,"
        echo(f"What the rule of {what} expects (rule: its answer among all widths, tried or not)\n")
        print_table(["network", "expected", "90 % interval", f"beside uniform{metric.gain_heading}"], rows)
        echo()
    for agreed in known.agreements:
        echo(f"Rank correlation with trainings: {agreed.words}")
    if known.agreements:
        echo()


def print_study(result: "StudyResult") -> None:
    """The best trials of each Optuna study, what all of them say together, and what to do next.

    Raises:
        BadInputError: no trial has ended, or none has finished.
    """
    from nas_prune.study import trial_record as record
    from nas_prune.study.config import SCRATCH
    from nas_prune.study.doubts import doubts_about
    from nas_prune.study.location import command_for, storage_flag

    for name, trials in result.trials.items():
        against = result.config.against
        best = record.best_first(trials)[:_BEST] if against is None else record.front(trials)
        is_timed = against == "latency"
        ends = record.tally(trials)
        echo(f"{name}: " + ", ".join(f"{number} {fate}" for fate, number in ends.items()) + "\n")
        rows = [
            [
                str(trial.number),
                str(trial.user_attrs.get(record.SOURCE, "")),
                record.shown(trial, result.config.metric),
                count(trial.user_attrs[record.MACS]),
                count(trial.user_attrs[record.PARAMS]),
                *([f"{trial.values[1]:.3g}"] if is_timed else []),
                "  ".join(
                    f"{key.removeprefix('kept ')} {100 * share:.0f}".replace(" ", JOINT)
                    for key, share in trial.user_attrs.items()
                    if key.startswith("kept ")
                ),
            ]
            for trial in best
        ]
        judge = record.main_judge(trials)
        of_trainings = (
            f"val. {result.config.metric.name}" if result.config.own is None else result.config.metric.name
        )
        value = of_trainings if judge == SCRATCH else f"by {judge}"
        timed = ["latency (ms)"] if is_timed else []
        if against is not None:
            echo(f"The best for their {record.AGAINST[against]}, the cheapest first\n")
        print_table(["trial", "source", value, "MACs", "parameters", *timed, "kept (%)"], rows, left=2)
        echo()
        for doubt in doubts_about(trials, result.config):
            echo(f"{doubt}\n")
        _print_known(result, name)
    check_finished(result)
    location = result.location
    if result.rankings:
        from nas_prune.cli.ranking import print_ranking

        for ranking in result.rankings:
            print_ranking(ranking, result.config)
    elif result.config.against is None:
        echo(
            "The best of many is partly luck. Train the best again and in full: "
            f"{command_for(location, 'rank', result.config)}"
        )
    echo(f"Look at all of them: nas-prune dashboard {quote(str(location.run))}{storage_flag(location)}")


def check_finished(result: "StudyResult") -> None:
    """Refuse a study that has nothing to show.

    Raises:
        BadInputError: no trial has ended, or none has finished.
    """
    from nas_prune.errors import BadInputError
    from nas_prune.study import trial_record as record
    from nas_prune.study.location import command_for, storage_flag

    location = result.location
    if not any(record.count_finished(trials) for trials in result.trials.values()):
        raise BadInputError(
            "a study must have time for a trial, got none that has ended. Go on with it: "
            f"{command_for(location, config=result.config)}"
        )
    if not any(record.best_first(trials) for trials in result.trials.values()):
        raise BadInputError(
            "a study must have a trial that has finished, got none; the dashboard shows the reasons: "
            f"nas-prune dashboard {quote(str(location.run))}{storage_flag(location)}"
        )
