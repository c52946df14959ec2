"""What a person has typed, and what only stands in a file.

Code of a user's own (`package.module:factory`) is imported for a name that a person gave, on the command line or in
Python. A `Typed` name is the proof; no reader of files makes one, and a plain string is none.
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, PlainSerializer, WrapValidator

from nas_prune.errors import BadInputError


class Typed(str):
    """A network's name that a person gave: the code that it names may be imported."""

    __slots__ = ()


def _kept(value: Any, handler: Callable[[Any], str]) -> str:
    return value if isinstance(value, Typed) else handler(value)


# A network's name in settings: what was typed stays so in memory, and is a plain string in every file.
NetworkName = Annotated[str, WrapValidator(_kept), PlainSerializer(str, when_used="json")]

Function = TypeVar("Function", bound=Callable[..., Any])
_NAMES = frozenset(("space", "spaces", "model"))  # arguments that name networks
_TYPED_HERE: set[str] = (
    set()
)  # what a person gave to this process beside a network: tasks, and factories of images


def typed_here(name: str) -> Typed:
    """A name as a person gave it to this process; a run that is resumed may have it in its files (`trusted_here`)."""
    _TYPED_HERE.add(str(name))
    return Typed(name)


def trusted_here(name: str) -> str:
    """A name that stands in a file; a typed one if a person has given the same to this process."""
    return Typed(name) if name in _TYPED_HERE else name


@cache
def called_by_person(function: Function) -> Function:
    """A function as it is called from Python: names of networks among its arguments are typed ones.

    So are the names in settings; settings that were read from a file are checked when they are read
    (`names.check_trusted`). A path may be given as text.

    Raises:
        BadInputError: something stands where a network's name should.
    """
    parameters = inspect.signature(function).parameters

    def taken(name: str, value: Any) -> Any:
        kinds = _kinds(parameters[name].annotation) if name in parameters else ()
        if name == "space" and value is not None and kinds and str in kinds and not isinstance(value, kinds):
            raise BadInputError(f"space must be the network's name, got {type(value).__name__}.")
        if Path in kinds and str not in kinds:
            return _as_path(value)
        return _typed(name, value)

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        given = zip(parameters, args, strict=False)
        typed = [taken(name, value) for name, value in given]
        typed += args[len(typed) :]
        return function(*typed, **{name: taken(name, value) for name, value in kwargs.items()})

    return called  # type: ignore[return-value]


def _as_path(value: Any) -> Any:
    """Text as a path, and so each of a list of texts."""
    if isinstance(value, str):
        return Path(value)
    return [_as_path(one) for one in value] if isinstance(value, (list, tuple)) else value


def _kinds(annotation: Any) -> tuple[type, ...]:
    """The classes that an argument may be of, where it says so."""
    parts = get_args(annotation)
    if not parts:
        return (annotation,) if isinstance(annotation, type) else ()
    return tuple(kind for part in parts for kind in _kinds(part))


def _typed(name: str, value: Any) -> Any:
    if name in _NAMES and isinstance(value, str):
        return Typed(value)
    if name == "spaces" and isinstance(value, (list, tuple)):
        return tuple(_typed("space", one) for one in value)
    value = _with_typed_data(value)
    space = getattr(value, "space", None)
    if isinstance(value, BaseModel) and isinstance(space, str):
        return value.model_copy(update={"space": Typed(space)})
    if is_dataclass(value) and not isinstance(value, type) and isinstance(space, str):
        return replace(value, space=Typed(space))
    return value


def _with_typed_data(value: Any) -> Any:
    """Settings whose images and task a person gave."""
    data = getattr(value, "data", None)
    if not isinstance(value, BaseModel) or not isinstance(data, BaseModel):
        return value
    given = {name: getattr(data, name, None) for name in ("name", "task")}
    names = {name: typed_here(one) for name, one in given.items() if isinstance(one, str)}
    return value.model_copy(update={"data": data.model_copy(update=names)}) if names else value
