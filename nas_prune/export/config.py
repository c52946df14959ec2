"""The settings of an export."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas_prune.errors import BadInputError
from nas_prune.runs.problems import first_problem

Form = Literal["onnx", "int8-onnx", "pt2", "safetensors"]
FILES: dict[Form, str] = {
    "onnx": "model.onnx",
    "int8-onnx": "model-int8.onnx",
    "pt2": "model.pt2",
    "safetensors": "model.safetensors",
}


class ExportConfig(BaseModel):
    """Every setting of an export.

    Attributes:
        to: the form: `onnx`, `int8-onnx` (quantised), `pt2` (`torch.export`), or `safetensors` with a `model.py`.
        folds_norms: whether batch norms become part of the convolutions in front of them.
        with_preprocessing: whether the file takes uint8 images and normalises them itself.
        images: on how many test images it is checked.
        calibration: from how many training images the ranges of int8 numbers are found.
        threads: of the latencies.
        runs: of single images, from which the latencies are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: Form = "onnx"
    folds_norms: bool = False
    with_preprocessing: bool = False
    images: int = Field(default=1000, ge=1, le=10_000_000)
    calibration: int = Field(default=256, ge=1, le=100_000)
    threads: int = Field(default=1, ge=1, le=1024)
    runs: int = Field(default=200, ge=1, le=100_000)

    def __init__(self, **given: Any) -> None:
        """Settings as a person types them.

        Raises:
            BadInputError: one of them cannot be used.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise BadInputError(f"the settings cannot be used: {first_problem(error, type(self))}.") from None

    @model_validator(mode="after")
    def _calibrates_int8(self) -> "ExportConfig":
        if "calibration" in self.model_fields_set and self.to != "int8-onnx":
            raise ValueError(f"calibration must come with int8-onnx alone, got {self.to}")
        return self

    @property
    def file(self) -> str:
        """What the exported file is called."""
        return FILES[self.to]
