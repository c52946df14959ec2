"""A network from its widths file, and its weights from where somebody has saved them."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.space.load import load_referenced
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths, read_widths


def rebuild(
    widths: "Widths | Path | str",
    weights: "Path | str | None" = None,
    *,
    space: "str | SearchSpace | None" = None,
    seed: int = 0,
) -> nn.Module:
    """The network of a widths file.

    Args:
        widths: the file, or what it holds.
        weights: a safetensors file of the network's `state_dict`, as `safetensors.torch.save_model` writes it; fresh
            weights if None.
        space: the network's name again if it is code of your own (`package.module:factory`), since none is imported
            that only a file names; or the space itself, of a network that was given to `load_space` as it is.
        seed: of fresh weights.

    Raises:
        WidthsError: the widths cannot be used.
        BadInputError: the network is code and has not been named, or the weights are not its own.

    Example:
        >>> from nas_prune import load_space
        >>> sum(one.numel() for one in rebuild(load_space("vgg11", (1, 8, 8)).widths([8] * 8)).parameters())
        4322
    """
    found = widths if isinstance(widths, Widths) else read_widths(widths)
    known = space if isinstance(space, SearchSpace) else load_referenced(found.space, space)
    network = known.build(found, seed=seed)
    if weights is not None:
        try:
            load_model(network, weights)
        except (OSError, RuntimeError, SafetensorError) as error:
            first = str(error).strip().splitlines()
            raise BadInputError(
                f"weights must be a safetensors file of this network at these widths, got {weights}: "
                f"{' '.join(' '.join(first[:2]).split())}"
            ) from error
    return network
