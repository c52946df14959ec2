"""PT2: a program of `torch.export` as one file. It is never read here, since reading it runs pickles."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from nas_prune.errors import BadInputError
from nas_prune.graph.trace import first_line

FACTS = "nas_prune.json"  # among the file's extra files


def write_pt2(program: ExportedProgram, path: Path, facts: Mapping[str, str]) -> None:
    """Write a program, and what is known of it.

    Args:
        program: the program.
        path: the file, `.pt2`.
        facts: by name.

    Raises:
        BadInputError: PyTorch cannot save it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the format, which may change
            torch.export.save(program, path, extra_files={FACTS: json.dumps(dict(facts))})
    except Exception as error:
        raise BadInputError(
            f"the network must be one that torch.export.save takes, got {type(error).__name__}: {first_line(error)}. "
            "Use --to onnx or safetensors."
        ) from error
