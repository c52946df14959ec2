"""The pattern artefact: which single weights stay, as statistics of layers and kernels. It holds no weight.

From `pattern.json` alone masks can be drawn, for the same network or, through a guideline, for another; where the masks
themselves are asked for they lie beside it, a bit for each weight.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from nas_prune.errors import BadInputError
from nas_prune.runs.files import write_whole
from nas_prune.runs.kinds import naming_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import read_json
from nas_prune.space.cost_record import Name, Strict
from nas_prune.space.widths import DataRecord, SpaceReference

SCHEMA = "nas-prune/pattern/1"
PATTERNS = "patterns"  # the directory of a run that they are in
_FREE = 20_000  # characters of what is free in a pattern: recipe, settings, versions
_MOST_RATIOS = 32  # of N:M
DECILES = 11  # of a distribution: its least, each tenth, its most
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, strict=True)]
_Size = Annotated[int, Field(ge=1, strict=True)]


class Spread(Strict):
    """How the shares that are kept differ over filters, or over input channels, of a layer.

    Attributes:
        deciles: the least, each tenth, the most.
        empty: how many keep nothing.
    """

    deciles: tuple[Share, ...] = Field(min_length=DECILES, max_length=DECILES)
    empty: Count

    @model_validator(mode="after")
    def _rise(self) -> "Spread":
        if list(self.deciles) != sorted(self.deciles):
            raise ValueError("deciles must rise")
        return self


class LayerPattern(Strict):
    """What stays of one layer.

    Attributes:
        name: of the parameter.
        kind: `conv` or `linear`.
        stage: rank of the output size among all groups'.
        shape: of the weight.
        nonzero: how many of its weights stay.
        filters, inputs: the shares that filters, and input channels, keep.
        is_first: whether it is the network's first layer.
        out_dim: which dimension of the shape counts filters: 1 for transposed convolutions, and not written where it
            is 0.
        n_of_m: of all runs of M neighbouring input channels, the share with at most N weights, by `N:M`.
    """

    name: Name
    kind: Literal["conv", "linear"]
    stage: Count
    shape: tuple[_Size, ...] = Field(min_length=2, max_length=8)
    nonzero: Annotated[int, Field(ge=1, strict=True)]
    filters: Spread
    inputs: Spread
    is_first: bool = False
    out_dim: Literal[0, 1] = 0
    n_of_m: dict[Annotated[str, Field(pattern=r"^[0-9]{1,2}:[0-9]{1,2}$")], Share] = Field(
        default_factory=dict, max_length=_MOST_RATIOS
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the dimension of filters where it is the first: files of earlier versions are equal then."""
        content: dict[str, Any] = handler(self)
        if not content.get("out_dim"):
            content.pop("out_dim", None)
        return content

    @property
    def size(self) -> int:
        """How many weights there are."""
        found = 1
        for one in self.shape:
            found *= one
        return found

    @property
    def density(self) -> float:
        """The share that stays."""
        return self.nonzero / self.size

    @model_validator(mode="after")
    def _within(self) -> "LayerPattern":
        if self.nonzero > self.size:
            raise ValueError(
                f"nonzero of {self.name} must be at most its {self.size} weights, got {self.nonzero}"
            )
        return self


class KernelMap(Strict):
    """Which positions of the kernels of a stage stay.

    Attributes:
        stage: rank of the output size.
        shape: height and width of the kernels.
        kernels: how many there are in all layers of the stage.
        kept: of each position, row by row, the share of kernels in which it stays.
    """

    stage: Count
    shape: tuple[_Size, ...] = Field(min_length=1, max_length=3)
    kernels: _Size
    kept: tuple[Share, ...]

    @model_validator(mode="after")
    def _one_for_each_position(self) -> "KernelMap":
        positions = 1
        for size in self.shape:
            positions *= size
        if len(self.kept) != positions:
            raise ValueError(
                f"kept must have {positions} shares for kernels of {self.shape}, got {len(self.kept)}"
            )
        return self


class GroupLeft(Strict):
    """Whole channels of a group that a pattern leaves out.

    Attributes:
        name: of the channel group.
        base: its width.
        unread: channels of which no layer reads a weight: they can go, and nothing changes.
        constant: others that no layer writes: what is left of them is a constant.
        width: without both; at least 1.
    """

    name: Name
    base: _Size
    unread: Count
    constant: Count
    width: _Size

    @model_validator(mode="after")
    def _is_left(self) -> "GroupLeft":
        left = self.base - self.unread - self.constant
        if left < 0 or self.width != max(1, left):
            raise ValueError(
                f"width of {self.name} must be its base without the channels that go, {max(1, left)}, got {self.width}"
            )
        return self


class PatternCosts(Strict):
    """Exact costs: weights that may go and are there, MACs of one image with those that are there, bytes."""

    nonzero: Count
    macs: Count
    size_bytes: Count


class PatternMethod(Strict):
    """Which method found the pattern, and with which settings."""

    name: Name
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)


class MaskFile(Strict):
    """The masks themselves, beside the pattern.

    Attributes:
        file: its name, in the pattern's directory.
        blake2b: of the names, shapes and bits in it.
    """

    file: Name
    blake2b: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

    @model_validator(mode="after")
    def _beside(self) -> "MaskFile":
        if "/" in self.file or "\\" in self.file or self.file.startswith("."):
            raise ValueError(f"file must be a name without directories, got {self.file!r}")
        return self


class Pattern(Strict):
    """Which weights of a network stay, as statistics, and where that comes from.

    Attributes:
        space: the network.
        layers: those whose weights may go, in order of execution.
        kernels: which positions stay, by stage and kernel shape.
        groups: whole channels that the masks leave out, and the widths that are left without them.
        dense: parameters of two dimensions or more that are whole.
        cost, base_cost: with the weights that are there, and with all.
        budget: the budget it was cut to, as written.
        mask: the masks themselves; None where there are statistics alone.
        method, data, recipe, seed, epochs: how it was found.
        versions: of the libraries that took part.
    """

    space: SpaceReference
    layers: tuple[LayerPattern, ...] = Field(min_length=1)
    kernels: tuple[KernelMap, ...]
    groups: tuple[GroupLeft, ...]
    dense: tuple[Name, ...] = ()
    cost: PatternCosts
    base_cost: PatternCosts
    budget: Name | None = None
    mask: MaskFile | None = None
    method: PatternMethod | None = None
    data: DataRecord | None = None
    recipe: dict[str, Any] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    epochs: int | None = Field(default=None, ge=0)
    versions: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_layer_once(self) -> "Pattern":
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            raise ValueError("layers must each be named once")
        return self

    @model_validator(mode="after")
    def _has_no_room_for_weights(self) -> "Pattern":
        settings = None if self.method is None else self.method.settings
        count = len(json.dumps([self.recipe, settings, self.versions], default=str))
        if count > _FREE:
            raise ValueError(
                f"recipe, method.settings and versions must have at most {_FREE:,} characters, got {count:,}"
            )
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> "Pattern":
        kept = sum(layer.nonzero for layer in self.layers)
        if kept != self.cost.nonzero:
            raise ValueError(f"cost.nonzero must be the sum over layers, {kept}, got {self.cost.nonzero}")
        size = sum(layer.size for layer in self.layers)
        if size != self.base_cost.nonzero:
            raise ValueError(
                f"base_cost.nonzero must be the weights of all layers, {size}, got {self.base_cost.nonzero}"
            )
        for kind in ("macs", "size_bytes"):
            own, base = getattr(self.cost, kind), getattr(self.base_cost, kind)
            if own > base:
                raise ValueError(f"cost.{kind} must be at most that of the whole network, {base}, got {own}")
        return self

    @property
    def density(self) -> float:
        """The share of all weights that may go and stay."""
        return self.cost.nonzero / self.base_cost.nonzero

    def write(self, path: Path | str) -> None:
        """Write `pattern.json`: whole or not at all."""
        content = {"schema": SCHEMA, **self.model_dump(mode="json")}
        write_whole(Path(path), json.dumps(content, indent=1) + "\n")


def read_pattern(path: Path | str) -> Pattern:
    """Read and validate a pattern.

    Raises:
        BadInputError: it does not exist, is damaged, of a newer schema, or holds what no pattern may.
    """
    path = Path(path)
    with naming_other(path, "pattern", wanted="a pattern must be one"):
        return _read(path)


def _read(path: Path) -> Pattern:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise BadInputError(
            f"a pattern must exist, got {path}. nas-prune sparsify writes them to RUN/patterns/."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"a pattern must be whole JSON, got {path} ({error!s:.200}).") from None
    if not isinstance(content, dict):
        raise BadInputError(f"a pattern must hold a JSON object, got {path}.")
    _check_schema(content.pop("schema", None), path)
    try:
        return Pattern.model_validate(content)
    except ValidationError as error:
        raise BadInputError(f"the pattern {path} cannot be used: {first_problem(error, Pattern)}.") from None


def _check_schema(schema: object, path: Path) -> None:
    if schema == SCHEMA:
        return
    found = re.fullmatch(r"nas-prune/pattern/([0-9]{1,6})", schema) if isinstance(schema, str) else None
    newer = found is not None and int(found[1]) > 1
    said = f"the newer {schema}" if newer else f"{schema!r:.100}"
    raise BadInputError(
        f"a pattern must be of schema {SCHEMA}, got {said} ({path}).{' Update nas-prune.' * newer}"
    )
