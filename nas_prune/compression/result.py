"""What a compression gave, and the files it leaves in its directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nas_prune.compression.account import Account, Form, LayerAccount
from nas_prune.compression.config import file_of
from nas_prune.data.metric import Metric, metric_in
from nas_prune.errors import DamagedError
from nas_prune.runs.directory import RESULT
from nas_prune.runs.files import write_whole
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import read_text

PICTURE = "account.png"
_Score = Annotated[float, Field(allow_inf_nan=False)]


class Accuracies(BaseModel):
    """The metric after one step, on the validation and the test part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    val: _Score
    test: _Score


class Compressed(BaseModel):
    """What a compression gave; what `result.json` holds.

    Attributes:
        space, source: the network, and the run that it is of.
        budget: that the file keeps, in words; None for none.
        data: the images, without directories.
        metric: what values are of.
        epochs: for which the shared values were tuned.
        accuracies: after each step: as trained, with shared values, tuned.
        account: of the bytes.
        forms: other ways to write the network, and the steps of this one.
        note: why there is no form with numbers of 8 bits; empty where there is one, or none was asked for.
        file: the compressed network, relative to the run's directory.
        run: that directory; not in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["nas-prune/compression/1"] = Field(default="nas-prune/compression/1", alias="schema")
    space: str
    source: str
    budget: str | None
    data: str
    metric: dict[str, Any] = {}
    epochs: Annotated[int, Field(ge=0)]
    accuracies: tuple[Accuracies, ...] = Field(min_length=1)
    account: Account
    forms: tuple[Form, ...]
    note: str = ""
    file: str = Field(pattern=r"^(\.\./)?[^/\\\x00-\x1f]+\.nasp$", max_length=300)
    run: Path = Field(default=Path(), exclude=True)

    @property
    def path(self) -> Path:
        """The compressed network."""
        return file_of(self.run, is_beside=self.file.startswith("../"))

    @property
    def measure(self) -> Metric:
        """What the values are of."""
        return metric_in(dict(self.metric))

    @property
    def layers(self) -> Sequence[LayerAccount]:
        """Those whose weights share values."""
        return self.account.layers

    def content(self) -> dict[str, Any]:
        """As plain JSON."""
        return self.model_dump(mode="json", by_alias=True)


def write_result(run: Path, result: Compressed) -> None:
    """Write `result.json`."""
    write_whole(run / RESULT, result.model_dump_json(by_alias=True, indent=1) + "\n")


def read_compression(run: Path) -> Compressed | None:
    """What `write_result` wrote; None if it is not there yet.

    Raises:
        DamagedError: it is damaged.
    """
    path = run / RESULT
    try:
        return Compressed.model_validate_json(read_text(path)).model_copy(update={"run": run})
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DamagedError(
            f"{path} must be a compression's, got one that is not: {first_problem(error)}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path} must be text that can be read, got: {error}.") from None
