"""`nas-prune compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.options import (
    data_options,
    machine,
    positive,
    recipe_options,
    refuse_beside,
    refuse_with_resume,
    run_options,
    was_typed,
    workers_option,
)
from nas_prune.cli.output import format_option, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.comparison.choosing import Wanted
    from nas_prune.comparison.config import CompareConfig
    from nas_prune.comparison.result import CompareResult
    from nas_prune.data.config import DataConfig
    from nas_prune.report.content import Table
    from nas_prune.runs.progress import Progress
    from nas_prune.search.config import SearchConfig
    from nas_prune.space.widths import Widths


@click.command()
@click.argument("search", required=False, metavar="[RUN|FILE]", type=click.Path(path_type=Path))
@click.option("--budget", help="Which of RUN's widths, where it found several: macs<=50%, as it was written.")
@click.option(
    "--widths", "widths_file", type=click.Path(path_type=Path), help="A widths file, instead of RUN."
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="With --widths: the search that found them, if they no longer lie in it; arms that inherit weights need it.",
)
@click.option("--guideline", help="Add the guideline's widths at the same cost: a file, or uniform, erk, …")
@click.option(
    "--study",
    type=click.Path(path_type=Path),
    help="Add a study's winner: the study's directory after `study rank`, or a widths file.",
)
@click.option(
    "--arm",
    "arms",
    multiple=True,
    help="Only this arm and what it is compared with; repeatable. With --resume: add it.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Trainings of each arm."
)
@click.option(
    "--cap",
    type=click.FloatRange(min=1, max=10_000),
    help="Largest factor on the epochs of Scratch-B; none by default.",
)
@click.option(
    "--test",
    type=click.Choice(["t", "wilcoxon", "sign-flip"]),
    default="t",
    show_default=True,
    help="Of the paired differences. The other two need more seeds before they can reject anything.",
)
@click.option("--space", help="Needed again where the widths are of a network of your own.")
@workers_option
@data_options
@recipe_options
@run_options
@format_option
@click.pass_context
def command(context: click.Context, /, style: str, resume: Path | None, **given: Any) -> None:
    """Is it structure or weights? Train found widths beside all that they should be compared with.

    RUN is a directory that `nas-prune search` wrote. Arms: the whole network; the widths with inherited weights,
    fine-tuned at a small rate and trained again at a large one; their first weights; and from random weights for the
    same epochs (Scratch-E) and the same total MACs (Scratch-B); under these two also uniform widths of the same
    parameters and of the same MACs, random ones, and, where given, a guideline's and a study's.

    FILE is a YAML file of a search and its comparison, which the same command begins and goes on with.

    With --resume it goes on where it was stopped; arms and seeds may be added then (--arm, --guideline, --study,
    --seeds).
    """
    from nas_prune.comparison.result import COMPARED, FILE
    from nas_prune.comparison.run import resume_compare

    with showing_progress() as progress:
        if resume is not None:
            resume = resume / COMPARED if (resume / FILE).is_file() else resume
            refuse_with_resume(
                context, ("seeds", "arms", "study", "guideline"), "Only arms and seeds can be added."
            )
            result = resume_compare(
                resume,
                seeds=given["seeds"] if was_typed(context, "seeds") else None,
                wanted=_wanted(given),
                data_name=given["data_name"],
                space=given["space"],
                workers=given["workers"],
                progress=progress,
            )
        elif _is_file(given["search"]):
            result = _run_file(context, given, progress)
        else:
            result = _run(given, progress)
    conclude(context, result, style)


_OF_A_FILE = {"search", "style", "data_name", "max_images", "epochs", "seeds", "space", "workers", "out"} | {
    *("device", "threads", "precision", "channels_last", "compiles"),
}


def _is_file(path: Path | None) -> bool:
    return path is not None and path.suffix in (".yaml", ".yml")


def _run_file(context: click.Context, given: dict[str, Any], progress: "Progress") -> "CompareResult":
    """Search and compare as a file says."""
    from nas_prune.comparison.file import read_compare_file, run_file

    refuse_beside(context, _OF_A_FILE, "a comparison file holds every setting", "Write it into the file.")
    file = read_compare_file(
        given["search"],
        data_name=given["data_name"],
        max_images=given["max_images"],
        epochs=positive("--epochs", given["epochs"]),
        seeds=given["seeds"] if was_typed(context, "seeds") else None,
    )
    return run_file(
        file,
        given["out"],
        machine=machine(given),
        space=given["space"],
        workers=given["workers"],
        progress=progress,
    )


def _run(given: dict[str, Any], progress: "Progress") -> "CompareResult":
    """Compare the widths of a search, or of a file."""
    from nas_prune.comparison.run import compare

    widths, search, images = _chosen(given)
    return compare(
        _config(given, widths, search, images),
        widths,
        given["out"],
        search=search,
        wanted=_wanted(given),
        space=given["space"],
        workers=given["workers"],
        progress=progress,
    )


def _chosen(given: dict[str, Any]) -> "tuple[Widths, SearchConfig | None, DataConfig | None]":
    """The widths, the settings of their search, and its images as they are found from here; None where unknown."""
    from nas_prune.runs.directory import from_run
    from nas_prune.runs.settings import read_config
    from nas_prune.search.config import SearchConfig
    from nas_prune.space.widths import read_widths

    run, file = given["search"], given["widths_file"]
    if (run is None) == (file is None):
        raise click.UsageError("name a search's directory, or a widths file with --widths, one of the two.")
    if file is not None and given["budget"] is not None:
        raise click.UsageError("--budget must come with RUN, got --widths, which is one network already.")
    if run is not None and given["source"] is not None:
        raise click.UsageError("--from must come with --widths, got RUN, which is the search itself.")
    path = file or _widths_in(run, given["budget"])
    widths = read_widths(path)
    home = run or given["source"] or _home_of(path)
    if home is None:
        return widths, None, None
    search = read_config(home, SearchConfig)
    return widths, search, search.data.at(from_run(search.data.name, home))


def _home_of(path: Path) -> Path | None:
    """The search that a widths file lies in."""
    home = path.resolve().parent.parent
    is_in_search = path.resolve().parent.name == "widths" and (home / "kept.json").exists()
    return home if is_in_search else None


def _widths_in(run: Path, budget: str | None) -> Path:
    from nas_prune.search.result import file_stem
    from nas_prune.space.budget import Budget
    from nas_prune.space.widths import read_widths

    found = {path.stem: path for path in sorted((run / "widths").glob("*.json")) if path.stem != "whole"}
    if not found:
        raise click.UsageError(f"RUN must be the directory of a finished search, got {run}, without widths.")
    if budget is None and len(found) == 1:
        return next(iter(found.values()))
    stem = None if budget is None else file_stem(Budget.parse(budget))
    if stem not in found:
        names = ", ".join(f"'{read_widths(path).budget}'" for path in found.values())
        raise click.UsageError(f"--budget must be one of {names}, got {budget or 'none'}.")
    return found[stem]


def _wanted(given: dict[str, Any]) -> "Wanted":
    from nas_prune.comparison.choosing import Wanted
    from nas_prune.guideline.apply import guideline_named

    name = given["guideline"]
    guideline = None if name is None else (Path(name).name, guideline_named(name))
    return Wanted(
        tuple(given["arms"]), guideline, None if given["study"] is None else _winner(given["study"])
    )


def _winner(path: Path) -> "Widths":
    from nas_prune.space.widths import read_widths

    if not path.is_dir():
        return read_widths(path)
    found = sorted(path.glob("rank/*/widths.json"))
    if not found:
        raise click.UsageError(
            f"--study must be a study that was ranked, got {path}. Rank it: nas-prune study rank {path}"
        )
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise click.UsageError(f"--study must name one winner, got several in {path}. Name one of {names}.")
    return read_widths(found[0])


def _config(
    given: dict[str, Any], widths: "Widths", search: "SearchConfig | None", images: "DataConfig | None"
) -> "CompareConfig":
    from nas_prune.comparison.config import CompareConfig
    from nas_prune.training.recipe import changed, default_recipe, recipe_named
    from nas_prune.training.schedules import recipe_of

    data = data_for(given, widths, images)
    recorded = search.recipe if search is not None else recipe_of(widths)
    recipe = (
        recipe_named(given["recipe_name"]) if given["recipe_name"] else recorded or default_recipe(data.name)
    )
    return CompareConfig(
        recipe=changed(
            recipe,
            epochs=positive("--epochs", given["epochs"]),
            batch_size=given["batch_size"],
            learning_rate=given["learning_rate"],
        ),
        cap=given["cap"],
        seeds=given["seeds"],
        test=given["test"],
        data=data,
        data_seed=widths.seed or 0,
        **machine(given),
    )


def data_for(given: dict[str, Any], widths: "Widths", images: "DataConfig | None") -> "DataConfig":
    """Which images: those named, or the search's own."""
    from nas_prune.data.config import DataConfig
    from nas_prune.runs.directory import published

    known = widths.data
    name = given["data_name"] or (images.name if images else known.name if known else "digits")
    if images is None and given["data_name"] is None and name.startswith("folder:"):
        raise click.UsageError(f"--data must say where the images are; the widths were found on {name}.")
    found_on = published(images.name) if images else known.name if known else None
    if published(name) != found_on:  # how much of other images is looked at says nothing of these
        images = known = None
    most = given["max_images"]
    if most is None:
        most = images.max_images if images else known.max_images if known else None
    fraction = images.val_fraction if images else known.val_fraction if known else 0.1
    stream = given["stream"] if given["stream"] is not None else images.stream if images else None
    return DataConfig(
        name=name,
        image_size=widths.space.input_shape[1],
        max_images=most,
        val_fraction=fraction,
        stream=stream,
    )


def conclude(context: click.Context, result: "CompareResult", style: str) -> None:
    """Print what came out; the exit code is 1 where something was not trained to its end."""
    from nas_prune.comparison.result import summary

    page = _write_report(result)
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        show(result)
        click.echo(f"Report: {page}")
    if result.failed:
        context.exit(1)


def _write_report(result: "CompareResult") -> Path:
    """Write the run as one page beside its numbers, its own search included."""
    from nas_prune.comparison.result import search_of
    from nas_prune.report.read import read_parts
    from nas_prune.report.render import as_html
    from nas_prune.runs.files import write_whole

    searched = search_of(result.run)
    parts = read_parts([result.run, *([searched] if (searched / "config.yaml").exists() else [])])
    page = result.run / "report.html"
    write_whole(page, as_html(parts, title=parts[0].headline))
    return page


def show(result: "CompareResult") -> None:
    """Print a comparison for people."""
    from nas_prune.comparison.result import sentences
    from nas_prune.report.comparison import arms_table, differences_table, how_compared
    from nas_prune.runs.directory import published

    config, widths = result.config, result.widths
    factor = "" if widths.space.width_multiplier == 1 else f" ×{widths.space.width_multiplier:g}"
    method = "" if widths.method is None else f" ({widths.method.name})"
    click.echo(
        f"{widths.space.name}{factor} at {widths.budget or 'the widths given'}{method} on "
        f"{published(config.data.name)}, {widths.space.input_shape[1]} px: {config.recipe.epochs} epochs, "
        f"{config.seeds} seed{'s' * (config.seeds > 1)}\n"
    )
    print_page_table(arms_table(result))
    differences = differences_table(result)
    if differences.rows:
        click.echo()
        print_page_table(differences)
        click.echo(how_compared(result))
        click.echo()
        for sentence in sentences(result):
            click.echo(sentence)
    if config.seeds < 2:
        click.echo(
            "With one seed nothing can be said of differences: --resume RUN --seeds 5 adds the others."
        )
    for note in config.notes:
        click.echo(f"Note: {note}")
    for why in dict.fromkeys(config.left_out.values()):
        names = ", ".join(name for name, own in config.left_out.items() if own == why)
        click.echo(f"Left out: {names}: {why.rstrip('.')}.")
    for name, why in result.failed:
        click.echo(f"Not trained to its end: {name}: {why}")
    click.echo(f"\nTraining MACs spent: {sum(result.training_macs().values()) / 1e12:,.3g} · 10¹²")
    click.echo(f"Run: {result.run}")


def print_page_table(table: "Table") -> None:
    """Print a table of a report."""
    print_table(table.headings, table.rows, left=table.left)
