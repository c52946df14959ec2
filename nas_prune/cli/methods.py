"""`nas-prune methods`."""

from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.options import format_option
from nas_prune.cli.output import echo, print_json

if TYPE_CHECKING:
    from nas_prune.search.methods.contract import WidthMethod


@click.command(
    epilog=examples(
        "nas-prune methods",
        "nas-prune methods --format json",
    )
)
@format_option
def command(style: str) -> None:
    """Width methods: what each does and needs."""
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


def _trains(method: "WidthMethod") -> str:
    if method.after_epoch is not None:
        return "as usual, but for what it changes after each epoch"
    return _TRAINS[method.trains, method.sparsity is not None]


_TRAINS = {(False, False): "none", (True, False): "as usual", (True, True): "with a penalty"}
