"""What a comparison is about: widths, the search that found them, and the images that it looked at."""

from dataclasses import dataclass
from pathlib import Path

from nas_prune.comparison.parents import with_weights
from nas_prune.comparison.winner import winner_file
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.runs.settings import read_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.starts import KEPT


@dataclass(frozen=True, slots=True)
class Subject:
    """Widths to be compared.

    Attributes:
        widths: the artefact.
        search: the settings of the search that found them; None where it is not known.
        images: the images of that search, as they can be loaded from here; None where they are not known.
    """

    widths: Widths
    search: SearchConfig | None = None
    images: DataConfig | None = None


def subject_in_run(run: Path, budget: Budget | None = None) -> Subject:
    """The widths that a search found at a budget.

    Args:
        run: the search's directory.
        budget: as it was written; needed where it found several.

    Raises:
        BadInputError: the search has not finished, or the budget is not one of the search's.
    """
    return _with_search(read_widths(_widths_in(run, budget)), run)


def subject_in_file(path: Path, search: Path | None = None) -> Subject:
    """The widths in a file.

    Args:
        path: the file.
        search: the search that found them, if the file is no longer in its directory.

    Raises:
        WidthsError: it is no widths file.
        BadInputError: `search` is not the directory of a search.
    """
    home = search or _home_of(path)
    widths = read_widths(path)
    return Subject(widths) if home is None else _with_search(widths, home)


def winner_of(study: Path) -> Widths:
    """The widths of a study's winner.

    Args:
        study: as in `winner.winner_file`.

    Raises:
        BadInputError: it was not ranked, or has several winners, one for each budget.
    """
    return read_widths(winner_file(study))


def _with_search(widths: Widths, home: Path) -> Subject:
    search = with_weights(read_config(home, SearchConfig), home)
    return Subject(widths, search, search.resolved_from(home, None).data)


def _home_of(path: Path) -> Path | None:
    """The search whose directory a widths file is in; None if there is none."""
    home = path.resolve().parent.parent
    is_in_search = path.resolve().parent.name == "widths" and (home / KEPT).exists()
    return home if is_in_search else None


def _widths_in(run: Path, budget: Budget | None) -> Path:
    found = {path.stem: path for path in sorted((run / "widths").glob("*.json")) if path.stem != "whole"}
    if not found:
        raise BadInputError(f"RUN must be the directory of a finished search, got {run}, without widths.")
    if budget is None and len(found) == 1:
        return next(iter(found.values()))
    stem = None if budget is None else file_stem(budget)
    if stem not in found:
        names = ", ".join(f"'{read_widths(path).budget}'" for path in found.values())
        raise BadInputError(f"--budget must be one of {names}, got {budget or 'none'}.")
    return found[stem]
