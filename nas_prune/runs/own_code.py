"""Code of a person's own, `package.module:name`: imported where a person gave the name, not because a file says so."""

import importlib
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nas_prune.errors import BadInputError
from nas_prune.runs.data_name import own_data
from nas_prune.runs.text import first_line
from nas_prune.runs.typed import Typed


def is_own_code(name: str) -> bool:
    """Whether a name is one of code that can be imported."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def names_code(data: str) -> bool:
    """Whether images, or a task, are named by code: not by a place, as `csv:all` is.

    Example:
        >>> names_code("mine:make"), names_code("csv:all"), names_code("digits")
        (True, False, False)
    """
    return own_data(data) is None and is_own_code(data)


def imported(name: str, option: str, *, what: str = "something") -> Any:
    """What a name stands for; the current directory is looked at first, as by `python -m`.

    Args:
        name: `package.module:name`, as a person gave it.
        option: that it was given by, for messages.
        what: it must be, for messages.

    Raises:
        BadInputError: only a file names it, or there is no such thing.
    """
    if not isinstance(name, Typed):
        raise BadInputError(
            f"{option} {name} must be given by you: no code that only a file names is imported."
        )
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module: Any = importlib.import_module(module_name)
    except Exception as error:
        said = f"{type(error).__name__}: {first_line(error)}"
        raise BadInputError(
            f"{option} {name} must import, but importing {module_name} failed: {said}"
        ) from error
    holder, found = None, module
    for part in attribute.split("."):
        holder, found = found, getattr(found, part, None)
        if found is None:
            near = get_close_matches(part, [one for one in dir(holder) if not one.startswith("_")], 1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise BadInputError(
                f"{option} {name} must name {what} in {module_name}, got no {attribute}.{hint}"
            )
    return found
