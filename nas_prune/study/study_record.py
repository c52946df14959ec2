"""What a storage holds for each Optuna study: what it must go on with, and the same in words for people.

The former is kept where the dashboard does not show it. In studies of before it stands among the user attributes.
"""

from collections.abc import Mapping
from typing import Any

import optuna

from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig

KEPT = (record.SETTINGS, record.PATTERN_HASH, record.IMAGES, record.TARGET, record.READY)
_MOST_DIGITS = 4
_FIRST = (
    "space",
    "data, name",
    "budgets",
    "epochs",
    "sampler",
)  # what the dashboard's first page of them shows


def kept(study: optuna.Study) -> dict[str, Any]:
    """What a study must go on with, by name."""
    everything = {**study.user_attrs, **study._storage.get_study_system_attrs(study._study_id)}  # noqa: SLF001
    return {name: everything[name] for name in KEPT if name in everything}


def keep(study: optuna.Study, name: str, value: Any) -> None:
    """Write one of the above."""
    study._storage.set_study_system_attr(study._study_id, name, value)  # noqa: SLF001


def in_words(config: StudyConfig) -> dict[str, str]:
    """All settings that do not change within a study, as people read them: `recipe, epochs` is one inside another.

    Example:
        >>> in_words(StudyConfig(name="a", space="resnet20", budgets=("macs<=50%",)))["budgets"]
        'macs<=50%'
    """
    found: dict[str, str] = {}

    def add(values: Mapping[str, Any], before: str) -> None:
        for name, value in values.items():
            title = before + name.replace("_", " ")
            if isinstance(value, Mapping):
                add(value, f"{title}, ")
            elif value not in (None, "", [], {}):
                found[title] = _shown(value)

    add(config.fixed(), "")
    return {name: found[name] for name in sorted(found, key=lambda name: name not in _FIRST)}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{_MOST_DIGITS}g}"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)
