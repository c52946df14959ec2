"""What a run's directory holds, by its kind, as parts of a report; an unfinished run as far as it is done."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from nas_prune.comparison.result import COMPARED, FILE
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.report.content import Part
from nas_prune.runs.kinds import kind_of
from nas_prune.runs.settings import CONFIG, command_of

Reader: TypeAlias = Callable[[Path, str], Part]


def read_parts(runs: Sequence[Path], *, storage: str | None = None) -> list[Part]:
    """The parts of a report, one for each run.

    Args:
        runs: directories of searches of both kinds, trainings, evaluations, studies, comparisons or transfers;
            guideline files.
        storage: where the trials of studies are, if they are not in their directories.

    Raises:
        BadInputError: one of them is none of these.
    """
    return [_read(run, f"r{number}", storage) for number, run in enumerate(_each(runs), start=1)]


def _each(runs: Sequence[Path]) -> list[Path]:
    """The runs themselves: a comparison file's directory holds two."""
    return [
        one
        for run in runs
        for one in (
            [path for path in (run / COMPARED, run / "search") if (path / CONFIG).exists()]
            if (run / FILE).is_file() and not (run / CONFIG).exists()
            else [run]
        )
    ]


def _read(run: Path, name: str, storage: str | None) -> Part:
    from nas_prune.report.comparison import part_of_comparison
    from nas_prune.report.compression import part_of_compression
    from nas_prune.report.guideline import part_of_guideline
    from nas_prune.report.patterns import (
        part_of_pattern_comparison,
        part_of_pattern_guideline,
        part_of_patterns,
    )
    from nas_prune.report.search import part_of_search
    from nas_prune.report.study import part_of_study
    from nas_prune.report.training import part_of_evaluation, part_of_training

    if run.is_file():
        is_of_patterns = kind_of(run) == "pattern guideline"
        return part_of_pattern_guideline(run, name) if is_of_patterns else part_of_guideline(run, name)
    readers: dict[str, Reader] = {
        "search": part_of_search,
        "sparsify": part_of_patterns,
        "compare-patterns": part_of_pattern_comparison,
        "train": part_of_training,
        "compress": part_of_compression,
        "evaluate": part_of_evaluation,
        "study": lambda path, own: part_of_study(path, own, storage),
        "compare": part_of_comparison,
        "transfer": part_of_comparison,
    }
    kind = command_of(run)
    if kind not in readers:
        raise BadInputError(
            f"a run to be reported must be a directory of {', '.join(readers)} or a guideline file, got {run}."
        )
    try:
        return readers[kind](run, name)
    except NasPruneError:
        raise
    except (LookupError, AttributeError, TypeError, ValueError, ArithmeticError, OSError) as error:
        raise BadInputError(
            f"{run} cannot be read as a {kind}: {error}. Is it of another version?"
        ) from error
