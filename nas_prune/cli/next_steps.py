"""Commands that are printed to be typed next."""

import shlex
from pathlib import Path


def training_of(search: Path, space: str, budget: str | None) -> str:
    """The command that trains what a search found.

    Args:
        search: its directory.
        space: its network, which must be named again if it is one of the user's own.
        budget: which of its widths; None where it has no others.
    """
    from nas_prune.space.networks import is_own

    which = [] if budget is None else ["--budget", budget]
    own = ["--space", space] if is_own(space) else []
    return shlex.join(["nas-prune", "train", str(search), *which, "--schedule", "scratch-b", *own])
