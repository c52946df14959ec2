"""`nas-prune methods`."""

import click

from nas_prune.cli.output import format_option, print_json, print_table


@click.command()
@format_option
def command(style: str) -> None:
    """Width methods: what each does and needs."""
    from nas_prune.methods import METHODS

    rows = [
        {
            "name": method.name,
            "kind": "automatic" if method.is_automatic else "predefined",
            "summary": method.summary,
            "citation": method.citation,
        }
        for method in METHODS.values()
    ]
    if style == "json":
        print_json(rows)
    else:
        print_table(
            ["method", "kind", "what it does", "published"], [list(row.values()) for row in rows], left=4
        )
