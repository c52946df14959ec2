"""The guideline artefact: what found widths have in common, as plain YAML that people may write by hand.

Widths are held relative to the uniform network of the same cost: a log ratio of 0 says "as wide as uniform scaling
makes it", log 2 "twice as wide", log ½ "half as wide".
"""

from math import exp, log
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from nas_prune.errors import GuidelineError
from nas_prune.graph.channels import Role
from nas_prune.runs.files import write_whole
from nas_prune.runs.kinds import naming_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_yaml, read_text
from nas_prune.space.budget import OWN
from nas_prune.space.quantities import COUNTED, MEASURED

SCHEMA = "nas-prune/guideline/1"
HAND_SPREAD = 0.1

Match: TypeAlias = Literal["output", "input"]
Model: TypeAlias = Literal[
    "uniform", "stage-means", "stage-role", "stage-role-slope", "stage-role-shape", "hand"
]
_COSTS = (*COUNTED, *MEASURED, OWN)
_MOST_VALUES = 400_000  # of its file: each source has some 25
LARGEST = 7.0  # as a log ratio; a factor of a thousand


class _Strict(BaseModel):
    """Of which later fields are written only where they say something, so that equal guidelines stay equal files."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    later_fields: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        for name in self.later_fields:
            if getattr(self, name) == fields[name].default:
                content.pop(name, None)
        return content


class Cell(_Strict):
    """What holds for the groups of one stage, or of one role in it.

    Attributes:
        stage: number of the stage; 0 is the highest resolution.
        role: only groups of this role; all of the stage if None.
        log_ratio: log of the width over that of the uniform network of equal cost, at the middle of the stage.
        low, high: ends of the interval for `log_ratio`; None where too few sources say anything, or where it would span
            nearly all keep ratios.
        spread: standard deviation of one more source's log ratio around it.
        slope: how much `log_ratio` rises from the first group of the cell to the last.
        shape: (position, log ratio) pairs, added at these positions in the cell and interpolated between them;
            positions rise from 0, the first group, to 1, the last.
        trend: how much it rises when log `uniform_keep` rises by 1, beyond what a power of it gives.
        up, of: how many of the sources keep more than uniform here, and how many say anything.
        depth_slope: how much `log_ratio` rises when the log of the network's number of layers rises by 1.
    """

    later_fields: ClassVar[tuple[str, ...]] = ("depth_slope",)

    stage: int = Field(ge=0, le=1000)
    role: Role | None = None
    log_ratio: float = Field(ge=-LARGEST, le=LARGEST)
    low: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    high: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    spread: float = Field(default=HAND_SPREAD, ge=0, le=LARGEST)
    slope: float = Field(default=0.0, ge=-LARGEST, le=LARGEST)
    shape: tuple[tuple[float, float], ...] = ()
    trend: float = Field(default=0.0, ge=-LARGEST, le=LARGEST)
    up: int = Field(default=0, ge=0)
    of: int = Field(default=0, ge=0)
    depth_slope: float = Field(default=0.0, ge=-LARGEST, le=LARGEST)

    def bend_at(self, position: float) -> float:
        """What the shape adds at a position of the cell."""
        after = next((n for n, (place, _) in enumerate(self.shape) if place >= position), len(self.shape))
        if not self.shape or after in (0, len(self.shape)):
            return self.shape[min(after, len(self.shape) - 1)][1] if self.shape else 0.0
        (start, low), (end, high) = self.shape[after - 1], self.shape[after]
        return low + (high - low) * (position - start) / (end - start)

    def log_ratio_at(self, position: float) -> float:
        """The log ratio at a position of the cell, from 0 to 1."""
        return self.log_ratio + self.slope * (position - 0.5) + self.bend_at(position)

    @model_validator(mode="before")
    @classmethod
    def _of_a_factor(cls, content: Any) -> Any:
        """Accept `times_uniform`, as people write it, for `log_ratio`."""
        if not isinstance(content, dict) or "times_uniform" not in content:
            return content
        if "log_ratio" in content:
            raise ValueError("a cell must have log_ratio or times_uniform, got both")
        factor = content["times_uniform"]
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= exp(LARGEST):
            raise ValueError(f"times_uniform must be a number above 0 and at most 1000, got {factor!r}")
        return {**{k: v for k, v in content.items() if k != "times_uniform"}, "log_ratio": log(factor)}

    @model_validator(mode="after")
    def _agreeing(self) -> "Cell":
        places = [place for place, _ in self.shape]
        if places != sorted(set(places)) or not all(0 <= place <= 1 for place in places):
            raise ValueError(f"positions of a shape must rise from 0 to 1, got {places}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} and {self.high}")
        if self.up > self.of:
            raise ValueError(f"up must be at most of, got {self.up} and {self.of}")
        if any(abs(value) > LARGEST for _, value in self.shape):
            raise ValueError(f"log ratios of a shape must be from {-LARGEST:g} to {LARGEST:g}")
        return self


class Evidence(_Strict):
    """The test of whether there is any pattern: whether the sources agree by more than chance.

    Attributes:
        is_found: whether they do.
        p_value: how often sources without a common pattern would agree as much; None with one source alone, or where no
            two speak of the same two stages and roles, nor of a stage of several layers.
        test: how that was worked out.
        level: what was taken as independent: `network`, `data`, `method` or `seed`.
        smallest: where none is found, the standard deviation between cells (of log ratios) of the smallest pattern that
            would have been, in four of five repeats with sources that vary as these do.
    """

    later_fields: ClassVar[tuple[str, ...]] = ("smallest",)

    is_found: bool
    p_value: float | None = Field(default=None, ge=0, le=1)
    test: str = ""
    level: str = ""
    smallest: float | None = Field(default=None, ge=0, le=LARGEST)


class SourceRecord(_Strict):
    """One widths file that a guideline was fitted to.

    Attributes:
        network: name and width multiplier; input: size of its images in pixels.
        data, method, seed, epochs: how the widths were found.
        cost: which cost drove the search.
        budget: what they were cut to, as written.
        uniform_keep: keep ratio of the uniform network of the same cost.
        kept_share: their share of the whole network's cost.
        training_macs: multiply-accumulates of the search's training, forward and backward; None if not known.
        removed_blocks: how many blocks the network lacks; what else is said is of the network without them.
    """

    later_fields: ClassVar[tuple[str, ...]] = ("removed_blocks", "training_macs")

    network: str
    input: int
    data: str
    method: str
    seed: int | None
    epochs: int | None
    cost: str
    budget: str
    uniform_keep: float = Field(gt=0, le=1)
    kept_share: float = Field(gt=0, le=1)
    training_macs: int | None = Field(default=None, ge=0)
    removed_blocks: int = Field(default=0, ge=0)


class Guideline(_Strict):
    """A statement about keep ratios by stage, role and position.

    Attributes:
        model: how cells were made from the sources; `hand` where there are none.
        cost: which cost drove the sources; None if not known.
        match: whether stages are counted from the output or from the input where networks have different numbers.
        num_stages: how many stages the cells are counted in; 0, in those written by hand, for as many as the network
            has. What these do not name is as wide as uniform scaling makes it.
        uniform_keep: keep ratio of the uniform network where `log_ratio` holds; at other budgets it grows with its
            logarithm, and below the least that is covered the odds of all keep ratios fall alike. None for a pattern
            that is the same at every budget.
        covers: least and largest keep ratio of the uniform networks that cost as much as the sources.
        covers_share: least and largest share of the cost that the sources kept.
        confidence: of all intervals together.
        pattern: the test.
        depth: how many convolutions and linear layers the network has of which cells speak, where they depend on that.
        depths: least and largest number of the sources.
        layer_spread: standard deviation of single groups' log ratios around the pattern.
        errors: for each model that was compared, the root mean square error in log keep ratios of sources left out.
        cells: what holds where.
        notes: what the sources cannot tell, in words.
        sources: where it comes from.
    """

    later_fields: ClassVar[tuple[str, ...]] = ("depth", "depths")

    model: Model = "hand"
    cost: str | None = None
    match: Match = "output"
    num_stages: int = Field(default=0, ge=0, le=1001)
    uniform_keep: float | None = Field(default=None, ge=1e-4, lt=1)
    covers: tuple[float, float] | None = None
    covers_share: tuple[float, float] | None = None
    confidence: float = Field(default=0.9, gt=0, lt=1)
    pattern: Evidence | None = None
    depth: float | None = Field(default=None, ge=1)
    depths: tuple[int, int] | None = None
    layer_spread: float = Field(default=HAND_SPREAD, ge=0, le=LARGEST)
    errors: dict[str, float] = {}
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[SourceRecord, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> "Guideline":
        places = [(cell.stage, cell.role) for cell in self.cells]
        twice = next((place for place in places if places.count(place) > 1), None)
        if twice is not None:
            raise ValueError(
                f"cells must name each stage and role once, got stage {twice[0]} ({twice[1] or 'all'}) twice"
            )
        beyond = next((cell.stage for cell in self.cells if cell.stage >= self.num_stages), None)
        if self.num_stages == 0 and self.model != "hand":
            raise ValueError(f"num_stages must be given with model {self.model}, got none")
        if beyond is not None and self.num_stages:
            raise ValueError(f"a cell's stage must be below num_stages {self.num_stages}, got {beyond}")
        for ends in (self.covers, self.covers_share):
            if ends is not None and not 0 < ends[0] <= ends[1] <= 1:
                raise ValueError(f"covers must be two shares in (0, 1] that rise, got {list(ends)}")
        if self.cost is not None and any(word not in _COSTS for word in self.cost.split(" ")[:1]):
            raise ValueError(f"cost must begin with one of {', '.join(_COSTS)}, got {self.cost!r}")
        if self.depth is None and any(cell.depth_slope for cell in self.cells):
            raise ValueError("depth must be given where a cell has a depth_slope, got none")
        if self.depths is not None and not 1 <= self.depths[0] <= self.depths[1]:
            raise ValueError(f"depths must be two numbers of layers that rise, got {list(self.depths)}")
        if self.covers is not None and self.uniform_keep is None:
            raise ValueError("uniform_keep must be given where covers is, got none")
        return self

    @property
    def is_uniform(self) -> bool:
        """Whether it says no more than "the same share everywhere", at any budget and of any network."""
        return not any(
            (cell.log_ratio, cell.slope, cell.trend, cell.depth_slope) != (0, 0, 0, 0)
            or any(value for _, value in cell.shape)
            for cell in self.cells
        )

    def keep_ratio(self, cell: Cell, position: float | None = None) -> float:
        """A cell's keep ratio at the budget where the guideline holds (1 at most); without one, times uniform's.

        Args:
            cell: the cell.
            position: where in it, from 0 to 1; None for all of it together.
        """
        factor = exp(cell.log_ratio if position is None else cell.log_ratio_at(position))
        return min(1.0, factor * self.uniform_keep) if self.uniform_keep else factor

    def interval(self, cell: Cell) -> tuple[float, float] | None:
        """The interval of a cell's keep ratio (1 at most)."""
        if cell.low is None or cell.high is None:
            return None
        keep = self.uniform_keep or 1.0
        most = 1.0 if self.uniform_keep else float("inf")
        return min(most, keep * exp(cell.low)), min(most, keep * exp(cell.high))

    def write(self, path: Path | str) -> None:
        """Write `guideline.yaml`: whole or not at all."""
        content = {"schema": SCHEMA, **self.model_dump(mode="json")}
        write_whole(Path(path), yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def read_guideline(path: Path | str) -> Guideline:
    """Read and validate a guideline file. It is data: nothing in it is imported or run.

    Raises:
        GuidelineError: it does not exist, is not YAML, has a newer schema, or holds a value that is not allowed.
    """
    path = Path(path)
    with naming_other(path, "guideline", wanted="a guideline file must be one"):
        return _read_guideline(path)


def _read_guideline(path: Path) -> Guideline:
    try:
        content = load_yaml(read_text(path), most=_MOST_VALUES)
    except FileNotFoundError:
        raise GuidelineError(
            f"guideline file must exist, got {path}. `nas-prune guide RUN` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise GuidelineError(f"guideline file must be readable text, got {path} ({error}).") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        what = " ".join((getattr(error, "problem", None) or said).split())
        raise GuidelineError(f"guideline file must be plain YAML, got {path}{where}: {what}.") from None
    if not isinstance(content, dict):
        raise GuidelineError(f"guideline file must hold a mapping, got {path}.")
    schema = content.pop("schema", None)
    if schema != SCHEMA:
        raise GuidelineError(f"guideline file must be of schema {SCHEMA}, got {_schema(schema)} ({path}).")
    try:
        return Guideline.model_validate(content)
    except ValidationError as error:
        raise GuidelineError(
            f"guideline file {path} cannot be used: {first_problem(error, Guideline)}."
        ) from None


def _schema(found: object) -> str:
    kind, _, version = str(found).rpartition("/")
    own_kind, _, own = SCHEMA.rpartition("/")
    is_newer = kind == own_kind and version.isdecimal() and len(version) < 7 and int(version) > int(own)
    return f"the newer {found}: update nas-prune" if is_newer else repr(found)
