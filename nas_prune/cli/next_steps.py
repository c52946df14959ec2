"""Commands that are printed to be typed next."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_prune.patterns.config import SparsifyConfig
    from nas_prune.search.config import SearchConfig


def shown_budget(config: "SearchConfig") -> int:
    """The place of the budget whose widths are trained next: the first typed, or the middle one of the usual."""
    from nas_prune.search.config import DEFAULT_BUDGETS

    return len(config.budgets) // 2 if config.budgets == DEFAULT_BUDGETS else 0


def training_of(search: Path, config: "SearchConfig | SparsifyConfig", budget: str | None) -> str:
    """The command that trains what a search found, on its images.

    Args:
        search: its directory.
        config: its settings; what is code of the user's own must be named again.
        budget: which of its widths, or patterns; None where it has no others.
    """
    from nas_prune.runs.own_code import names_code
    from nas_prune.space.names import is_own

    which = [] if budget is None else ["--budget", budget]
    own = ["--space", config.space] if is_own(config.space) else []
    for option, name in (("--data", config.data.name), ("--task", config.data.task)):
        own += [option, name] if names_code(name) else []
    return shlex.join(["nas-prune", "train", str(search), *which, "--schedule", "scratch-b", *own])
