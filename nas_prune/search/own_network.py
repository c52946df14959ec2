"""Networks of somebody's own, as a training loop holds them: wrapped for speed or several processes, trained or not."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from nas_prune.errors import BadInputError, WidthsError
from nas_prune.space.of_network import vector_of
from nas_prune.space.search_space import SearchSpace


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without `torch.compile`, `DataParallel` or `DistributedDataParallel` around it.

    Raises:
        BadInputError: its parameters are spread over processes, so that none holds a channel.
    """
    inner = model
    while is_wrapped(inner):
        inner = inner.get_submodule("_orig_mod" if hasattr(inner, "_orig_mod") else "module")
    kinds = {kind.__name__ for kind in type(inner).__mro__}
    is_spread = any(type(parameter).__name__ == "DTensor" for parameter in inner.parameters())
    if is_spread or kinds & {"FullyShardedDataParallel", "FSDPModule"}:
        raise BadInputError(
            "the network's parameters must be whole in every process (DDP), got ones that are spread over processes "
            "(FSDP, DTensor)."
        )
    return inner


def is_wrapped(model: nn.Module) -> bool:
    """Whether something is around a network."""
    return isinstance(model, (DataParallel, DistributedDataParallel)) or hasattr(model, "_orig_mod")


def check_whole(space: SearchSpace, model: nn.Module) -> None:
    """Refuse a network that is not the whole one of a space.

    Raises:
        BadInputError: it is of another space, narrowed, or on no device.
    """
    try:
        widths_G = vector_of(space, model)
    except WidthsError as error:
        raise BadInputError(
            f"model must be the network of the space, {space.reference.name}, got another: {error}"
        ) from None
    if widths_G != space.base_G:
        places = zip(space.groups, widths_G, space.base_G, strict=True)
        name, width, base = next((group.name, own, base) for group, own, base in places if own != base)
        raise BadInputError(f"model must be whole, got {name} narrowed to {width} of {base} channels.")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise BadInputError("model must have its weights in memory, got some on the meta device.")


def check_norms(space: SearchSpace, model: nn.Module, columns: Sequence[int]) -> None:
    """Refuse a network that has lost norms since the method began.

    Raises:
        BadInputError: one that holds channels is not there.
    """
    there = {path for path, _ in model.named_modules()}
    needed = (path for group in space.groups_in(columns) for path in space.groups[group].norms)
    lost = next((path for path in needed if path not in there), None)
    if lost is not None:
        raise BadInputError(
            f"the network must have the norms that it was trained with, got none at {lost}. Ask for widths before "
            "what takes norms away, such as fuse()."
        )


def is_fresh(model: nn.Module, space: SearchSpace, columns: Sequence[int]) -> bool:
    """Whether the norms that hold channels of some groups are as a constructor leaves them: never trained."""
    paths = {path for column in columns for path in space.groups[column].norms}
    return all(_is_fresh(model.get_submodule(path)) for path in paths)


def _is_fresh(norm: nn.Module) -> bool:
    tracked = getattr(norm, "num_batches_tracked", None)
    scale, shift = norm.weight, norm.bias
    assert isinstance(scale, torch.Tensor)
    first = scale.detach().flatten()[0]
    is_constant = bool((scale == first).all()) and float(first) in (0.0, 0.5, 1.0)
    has_shift = isinstance(shift, torch.Tensor) and bool(shift.any())
    return is_constant and not has_shift and (tracked is None or not int(tracked))
