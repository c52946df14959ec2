"""`nas-prune spaces`."""

import click

from nas_prune.cli.output import format_option, print_json, print_table


@click.command()
@format_option
def command(style: str) -> None:
    """What can be searched."""
    from nas_prune.space import TORCHVISION, known_spaces

    rows = [
        {"name": name, "aliases": list(file.aliases), "description": file.description}
        for name, file in known_spaces().items()
    ]
    rows += [
        {
            "name": f"torchvision:{name}",
            "aliases": [],
            "description": f"{name} as torchvision has it, without weights",
        }
        for name in TORCHVISION
    ]
    if style == "json":
        print_json(rows)
    else:
        cells = [[str(row["name"]), ", ".join(row["aliases"]), str(row["description"])] for row in rows]
        print_table(["space", "also", "network"], cells, left=3)
