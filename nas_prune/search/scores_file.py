"""`scores.json`: what a search's method gave each channel, so that it can be cut again."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nas_prune.errors import DamagedError
from nas_prune.runs.files import write_whole
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import read_json
from nas_prune.space.scores import Scores
from nas_prune.space.search_space import SearchSpace

SCORES = "scores.json"


class _Column(BaseModel):
    """The scores of one group's channels, or of one block; none where it was not searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    scores: list[Annotated[float, Field(allow_inf_nan=False)]] | None


_COLUMNS = TypeAdapter(list[_Column])


def write_scores(run: Path, space: SearchSpace, scores: Scores) -> None:
    """Write the scores of a finished search."""
    names = _names(space, len(scores))
    content = [
        {"name": name, "scores": None if own is None else own.tolist()}
        for name, own in zip(names, scores, strict=True)
    ]
    write_whole(run / SCORES, json.dumps(content) + "\n")


def _names(space: SearchSpace, count: int) -> list[str]:
    """What the columns are called: groups, and behind them blocks where they are searched."""
    groups = [group.name for group in space.groups]
    return groups if count <= len(groups) else [*groups, *(block.path for block in space.blocks)]


def read_scores(run: Path, space: SearchSpace) -> Scores:
    """What `write_scores` wrote.

    Raises:
        DamagedError: it is not there, or not of this network.
    """
    path = run / SCORES
    try:
        columns = _COLUMNS.validate_python(read_json(path))
    except ValidationError as error:
        raise DamagedError(f"{path} cannot be used: {first_problem(error)}.") from None
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} must be whole JSON, got: {error}.") from None
    if [one.name for one in columns] != _names(space, len(columns)):
        raise DamagedError(f"{path} must be of the groups of {space.reference.name}, got others.")
    for number, column in enumerate(columns):
        size = space.size_at(number)
        if column.scores is not None and len(column.scores) != size:
            raise DamagedError(
                f"{path} must have {size} scores of {column.name:.100}, got {len(column.scores)}."
            )
    return [None if one.scores is None else np.array(one.scores) for one in columns]
