"""`nas-prune export`."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import NETWORK, WITH_NETWORK
from nas_prune.cli.output import counted, echo, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.export.result import Exported


@click.command(
    epilog=examples(
        "nas-prune export runs/resnet20-scratch-b-digits-001 --out exported",
        "nas-prune export runs/vgg16-scratch-b-cifar10-001 --to int8-onnx --out small",
    )
)
@click.argument("run", metavar="RUN", type=WITH_NETWORK)
@click.option(
    "--to",
    type=click.Choice(["onnx", "int8-onnx", "pt2", "safetensors"]),
    default="onnx",
    show_default=True,
    help="ONNX; the same with numbers of 8 bits; a program of torch.export; or weights with a model.py that needs "
    "torch alone.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A new directory for the file and its page."
)
@click.option("--fold-norms", "folds_norms", is_flag=True, help="Make batch norms part of the convolutions.")
@click.option(
    "--with-preprocessing",
    is_flag=True,
    help="Let the file take uint8 images, and normalise them itself.",
)
@click.option(
    "--images",
    type=int,
    default=1000,
    show_default=True,
    help="On how many test images of the run's the file is checked before it is kept.",
)
@click.option(
    "--calibration",
    type=int,
    help="From how many training images the ranges of 8-bit numbers are found, by default 256.",
)
@click.option(
    "--threads", type=int, default=1, show_default=True, help="CPU threads that latencies are measured with."
)
@click.option(
    "--data",
    help="The run's images, if they were moved; or images, where RUN is a file that no run is beside.",
)
@click.option("--seed", type=int, help="Which of the run's networks; by default the best by validation.")
@click.option("--space", type=NETWORK, help="The network's name, needed if it is a network of your own.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the result.",
)
def command(
    run: Path,
    out: Path,
    data: str | None,
    seed: int | None,
    space: str | None,
    style: str,
    calibration: int | None,
    **settings: str | bool | int,
) -> None:
    """Write a trained network in a form that other programs run.

    RUN is the directory of a training or a search, or a network.safetensors. The file is loaded again and must say the
    same of the run's test images as the trained network; otherwise nothing is written.
    """
    from nas_prune.runs.directory import check_out

    check_out(out)
    from nas_prune.export.config import ExportConfig
    from nas_prune.export.result import summary
    from nas_prune.export.run import export_network

    asked = {} if calibration is None else {"calibration": calibration}
    config = ExportConfig(**settings, **asked)
    with showing_progress() as progress:
        result = export_network(run, config, out=out, seed=seed, space=space, data=data, progress=progress)
    if style == "json":
        print_json(summary(result))
    else:
        _print(result)
        if (run / "kept.json").is_file():
            echo(
                "This is the whole network, which the search trained. Train the widths that it found, and export that: "
                f"nas-prune train {quote(str(run))}"
            )


def _print(result: "Exported") -> None:
    config, said, metric = result.config, result.agreement, result.agreement.metric
    how = [
        *(["uint8 images"] if config.with_preprocessing else ["normalised images"]),
        *(
            []
            if result.folded is None
            else [f"{result.folded[0]} of {counted(result.folded[1], 'norm')} folded"]
        ),
    ]
    echo(f"{result.what}, as {config.file} ({', '.join(how)})\n")
    rows = [
        [one.what, f"{one.file_bytes / 1e6:.3f} MB", f"{one.median_ms:.3f} ms", f"{one.p95_ms:.3f} ms"]
        for one in result.speeds
    ]
    print_table(["", "file", "median", "95 %"], rows)
    echo(
        f"\nSingle images, {counted(result.speeds[-1].runs, 'run')}, {counted(config.threads, 'thread')}, "
        f"{result.machine}."
    )
    images = f"{counted(said.images, 'test image')} of {said.data}"
    if config.to == "int8-onnx":
        echo(
            f"{metric.title} on {images}: {metric.shown(said.value_before)} before, "
            f"{metric.shown(said.value)} with 8 bits"
            + (f"; {said.differing} are said to be of another class." if said.has_classes else ".")
        )
    else:
        ties = f" but {counted(said.ties, 'tie')}" if said.ties else ""
        same = f"the same class for each{ties}, " if said.has_classes else ""
        echo(
            f"Checked on {images}: {same}scores within {said.largest_difference:.2g} (the largest is "
            f"{said.largest_score:.3g}), {metric.name} {metric.shown(said.value)}."
        )
    echo(f"\nWritten: {result.out} ({', '.join(result.files)})")
