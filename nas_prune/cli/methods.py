"""`nas-prune methods`."""

from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.options import format_option
from nas_prune.cli.output import echo, print_json

if TYPE_CHECKING:
    from nas_prune.patterns.methods.contract import PatternMethod
    from nas_prune.search.methods.contract import WidthMethod


@click.command(
    epilog=examples(
        "nas-prune methods",
        "nas-prune methods --weights",
    )
)
@click.option(
    "--weights", is_flag=True, help="The methods of `nas-prune sparsify`, which finds single weights."
)
@format_option
def command(style: str, *, weights: bool) -> None:
    """Width methods, or with --weights those for single weights: what each does and needs."""
    if weights:
        _print_of_weights(style)
        return
    from nas_prune.search.methods.registry import REGISTRY

    rows = [
        {
            "name": method.name,
            "kind": method.kind(),
            "trains": _trains(method),
            "summary": method.summary,
            "citation": method.citation,
            "source": REGISTRY.source(name),
        }
        for name, method in REGISTRY.methods.items()
    ]
    for name, why in REGISTRY.failed.items():
        echo(f"nas-prune: method {name} cannot be used: {why}.", err=True)
    if style == "json":
        print_json(rows)
        return
    for row in rows:
        echo(f"{row['name']:<20}{row['kind']:<12}training: {row['trains']}")
        echo(f"    {row['summary']}")
        echo(f"    {row['citation']}")
        echo("" if row["name"] in REGISTRY.builtin else f"    from {row['source']}\n")
    echo(
        "automatic: the method decides how many channels each layer keeps; predefined: the same share of each"
    )
    echo("(--scope changes one to the other); control: looks at neither weights nor images.")


def _print_of_weights(style: str) -> None:
    from nas_prune.patterns.methods.registry import METHODS

    rows = [
        {
            "name": method.name,
            "kind": "control" if method.is_control else "method",
            "trains": _trains_weights(method),
            "scopes": list(method.scopes),
            "summary": method.summary,
            "citation": method.citation,
        }
        for method in METHODS.values()
    ]
    if style == "json":
        print_json(rows)
        return
    for row in rows:
        echo(f"{row['name']:<22}{row['kind']:<10}training: {row['trains']}")
        echo(f"    {row['summary']}")
        echo(f"    {row['citation']}\n")
    echo("control: looks at neither weights nor images.")


def _trains_weights(method: "PatternMethod") -> str:
    if method.rounds:
        return "several rounds"
    return ("as usual" if method.course is None else "changed by the method") if method.trains else "none"


def _trains(method: "WidthMethod") -> str:
    if method.after_epoch is not None:
        return "as usual, but for what it changes after each epoch"
    return _TRAINS[method.trains, method.sparsity is not None]


_TRAINS = {(False, False): "none", (True, False): "as usual", (True, True): "with a penalty"}
