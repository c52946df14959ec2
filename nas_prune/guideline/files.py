"""The sources that widths files and the directories of runs hold."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nas_prune.data.guessing import is_found_by_guessing
from nas_prune.errors import GuidelineError
from nas_prune.guideline.sources import Source, sources_of
from nas_prune.space.widths import read_widths


def widths_files(paths: Iterable[Path]) -> list[Path]:
    """The widths files that paths name: files themselves, and those of runs.

    Raises:
        GuidelineError: a directory holds none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [
            file
            for pattern in ("widths/*.json", "*/widths/*.json")
            for file in sorted(path.glob(pattern))
            if file.name != "whole.json"
        ]
        if not inside:
            raise GuidelineError(
                f"a run must hold widths/*.json, got {path}. Finish its search, or name a widths file."
            )
        found += inside
    return list(dict.fromkeys(found))


def read_sources(
    paths: Sequence[Path], *, spaces: Sequence[str] = (), with_guesses: bool = False
) -> tuple[list[Source], list[str]]:
    """The sources in some files and runs, and notes about those left out.

    Args:
        paths: widths files and runs.
        spaces: names of networks of your own whose code may be imported.
        with_guesses: whether widths are taken that were found by a network hardly better than guessing.

    Raises:
        GuidelineError, WidthsError: a file cannot be read, or none of them can be used.
    """
    named = widths_files(paths)
    kept = [path for path in named if with_guesses or not is_found_by_guessing(path)]
    left = len(named) - len(kept)
    if left and not kept:
        raise GuidelineError(
            f"widths must be found by a network that is better than guessing, got {left} by ones that are not. Train "
            "them for longer, or add --with-guesses."
        )
    found, notes = sources_of([read_widths(path) for path in kept], names=list(map(str, kept)), spaces=spaces)
    if left:
        notes.insert(
            0, f"{left} of {len(named)} widths left out: their network is hardly better than guessing."
        )
    return found, notes
