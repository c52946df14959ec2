"""Options that several commands share."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

SPACE_HELP = "A name from `nas-prune spaces`, torchvision:NAME, timm:NAME, or package.module:factory."


def data_options(function: Function) -> Function:
    """Which images, and how much of them."""
    for option in (
        click.option(
            "--stream/--no-stream",
            default=None,
            help="Leave a folder's images in their files and decode them batch by batch; by size if neither is given.",
        ),
        click.option(
            "--max-images", type=int, help="Use this many training images, chosen by seed, class by class."
        ),
        click.option(
            "--data",
            "data_name",
            help="digits (the default), cifar10, cifar100, mnist, fashion-mnist, svhn, or folder:PATH.",
        ),
    ):
        function = option(function)
    return function


def recipe_options(function: Function) -> Function:
    """How networks are trained."""
    for option in (
        click.option("--learning-rate", type=float, help="Largest learning rate; the recipe's by default."),
        click.option("--batch-size", type=int, help="Images in a step; the recipe's by default."),
        click.option("--epochs", type=int, help="Epochs; the recipe's by default."),
        click.option(
            "--recipe",
            "recipe_name",
            help="digits, fast, paper-cifar, tas-cifar, or a .yaml file.",
        ),
    ):
        function = option(function)
    return function


def narrowing_options(function: Function) -> Function:
    """How wide the network is before anything, and which of its groups are narrowed."""
    for option in (
        click.option(
            "--width-multiplier",
            type=float,
            default=1.0,
            show_default=True,
            help="Factor on all widths beforehand.",
        ),
        click.option(
            "--groups",
            type=click.Choice(["inner", "all", "selections"]),
            default="inner",
            show_default=True,
            help="inner leaves residual streams whole; all narrows them too; with selections, layers that read a "
            "stream or a concatenation select channels of it.",
        ),
    ):
        function = option(function)
    return function


def run_options(function: Function) -> Function:
    """Where a run goes and on what it runs."""
    for option in (
        click.option("--compile", "compiles", is_flag=True, help="Use torch.compile."),
        click.option(
            "--channels-last/--no-channels-last",
            default=None,
            help="Lay images out channel by channel for each pixel; by default where the network can take them so.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bf16"]),
            default="auto",
            show_default=True,
            help="auto is bf16 on CUDA devices that have it.",
        ),
        click.option(
            "--threads", type=click.IntRange(min=1), help="CPU threads; by default one for small networks."
        ),
        click.option(
            "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
        ),
        click.option(
            "--resume",
            type=click.Path(path_type=Path),
            help="Go on with a stopped run; its own settings hold. --data may say where images moved, --space that a "
            "network of your own may be imported.",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            help="Directory of the run, new or empty; a free name in runs/.",
        ),
    ):
        function = option(function)
    return function


def workers_option(function: Function) -> Function:
    """How many trainings at once."""
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Trainings at once, each in a process of its own with its share of the threads.",
    )(function)


def machine(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of `run_options` that a configuration holds."""
    return {name: given[name] for name in ("device", "threads", "precision", "channels_last", "compiles")}


def was_typed(context: click.Context, name: str) -> bool:
    """Whether an option was given on the command line."""
    return context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def refuse_beside(context: click.Context, allowed: Collection[str], rule: str, advice: str) -> None:
    """Refuse all that was typed but what is allowed."""
    names = [
        parameter.make_metavar(context) if isinstance(parameter, click.Argument) else parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in allowed and was_typed(context, parameter.name or "")
    ]
    if names:
        raise click.UsageError(f"{rule}, got {', '.join(names)} beside it. {advice}")


def refuse_with_resume(context: click.Context, adding: Collection[str] = (), addable: str = "") -> None:
    """Refuse settings given beside `--resume`, since the run's own would win in silence.

    Args:
        context: of the command.
        adding: options by which something is added to a run.
        addable: what that is, in a sentence.
    """
    allowed = {"resume", "style", "data_name", "space", "spaces", "workers", "is_judged", *adding}
    rule = "go on by the run's own settings" if adding else "stand alone"
    refuse_beside(context, allowed, f"--resume must {rule}", addable or "The run's settings hold.")


def positive(flag: str, value: int | None) -> int | None:
    """The value of a flag that counts something; refused below 1."""
    if value is not None and not 1 <= value <= 100_000:
        raise click.UsageError(f"{flag} must be from 1 to 100,000, got {value}.")
    return value
