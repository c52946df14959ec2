"""Quantisation by ONNX Runtime: weights and activations of 8 bits, with ranges found on training images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from nas_prune.errors import BadInputError
from nas_prune.export.onnx_file import INPUT
from nas_prune.export.quiet import quietly, said_by


def quantise(path: Path, images: Tensor, given: Callable[[Tensor], Tensor], folder: Path) -> Path:
    """Write a float network of ONNX with 8 bits: QDQ, weights with a scale for each channel.

    Args:
        path: its file.
        images: to find the ranges of activations with: uint8, N×C×H×W.
        given: makes of some of them what the network takes.
        folder: where files are left.

    Returns:
        The new file.

    Raises:
        BadInputError: ONNX Runtime cannot.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    made = folder / "quantised.onnx"
    try:
        with quietly():
            quantize_static(
                _prepared(path, folder),
                made,
                _Reader(images, given),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
    except Exception as error:
        raise BadInputError(
            f"the network must be one that ONNX Runtime quantises, got {said_by(error)}. Use --to onnx."
        ) from error
    return made


def _prepared(path: Path, folder: Path) -> Path:
    """The network with the shapes that quantisation looks at; its symbolic inference does not know every operation."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    made = folder / "prepared.onnx"
    try:
        quant_pre_process(path, made)
    except Exception:  # noqa: BLE001  (of many types; ONNX's own inference is left then)
        quant_pre_process(path, made, skip_symbolic_shape=True)
    return made


class _Reader:
    """Hands out images one by one, as ONNX Runtime asks for them."""

    def __init__(self, images: Tensor, given: Callable[[Tensor], Tensor]) -> None:
        self._left: Iterator[Tensor] = iter(images.split(1))
        self._given = given

    def get_next(self) -> dict[str, Any] | None:
        """The next one by the name of its input; None after the last."""
        image = next(self._left, None)
        return None if image is None else {INPUT: self._given(image).numpy()}

    def __len__(self) -> int:
        return 0

    def set_range(self, start_index: int, end_index: int) -> None:
        """Images are read once."""
