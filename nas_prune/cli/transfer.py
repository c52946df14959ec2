"""`nas-prune transfer`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from nas_prune.cli.compare import conclude, test_option
from nas_prune.cli.examples import examples
from nas_prune.cli.named import refuse_run, run_argument, to_resume
from nas_prune.cli.option_types import GUIDELINE, NETWORK, TRANSFERRED, NetworkOptions, Setup
from nas_prune.cli.options import (
    GUIDELINE_HELP,
    SPACE_HELP,
    budget_option,
    format_option,
    network_options,
    packed,
    refuse_with_resume,
    setup_options,
    was_typed,
    workers_option,
)
from nas_prune.cli.output import showing_progress
from nas_prune.cli.seeds import seeds_option
from nas_prune.cli.suggestions import guidelines

if TYPE_CHECKING:
    from nas_prune.comparison.config import CompareConfig


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Which guideline is applied to which network, and how often that is trained."""

    named: Path | None
    guideline: str | None
    space: str | None
    budget: str | None
    direct: str | None
    schedule: Literal["scratch-e", "scratch-b"]
    cap: float | None
    seeds: int
    test: Literal["moderated", "t", "wilcoxon", "sign-flip"]


_transfer_options = packed(
    "wanted",
    TransferOptions,
    run_argument("[RUN]", TRANSFERRED),
    click.option("--guideline", type=GUIDELINE, shell_complete=guidelines, help=GUIDELINE_HELP),
    click.option("--space", type=NETWORK, help=f"The network to apply it to. {SPACE_HELP}"),
    budget_option,
    click.option(
        "--direct",
        is_flag=False,
        flag_value="slimming",
        metavar="[METHOD]",
        help="Also search on these images, by slimming or the method named, and train the widths found.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["scratch-e", "scratch-b"]),
        default="scratch-e",
        show_default=True,
        help="The same epochs for all, or the same total MACs as the whole network.",
    ),
    click.option(
        "--cap",
        type=click.FloatRange(min=1, max=10_000),
        help="Largest factor on the epochs of scratch-b; none by default.",
    ),
    seeds_option("Number of trainings of each."),
    test_option,
)


@click.command(
    epilog=examples(
        "nas-prune transfer --guideline erk --space vgg19 --budget 'params<=20%'",
        "nas-prune transfer runs/vgg19-transfer-digits-001 --direct --seeds 8",
    )
)
@_transfer_options
@network_options
@workers_option
@setup_options(are_sized=True)
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    wanted: TransferOptions,
    network: NetworkOptions,
    workers: int,
    setup: Setup,
    style: str,
) -> None:
    """Apply a guideline to other images: what does that save, and what does it cost?

    The guideline's widths are trained from random weights. They are compared with uniform widths of the same parameters
    and of the same MACs and, with --direct, with those of a search on these images.

    RUN is a transfer that was stopped, to be gone on with; --seeds and --direct can be added then. A new one needs
    none.
    """
    from nas_prune.comparison.transfer import Target, resume_transfer, transfer
    from nas_prune.guideline.apply import guideline_named
    from nas_prune.space.budget import Budget

    stopped = to_resume(setup.run, [wanted.named], "transfer")
    if stopped is not None:
        refuse_with_resume(context, ("seeds", "direct"), "Only seeds and --direct can be added.")
        with showing_progress() as progress:
            result = resume_transfer(
                stopped,
                seeds=wanted.seeds if was_typed(context, "seeds") else None,
                direct=wanted.direct,
                data_name=setup.images.data_name,
                space=wanted.space,
                workers=workers,
                progress=progress,
            )
    else:
        advice = "A guideline is fitted to searches by `nas-prune guide`, and given with --guideline."
        refuse_run(wanted.named, "transfer", advice)
        guideline = _given("guideline", wanted.guideline, "guideline.yaml")
        target = Target(
            _given("space", wanted.space, "vgg19"),
            Budget.parse(_given("budget", wanted.budget, "'params<=20%'")),
            network.width_multiplier,
            network.groups,
            network.limits,
            network.target,
        )
        with showing_progress() as progress:
            result = transfer(
                _config(wanted, setup),
                target,
                (Path(guideline).name, guideline_named(guideline)),
                setup.run.out,
                direct=wanted.direct,
                workers=workers,
                progress=progress,
            )
    conclude(context, result, style)


def _given(name: str, value: str | None, example: str) -> str:
    if value is None:
        raise click.UsageError(f"--{name} must be given, e.g. --{name} {example}.")
    return value


def _config(wanted: TransferOptions, setup: Setup) -> "CompareConfig":
    from nas_prune.comparison.config import CompareConfig

    return setup.config(
        CompareConfig,
        command="transfer",
        cap=wanted.cap,
        seeds=wanted.seeds,
        test=wanted.test,
        schedule=wanted.schedule,
    )
