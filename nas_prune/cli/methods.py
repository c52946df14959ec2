"""`nas-prune methods`."""

import click

from nas_prune.cli.output import format_option, print_json


@click.command()
@format_option
def command(style: str) -> None:
    """Width methods: what each does and needs."""
    from nas_prune.methods import METHODS

    rows = [
        {
            "name": method.name,
            "kind": method.kind(),
            "trains": _TRAINS[method.trains, method.sparsity is not None],
            "summary": method.summary,
            "citation": method.citation,
        }
        for method in METHODS.values()
    ]
    if style == "json":
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['name']:<16}{row['kind']:<12}training: {row['trains']}")
        click.echo(f"    {row['summary']}")
        click.echo(f"    {row['citation']}\n")
    click.echo(
        "automatic: the method decides how many channels each layer keeps; predefined: the same share of each"
    )
    click.echo("(--scope makes the one the other); control: looks at neither weights nor images.")


_TRAINS = {(False, False): "none", (True, False): "as usual", (True, True): "with a pull towards zero"}
