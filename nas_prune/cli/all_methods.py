"""How `nas-prune search --method all` prints what it found."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nas_prune.cli.next_steps import shown_budget, training_of
from nas_prune.cli.output import count, echo, percent, print_json, print_table
from nas_prune.errors import DamagedError

if TYPE_CHECKING:
    from nas_prune.search.all_methods import AllResult


def print_all(result: "AllResult", style: str) -> None:
    """A table for each budget, a row for each method.

    Raises:
        DamagedError: a result was read from a file that holds something else.
    """
    if style == "json":
        names = ("found", "seconds", "left_out")
        print_json({"run": str(result.run), **{name: getattr(result, name) for name in names}})
        return
    try:
        _print_tables(result)
        sure = _sure_method(result)
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise DamagedError(
            f"the results in {result.run} must be those of searches, got something else "
            f"({type(error).__name__}: {error})."
        ) from None
    for name, why in result.left_out.items():
        echo(f"Left out: {name}. {why}")
    echo(f"\nWidths: {result.run / 'METHOD' / 'widths'}")
    budget = str(result.config.budgets[shown_budget(result.config)])
    which = budget if len(result.config.budgets) > 1 else None
    echo(f"Next:   {training_of(result.run / sure, result.config, which)}")
    echo("        trains those of one method; name another METHOD's directory for the others.")


def _sure_method(result: "AllResult") -> str:
    """The first method whose network does not guess; the first, if all do."""
    from nas_prune.data.guessing import is_guess

    sure = [name for name, found in result.found.items() if not is_guess(found["base"])]
    return (sure or list(result.found))[0]


def _print_tables(result: "AllResult") -> None:
    from nas_prune.data.guessing import is_guess
    from nas_prune.data.metric import metric_in

    first = next(iter(result.found.values()))
    metric = metric_in(first)
    for number, budget in enumerate(first["budgets"]):
        rows = {name: found["budgets"][number] for name, found in result.found.items()}
        stages = sorted({stage for row in rows.values() for stage in row["keep_by_stage"]}, key=int)
        echo(f"{first['space']} at {budget['budget']} on {first['data']}, seed {first['seed']}\n")
        headings = ["method", "widths", *(f"stage {stage}" for stage in stages)]
        headings += ["MACs", "", "params", "", f"val. {metric.name}\nafter the cut", "epochs", "time"]
        print_table(headings, [_row(result, name, row, stages) for name, row in rows.items()], left=2)
        echo("")
    echo(
        f"Stages: share of the searched channels kept. {metric.title}: on the validation part, before any further "
        "training."
    )
    guessing = [name for name, found in result.found.items() if is_guess(found["base"])]
    if guessing:
        echo(
            f"Hardly better than guessing the largest class: the networks of {', '.join(guessing)}. Widths found by "
            "them say little; train for more epochs."
        )
    echo(
        "Time: of the search. Methods that train as usual share one trained network; its training counts for the first "
        "of them."
    )


def _row(result: "AllResult", name: str, row: Mapping[str, Any], stages: list[str]) -> list[str]:
    from nas_prune.data.metric import metric_in

    found = result.found[name]
    kept, metric = row["keep_by_stage"], metric_in(found)
    value = row[f"{metric.key('val')}_cut"]
    removed = f", {len(row['removed_blocks'])} blocks gone" if row["removed_blocks"] else ""
    return [
        name,
        found["kind"] + removed,
        *(f"{kept[stage]:.2f}" if stage in kept else "–" for stage in stages),
        count(row["macs"]),
        percent(row["macs"] / found["base"]["macs"]),
        count(row["params"]),
        percent(row["params"] / found["base"]["params"]),
        metric.told(None if value is None else metric.score(value), 1),
        f"{found['epochs']} of {found['epochs_asked']}" if found["epochs_asked"] else "–",
        f"{result.seconds[name]:.1f} s" if name in result.seconds else "–",
    ]
