"""What is wrong with settings, in plain words: which one, what it must be, what was given, what may be meant."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nas_prune.runs.text import printable

_LONGEST = 500  # characters of a problem: it may quote what a file holds
_SHOWN = 60  # of a value
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "settings, each a name and a value",
    "model": "settings, each a name and a value",
    "dataclass": "settings, each a name and a value",
    "none": "left out",
}
_BOUNDS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
}
_COUNTS = {
    "too_short": "have at least {min_length} entries",
    "too_long": "have at most {max_length} entries",
    "string_too_short": "have at least {min_length} characters",
    "string_too_long": "have at most {max_length} characters",
}


def first_problem(error: ValidationError, kind: type[BaseModel] | None = None) -> str:
    """The first thing a validation found wrong, in one line: where, and what.

    Args:
        error: what was raised.
        kind: of settings; with it, a name that is misspelt is answered with the one that is meant.
    """
    # An unknown key is often a missing one, misspelt.
    problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in problem["loc"])
    message = what_is_wrong(problem, kind)
    said = printable(f"{where}: {message}" if where else message)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def what_is_wrong(problem: Mapping[str, Any], kind: type[BaseModel] | None = None) -> str:
    """One of pydantic's problems in plain words, without where it is."""
    sort, context = str(problem["type"]), problem.get("ctx", {})
    if sort == "extra_forbidden":
        near = get_close_matches(str(problem["loc"][-1]), _names(kind, problem["loc"][:-1]), 1)
        return f"there is no such setting{f' (is {near[0]} meant?)' if near else ''}"
    if sort == "missing":
        return "it must be given, and is not there"
    must = _rule(sort, context)
    if must is None:  # a rule of ours says all
        return (
            str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
        )
    got = shown(problem["input"])
    near = get_close_matches(str(problem["input"]), _choices(context), 1) if sort == "literal_error" else []
    return f"it must {must}, got {got}{f' (is {near[0]} meant?)' if near else ''}"


def _rule(sort: str, context: Mapping[str, Any]) -> str | None:
    """What a value must do or be; None where the rule is one of ours, which has said so."""
    if sort in ("literal_error", "enum"):
        return f"be one of {', '.join(_choices(context))}"
    bounds = {name: _number(bound) for name, bound in context.items()}
    if sort in _BOUNDS:
        return f"be {_BOUNDS[sort].format(**bounds)}"
    if sort in _COUNTS:
        return _COUNTS[sort].format(**bounds)
    stem = sort.partition("_")[0]
    return f"be {_TYPES[stem]}" if stem in _TYPES and sort != "model_attributes_type" else _TYPES.get(sort)


def _number(value: object) -> str:
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _choices(context: Mapping[str, Any]) -> list[str]:
    """The values that pydantic lists as `'a', 'b' or 'c'`."""
    listed = str(context.get("expected", "")).replace(" or ", ", ")
    return [one.strip("'") for one in listed.split(", ")]


def shown(value: Any) -> str:
    """A value as it may stand in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "settings" if value else "no settings"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    text = repr(value) if isinstance(value, str) else _number(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _names(kind: type[BaseModel] | None, place: tuple[int | str, ...]) -> list[str]:
    """The settings that there are in a place."""
    for part in place:
        if kind is None:
            return []
        if isinstance(part, str):
            field = kind.model_fields.get(part)
            kind = None if field is None else _model_in(field.annotation)
    return [] if kind is None else list(kind.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The kind of settings that an annotation speaks of, be it in a list or optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    parts = (one for one in get_args(annotation) if one is not annotation)
    return next((found for one in parts if (found := _model_in(one)) is not None), None)
