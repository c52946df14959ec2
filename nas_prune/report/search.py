"""Searches as parts of a report."""

from functools import partial
from pathlib import Path
from typing import Any

from nas_prune.data.guessing import is_guess
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import drawn
from nas_prune.report.numbers import costs
from nas_prune.report.sections import curves, metric_of, read_result, settings_section, unfinished
from nas_prune.runs.directory import published, read_metrics
from nas_prune.runs.settings import read_config
from nas_prune.search.config import SearchConfig
from nas_prune.space.widths import Widths, read_widths, stage_means
from nas_prune.space.widths_figure import widths_figure
from nas_prune.training.schedules import training_macs


def part_of_search(run: Path, name: str) -> Part:
    """A search, as far as it is done."""
    config, numbers = read_config(run, SearchConfig), read_result(run / "result.json")
    factor = "" if config.width_multiplier == 1 else f" ×{config.width_multiplier:g}"
    headline = f"{config.space}{factor} on {published(config.data.name)}: widths by {config.method_words}"
    found = [read_widths(path) for path in _files(run)]
    said = []
    if numbers is None:
        done = len(read_metrics(run))
        said.append(unfinished(f"{done} of {config.search_recipe.epochs} epochs are done"))
    if is_guess((numbers or {}).get("base", {})):
        said.append(
            "The whole network is hardly better than guessing the largest class: its widths say little."
        )
    sections = [
        Section(
            "Widths found",
            said,
            tables=[_table(found)] if found else [],
            pictures=_pictures(found, f"{name}a"),
        ),
        *_curve(run, f"{name}b", config, numbers),
        *([_spent(found[0], numbers)] if found and numbers else []),
        settings_section(run),
    ]
    return Part(run.name, "search", headline, sections, numbers or {"epochs_done": len(read_metrics(run))})


def _curve(run: Path, name: str, config: SearchConfig, numbers: dict[str, Any] | None) -> list[Section]:
    """How the whole network learned; nothing of a finished search that trained none."""
    pictures = curves({"whole network": [run]}, name, metric_of(config.data, numbers))
    return [Section("Learning curve", pictures=pictures)] if pictures or numbers is None else []


def _files(run: Path) -> list[Path]:
    found = [path for path in sorted((run / "widths").glob("*.json")) if path.stem != "whole"]
    return sorted(found, key=lambda path: -read_widths(path).cost.macs)


def _table(found: list[Widths]) -> Table:
    stages = list(stage_means(found[0]))
    rows = [
        [one.budget or "–", *(f"{share:.2f}" for share in stage_means(one).values()), *costs(one)]
        for one in found
    ]
    headings = [
        "budget",
        *(f"stage {stage}" for stage in stages),
        "MACs (10⁶)",
        "of the whole",
        "parameters (10⁶)",
        "of the whole",
    ]
    return Table(headings, rows, 1, "Stages: share of their channels kept.")


def _pictures(found: list[Widths], name: str) -> list[Picture]:
    if not found:
        return []
    left = set(found[0].left_whole or ())
    columns = [c for c, group in enumerate(found[0].groups) if group.name not in left]
    figure = widths_figure(found, searched=columns or None)
    return [
        Picture(
            partial(drawn, figure, name), "Keep ratio of every searched channel group, in order of depth."
        )
    ]


def _spent(one: Widths, numbers: dict[str, object]) -> Section:
    data, epochs = one.data, numbers["epochs"]
    if not isinstance(epochs, int):
        raise TypeError(f"epochs are {epochs}")
    macs = training_macs(one.base_cost.macs, 0 if data is None else data.num_train, epochs)
    rows = [["the whole network", str(epochs), f"{macs / 1e12:,.3f}"]]
    return Section("Training spent", tables=[Table(["what", "epochs", "training MACs (10¹²)"], rows)])
