"""The settings of a compression."""

import re
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from nas_prune.coding.file import NAME, SUFFIX
from nas_prune.errors import BadInputError, BudgetError
from nas_prune.export.origin import OfTrained
from nas_prune.space.budget import Budget, BudgetSetting
from nas_prune.training.event_log import LogName
from nas_prune.training.recipe import MOST_EPOCHS, Recipe

MOST_BITS = 10
ALL = "all"
_DEFAULT = {"conv": 8, "linear": 5}  # Han et al. 2016, section 5
_EPOCHS_SHARE, _RATE_SHARE = 0.25, 0.1
_PART = re.compile(r"\s*(?:([^=\s]+)\s*=\s*)?(\d{1,4})\s*")


class CompressConfig(OfTrained):
    """Every setting of a compression; what `config.yaml` holds.

    Attributes:
        source: what is compressed, for people: a run and its seed.
        bits: of the indices of shared values: for `all`, for `conv` and `linear`, or by a layer's name, which goes
            before these; in Python also as text, `conv=8,linear=5`. None for 8 and 5, or what the budget allows.
        budget: what the file may have, in Python also as text: `size<=200KiB`, or a share of the whole network's
            parameters in 32 bits; None for no bound.
        epochs: for which the shared values are tuned; a quarter of the recipe's if None, 0 for none.
        learning_rate: of that, at first; it falls to zero along half a cosine. A tenth of the recipe's if None.
        seed: fixes the order of the images.
        is_beside: whether the file lies beside the run's directory, under its name; it is in it otherwise.
        with_int8: whether the export with numbers of 8 bits is made to compare with.
        keep_checkpoints: whether those of the finished tuning stay.
        log: what is written of each epoch beside `metrics.jsonl`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = ""
    bits: dict[str, Annotated[int, Field(ge=1, le=MOST_BITS)]] | None = None
    budget: BudgetSetting | None = None
    epochs: int | None = Field(default=None, ge=0, le=MOST_EPOCHS)
    learning_rate: float | None = Field(default=None, gt=0, le=1e6)
    seed: int = Field(default=0, ge=0, lt=2**31)
    is_beside: bool = False
    with_int8: bool = True
    keep_checkpoints: bool = False
    log: LogName | None = None

    @classmethod
    def typed(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """As `RunConfig`, with bits as a person types them."""
        content = super().typed(given)
        if isinstance(content.get("bits"), (str, int)):
            content["bits"] = parsed_bits(str(content["bits"]))
        return content

    @model_validator(mode="after")
    def _is_one_way(self) -> "CompressConfig":
        if self.bits is not None and self.budget is not None:
            raise ValueError("bits must come without a budget, which chooses them. Leave one out")
        return self

    @property
    def tuning(self) -> Recipe | None:
        """How the shared values are tuned; None where they are not."""
        epochs = ceil(self.recipe.epochs * _EPOCHS_SHARE) if self.epochs is None else self.epochs
        if not epochs:
            return None
        rate = self.learning_rate or self.recipe.learning_rate * _RATE_SHARE
        changes = {"epochs": epochs, "learning_rate": rate, "schedule": "cosine", "warmup_epochs": 0.0}
        return self.recipe.model_copy(update=changes).to_the_end()

    def key_for(self, name: str, kind: str) -> str | None:
        """Which of the bits that were asked for are a layer's; None where it has the default ones.

        Args:
            name: of the parameter.
            kind: `conv` or `linear`.
        """
        keys = (name, name.rpartition(".")[0], kind, ALL)
        return next((key for key in keys if key in (self.bits or {})), None)

    def bits_for(self, name: str, kind: str) -> int:
        """Bits of the indices of a layer; a layer of fewer values takes fewer."""
        key = self.key_for(name, kind)
        return _DEFAULT[kind] if key is None else (self.bits or {})[key]

    def limit(self, whole_bytes: int) -> int | None:
        """How many bytes the file may have.

        Args:
            whole_bytes: of the whole network's parameters in 32 bits.
        """
        return None if self.budget is None else self.budget.limit(whole_bytes)


def parsed_bits(text: str) -> dict[str, int]:
    """Bits as they are typed: a number for all, or by kind or layer.

    Raises:
        BadInputError: they are not of that form.

    Example:
        >>> parsed_bits("5"), parsed_bits("conv=8,linear=5")
        ({'all': 5}, {'conv': 8, 'linear': 5})
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadInputError(f"--bits must be a number or look like conv=8,linear=5, got {text!r:.100}.")
        name, number = match[1] or ALL, int(match[2])
        if not 1 <= number <= MOST_BITS:
            raise BadInputError(f"--bits must be from 1 to {MOST_BITS}, got {number} in {text!r:.100}.")
        if name in found:
            raise BadInputError(
                f"--bits must name each layer or kind once, got {name} twice in {text!r:.100}."
            )
        found[name] = number
    return found


def check_budget(budget: Budget | None) -> None:
    """Refuse a budget that no file has.

    Raises:
        BudgetError: it bounds anything but a size.
    """
    if budget is not None and (budget.kind != "size" or budget.more):
        raise BudgetError(
            f"--budget must bound the bytes of the file, such as 'size<=200KiB' or 'size<=5%', got {budget}."
        )


def file_of(run: Path, *, is_beside: bool) -> Path:
    """Where the compressed network of a run is written."""
    return run.parent / f"{run.name}{SUFFIX}" if is_beside else run / NAME
