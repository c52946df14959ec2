"""What a run's directory holds, by its kind, as parts of a report; a run that goes on is told as far as it is."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from nas_prune.comparison.result import COMPARED, FILE
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.report.content import Part, Picture, Section
from nas_prune.report.figures import curves_figure, drawn
from nas_prune.runs.directory import CONFIG, METRICS, published, read_metrics

Reader: TypeAlias = Callable[[Path, str], Part]


def read_parts(runs: Sequence[Path], *, storage: str | None = None) -> list[Part]:
    """The parts of a report, one for each run.

    Args:
        runs: directories of searches, trainings, judgements, studies, comparisons or transfers; guideline files.
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
    from nas_prune.report.guideline import part_of_guideline
    from nas_prune.report.search import part_of_search
    from nas_prune.report.study import part_of_study
    from nas_prune.report.training import part_of_judgement, part_of_training

    if run.is_file():
        return part_of_guideline(run, name)
    readers: dict[str, Reader] = {
        "search": part_of_search,
        "train": part_of_training,
        "judge": part_of_judgement,
        "study": lambda path, own: part_of_study(path, own, storage),
        "compare": part_of_comparison,
        "transfer": part_of_comparison,
    }
    kind = _kind(run)
    if kind not in readers:
        raise BadInputError(
            f"a run to be reported must be a directory of {', '.join(readers)} or a guideline file, got {run}."
        )
    try:
        return readers[kind](run, name)
    except NasPruneError:
        raise
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise BadInputError(
            f"{run} cannot be read as a {kind}: {error}. Is it of another version?"
        ) from error


def _kind(run: Path) -> str | None:
    try:
        content = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    kind = content.get("command") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else None


def settings_section(run: Path) -> Section:
    """The resolved configuration, versions and machine of a run, whole."""
    content = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    facts = {name: text for name, text in _flat(content, "") if text not in ("", "None")}
    return Section("Settings, versions and machine", facts=facts, is_folded=True)


def _flat(content: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(content, dict):
        rows = [
            row
            for key, value in content.items()
            for row in _flat(value, f"{name}.{key}" if name else str(key))
        ]
        return [(key, published(text) if key.endswith("data.name") else text) for key, text in rows]
    if isinstance(content, list):
        return [(name, ", ".join(map(str, content)))]
    return [(name, str(content))]


def read_json(path: Path) -> dict[str, Any] | None:
    """A result file; None if it is not there yet."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def curve_of(folder: Path, kind: str = "val_accuracy") -> list[float]:
    """One value of a training after each epoch, as far as it is."""
    if not (folder / METRICS).exists():
        return []
    try:
        return [float(line[kind]) for line in read_metrics(folder) if kind in line]
    except ValueError:  # a line that is being written
        return []


def curves(folders: dict[str, list[Path]], name: str) -> list[Picture]:
    """Validation accuracy by epoch of some trainings, in one picture; none where no epoch is done."""
    own = {title: [one for one in map(curve_of, paths) if one] for title, paths in folders.items()}
    there = {title: found for title, found in own.items() if found}
    if not there:
        return []
    figure = curves_figure(there, what="Validation accuracy")
    caption = "Validation accuracy after each epoch. Lines: means over seeds; bands: from the lowest to the highest."
    return [Picture(drawn(figure, name), caption)]


def unfinished(what: str) -> str:
    """A sentence for runs that go on."""
    return f"Not finished: {what}."
