"""`nas-prune dashboard`: optuna-dashboard on a study, on this machine alone."""

from pathlib import Path
from typing import Any

import click

from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import STUDY_RUN
from nas_prune.cli.study import storage_option


@click.command(
    epilog=examples(
        "nas-prune dashboard",
        "nas-prune dashboard runs/quickstart --port 8090",
    )
)
@click.argument("study", metavar="[RUN]", type=STUDY_RUN, required=False)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; there is no password, so choose who can reach it.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on."
)
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Another host that browsers open it by, such as a proxy's name or a tunnel's localhost:9000. Requests that "
    "name any other are refused: they may come from another web page. Repeatable.",
)
@storage_option
def command(study: Path | None, host: str, port: int, allowed: tuple[str, ...], storage: str | None) -> None:
    """Watch a study in a browser: RUN is its directory, by default the newest in runs/."""
    from nas_prune.errors import BadInputError
    from nas_prune.study.dashboard_server import serve
    from nas_prune.study.location import StudyLocation

    run = study or _newest()
    if not (run / "config.yaml").exists():
        raise BadInputError(f"a study's directory must hold config.yaml, got {run}.")
    location = StudyLocation(run, storage)
    serve(location, host, port, allow=allowed, say=lambda text: click.echo(text, err=True))


def _newest() -> Path:
    from nas_prune.errors import BadInputError

    found: list[Any] = sorted(Path("runs").glob("*/journal.log"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BadInputError("RUN must name a study's directory, since runs/ holds none with a journal.")
    return Path(found[-1].parent)
