"""Guidelines of patterns: where weights stay, by stage and kernel position, with spread and provenance.

Everything is a difference of log odds, so that one guideline holds for sparse and for dense networks: a density d has
the log odds log(d / (1 - d)).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import Field, ValidationError, model_validator

from nas_prune.errors import GuidelineError
from nas_prune.runs.files import write_whole
from nas_prune.runs.kinds import naming_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_yaml, read_text
from nas_prune.space.cost_record import Name, Strict

SCHEMA = "nas-prune/pattern-guideline/1"
LARGEST = 20.0  # of a difference of log odds
Odds = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
LayerKind: TypeAlias = Literal["first", "kernel", "point", "linear"]


def kind_of_layer(kind: str, shape: tuple[int, ...], *, is_first: bool) -> LayerKind:
    """Which kind of layer a guideline takes one for.

    Args:
        kind: `conv` or `linear`.
        shape: of its weight.
        is_first: whether it is the network's first.
    """
    if is_first:
        return "first"
    if kind == "linear":
        return "linear"
    return "kernel" if any(size > 1 for size in shape[2:]) else "point"


def last_stage(layers: Iterable[tuple[str, int]]) -> int:
    """The stage that others are counted from: the last that has convolutions, of layers by kind and stage.

    A classifier, of a stage of its own, does not count: it may be there or not, or be kept dense.
    """
    known = list(layers)
    return max([stage for kind, stage in known if kind == "conv"] or [stage for _, stage in known])


class DensityCell(Strict):
    """How much more, or less, of a kind of layer stays in a stage.

    Attributes:
        kind: `first` for the network's first layer, `kernel` for convolutions of several positions, `point` for others,
            `linear`.
        stage: counted from the last stage of the network that has convolutions, 0; 0 for first and linear layers.
        log_odds: beyond those of all weights together.
        low, high: ends of the interval; None where one source alone says anything.
        of: how many sources say anything.
    """

    kind: LayerKind
    stage: Annotated[int, Field(ge=0, le=1000)]
    log_odds: Odds
    low: Odds | None = None
    high: Odds | None = None
    of: Annotated[int, Field(ge=1)]


class PositionCell(Strict):
    """How much more, or less, of each kernel position stays in a stage.

    Attributes:
        stage: counted from the last, 0.
        shape: of the kernels.
        log_odds: of each position, row by row, beyond those of all weights of such kernels in the stage.
        half_width: of the intervals of all positions; None where one source alone says anything.
        of: how many sources say anything.
    """

    stage: Annotated[int, Field(ge=0, le=1000)]
    shape: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(min_length=2, max_length=2)
    log_odds: tuple[Odds, ...]
    half_width: Annotated[float, Field(ge=0)] | None = None
    of: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _one_for_each(self) -> "PositionCell":
        if len(self.log_odds) != self.shape[0] * self.shape[1]:
            raise ValueError(
                f"log_odds must have one for each position of {self.shape}, got {len(self.log_odds)}"
            )
        return self


class Agreement(Strict):
    """The test of whether sources agree in where weights stay.

    Attributes:
        is_found: whether they do, by more than chance; what does not is not applied. With one source alone it is taken
            as it is.
        p_value: how often sources without anything in common would agree as much; None with one.
        test: how that was worked out.
    """

    is_found: bool
    p_value: Annotated[float, Field(ge=0, le=1)] | None = None
    test: Annotated[str, Field(max_length=200)]


class PatternSource(Strict):
    """One pattern that a guideline was fitted to."""

    network: Name
    data: Name
    method: Name
    seed: Annotated[int, Field(ge=0)]
    budget: Name
    density: Annotated[float, Field(gt=0, le=1)]


class PatternGuideline(Strict):
    """Where weights stay, pooled over patterns.

    Attributes:
        densities: by kind of layer and stage.
        positions: by stage and kernel shape.
        of_densities, of_positions: whether sources agree.
        level: what was taken as independent: `network`, `data`, `method` or `seed`.
        confidence: of the intervals of densities together, and of positions together.
        covers: the smallest and the largest share of weights that stays in a source.
        sources: all of them.
        notes: what a person should know.
    """

    densities: tuple[DensityCell, ...]
    positions: tuple[PositionCell, ...]
    of_densities: Agreement
    of_positions: Agreement
    level: Annotated[str, Field(max_length=20)]
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.9
    covers: tuple[float, float]
    sources: tuple[PatternSource, ...]
    notes: tuple[str, ...] = ()

    def density_odds(self, kind: LayerKind, stage: int) -> float:
        """What is added to a layer's log odds; of stages that no source has, those of the nearest that one has."""
        if not self.of_densities.is_found:
            return 0.0
        own = [cell for cell in self.densities if cell.kind == kind]
        own = own or [cell for cell in self.densities if cell.kind in ("kernel", "point")]
        return min(own, key=lambda cell: abs(cell.stage - stage)).log_odds if own else 0.0

    def position_odds(self, shape: tuple[int, ...], stage: int) -> tuple[float, ...] | None:
        """What is added for each position of a kernel; None where nothing is known of such kernels."""
        own = [cell for cell in self.positions if cell.shape == shape]
        if not own or not self.of_positions.is_found:
            return None
        return min(own, key=lambda cell: abs(cell.stage - stage)).log_odds

    def write(self, path: Path | str) -> None:
        """Write it as YAML: whole or not at all."""
        content = {"schema": SCHEMA, **self.model_dump(mode="json")}
        write_whole(Path(path), yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120))


def read_pattern_guideline(path: Path | str) -> PatternGuideline:
    """Read and validate a guideline of patterns.

    Raises:
        GuidelineError: it does not exist, is damaged, of a newer schema, or holds what no such guideline may.
    """
    path = Path(path)
    with naming_other(path, "pattern guideline", wanted="a guideline of patterns must be one"):
        return _read(path)


def _read(path: Path) -> PatternGuideline:
    try:
        content: Any = load_yaml(read_text(path))
    except FileNotFoundError:
        raise GuidelineError(
            f"a guideline of patterns must exist, got {path}. nas-prune guide writes one from searches for patterns."
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise GuidelineError(
            f"a guideline of patterns must be whole YAML, got {path} ({said:.200})."
        ) from None
    if not isinstance(content, dict):
        raise GuidelineError(f"a guideline of patterns must hold a mapping, got {path}.")
    schema = content.pop("schema", None)
    if schema != SCHEMA:
        found = re.fullmatch(r"nas-prune/pattern-guideline/([0-9]{1,6})", str(schema))
        newer = " Update nas-prune." if found is not None and int(found[1]) > 1 else ""
        raise GuidelineError(
            f"a guideline of patterns must be of schema {SCHEMA}, got {str(schema)!r:.100} ({path}).{newer}"
        )
    try:
        return PatternGuideline.model_validate(content)
    except ValidationError as error:
        raise GuidelineError(
            f"the guideline {path} cannot be used: {first_problem(error, PatternGuideline)}."
        ) from None
