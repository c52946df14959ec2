"""The sources that widths files and the directories of runs hold."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nas_prune.data.guessing import is_guess
from nas_prune.errors import GuidelineError
from nas_prune.guideline.sources import Source, sources_of
from nas_prune.runs.directory import RESULT
from nas_prune.runs.reading import read_json
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
    kept, left_out = without_guesses(widths_files(paths), "widths", with_guesses=with_guesses)
    found, notes = sources_of([read_widths(path) for path in kept], names=list(map(str, kept)), spaces=spaces)
    return found, [*left_out, *notes]


def without_guesses(
    files: Sequence[Path], what: str, *, with_guesses: bool = False
) -> tuple[list[Path], list[str]]:
    """The files that were found by a network better than guessing, and a note about those left out, if there are any.

    Args:
        files: of widths or patterns, where their searches wrote them.
        what: what they are of, for people.
        with_guesses: whether all are taken.

    Raises:
        GuidelineError: none is left.
    """
    kept = [path for path in files if with_guesses or not _is_guess(path)]
    left = len(files) - len(kept)
    if left and not kept:
        raise GuidelineError(
            f"{what} must be found by a network that is better than guessing, got {left} by ones that are not. Train "
            "them for longer, or add --with-guesses."
        )
    note = f"{left} of {len(files)} {what} left out: their network is hardly better than guessing."
    return kept, [note] * bool(left)


def _is_guess(path: Path) -> bool:
    """Whether a file lies in a search whose network was hardly better than guessing."""
    try:
        return is_guess(dict(read_json(path.parent.parent / RESULT))["base"])
    # A file by itself, or of an earlier version.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
