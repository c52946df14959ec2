"""How many trainings a command makes of each network, the same in all of them."""

from typing import Any

import click

from nas_prune.cli.options import Decorator

SEEDS = 5
_WHY = "5 in every command: of fewer, mean and spread say little. --seeds 1 is a first look."


def seeds_option(what: str) -> Decorator[Any]:
    """The option for the number of trainings.

    Args:
        what: is trained so often, as a sentence.
    """
    return click.option(
        "--seeds",
        type=click.IntRange(min=1, max=1000),
        default=SEEDS,
        show_default=True,
        help=f"{what} {_WHY}",
    )
