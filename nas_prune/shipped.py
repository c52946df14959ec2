"""Where the YAML files that come with nas-prune are: in the wheel, or beside the sources."""

from pathlib import Path

from nas_prune.errors import NasPruneError


def shipped(kind: str) -> Path:
    """The directory of the shipped `search_spaces` or `studies`."""
    package = Path(__file__).parent
    for place in (package / "shipped" / kind, package.parent / kind):
        if place.is_dir():
            return place
    raise NasPruneError(f"the shipped {kind} must be beside the package, got none. Install nas-prune again.")
