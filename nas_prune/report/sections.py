"""Parts of a report that runs of several kinds share."""

from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any

from nas_prune.data.config import DataConfig
from nas_prune.data.metric import ACCURACY, Metric, metric_in
from nas_prune.data.tasks import metric_of_task
from nas_prune.errors import DamagedError
from nas_prune.report.content import Picture, Section
from nas_prune.report.figures import curves_figure, drawn
from nas_prune.runs.directory import METRICS, published, read_metrics
from nas_prune.runs.reading import load_yaml, read_json, read_text
from nas_prune.runs.settings import CONFIG


def settings_section(run: Path) -> Section:
    """The resolved configuration, versions and machine of a run, whole."""
    content = load_yaml(read_text(run / CONFIG))
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


def read_result(path: Path) -> dict[str, Any] | None:
    """A result file; None if it is not there yet.

    Raises:
        DamagedError: it cannot be read, or is no JSON object.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} must be whole JSON that can be read, got: {error}.") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path} must be a JSON object, got something else.")
    return content


def metric_of(data: DataConfig, *results: dict[str, Any] | None) -> Metric:
    """What a run's networks are measured by: as its first result says, or as its task where there is none yet."""
    return next((metric_in(one) for one in results if one is not None), metric_of_task(data.task))


def curve_of(folder: Path, metric: Metric = ACCURACY) -> list[float]:
    """A metric on the validation part after each epoch of a training, as far as it is done."""
    kind, most = metric.key("val"), 1 if metric.is_share else inf
    if not (folder / METRICS).exists():
        return []
    try:
        found = [line[kind] for line in read_metrics(folder) if kind in line]
        # Others cannot be drawn: damaged files hold anything.
        return [float(value) for value in found if isfinite(value) and value <= most]
    except (ValueError, TypeError):  # a line that is being written
        return []


def curves(folders: dict[str, list[Path]], name: str, metric: Metric = ACCURACY) -> list[Picture]:
    """A metric on the validation part by epoch of some trainings, in one picture; none where no epoch is done."""
    own = {
        title: [one for path in paths if (one := curve_of(path, metric))] for title, paths in folders.items()
    }
    there = {title: found for title, found in own.items() if found}
    if not there:
        return []
    what = f"Validation {metric.name}"
    figure = curves_figure(there, what=what, metric=metric)
    caption = f"{what} after each epoch. Lines: means over seeds; bands: from the lowest to the highest."
    return [Picture(partial(drawn, figure, name), caption)]


def unfinished(what: str) -> str:
    """A sentence for unfinished runs."""
    return f"Not finished: {what}."
