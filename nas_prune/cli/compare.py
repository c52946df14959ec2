"""`nas-prune compare`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from nas_prune.cli.compare_options import CompareOptions
from nas_prune.cli.compare_patterns import compare_of_patterns, is_of_patterns
from nas_prune.cli.examples import examples
from nas_prune.cli.named import run_argument, to_resume
from nas_prune.cli.option_types import (
    COMPARED,
    GUIDELINE,
    NETWORK,
    SEARCH_RUN,
    WIDTHS_FILE,
    WINNER,
    Setup,
    positive,
)
from nas_prune.cli.options import (
    format_option,
    packed,
    refuse_beside,
    refuse_with_resume,
    setup_options,
    target_option,
    was_typed,
    weights_option,
    workers_option,
)
from nas_prune.cli.output import echo, print_json, print_table, showing_progress
from nas_prune.cli.seeds import SEEDS, seeds_option
from nas_prune.cli.suggestions import guidelines

if TYPE_CHECKING:
    from nas_prune.comparison.choosing import Wanted
    from nas_prune.comparison.config import CompareConfig
    from nas_prune.comparison.result import CompareResult
    from nas_prune.comparison.subject import Subject
    from nas_prune.report.content import Table
    from nas_prune.runs.progress import Progress


test_option = click.option(
    "--test",
    type=click.Choice(["moderated", "t", "wilcoxon", "sign-flip"]),
    default="moderated",
    show_default=True,
    help="moderated: t tests, variances by all arms. Paired by seed: t; wilcoxon and sign-flip need more seeds.",
)
_compare_options = packed(
    "asked",
    CompareOptions,
    run_argument("[RUN|FILE]", COMPARED),
    click.option(
        "--budget", help="Which of RUN's widths, if it found several: macs<=50%, written as in the search."
    ),
    click.option("--widths", "widths_file", metavar="FILE", type=WIDTHS_FILE, help="The same as FILE."),
    click.option(
        "--from",
        "source",
        metavar="RUN",
        type=SEARCH_RUN,
        help="With a widths file: the search that found them, if the file is no longer in its directory; arms that "
        "inherit weights need it.",
    ),
    weights_option,
    click.option(
        "--guideline",
        type=GUIDELINE,
        shell_complete=guidelines,
        help="Add the guideline's widths at the same cost: a file, or uniform, erk, …",
    ),
    click.option(
        "--study",
        metavar="RUN",
        type=WINNER,
        help="Add a study's winner: the study's directory after `study rank`, or a widths file.",
    ),
    click.option(
        "--arm",
        "arms",
        multiple=True,
        help="Only this arm and the arm that it is compared with; repeatable. With --resume: add both to the run's.",
    ),
    seeds_option("Number of trainings of each arm; of each search's widths with --searches."),
    click.option(
        "--searches",
        type=click.IntRange(min=1, max=100),
        default=1,
        show_default=True,
        help="Search as often, each time with another seed: what is said then holds for searches, not for one.",
    ),
    click.option(
        "--cap",
        type=click.FloatRange(min=1, max=10_000),
        help="Largest factor on the epochs of Scratch-B; none by default, 4 of patterns.",
    ),
    click.option(
        "--equal-training",
        metavar="N",
        type=click.FloatRange(min=0, min_open=True, max=10_000),
        help="Every training takes as much as N of the whole network, with all that was trained for it before.",
    ),
    test_option,
    target_option,
    click.option(
        "--space", type=NETWORK, help="The network's name, needed if the widths are of a network of your own."
    ),
)


@click.command(
    epilog=examples(
        "nas-prune compare runs/resnet20-slimming-digits-001 --budget 'macs<=50%'",
        "nas-prune compare runs/resnet20-compare-digits-001 --searches 4",
    )
)
@_compare_options
@workers_option
@setup_options()
@format_option
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    asked: CompareOptions,
    workers: int,
    setup: Setup,
    style: str,
) -> None:
    """Is it structure or weights? Train found widths and the networks to compare them with.

    RUN is a search (with --budget, if it found widths at several), a study that was ranked, or a comparison that was
    stopped, to be gone on with (also with more arms, seeds and searches); FILE is a widths file, or a YAML file of a
    search and its comparison, which the same command starts and resumes. The arms are the whole network and the found
    widths: with inherited weights, fine-tuned at a small rate or trained again at a large one; with their first
    weights; and with random weights, for the same epochs (Scratch-E) or the same total MACs (Scratch-B). These two also
    train uniform widths of the same parameters and of the same MACs, random widths, and those of a guideline and a
    study, if given. Only by name: --arm torch-pruning (what it cuts of a trained network, trained on), --arm study-b (a
    study for each seed). Of a search for single weights, every seed has a search of its own, and --budget may be left
    out for all of its budgets.
    """
    if is_of_patterns(asked.named, setup.run):
        compare_of_patterns(context, asked, workers, setup, style)
        return
    typed = _Typed(context, asked, workers, setup)
    with showing_progress() as progress:
        stopped = to_resume(setup.run, [asked.named], "compare")
        if stopped is not None:
            result = typed.resume(stopped, progress)
        else:
            result = typed.run_file(progress) if asked.is_file else typed.compare(progress)
    conclude(context, result, style)


_OF_A_FILE = {
    "weights",
    "named",
    "style",
    "data_name",
    "max_images",
    "epochs",
    "seeds",
    "space",
    "workers",
    "out",
} | {
    *("searches", "device", "threads", "precision", "channels_last", "compiles"),
}


@dataclass(frozen=True, slots=True)
class _Typed:
    """Everything that was typed."""

    context: click.Context
    asked: CompareOptions
    workers: int
    setup: Setup

    def resume(self, run: Path, progress: "Progress") -> "CompareResult":
        """Resume a run, or add to it."""
        from nas_prune.comparison.result import COMPARED, FILE
        from nas_prune.comparison.run import resume_compare

        refuse_with_resume(
            self.context,
            ("seeds", "searches", "arms", "study", "guideline"),
            "Only arms, seeds and searches can be added.",
        )
        return resume_compare(
            run / COMPARED if (run / FILE).is_file() else run,
            seeds=self._typed("seeds"),
            searches=self._typed("searches"),
            wanted=self._wanted(),
            data_name=self.setup.images.data_name,
            space=self.asked.space,
            workers=self.workers,
            progress=progress,
        )

    def run_file(self, progress: "Progress") -> "CompareResult":
        """Search and compare as a file says."""
        from nas_prune.comparison.file import read_compare_file, run_file

        assert self.asked.named is not None
        advice = "Write it into the file."
        refuse_beside(self.context, _OF_A_FILE, "a comparison file holds every setting", advice)
        file = read_compare_file(
            self.asked.named,
            data_name=self.setup.images.data_name,
            max_images=self.setup.images.max_images,
            epochs=positive("--epochs", self.setup.training.epochs),
            seeds=self._typed("seeds"),
            searches=self._typed("searches"),
        )
        return run_file(
            file,
            self.setup.run.out,
            machine=asdict(self.setup.machine),
            weights=self.asked.weights,
            space=self.asked.space,
            workers=self.workers,
            progress=progress,
        )

    def compare(self, progress: "Progress") -> "CompareResult":
        """Compare the widths of a search, or of a widths file."""
        from nas_prune.comparison.run import compare

        subject, weights = self._subject(), self.asked.weights
        search = subject.search
        if weights is not None:
            if search is None:
                raise click.UsageError(
                    "--weights must come with the search that found the widths (RUN, or --from), got none: networks "
                    "that inherit are trained as it trains."
                )
            search = search.model_copy(update={"weights": weights})
        return compare(
            self._config(subject),
            subject.widths,
            self.setup.run.out,
            search=search,
            wanted=self._wanted(),
            space=self.asked.space,
            workers=self.workers,
            progress=progress,
        )

    def _typed(self, name: Literal["seeds", "searches"]) -> int | None:
        return getattr(self.asked, name) if was_typed(self.context, name) else None

    def _subject(self) -> "Subject":
        from nas_prune.comparison.subject import subject_named
        from nas_prune.space.budget import Budget

        asked = self.asked
        named = asked.named or asked.widths_file
        if named is None or None not in (asked.named, asked.widths_file):
            got = "none" if named is None else "a second one with --widths"
            raise click.UsageError(f"RUN must name one search's directory or widths file, got {got}.")
        budget = None if asked.budget is None else Budget.parse(asked.budget)
        return subject_named(named, budget, source=asked.source)

    def _wanted(self) -> "Wanted":
        from nas_prune.comparison.choosing import Wanted
        from nas_prune.comparison.subject import winner_of
        from nas_prune.comparison.winner import study_behind
        from nas_prune.guideline.apply import guideline_named

        name, study = self.asked.guideline, self.asked.study
        guideline = None if name is None else (Path(name).name, guideline_named(name))
        if study is None:
            return Wanted(self.asked.arms, guideline)
        return Wanted(self.asked.arms, guideline, winner_of(study), study_behind(study))

    def _config(self, subject: "Subject") -> "CompareConfig":
        from nas_prune.comparison.config import CompareConfig
        from nas_prune.training.config import images_for
        from nas_prune.training.schedules import recipe_of

        data = images_for(subject.widths, found_on=subject.images, **self.setup.images.chosen)
        recorded = recipe_of(subject.widths) if subject.search is None else subject.search.recipe
        return self.setup.config(
            CompareConfig,
            data,
            self.setup.training.recipe(recorded or data.name),
            cap=self.asked.cap,
            equal_training=self.asked.equal_training,
            seeds=self.asked.seeds,
            searches=self.asked.searches,
            test=self.asked.test,
            data_seed=subject.widths.seed or 0,
            target=self.asked.target or subject.target,
        )


def conclude(context: click.Context, result: "CompareResult", style: str) -> None:
    """Print the result; the exit code is 1 if a training did not finish."""
    from nas_prune.comparison.summary import summary

    page = _write_report(result)
    if style == "json":
        print_json({"run": str(result.run), **summary(result)})
    else:
        show(result)
        echo(f"Report: {page}")
    if result.failed:
        context.exit(1)


def _write_report(result: "CompareResult") -> Path:
    """Write the run, with its own search, as one page next to its numbers."""
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
    from nas_prune.comparison.job import command_for
    from nas_prune.comparison.sentences import sentences
    from nas_prune.report.comparison import arms_table, costs_table, differences_table, how_compared
    from nas_prune.runs.directory import published

    config, widths = result.config, result.widths
    factor = "" if widths.space.width_multiplier == 1 else f" ×{widths.space.width_multiplier:g}"
    method = "" if widths.method is None else f" ({widths.method.words})"
    echo(
        f"{widths.space.name}{factor} at {widths.budget or 'the widths given'}{method} on "
        f"{published(config.data.name)}, {widths.space.input_shape[1]} px: {config.recipe.epochs} epochs, "
        f"{config.seeds} seed{'s' * (config.seeds > 1)}\n"
    )
    print_page_table(arms_table(result))
    differences = differences_table(result)
    if differences.rows:
        echo()
        print_page_table(differences)
        echo(how_compared(result))
        echo()
        for sentence in sentences(result):
            echo(sentence)
    if config.seeds < 2:
        more = f"{command_for(result.run, widths, config.command)} --seeds {SEEDS}"
        echo(f"With one seed nothing can be said of differences. Add others: {more}")
    for note in config.notes:
        echo(f"Note: {note}")
    for why in dict.fromkeys(config.left_out.values()):
        names = ", ".join(name for name, own in config.left_out.items() if own == why)
        echo(f"Left out: {names}: {why.rstrip('.')}.")
    for name, why in result.failed:
        echo(f"Not trained to its end: {name}: {why}")
    echo()
    print_page_table(costs_table(result))
    echo(f"Training MACs spent by this run: {sum(result.training_macs().values()) / 1e12:,.3g} · 10¹²")
    echo(f"Run: {result.run}")


def print_page_table(table: "Table") -> None:
    """Print a table of a report."""
    print_table(table.headings, table.rows, left=table.left)
