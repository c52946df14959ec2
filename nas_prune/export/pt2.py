"""PT2: a program of `torch.export` as one file. It is never read here, since reading it runs pickles."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from nas_prune.errors import BadInputError
from nas_prune.export.quiet import quietly, said_by

FACTS = "nas-prune.json"  # among the file's extra files


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
        with quietly():
            torch.export.save(program, path, extra_files={FACTS: json.dumps(dict(facts))})
    except Exception as error:
        raise BadInputError(
            f"the network must be one that torch.export.save takes, got {said_by(error)}. "
            "Use --to onnx or safetensors."
        ) from error
