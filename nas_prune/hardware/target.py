"""Targets: what a device wants of widths, and what widths cost on it, as a YAML file says.

Shipped ones are in `search_spaces/targets/`; they hold only what somebody has published, with where that is. One of a
user's own is a file, or a directory that `nas-prune measure` has written: `target.yaml`, and its table beside it.
"""

from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas_prune.errors import BadInputError
from nas_prune.runs.files import saying_why, shipped, write_whole
from nas_prune.runs.kinds import naming_other, refuse_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_yaml, read_bytes, read_text
from nas_prune.runs.text import one_line, printable

Kind: TypeAlias = Literal["conv", "depthwise", "grouped", "linear"]
Runtime: TypeAlias = Literal["cpu-onnxruntime", "cpu-torch", "cuda-torch", "cuda-tensorrt"]
Precision: TypeAlias = Literal["float32", "float16", "int8"]
TargetCost: TypeAlias = Literal["memory", "size", "latency"]

TARGET_FILE = "target.yaml"
_BYTES = {"float32": 4, "float16": 2, "int8": 1}
_MOST = 2**10  # channels of a multiple
_MOST_TABLE = 2**29  # bytes
_Multiple = Annotated[int, Field(ge=1, le=_MOST, strict=True)]
_Bytes = Annotated[int, Field(ge=1, le=16, strict=True)]
_Text = Annotated[str, Field(min_length=1, max_length=2000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Channels(_Part):
    """A number for the channels that a layer reads, and one for those that it makes; of a grouped one, in each group.

    Attributes:
        read: `in` in a file.
        made: `out` in a file.
    """

    read: _Multiple = Field(default=1, alias="in")
    made: _Multiple = Field(default=1, alias="out")


class Source(_Part):
    """Where something is published.

    Attributes:
        text: what it says.
        where: a page, a paper or a thread.
    """

    text: _Text
    where: _Text


class MeasuredOn(_Part):
    """Where a table of latencies was made, for a reader.

    Attributes:
        space, input_shape: the network.
        machine, runtime, threads, versions: what timed it.
        date: when.
    """

    space: _Text
    input_shape: tuple[int, ...]
    machine: Annotated[str, Field(max_length=2000)] = ""
    runtime: Annotated[str, Field(max_length=200)] = ""
    threads: int | None = Field(default=None, ge=1, le=1024)
    versions: dict[str, str] = Field(default_factory=dict)
    date: Annotated[str, Field(max_length=200)] = ""


class Target(_Part):
    """A device, and what runs networks on it.

    Attributes:
        description: in a line.
        runtime: what nas-prune can time it with; None where it can time nothing here.
        precision: of weights and activations.
        alignment: for each kind of layer, what its channels should be multiples of.
        least: for each kind of layer, how many channels it needs.
        weight_bytes, activation_bytes: of a number; those of the precision if None.
        latency: the name of a measured table that lies beside the file, in the same directory; None where nothing is
            measured.
        measured: where that was made.
        sources: where the rest is from.
        name: what it is called by; by default as its file or directory.
        folder: where its file lies; not in the file.
    """

    description: _Text
    runtime: Runtime | None = None
    precision: Precision = "float32"
    alignment: dict[Kind, Channels] = Field(default_factory=dict)
    least: dict[Kind, Channels] = Field(default_factory=dict)
    weight_bytes: _Bytes | None = None
    activation_bytes: _Bytes | None = None
    latency: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$", max_length=200)] | None = None
    measured: MeasuredOn | None = None
    sources: tuple[Source, ...] = ()
    name: Annotated[str, Field(min_length=1, max_length=200)] = "target"
    folder: Path | None = Field(default=None, exclude=True)

    @property
    def bytes_per_weight(self) -> int:
        """Of a parameter."""
        return self.weight_bytes or _BYTES[self.precision]

    @property
    def bytes_per_activation(self) -> int:
        """Of a number that a layer puts out."""
        return self.activation_bytes or _BYTES[self.precision]

    @property
    def costs(self) -> tuple[TargetCost, ...]:
        """The costs of widths that are known of it."""
        return ("memory", "size") if self.latency is None else ("memory", "size", "latency")

    @property
    def table(self) -> Path | None:
        """The file of measured latencies; None where nothing is measured."""
        return None if self.latency is None or self.folder is None else self.folder / self.latency

    @property
    def identity(self) -> str:
        """What tells it and its table from others."""
        table = b"" if self.table is None else _bytes_of(self.table)
        content = self.model_copy(update={"name": "target"}).as_yaml()  # wherever its files lie
        return blake2b(content.encode() + table, digest_size=8).hexdigest()

    def as_yaml(self) -> str:
        """The target as a file holds it."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

    def write(self, folder: Path) -> None:
        """Write it and its table to a new directory, from which `target_named` reads the same."""
        table = None if self.table is None else _bytes_of(self.table)
        with saying_why(folder):
            folder.mkdir()
            if table is not None:
                (folder / str(self.latency)).write_bytes(table)
        write_whole(folder / TARGET_FILE, self.as_yaml())


def _bytes_of(table: Path) -> bytes:
    try:
        return read_bytes(table, most=_MOST_TABLE)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or one_line(str(error))
        raise BadInputError(
            f"a target's table must be a file that can be read, got {printable(str(table))!r:.200} ({why}). "
            "Copy it beside its target.yaml, or measure again."
        ) from None


def known_targets() -> tuple[str, ...]:
    """The names of the shipped targets."""
    return tuple(sorted(path.stem for path in _shipped_folder().glob("*.yaml")))


def target_named(text: str) -> Target:
    """The target that a name, a file or a directory stands for.

    Args:
        text: the name of a shipped target, a YAML file, or a directory with a `target.yaml`.

    Raises:
        BadInputError: there is none, or its file cannot be used.

    Example:
        >>> target_named("ti-tinpu").alignment["conv"]
        Channels(read=4, made=4)
    """
    if text in known_targets():
        return _read(_shipped_folder() / f"{text}.yaml", text)
    path = Path(text)
    if text and _is_directory(path):
        refuse_other(path, "target", wanted="--target must be a target's directory")
        return _read(path / TARGET_FILE, path.resolve().name)
    if path.suffix in (".yaml", ".yml"):
        with naming_other(path, "target", wanted="--target must be a target's file"):
            return _read(path, path.stem)
    raise BadInputError(_unknown(text))


def _unknown(text: str) -> str:
    near = get_close_matches(text, known_targets(), 2)
    hint = f" Did you mean {' or '.join(sorted(near))}?" if near else ""
    return (
        f"--target must be one of {', '.join(known_targets())}, a YAML file or a directory with a {TARGET_FILE}, "
        f"got {printable(text)!r:.200}.{hint}"
    )


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def _shipped_folder() -> Path:
    return shipped("search_spaces") / "targets"


def _read(path: Path, name: str) -> Target:
    shown = printable(str(path))
    try:
        content: Any = load_yaml(read_text(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or one_line(str(error))
        raise BadInputError(
            f"--target {shown:.200} must be a YAML file that can be read, got: {why}."
        ) from None
    if not isinstance(content, dict):
        raise BadInputError(
            f"--target {shown:.200} must hold settings, each a name and a value, got none. A description is enough."
        )
    if "folder" in content:
        raise BadInputError(f"target {shown:.200} cannot be used: folder: there is no such setting.")
    base = content.pop("base", None)
    if base is not None:
        content = {**_base(base, shown), **content}
    try:
        return Target.model_validate({"name": name, **content, "folder": path.parent})
    except ValidationError as error:
        raise BadInputError(f"target {shown:.200} cannot be used: {first_problem(error, Target)}.") from None


def _base(name: object, shown: str) -> dict[str, Any]:
    """The settings of a shipped target that another has, too, where it does not say otherwise."""
    if name not in known_targets():
        raise BadInputError(
            f"target {shown:.200} cannot be used: base must be one of {', '.join(known_targets())}, "
            f"got {printable(str(name))!r:.200}."
        )
    return target_named(str(name)).model_dump(
        by_alias=True, exclude={"name", "folder"}, exclude_defaults=True
    )
