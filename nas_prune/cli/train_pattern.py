"""`nas-prune train` of a pattern of single weights."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_prune.cli.option_types import Setup
from nas_prune.cli.output import count, counted, echo, percent

if TYPE_CHECKING:
    from nas_prune.cli.train_options import TrainOptions
    from nas_prune.patterns.pattern import Pattern
    from nas_prune.runs.progress import Progress
    from nas_prune.training.config import TrainConfig
    from nas_prune.training.result import TrainResult


def is_pattern(named: Path | None) -> bool:
    """Whether a run or a file is of single weights."""
    from nas_prune.runs.kinds import kind_of

    return named is not None and kind_of(named) in ("sparsify", "pattern")


def train_of_pattern(
    wanted: "TrainOptions", setup: Setup, workers: int, progress: "Progress"
) -> "TrainResult":
    """Train the network of a pattern, as the typed options say."""
    from nas_prune.patterns.pattern import read_pattern
    from nas_prune.patterns.training import pattern_file, train_pattern
    from nas_prune.space.budget import Budget

    named = wanted.named
    assert named is not None
    for option, value in (("--from", wanted.source), ("--weights", wanted.weights)):
        if value is not None:
            raise click.UsageError(
                f"{option} must come with widths, got it with a pattern, whose search is found beside it."
            )
    if wanted.cap is not None and wanted.schedule != "scratch-b":
        raise click.UsageError(
            f"--cap must come with --schedule scratch-b, got {wanted.schedule}, which has no multiplier."
        )
    budget = None if wanted.budget is None else Budget.parse(wanted.budget)
    if budget is not None and not named.is_dir():
        raise click.UsageError(
            f"--budget must come with a search's directory, got {named}, which has no others."
        )
    path = pattern_file(named, budget)
    return train_pattern(
        _config(wanted, path, read_pattern(path), setup),
        path,
        setup.run.out,
        space=wanted.space,
        draws=wanted.draws,
        workers=workers,
        progress=progress,
    )


def _config(wanted: "TrainOptions", path: Path, pattern: "Pattern", setup: Setup) -> "TrainConfig":
    from nas_prune.patterns.training import images_of, recipe_of
    from nas_prune.training.config import TrainConfig

    data = images_of(pattern, path, **setup.images.chosen)
    recorded = recipe_of(pattern) if setup.training.recipe_name is None else None
    return setup.config(
        TrainConfig,
        data,
        setup.training.recipe(recorded or data.name),
        schedule=wanted.schedule,
        cap=wanted.cap,
        seeds=seeds_past(pattern, wanted.seeds),
        keep_checkpoints=wanted.keep_checkpoints,
        log=wanted.log,
        data_seed=pattern.seed or 0,
        teacher=None if wanted.teacher is None else str(wanted.teacher),
    )


def seeds_past(pattern: "Pattern", count: int) -> tuple[int, ...]:
    """Seeds of trainings, none of which is the search's: its first weights are those that the masks were found on."""
    found = (seed for seed in range(count + 1) if seed != pattern.seed)
    return tuple(islice(found, count))


def print_pattern(result: "TrainResult") -> None:
    """What was trained, before the table of its seeds."""
    from nas_prune.patterns.result import DENSE_KERNELS

    config, widths = result.config, result.widths
    assert config.pattern_macs is not None
    share = config.pattern_macs / widths.base_cost.macs
    capped = ""
    if config.cap is not None and config.multiplier > config.cap:
        capped = f", {config.multiplier:.2f} without the cap of {config.cap:g}"
    echo(
        f"{widths.space.name}, pattern {config.pattern}, {config.schedule}: {counted(config.epochs, 'epoch')} (the "
        f"recipe's {config.recipe.epochs} × {config.epochs / config.recipe.epochs:.2f}{capped}), "
        f"{count(config.pattern_macs)} MACs of non-zeros ({percent(share, 1)})\n{DENSE_KERNELS}\n"
    )
