"""A compression as a part of a report."""

from functools import partial
from pathlib import Path

from nas_prune.compression.config import CompressConfig
from nas_prune.compression.figure import account_figure
from nas_prune.compression.result import Compressed, read_compression
from nas_prune.compression.words import HEADINGS, SUMS, kib, layer_rows, summed_row
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import drawn
from nas_prune.report.sections import curves, metric_of, settings_section, unfinished
from nas_prune.runs.directory import published, read_metrics
from nas_prune.runs.settings import read_config


def part_of_compression(run: Path, name: str) -> Part:
    """A compression, as far as it is done."""
    config, result = read_config(run, CompressConfig), read_compression(run)
    headline = f"{config.source} on {published(config.data.name)}: compressed"
    metric = metric_of(config.data) if result is None else result.measure
    tuning = Section(
        "Learning curve of the shared values", pictures=curves({"tuning": [run]}, f"{name}c", metric)
    )
    if result is None:
        said = [unfinished(f"values were tuned for {len(read_metrics(run))} epochs")]
        return Part(
            run.name, "compress", headline, [Section("Bytes", said), tuning, settings_section(run)], {}
        )
    sections = [
        Section("Bytes", _sentences(result), tables=[_forms(result)], pictures=[_picture(result, name)]),
        Section("By layer", [SUMS], tables=[_layers(result)]),
        tuning,
        settings_section(run),
    ]
    headline = f"{result.space} of {result.source} on {result.data}: {kib(result.account.file_bytes)}"
    return Part(run.name, "compress", headline, sections, result.content())


def _sentences(result: Compressed) -> list[str]:
    account, metric = result.account, result.measure
    steps = ", ".join(f"{one.step} {metric.shown(one.test)}" for one in result.accuracies)
    codes = (
        f"The codes are {100 * account.codes_above_entropy:.2f} % longer than the entropy of their symbols, the file "
        f"{100 * account.above_bound:.2f} % larger than with that: {account.plain_bytes:,} bytes are norms and biases, "
        f"{account.header_bytes:,} the header with the tables of codes."
    )
    return [
        f"Test {metric.name}: {steps}.",
        codes,
        *([f"{result.note[:1].upper()}{result.note[1:]}."] if result.note else []),
    ]


def _forms(result: Compressed) -> Table:
    metric, whole = result.measure, result.account.whole_bytes
    unit = " (%)" * metric.is_share
    rows = [
        [
            form.name,
            f"{form.bytes:,}",
            f"1/{whole / form.bytes:.3g}",
            *("" if value is None else metric.bare(value) for value in (form.val, form.test)),
        ]
        for form in result.forms
    ]
    headings = [
        "as",
        "bytes",
        "of the whole's parameters in 32 bits",
        f"val. {metric.name}{unit}",
        f"test {metric.name}{unit}",
    ]
    return Table(headings, rows, 1)


def _layers(result: Compressed) -> Table:
    headings = [heading.replace("\n", " ") for heading in HEADINGS]
    return Table(headings, [*layer_rows(result.layers), summed_row(result)], 2)


def _picture(result: Compressed, name: str) -> Picture:
    return Picture(
        partial(drawn, account_figure(result), f"{name}a"),
        "Left: bytes of the same network in other forms (blue) and after each step (red), on a logarithmic axis. "
        "Right: what the bits of each layer's weights are for.",
    )
