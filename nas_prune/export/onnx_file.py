"""ONNX: writing a program as one file, and running it."""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from nas_prune.errors import BadInputError
from nas_prune.export.program import check_words
from nas_prune.export.quiet import quietly, said_by

INPUT, OUTPUT, BATCH = "images", "scores", "N"
_ERRORS = 3  # the severity from which ONNX Runtime speaks
_LARGE = 1_900_000_000  # bytes of weights that a file of ONNX cannot hold


def check_installed(form: str) -> None:
    """Refuse what cannot be written here.

    Raises:
        BadInputError: a library is not there.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError:
            raise BadInputError(
                f"--to {form} must have onnx, onnxscript and onnxruntime installed, got no {name}. "
                "pip install 'nas-prune[onnx]'"
            ) from None
    import_module("onnxruntime").set_default_logger_severity(_ERRORS)


def write_onnx(program: ExportedProgram, path: Path, facts: Mapping[str, str]) -> None:
    """Write a program as one file, which says what it is.

    Args:
        program: of one input and one output.
        path: the file.
        facts: what is known of it, by name.

    Raises:
        BadInputError: PyTorch's exporter cannot, or it is too large.
    """
    check_words(program)
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > _LARGE:
        raise BadInputError(
            f"the network's weights must fit into one file of ONNX, 1.9 GB, got {size / 1e9:.1f} GB. Use --to "
            "safetensors or pt2."
        )
    try:
        with quietly():
            made = torch.onnx.export(
                program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
            assert made is not None
            _named(made.model)
            made.model.metadata_props.update(facts)
            made.save(path, external_data=False)
    except Exception as error:
        raise BadInputError(
            f"the network must be one that torch.onnx.export takes, got {_cause(error)}. Use --to safetensors or pt2, "
            "which need no counterpart of each operation."
        ) from error


def _cause(error: BaseException) -> str:
    """What is at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    unknown = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error))
    return f"{unknown[1]}, which ONNX has no operation for" if unknown else said_by(error)


def _named(model: Any) -> None:
    """Call the number of images N, and forget where in whose files each operation came from."""
    symbol = model.graph.inputs[0].shape[0]
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.shape = _renamed(value.shape, symbol)
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()
        value.shape = _renamed(value.shape, symbol)
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.doc_string = None


def _renamed(shape: Any, symbol: Any) -> Any:
    return None if shape is None else type(shape)([BATCH if one == symbol else one for one in shape])


class Session:
    """A file of ONNX in ONNX Runtime, on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load it.

        Raises:
            BadInputError: ONNX Runtime cannot.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _ERRORS
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise _cannot(error) from error

    def __call__(self, images: Tensor) -> Tensor:
        """The scores of images as the file takes them.

        Raises:
            BadInputError: ONNX Runtime cannot run it.
        """
        return torch.from_numpy(self.run(images.numpy()))

    def run(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Likewise, with arrays."""
        try:
            found: np.ndarray[Any, Any] = self._session.run([OUTPUT], {INPUT: images})[0]
        except Exception as error:
            raise _cannot(error) from error
        return found


def _cannot(error: Exception) -> BadInputError:
    return BadInputError(
        f"the exported network must run in ONNX Runtime, got {said_by(error)}. Nothing was "
        "written. Use --to safetensors or pt2."
    )
