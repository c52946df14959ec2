"""`nas-prune inspect`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import NETWORK, LimitOptions, ShapeOptions
from nas_prune.cli.options import (
    SPACE_HELP,
    format_option,
    limit_options,
    shape_options,
    width_multiplier_option,
)
from nas_prune.cli.output import count, echo, percent, print_json, print_table, showing_progress
from nas_prune.cli.suggestions import methods

if TYPE_CHECKING:
    from nas_prune.space.search_space import Groups, SearchSpace

_CHOICES: tuple["Groups", ...] = ("inner", "all")


@click.command(
    epilog=examples(
        "nas-prune inspect --space resnet56",
        "nas-prune inspect --space torchvision:mobilenet_v2 --image-size 96",
    )
)
@click.option("--space", type=NETWORK, default="resnet", show_default=True, help=SPACE_HELP)
@shape_options
@width_multiplier_option
@click.option(
    "--groups",
    type=click.Choice(["inner", "all", "selections"]),
    help="Which groups are searched, as in search; by default both inner and all.",
)
@click.option(
    "--method",
    shell_complete=methods,
    default="slimming",
    show_default=True,
    help="The method whose feasible budgets are shown.",
)
@limit_options
@format_option
def command(
    *,
    space: str,
    made_for: ShapeOptions,
    width_multiplier: float,
    groups: "Groups | None",
    method: str,
    limiting: LimitOptions,
    style: str,
) -> None:
    """Channel groups, roles, frozen parts and why, costs, feasible budgets."""
    from nas_prune.hardware.memory import Memory
    from nas_prune.hardware.use import aimed
    from nas_prune.search.methods.registry import method_named

    with showing_progress() as progress:
        found = made_for.load(
            space, progress, width_multiplier=width_multiplier, selections=groups == "selections"
        )
    found = aimed(found.limited(limiting.limits), limiting.target)
    facts = _facts(found, method_named(method).name, _CHOICES if groups is None else (groups,))
    facts["target"] = _target_facts(found, limiting.target)
    memory = found.target_costs["memory"]
    facts["memory_doubts"] = list(memory.doubts) if isinstance(memory, Memory) else []
    if style == "json":
        print_json(facts)
    else:
        _print(found, facts)


def _facts(space: "SearchSpace", method: str, choices: "Sequence[Groups]") -> dict[str, Any]:
    from nas_prune.search.methods.registry import method_named, scorable
    from nas_prune.space.budget import Budget
    from nas_prune.space.cost import fixed_share
    from nas_prune.space.cut import feasible_range, least_cost

    graph = space.graph
    searched = {choice: scorable(space, method_named(method), choice) for choice in choices}
    groups = [
        {
            "name": group.name,
            "width": group.size,
            "stage": group.stage,
            "output_size": list(group.output_size),
            "role": group.role,
            "position": round(group.position, 4),
            "layers": list(group.layers),
        }
        for group in space.groups
    ]
    frozen = [
        {
            "name": group.name,
            "width": group.size,
            "reason": group.frozen,
            "macs_share": fixed_share(graph, number),
        }
        for number, group in enumerate(graph.groups)
        if group.frozen is not None
    ]
    return {
        "space": space.reference.model_dump(mode="json"),
        "floor": space.floor,
        "divisor": space.divisor,
        "left_whole": [space.groups[column].name for column in sorted(space.left_whole)],
        "groups": groups,
        "frozen": frozen,
        "removable_blocks": [space.blocks[column - len(space.groups)].path for column in space.removable()],
        "method": method,
        "base": asdict(space.cost_at(space.base_G)),
        "feasible": {choice: asdict(least_cost(space, columns)) for choice, columns in searched.items()},
        "feasible_channels": {
            choice: feasible_range(space, Budget("channels", 1.0), columns)
            for choice, columns in searched.items()
        },
        "on_target": {
            kind: {
                "whole": space.count(kind, space.base_G),
                **{
                    choice: feasible_range(space, Budget(kind, 1.0), columns)[0]
                    for choice, columns in searched.items()
                },
            }
            for kind in space.target_costs
        },
    }


def _target_facts(space: "SearchSpace", named: str | None) -> dict[str, Any] | None:
    """What a target wants of the groups, and which cannot give it that."""
    if named is None:
        return None
    from nas_prune.hardware.alignment import alignment
    from nas_prune.hardware.target import target_named

    target = target_named(named)
    wanted = alignment(space, target)
    return {
        "name": target.name,
        "description": target.description,
        "steps": {group.name: step for group, step in zip(space.groups, space.multiples_G, strict=True)},
        "whole_only": [
            group.name
            for group, allowed in zip(space.groups, space.allowed_G, strict=True)
            if len(allowed) == 1 and group.size > 1
        ],
        "unaligned": [asdict(one) for one in wanted.unaligned],
    }


def _print_heading(space: "SearchSpace", facts: dict[str, Any]) -> None:
    reference = space.reference
    wide = "" if reference.width_multiplier == 1 else f", widths × {reference.width_multiplier:g}"
    takes = "images" if reference.call.is_plain and len(reference.input_shape) == 3 else "inputs"
    outputs = "1 output" if reference.num_classes == 1 else f"{reference.num_classes} classes"
    gives = f", {outputs}" if space.puts_out == "row" else ""
    echo(f"{reference.name}: {takes} {reference.call}{gives}{wide}")
    if reference.part:
        echo(
            f"Its part {reference.part} alone is searched, called with {space.forward.call}; so are all costs."
        )
    if facts["left_whole"]:
        echo(f"Left whole by --keep: {', '.join(facts['left_whole'])}")
    echo()


def _print(space: "SearchSpace", facts: dict[str, Any]) -> None:
    _print_heading(space, facts)
    target = facts["target"]
    rows = [
        [
            group["name"],
            group["role"],
            str(group["stage"]),
            f"{group['output_size'][0]}×{group['output_size'][1]}",
            f"{group['position']:.2f}",
            str(group["width"]),
            *([] if target is None else [str(target["steps"][group["name"]])]),
            str(len(group["layers"])),
        ]
        for group in facts["groups"]
    ]
    step = [] if target is None else ["step"]
    headings = ["channel group", "role", "stage", "output", "position", "width", *step, "layers"]
    print_table(headings, rows, left=2)
    if target is not None:
        _print_target(target)
    echo("\nFrozen (share: MACs of the layers that read or write the group)")
    print_table(
        ["channel group", "why", "width", "share"],
        [
            [one["name"], one["reason"], str(one["width"]), percent(one["macs_share"], 2)]
            for one in facts["frozen"]
        ],
        left=2,
    )
    blocks = facts["removable_blocks"]
    echo(f"\nResidual blocks that can go as a whole: {', '.join(blocks) or 'none'}")
    _print_costs(space, facts)
    share = 1 - space.cost_at(space.floor_G).macs / facts["base"]["macs"]
    echo(f"\nSearchable share of the MACs, if every group is narrowed to its floor: {percent(share)}.")
    reference = space.reference
    if space.puts_out == "row" and reference.call.is_plain and len(reference.input_shape) == 3:
        echo("Shares depend on the images: --data says which.")


def _print_target(target: dict[str, Any]) -> None:
    echo(f"\nFor {target['name']}: {target['description']}")
    if target["whole_only"]:
        echo(f"Too narrow for a second step, so that they stay whole: {', '.join(target['whole_only'])}")
    if not target["unaligned"]:
        echo("Every group can have widths that it wants.")
        return
    echo("Groups that cannot have a width that it wants, or not only such")
    print_table(
        ["channel group", "why", "width", "step"],
        [[one["group"], one["reason"], str(one["base"]), str(one["step"])] for one in target["unaligned"]],
        left=2,
    )


def _print_costs(space: "SearchSpace", facts: dict[str, Any]) -> None:
    from nas_prune.space.cut import least_share
    from nas_prune.space.quantities import shown

    echo(
        f"\nCosts of one image, and the least that {facts['method']} can reach (every group it searches at its floor)"
    )
    base, least = facts["base"], facts["feasible"]
    rows = [
        [
            kind,
            f"{base[kind]:,}",
            *(f"{count(own[kind])}  ({least_share(own[kind], base[kind])})" for own in least.values()),
        ]
        for kind in ("macs", "params", "activations")
    ]
    channels = [
        f"{low} of {high}  ({least_share(low, high)})" if high else "–"
        for low, high in facts["feasible_channels"].values()
    ]
    of_target = [
        [
            kind,
            shown(kind, own["whole"]),
            *(f"{shown(kind, own[choice])}  ({least_share(own[choice], own['whole'])})" for choice in least),
        ]
        for kind, own in facts["on_target"].items()
    ]
    whole = "whole part" if space.reference.part else "whole network"
    headings = ["cost", whole, *(f"--groups {choice}" for choice in least)]
    print_table(headings, [*rows, ["channels", "", *channels], *of_target])
    for doubt in facts["memory_doubts"]:
        echo(f"Memory may be off: {doubt}")
