"""`nas-prune apply`."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.on_target import on_target, unaligned_in
from nas_prune.cli.option_types import GUIDELINE, NETWORK, NetworkOptions, ShapeOptions
from nas_prune.cli.options import (
    BUDGET_HELP,
    GUIDELINE_HELP,
    SPACE_HELP,
    format_option,
    network_options,
    shape_options,
)
from nas_prune.cli.output import count, echo, percent, print_json, print_table, showing_progress
from nas_prune.cli.suggestions import guidelines

if TYPE_CHECKING:
    from nas_prune.guideline.apply import Applied
    from nas_prune.space.widths import Widths


@click.command(
    epilog=examples(
        "nas-prune apply --guideline erk --space vgg16 --budget 'params<=30%'",
        "nas-prune apply --guideline guideline.yaml --space vgg19 --out widths.json",
    )
)
@click.option("--guideline", type=GUIDELINE, shell_complete=guidelines, required=True, help=GUIDELINE_HELP)
@click.option("--space", type=NETWORK, required=True, help=SPACE_HELP)
@click.option(
    "--budget",
    help=f"Upper bound on costs: {BUDGET_HELP} Without one, the guideline's ratios are used as they are.",
)
@shape_options
@network_options
@click.option("--out", type=click.Path(path_type=Path), help="File to write the widths to.")
@format_option
def command(
    *,
    guideline: str,
    space: str,
    budget: str | None,
    made_for: ShapeOptions,
    network: NetworkOptions,
    out: Path | None,
    style: str,
) -> None:
    """Give a network the widths that a guideline has for it, at a budget."""
    from nas_prune.guideline.apply import apply_guideline, guideline_named
    from nas_prune.hardware.use import aimed
    from nas_prune.runs.files import check_new
    from nas_prune.runs.settings import library_versions

    if out is not None:
        check_new(out)
    pattern = guideline_named(guideline)
    with showing_progress() as progress:
        found = made_for.load(
            space,
            progress,
            width_multiplier=network.width_multiplier,
            selections=network.groups == "selections",
        )
    limited = aimed(found.limited(network.limits), network.target)
    applied = apply_guideline(pattern, limited, budget, groups=network.groups)
    widths = applied.artefact(Path(guideline).name, versions=library_versions())
    if out is not None:
        widths.write(out)
    if style == "json":
        print_json({"widths": widths.model_dump(mode="json"), "notes": list(applied.notes)})
    else:
        _print(widths, applied, out, made_for.data_name)


def _print(widths: "Widths", applied: "Applied", out: Path | None, data_name: str | None) -> None:
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
    echo(
        f"\n{widths.space.name} at {widths.budget or 'the ratios of the guideline'}: {count(cost.macs)} MACs "
        f"({percent(cost.macs / base.macs)}), {count(cost.params)} parameters ({percent(cost.params / base.params)})"
        f"{on_target(widths)}"
    )
    for note in applied.notes:
        echo(f"Note: {note}")
    if said := unaligned_in(applied.setting.space, [widths]):
        echo(f"Note: {said}")
    if out is not None:
        shape = "×".join(map(str, widths.space.input_shape))
        echo(
            f"Widths: {out}, for {shape} in {widths.space.num_classes} classes.\n"
            f"Next:   nas-prune train {quote(str(out))} --data {quote(data_name or 'folder:PATH')}"
        )
