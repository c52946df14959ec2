"""`nas-prune spaces`."""

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.options import format_option
from nas_prune.cli.output import print_json, print_table


@click.command(
    epilog=examples(
        "nas-prune spaces",
        "nas-prune spaces --format json",
    )
)
@format_option
def command(style: str) -> None:
    """What can be searched."""
    from nas_prune.space.names import known_spaces
    from nas_prune.space.networks import torchvision_names

    rows = [
        {"name": name, "aliases": list(file.aliases), "description": file.description}
        for name, file in known_spaces().items()
    ]
    classifiers, segmenters = torchvision_names()
    rows += [
        {
            "name": f"torchvision:{name}",
            "aliases": [],
            "description": f"torchvision's {what}, without weights",
        }
        for names, what in ((classifiers, "classification network"), (segmenters, "segmentation network"))
        for name in names
    ]
    rows += [
        {
            "name": "timm:NAME",
            "aliases": [],
            "description": "any image network of timm (pip install 'nas-prune[timm]')",
        },
        {
            "name": "package.module:factory",
            "aliases": [],
            "description": "your own: a function or class that makes a torch.nn.Module; if it takes num_classes, "
            "in_channels or image_size, it gets them",
        },
    ]
    if style == "json":
        print_json(rows)
    else:
        cells = [[str(row["name"]), ", ".join(row["aliases"]), str(row["description"])] for row in rows]
        print_table(["space", "also", "network"], cells, left=3)
