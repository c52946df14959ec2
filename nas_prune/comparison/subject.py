"""What a comparison is about: widths, the search that found them, and the images that it looked at."""

from dataclasses import dataclass, replace
from pathlib import Path

from nas_prune.comparison.parents import search_in
from nas_prune.comparison.winner import winner_file
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.hardware.use import target_in
from nas_prune.runs.settings import command_of, read_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths
from nas_prune.study.config import StudyConfig
from nas_prune.training.starts import KEPT


@dataclass(frozen=True, slots=True)
class Subject:
    """Widths to be compared.

    Attributes:
        widths: the artefact.
        search: the settings of the search that found them; None where it is not known.
        images: the images of that search, as they can be loaded from here; None where they are not known.
        home: its directory; None where it is not known.
        target: what the widths are meant for, as it can be read from here; None for no device in particular.
    """

    widths: Widths
    search: SearchConfig | None = None
    images: DataConfig | None = None
    home: Path | None = None
    target: str | None = None


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


def subject_named(named: Path, budget: Budget | None = None, *, source: Path | None = None) -> Subject:
    """The widths that a run or a file stands for.

    Args:
        named: a search's directory, that of a study that was ranked (its winner), or a widths file.
        budget: which of a search's widths; needed where it found several.
        source: the search that found the widths of a file, if the file is no longer in its directory.

    Raises:
        BadInputError: it is none of these, or its widths are not told by what is given.
    """
    kind = command_of(named) if named.is_dir() else None
    if kind == "search":
        if source is not None:
            raise BadInputError(
                f"--from must come with a widths file, got {named}, which is the search itself."
            )
        return subject_in_run(named, budget)
    if budget is not None:
        raise BadInputError(
            f"--budget must come with a search's directory, got {named}, which has no others."
        )
    if kind == "study":
        config = read_config(named, StudyConfig)
        # What a function of one's own trains on is not known.
        images = config.resolved_from(named, None).data if config.own is None else None
        return replace(subject_in_file(winner_file(named, "RUN")), images=images, target=target_in(named))
    if kind is not None:
        raise BadInputError(
            f"RUN must be a search, a study that was ranked, or a widths file, got {named}, of nas-prune {kind}."
        )
    return subject_in_file(named, source)


def winner_of(study: Path) -> Widths:
    """The widths of a study's winner.

    Args:
        study: as in `winner.winner_file`.

    Raises:
        BadInputError: it was not ranked, or has several winners, one for each budget.
    """
    return read_widths(winner_file(study))


def _with_search(widths: Widths, home: Path) -> Subject:
    search = search_in(home)
    return Subject(widths, search, search.resolved_from(home, None).data, home, search.target)


def _home_of(path: Path) -> Path | None:
    """The search whose directory a widths file is in; None if there is none."""
    home = path.resolve().parent.parent
    is_in_search = path.resolve().parent.name == "widths" and (home / KEPT).exists()
    return home if is_in_search else None


def _widths_in(run: Path, budget: Budget | None) -> Path:
    found = {path.stem: path for path in sorted((run / "widths").glob("*.json")) if path.stem != "whole"}
    if not found:
        inner = sorted(path.parent for path in run.glob("*/widths") if path.is_dir())[:3]
        hint = f" Name one of its searches: {', '.join(map(str, inner))}." if inner else ""
        raise BadInputError(
            f"RUN must be the directory of a finished search, got {run}, without widths.{hint}"
        )
    if budget is None and len(found) == 1:
        return next(iter(found.values()))
    stem = None if budget is None else file_stem(budget)
    if stem not in found:
        own = [read_widths(path).budget for path in found.values()]
        names = ", ".join(f"'{one}'" for one in own)
        hint = f" Choose: --budget '{own[0]}'." if budget is None else ""
        raise BadInputError(f"--budget must be one of {names}, got {budget or 'none'}.{hint}")
    return found[stem]
