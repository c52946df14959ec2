"""What a network does, as `torch.export` writes it down, for any number of images."""

import re

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.errors import BadInputError
from nas_prune.export.deployed import NETWORK, Deployed, contiguous, foldable, folded
from nas_prune.export.quiet import quietly, said_by

_IMAGES = 3  # of the example: a number that is no special case


def program_of(
    network: nn.Module, known: Preprocessing, *, with_preprocessing: bool, folds_norms: bool
) -> tuple[Deployed, ExportedProgram, tuple[int, int] | None]:
    """The network as it is exported.

    Args:
        network: the trained one; it is not changed.
        known: of its images.
        with_preprocessing: whether it is to take uint8 images.
        folds_norms: whether norms are to be folded.

    Returns:
        The module, what it does, and how many of how many norms were folded, if that was asked for.

    Raises:
        BadInputError: PyTorch's exporter does not take it.
    """
    own, shape = contiguous(network), (known.channels, known.size, known.size)
    takes = known if with_preprocessing else None
    deployed = Deployed(own, takes)
    program = _exported(deployed, shape)
    if not folds_norms:
        return deployed, program, None
    pairs, count = foldable(program, own)
    if pairs:
        deployed = Deployed(folded(own, pairs), takes)
        program = _exported(deployed, shape)
    return deployed, program, (len(pairs), count)


def check_words(program: ExportedProgram) -> None:
    """Refuse names that PyTorch would put into code without quoting them.

    Raises:
        BadInputError: a module or a parameter has such a name.
    """
    odd = next((name for name in program.state_dict if not re.fullmatch(r"[\w.]+", name)), None)
    if odd is not None:
        raise BadInputError(
            "the network must have modules whose names are words to be exported so, got "
            f"{odd.removeprefix(f'{NETWORK}.')!r}. Use --to safetensors."
        )


def _exported(deployed: Deployed, shape: tuple[int, int, int]) -> ExportedProgram:
    images = torch.zeros(_IMAGES, *shape, dtype=torch.uint8 if deployed.normalises else torch.float32)
    try:
        with torch.no_grad(), quietly():
            program = torch.export.export(
                deployed, (images,), dynamic_shapes={"images": {0: Dim.DYNAMIC}}, strict=False
            )
    except Exception as error:
        raise BadInputError(
            "the network must be one that torch.export takes, for any number of images, got "
            f"{said_by(error)}. Code that branches on the values or the number of images "
            "cannot be exported; nas_prune.load_network gives the network as it is."
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it would be saved, and names files of this machine
    return program
