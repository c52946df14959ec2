"""`nas-prune report`."""

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
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
    from nas_prune.runs.files import write_whole

    endings = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}
    style = style or ("html" if out is None else endings.get(out.suffix, "html"))
    if out is None and style == "html":
        raise click.UsageError("--out must name the file to write, e.g. --out report.html.")
    if out is not None and out.exists() and not force:
        raise click.UsageError(
            f"--out must be a new file, got {out}, which exists. Add --force to replace it."
        )
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"--out must be in a directory that exists, got {out}.")
    with showing_progress() as progress, progress.waiting("drawing"):
        parts = read_parts(runs, storage=storage)
        text = {"html": as_html, "md": as_markdown, "json": as_json}[style](parts, title=title)
    if out is None:
        click.echo(text, nl=False)
        return
    write_whole(out, text)
    echo(f"Report: {out} ({len(text.encode()) / 1e6:.1f} MB, {len(parts)} run{'s' * (len(parts) > 1)})")
