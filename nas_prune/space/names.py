"""The names of networks, and whether code must be imported for them: known without any library of networks.

`package.module:factory` imports code, for a `Typed` name only: one from the command line or a Python call. A name that
stands in a file is compared with what the user typed (`check_trusted`), never imported by itself.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas_prune.errors import BadInputError
from nas_prune.runs.files import shipped
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_yaml, read_text
from nas_prune.runs.typed import Typed


class SpaceFile(BaseModel):
    """One file of `search_spaces/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    family: str
    depth: int
    aliases: tuple[str, ...] = ()
    floor: int = Field(default=1, ge=1)
    divisor: int = Field(default=1, ge=1)
    frozen: tuple[str, ...] = ()


def space_name(name: str) -> str:
    """The full name of a space that may be given by an alias (`resnet` is resnet20).

    Raises:
        BadInputError: no such space; the message says what there is.
    """
    for full, file in known_spaces().items():
        if name == full or name in file.aliases:
            return full
    kind, colon, rest = name.partition(":")
    if colon and rest and kind and (kind in ("torchvision", "timm") or is_own(name)):
        return name
    known = known_spaces()
    near = get_close_matches(name, known, 2)
    hint = f"Did you mean {' or '.join(sorted(near))}?" if near else "`nas-prune spaces` describes them."
    raise BadInputError(
        f"--space must be one of {', '.join(known)}, torchvision:NAME, timm:NAME or package.module:factory, "
        f"got {name!r}. {hint}"
    )


def is_own(name: str) -> bool:
    """Whether a name stands for code of the user's own, which must be imported to be known."""
    module, colon, factory = name.partition(":")
    if not colon or module in ("torchvision", "timm"):
        return False
    return all(part.isidentifier() for part in (*module.split("."), *factory.split(".")))


def check_trusted(name: str, typed: str | None, where: str) -> str:
    """Refuse to import code that only a file names.

    Args:
        name: the network that the file is of.
        typed: what the user gave as `--space`; None if nothing.
        where: the file.

    Returns:
        The name; a `Typed` one if the network is code of the user's own.

    Raises:
        BadInputError: the network is code and the user has not named it, or has named another one.
    """
    if typed is not None and space_name(typed) != name:
        raise BadInputError(f"--space must be {name}, which {where} is of, got {typed}.")
    if not is_own(name) or isinstance(name, Typed):
        return name
    if not isinstance(typed, Typed):
        raise BadInputError(
            f"--space {name} must be given again, got none: {where} is of a network of your own, "
            "and no code that only a file names is imported."
        )
    return typed


@cache
def known_spaces() -> Mapping[str, SpaceFile]:
    """Every shipped search space by name; read once, since nothing changes them."""
    paths = sorted(shipped("search_spaces").glob("*.yaml"), key=_natural)
    return MappingProxyType({path.stem: _read(path.name) for path in paths})


def _natural(path: Path) -> tuple[str, int]:
    name = path.stem.rstrip("0123456789")
    return name, int(path.stem[len(name) :] or 0)


def _read(filename: str) -> SpaceFile:
    content = load_yaml(read_text(shipped("search_spaces") / filename))
    try:
        return SpaceFile.model_validate(content)
    except ValidationError as error:
        raise BadInputError(
            f"search space {filename} cannot be used: {first_problem(error, SpaceFile)}."
        ) from None
