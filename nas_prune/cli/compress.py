"""`nas-prune compress`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.named import run_argument, to_resume
from nas_prune.cli.option_types import (
    NETWORK,
    WITH_NETWORK,
    MachineOptions,
    RunOptions,
)
from nas_prune.cli.options import (
    format_option,
    keep_checkpoints_option,
    log_option,
    machine_options,
    packed,
    refuse_with_resume,
    run_options,
)
from nas_prune.cli.output import counted, echo, percent, print_json, print_table, showing_progress
from nas_prune.runs.text import printable

if TYPE_CHECKING:
    from nas_prune.compression.config import CompressConfig
    from nas_prune.compression.result import Compressed
    from nas_prune.training.event_log import LogName

_MOST_LAYERS = 40  # rows of the table


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """Which network is compressed, and how."""

    named: Path | None
    bits: str | None
    budget: str | None
    epochs: int | None
    learning_rate: float | None
    seed: int | None
    space: str | None
    data_name: str | None
    with_int8: bool
    keep_checkpoints: bool
    log: "LogName | None"


_options = packed(
    "wanted",
    CompressOptions,
    run_argument("[RUN]", WITH_NETWORK),
    click.option(
        "--bits",
        metavar="BITS",
        help="Bits of the indices of shared values, 1 to 10: 5, conv=8,linear=5, or by a layer's name.  [default: "
        "conv=8,linear=5, less in layers of fewer values]",
    ),
    click.option(
        "--budget",
        help="What the file may have, instead of --bits: size<=200KiB, or size<=5% of the whole network's "
        "parameters in 32 bits.",
    ),
    click.option(
        "--epochs",
        type=int,
        help="Epochs for which shared values are tuned; 0 for none.  [default: a quarter of the recipe's]",
    ),
    click.option(
        "--learning-rate",
        type=float,
        help="Rate at which they are tuned, at first; it falls to zero.  [default: a tenth of the recipe's]",
    ),
    click.option("--seed", type=int, help="Which of the run's networks; by default the best by validation."),
    click.option("--space", type=NETWORK, help="The network's name, needed if it is a network of your own."),
    click.option(
        "--data",
        "data_name",
        help="The run's images, if they were moved; or images, where RUN is a file that no run is beside.",
    ),
    click.option(
        "--int8/--no-int8",
        "with_int8",
        default=True,
        help="Quantise the network as `nas-prune export --to int8-onnx` does, too, to compare sizes and accuracies.",
    ),
    keep_checkpoints_option,
    log_option,
)


@click.command(
    epilog=examples(
        "nas-prune compress runs/vgg16-fine-tune-digits-001 --out net.nasp",
        "nas-prune compress runs/vgg16-scratch-b-digits-001 --budget 'size<=200KiB'",
    )
)
@_options
@run_options
@machine_options
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    wanted: CompressOptions,
    run: RunOptions,
    machine: MachineOptions,
    style: str,
) -> None:
    """Write a trained network as few bytes: shared values, gaps between non-zeros, Huffman codes.

    RUN is the directory of a training or a search, or a network.safetensors; or a compression that was stopped. --out
    is a new directory, or a new file NAME.nasp, beside which the directory NAME is made.
    """
    from nas_prune.compression.run import compress, resume_compress

    resume = to_resume(run, [wanted.named], "compress")
    if resume is not None:
        refuse_with_resume(context)
    elif wanted.named is None:
        raise click.UsageError("RUN must be the directory of a training or a search, got none.")
    with showing_progress() as progress:
        if resume is not None:
            result = resume_compress(
                resume, data_name=wanted.data_name, space=wanted.space, progress=progress
            )
        else:
            assert wanted.named is not None
            result = compress(
                wanted.named,
                _config(wanted, machine),
                out=run.out,
                seed=wanted.seed,
                space=wanted.space,
                data=wanted.data_name,
                progress=progress,
            )
    if style == "json":
        print_json({"run": str(result.run), **result.content()})
    else:
        _print(result)


def _config(wanted: CompressOptions, machine: MachineOptions) -> "CompressConfig":
    from nas_prune.compression.config import CompressConfig
    from nas_prune.space.budget import Budget

    return CompressConfig(
        bits=wanted.bits,
        budget=None if wanted.budget is None else Budget.parse(wanted.budget),
        epochs=wanted.epochs,
        learning_rate=wanted.learning_rate,
        with_int8=wanted.with_int8,
        keep_checkpoints=wanted.keep_checkpoints,
        log=wanted.log,
        **asdict(machine),
    )


def _print(result: "Compressed") -> None:
    from nas_prune.compression.place import DECODER
    from nas_prune.compression.result import PICTURE
    from nas_prune.compression.words import HEADINGS, SUMS, kib, layer_rows, summed_row

    account, metric = result.account, result.measure
    at = f" at {result.budget}" if result.budget else ""
    tuned = f"values tuned for {counted(result.epochs, 'epoch')}" if result.epochs else "values not tuned"
    echo(f"{result.space} of {printable(result.source)}{at}, {tuned}\n")
    print_table(HEADINGS, [*layer_rows(result.layers[:_MOST_LAYERS]), summed_row(result)], left=2)
    if len(result.layers) > _MOST_LAYERS:
        echo(f"… and {len(result.layers) - _MOST_LAYERS} more; --format json has all.")
    echo(f"\n{SUMS}\n")
    rows = [
        [
            form.name,
            kib(form.bytes),
            f"1/{account.whole_bytes / form.bytes:.3g}",
            "–" if form.val is None else metric.shown(form.val),
            "–" if form.test is None else metric.shown(form.test),
        ]
        for form in result.forms
    ]
    print_table(
        [
            "as",
            "size",
            "of the whole's\nparameters in 32 bits",
            f"val.\n{metric.name}",
            f"test\n{metric.name}",
        ],
        rows,
    )
    if result.note:
        echo(f"\n{result.note[:1].upper()}{result.note[1:]}")
    steps = [f"{one.step} {metric.shown(one.test)}" for one in result.accuracies]
    echo(f"\nTest {metric.name}: {', '.join(steps)}.")
    echo(
        f"The codes are {percent(account.codes_above_entropy, 2)} longer than the entropy of their symbols, the file "
        f"{percent(account.above_bound, 2)} larger than with that."
    )
    echo(
        f"\nFile:    {result.path}   decoder: {result.path.with_name(DECODER)}   account: {result.run / PICTURE}"
    )
    echo(f"Next:    nas-prune predict {quote(str(result.path))} IMAGES")
