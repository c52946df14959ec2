"""How many trainings a command makes of each network."""

from typing import Any

import click

from nas_prune.cli.options import Decorator

SEEDS = 5
_WHY = "5 wherever networks are compared: of fewer, mean and spread say little. --seeds 1 is a first look."


def seeds_option(what: str, *, default: int = SEEDS, why: str = _WHY) -> Decorator[Any]:
    """The option for the number of trainings.

    Args:
        what: is trained so often, as a sentence.
        default: how often.
        why: the reason for that, as a sentence.
    """
    return click.option(
        "--seeds",
        type=click.IntRange(min=1, max=1000),
        default=default,
        show_default=True,
        help=f"{what} {why}",
    )
