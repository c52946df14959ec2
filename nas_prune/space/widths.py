"""The widths artefact: what a search found, as plain JSON. It holds integers and where they came from, no weights.

From this file alone the network can be rebuilt, on any machine, without the search that made it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from nas_prune.errors import BadInputError, WidthsError
from nas_prune.graph.inputs import CallSpec, plain
from nas_prune.runs.data_name import CLASSIFICATION
from nas_prune.runs.files import write_whole
from nas_prune.runs.kinds import naming_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import read_json
from nas_prune.runs.typed import NetworkName
from nas_prune.space.cost_record import CostRecord, Name, Strict, TargetRecord
from nas_prune.space.limits import Limits
from nas_prune.space.quantities import COUNTED

SCHEMA = "nas-prune/widths/1"
MOST_OUTPUTS = 1_000_000  # of one image


class SpaceReference(Strict):
    """Which network the widths are of.

    Attributes:
        name: what `--space` takes, e.g. `resnet20` or `torchvision:resnet18`.
        input_shape: of one input, the first one: channels, height and width of an image.
        num_classes: outputs of the classifier.
        width_multiplier: factor on all widths of the named network before the search.
        selections: readers of streams and concatenations select their channels, and leave these whole.
        input_spec: all that the network takes, where that is not one tensor.
        part: the path of the module that is searched; empty for the network itself.
    """

    name: NetworkName
    input_shape: tuple[Annotated[int, Field(ge=1, strict=True)], ...]
    num_classes: int = Field(ge=1, le=MOST_OUTPUTS)
    width_multiplier: float = Field(default=1.0, gt=0)
    selections: bool = False
    input_spec: CallSpec | None = None
    part: Name = ""

    @model_validator(mode="after")
    def _has_room(self) -> "SpaceReference":
        # The example of the network's inputs says why a shape cannot be one.
        assert self.call is not None
        return self

    @property
    def options(self) -> list[str]:
        """How it is typed: the network and the images, where it takes square ones."""
        found = ["--space", self.name]
        if (
            self.input_spec is None
            and len(self.input_shape) == 3
            and self.input_shape[1] == self.input_shape[2]
        ):
            channels, height, _ = self.input_shape
            found += ["--image-size", str(height), "--in-channels", str(channels)]
            found += ["--classes", str(self.num_classes)]
        if self.width_multiplier != 1:
            found += ["--width-multiplier", f"{self.width_multiplier:g}"]
        return [*found, *(["--groups", "selections"] if self.selections else [])]

    @property
    def call(self) -> CallSpec:
        """What the network is called with."""
        return plain(self.input_shape) if self.input_spec is None else self.input_spec

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of its images.

        Raises:
            BadInputError: it takes something else.
        """
        if self.input_spec is not None or len(self.input_shape) != 3:
            shape = "×".join(map(str, self.input_shape)) or "numbers"
            raise BadInputError(
                f"a network must take images (channels, height, width) to be trained here, got {self.name}, which "
                f"takes {shape}{' and more' if self.input_spec is not None else ''}."
            )
        channels, height, width = self.input_shape
        return channels, height, width

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what other versions do not know, where it says nothing."""
        content: dict[str, Any] = handler(self)
        for name in ("input_spec", "part"):
            if getattr(self, name) == type(self).model_fields[name].default:
                del content[name]
        return content


class GroupWidth(Strict):
    """The width of one channel group; `name` is the path of the layer that produces it.

    A selection is no layer but part of one that reads: `indices` are the channels that it reads, out of `base`.
    """

    name: Name
    width: int = Field(strict=True)
    base: int = Field(ge=1, strict=True)
    stage: int = Field(ge=0)
    role: Literal["growth", "stream", "stem", "head", "inner", "selection"]
    position: float = Field(ge=0, le=1)
    layers: tuple[Name, ...]
    indices: tuple[Annotated[int, Field(strict=True)], ...] | None = None

    @model_validator(mode="after")
    def _within_base(self) -> "GroupWidth":
        if not 1 <= self.width <= self.base:
            raise ValueError(
                f"width of group {self.name} must be between 1 and its base {self.base}, got {self.width}"
            )
        return self

    @model_validator(mode="after")
    def _indices_of_selections(self) -> "GroupWidth":
        if (self.role == "selection") != (self.indices is not None):
            got = "none" if self.indices is None else f"some of role {self.role}"
            raise ValueError(
                f"group {self.name} must have indices if it is a selection and only then, got {got}"
            )
        indices = self.indices or ()
        if self.indices is not None and len(indices) != self.width:
            raise ValueError(
                f"indices of group {self.name} must be as many as its width {self.width}, got {len(indices)}"
            )
        wrong = next((index for index in indices if not 0 <= index < self.base), None)
        if wrong is not None:
            raise ValueError(f"indices of group {self.name} must be from 0 to {self.base - 1}, got {wrong}")
        pair = next(((one, other) for one, other in pairwise(indices) if one >= other), None)
        if pair is not None:
            raise ValueError(f"indices of group {self.name} must rise, got {pair[1]} after {pair[0]}")
        return self

    @model_serializer(mode="wrap")
    def _without_no_indices(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if self.indices is None:
            del content["indices"]
        return content

    @property
    def keep_ratio(self) -> float:
        """Width over base width."""
        return self.width / self.base


class MethodRecord(Strict):
    """Which width method found the widths, and with which settings."""

    name: Name
    is_automatic: bool
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)

    @property
    def words(self) -> str:
        """The name, in how many steps channels went where it was more than one, and from which weights given."""
        steps, weights = self.settings.get("iterations"), self.settings.get("weights")
        return f"{self.name}{f' in {steps} steps' * bool(steps)}{f' from {weights}' * bool(weights)}"


class DataRecord(Strict):
    """On which images; `name` has no directories in it, so that the file can be published."""

    name: Name
    num_train: int = Field(ge=0)
    num_val: int = Field(ge=0)
    max_images: int | None = None
    val_fraction: float = Field(default=0.1, gt=0, le=0.5)
    task: str = Field(default=CLASSIFICATION, max_length=200)


class Widths(Strict):
    """A vector of layer widths and its provenance.

    Attributes:
        space: the network.
        groups: one width for each searchable channel group, in order of execution.
        removed_blocks: residual blocks that go as a whole, by path.
        left_whole: groups that the search did not look at, by name; None where that is not known.
        limits: what was asked of the widths beside the budget; None for nothing.
        cost: the costs at these widths.
        base_cost: the costs of the whole network.
        target: what they are meant for, and the costs there; None for no device in particular.
        budget: the budget they were cut to, as written; None for hand-made widths.
        method, data, recipe, seed, epochs: how they were found.
        versions: of the libraries that took part.
    """

    space: SpaceReference
    groups: tuple[GroupWidth, ...]
    removed_blocks: tuple[Name, ...] = ()
    left_whole: tuple[Name, ...] | None = None
    limits: Limits | None = None
    cost: CostRecord
    base_cost: CostRecord
    target: TargetRecord | None = None
    budget: Name | None = None
    method: MethodRecord | None = None
    data: DataRecord | None = None
    recipe: dict[str, Any] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    epochs: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what other versions do not know, where it says nothing."""
        content: dict[str, Any] = handler(self)
        for name in ("limits", "target"):
            if content.get(name, 0) is None:
                del content[name]
        return content

    def measured(self, latency_ms: float | None) -> "Widths":
        """With what the network was measured to take; as they are where it was not, or has no target."""
        if latency_ms is None or self.target is None:
            return self
        record = self.target.model_copy(update={"measured_ms": latency_ms})
        return self.model_copy(update={"target": record})

    def counts(self, kind: str) -> tuple[int, int] | None:
        """One of the costs by its name in a budget, and that of the whole network; None where it is not known."""
        if kind == "channels":
            kept = sum(group.width for group in self.groups if not self.is_gone(group))
            return kept, sum(group.base for group in self.groups)
        if kind in COUNTED:
            return int(getattr(self.cost, kind)), int(getattr(self.base_cost, kind))
        if self.target is None or kind not in self.target.cost.counts:
            return None
        return self.target.cost.counts[kind], self.target.base_cost.counts[kind]

    @model_validator(mode="after")
    def _whole_is_whole(self) -> "Widths":
        left = set(self.left_whole or ())
        cut = next((group for group in self.groups if group.name in left and group.width < group.base), None)
        if cut is not None:
            raise ValueError(
                f"left_whole must name groups of base width, got {cut.name} of width {cut.width}"
            )
        return self

    @model_validator(mode="after")
    def _each_group_once(self) -> "Widths":
        names = [(group.name, group.role == "selection") for group in self.groups]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"groups must each be named once, got {twice[0]} twice")
        return self

    @model_validator(mode="after")
    def _each_block_once(self) -> "Widths":
        if len(set(self.removed_blocks)) < len(self.removed_blocks):
            raise ValueError("removed_blocks must name each block once")
        return self

    def is_gone(self, group: GroupWidth) -> bool:
        """Whether all layers of a group lie in removed blocks; its width then stands for nothing."""
        return all(
            any(layer == block or layer.startswith(f"{block}.") for block in self.removed_blocks)
            for layer in group.layers
        )

    @property
    def vector(self) -> tuple[int, ...]:
        """The widths in the order of the groups."""
        return tuple(group.width for group in self.groups)

    def write(self, path: Path | str) -> None:
        """Write `widths.json`: whole or not at all."""
        content = {"schema": SCHEMA, **self.model_dump(mode="json")}
        write_whole(Path(path), json.dumps(content, indent=1) + "\n")

    def difference(self, expected: "Widths") -> str | None:
        """The first thing in which this file's network is another than the expected one; None if it is the same."""
        pairs: list[tuple[str, object, object]] = [
            (f"space.{field}", getattr(self.space, field), getattr(expected.space, field))
            for field in SpaceReference.model_fields
        ]
        for mine, theirs in zip(self.groups, expected.groups, strict=False):
            pairs.append(("the name of a group", mine.name, theirs.name))
            pairs.append((f"the base width of group {mine.name}", mine.base, theirs.base))
            is_selection = (mine.role == "selection", theirs.role == "selection")
            pairs.append((f"whether group {mine.name} is a selection", *is_selection))
        pairs.append(("the number of groups", len(self.groups), len(expected.groups)))
        return next((f"{what} is {own}, not {other}" for what, own, other in pairs if own != other), None)


def read_widths(path: Path | str) -> Widths:
    """Read and validate a widths file.

    Raises:
        WidthsError: it does not exist, is truncated, of a newer schema, or holds what no widths file may.
    """
    path = Path(path)
    with naming_other(path, "widths", wanted="a widths file must be one"):
        return _read_widths(path)


def _read_widths(path: Path) -> Widths:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise WidthsError(
            f"widths file must exist, got {path}. A search writes them to RUN/widths/."
        ) from None
    except IsADirectoryError:
        held = sorted((*path.glob("widths/*.json"), *path.glob("*.json")))[:3]
        hint = f" It holds {', '.join(map(str, held))}." if held else ""
        raise WidthsError(f"widths file must be a file, got the directory {path}.{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WidthsError(f"widths file must be readable text, got {path} ({error}).") from None
    except json.JSONDecodeError as error:
        raise WidthsError(
            f"widths file must be whole JSON, got {path}, which breaks off or is damaged at line {error.lineno}. "
            "Copy it again or repeat the search."
        ) from None
    except RecursionError:
        raise WidthsError(f"widths file must hold a JSON object, got {path}.") from None
    if not isinstance(content, dict):
        raise WidthsError(f"widths file must hold a JSON object, got {path}.")
    _check_schema(content.pop("schema", None), path)
    try:
        return Widths.model_validate(content)
    except ValidationError as error:
        raise WidthsError(f"widths file {path} cannot be used: {first_problem(error, Widths)}.") from None


def _check_schema(schema: object, path: Path) -> None:
    if schema == SCHEMA:
        return
    kind, _, version = SCHEMA.rpartition("/")
    found = re.fullmatch(rf"{kind}/([0-9]{{1,6}})", schema) if isinstance(schema, str) else None
    if found is not None and int(found[1]) > int(version):
        raise WidthsError(
            f"widths file must be of schema {SCHEMA}, got the newer {schema} ({path}). Update nas-prune."
        )
    raise WidthsError(f"widths file must be of schema {SCHEMA}, got {schema!r:.100} ({path}).")


def stage_means(widths: Widths, columns: Iterable[int] | None = None) -> dict[int, float]:
    """Kept share of each stage's channels, by stage; those of removed blocks are not kept.

    Args:
        widths: the artefact.
        columns: which groups count, by place; all if None.
    """
    kept: dict[int, int] = {}
    base: dict[int, int] = {}
    for column in range(len(widths.groups)) if columns is None else columns:
        group = widths.groups[column]
        width = 0 if widths.is_gone(group) else group.width
        kept[group.stage] = kept.get(group.stage, 0) + width
        base[group.stage] = base.get(group.stage, 0) + group.base
    return {stage: kept[stage] / base[stage] for stage in sorted(kept)}
