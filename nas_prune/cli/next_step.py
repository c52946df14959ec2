"""The command that trains what a search has found, as it can be typed."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_prune.search.config import SearchConfig


def shown_budget(config: "SearchConfig") -> int:
    """The place of the budget whose widths are trained next: the first typed, or the middle one of the usual."""
    from nas_prune.search.config import DEFAULT_BUDGETS

    return len(config.budgets) // 2 if config.budgets == DEFAULT_BUDGETS else 0


def train_command(config: "SearchConfig", widths: Path) -> str:
    """The command that trains some widths of a search on its images."""
    from nas_prune.space.names import is_own

    command: Sequence[str] = ["nas-prune", "train", "--widths", str(widths), "--schedule", "scratch-b"]
    data = config.data
    if data.name.startswith("folder:"):
        command = [*command, "--data", data.name]
    if data.max_images is not None:
        command = [*command, "--max-images", str(data.max_images)]
    if is_own(config.space):
        command = [*command, "--space", config.space]
    return shlex.join(command)
