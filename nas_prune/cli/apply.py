"""`nas-prune apply`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_prune.cli.options import SPACE_HELP, narrowing_options
from nas_prune.cli.output import count, format_option, percent, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.guideline.apply import Applied
    from nas_prune.space.search_space import Groups
    from nas_prune.space.widths import Widths


@click.command()
@click.option(
    "--guideline",
    required=True,
    help="A file that `guide` wrote, or uniform, smart-ratio, erk, bottleneck-first.",
)
@click.option("--space", required=True, help=SPACE_HELP)
@click.option(
    "--budget",
    help="Upper bound on a cost: macs<=50%, params<=1.2M, channels<=40%. Without one the "
    "guideline's ratios stand as they are.",
)
@click.option(
    "--image-size", type=int, help="Pixels a side; 32, or what torchvision and timm say, by default."
)
@click.option("--in-channels", type=click.IntRange(1), help="Channels of the images; 3 by default.")
@click.option("--classes", type=int, help="Outputs of the classifier; 10, or the library's own, by default.")
@narrowing_options
@click.option(
    "--divisor", type=click.IntRange(min=1), default=1, show_default=True, help="Widths are multiples of it."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the widths there.")
@format_option
def command(  # noqa: PLR0913  (one for each option)
    *,
    guideline: str,
    space: str,
    budget: str | None,
    image_size: int | None,
    in_channels: int | None,
    classes: int | None,
    width_multiplier: float,
    groups: "Groups",
    divisor: int,
    out: Path | None,
    style: str,
) -> None:
    """Give a network the widths that a guideline has for it, at a budget."""
    from dataclasses import replace

    from nas_prune.guideline.apply import apply_guideline, guideline_named
    from nas_prune.runs.settings import library_versions
    from nas_prune.space.load import load_space
    from nas_prune.space.networks import network_named

    if out is not None and (out.exists() or not out.parent.is_dir()):
        raise click.UsageError(
            f"--out must be a new file in a directory that exists, got {out}. Choose another name."
        )
    pattern = guideline_named(guideline)
    with showing_progress() as progress, progress.waiting("tracing the network"):
        channels, height, width = network_named(space).input_shape
        shape = (in_channels or channels, image_size or height, image_size or width)
        selections = groups == "selections"
        found = load_space(
            space, shape, num_classes=classes, width_multiplier=width_multiplier, selections=selections
        )
    network = replace(found, divisor=divisor)
    applied = apply_guideline(pattern, network, budget, groups=groups)
    widths = applied.artefact(Path(guideline).name, versions=library_versions())
    if out is not None:
        widths.write(out)
    if style == "json":
        print_json({"widths": widths.model_dump(mode="json"), "notes": list(applied.notes)})
    else:
        _print(widths, applied, out)


def _print(widths: "Widths", applied: "Applied", out: Path | None) -> None:
    rows = [
        [
            group.name,
            str(group.stage),
            group.role,
            str(group.base),
            str(group.width),
            f"{group.keep_ratio:.3f}",
        ]
        for group in widths.groups
    ]
    print_table(["group", "stage", "role", "base", "width", "keep ratio"], rows)
    cost, base = widths.cost, widths.base_cost
    click.echo(
        f"\n{widths.space.name} at {widths.budget or 'the ratios of the guideline'}: {count(cost.macs)} MACs "
        f"({percent(cost.macs / base.macs)}), {count(cost.params)} parameters ({percent(cost.params / base.params)})"
    )
    for note in applied.notes:
        click.echo(f"Note: {note}")
    if out is not None:
        click.echo(f"Widths: {out}. Train them: nas-prune train --widths {out}")
