"""Which file a study is named by."""

import os
from difflib import get_close_matches
from pathlib import Path

from nas_prune.errors import BadInputError
from nas_prune.runs.files import shipped
from nas_prune.runs.kinds import refuse_missing, refuse_other


def study_path(name: str | Path) -> Path:
    """The file of a study: one of its own, or one that comes with nas-prune, by its name; or a study's directory.

    Raises:
        BadInputError: there is none, or it is plainly something else.
    """
    path = Path(name)
    known = {one.stem: one for one in sorted(shipped("studies").glob("*.yaml"))}
    if str(name) in known and not path.exists():
        return known[str(name)]
    wanted = "a study must be a study file"
    if path.suffix in (".yaml", ".yml") or path.exists() or isinstance(name, Path) or os.sep in name:
        refuse_missing(path, wanted)
        refuse_other(path, "study file", "study", wanted=wanted)
        return path
    near = get_close_matches(str(name), known, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadInputError(f"a study must be a file or one of {', '.join(known)}, got {str(name)!r}.{hint}")
