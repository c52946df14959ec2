"""`nas-prune report`."""

from pathlib import Path

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import REPORTED
from nas_prune.errors import BadInputError


@click.command(
    epilog=examples(
        "nas-prune report runs/* --out report.html",
        "nas-prune report runs/resnet20-slimming-digits-001 --format md",
    )
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=REPORTED)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file to write; stdout for md and json if left out."
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["html", "md", "json"]),
    help="Format of the report; by default from the ending of --out, or html.",
)
@click.option("--title", default="nas-prune report", show_default=True, help="Title of the report.")
@click.option(
    "--storage", help="Storage of the studies' trials, if they are not in the studies' directories."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def command(
    *,
    runs: tuple[Path, ...],
    out: Path | None,
    style: str | None,
    title: str,
    storage: str | None,
    force: bool,
) -> None:
    """Write the results of runs as one page that needs no other file.

    RUN is a directory of a search, training, evaluation, study, comparison or transfer, finished or not, or a guideline
    file. The page contains its figures, opens from disk and loads nothing else.
    """
    from nas_prune.cli.output import echo, showing_progress
    from nas_prune.report.read import read_parts
    from nas_prune.report.render import as_html, as_json, as_markdown
    from nas_prune.runs.files import write_new, write_whole

    endings = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}
    style = style or ("html" if out is None else endings.get(out.suffix, "html"))
    if out is None and style == "html":
        raise click.UsageError("--out must name the file to write, e.g. --out report.html.")
    if out is not None:
        _check_out(out, force=force)
    with showing_progress() as progress, progress.waiting("drawing"):
        parts = read_parts(runs, storage=storage)
        text = {"html": as_html, "md": as_markdown, "json": as_json}[style](parts, title=title)
    if out is None:
        click.echo(text, nl=False)
        return
    (write_whole if force else write_new)(out, text)
    echo(f"Report: {out} ({len(text.encode()) / 1e6:.1f} MB, {len(parts)} run{'s' * (len(parts) > 1)})")


def _check_out(out: Path, *, force: bool) -> None:
    """Refuse a file that cannot be written, before any work is done."""
    from nas_prune.runs.files import check_new, is_there

    if not force or not is_there(out):
        try:
            check_new(out)
        except BadInputError as error:
            again = " Add --force to replace it." * is_there(out)
            raise BadInputError(f"{error}{again}") from None
