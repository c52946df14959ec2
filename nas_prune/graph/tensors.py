"""The tensors that a network holds: which are constants, and copies of a network without any storage."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from nas_prune.graph.copies import copied
from nas_prune.graph.known import without_storage
from nas_prune.graph.selection import ChannelSelection
from nas_prune.graph.spectral import names_of_estimates

HOLDS = "holds values of its own for them"  # why the axes of a constant are frozen


def fixed_tensors(model: nn.Module) -> Mapping[str, tuple[int, ...]]:
    """Buffers and constant parameters that hold values of their own place by place, and along which dimensions.

    No place can be added there or taken out. The statistics of norms start anew, a selection holds as many indices as
    it is told, and what is the same all along a dimension can have any size there (a blur's kernel for each channel).
    """
    estimates = names_of_estimates(model)
    free = tuple(
        f"{path}."
        for path, module in model.named_modules()
        if isinstance(module, (nn.modules.batchnorm._NormBase, ChannelSelection))  # noqa: SLF001
    )
    buffers = [
        (name, buffer)
        for name, buffer in model.named_buffers()
        if not name.startswith(free or ("/",)) and name not in estimates
    ]
    constants = constant_parameters(model)
    parameters = [(name, one) for name, one in model.named_parameters() if id(one) in constants]
    fixed = {name: _uneven(one) for name, one in (*buffers, *parameters)}
    return {name: dims for name, dims in fixed.items() if dims}


def constant_parameters(model: nn.Module) -> frozenset[int]:
    """Identities of the parameters that take no gradient while others do: what they hold was set once, for good.

    Where none takes a gradient the whole network was frozen, to be run, and that says nothing of its parameters.
    """
    parameters = list(model.parameters())
    if not any(one.requires_grad for one in parameters):
        return frozenset()
    return frozenset(id(one) for one in parameters if not one.requires_grad)


def _uneven(tensor: Tensor) -> tuple[int, ...]:
    """The dimensions along which a tensor is not the same everywhere; all where its values are not known."""
    dims = range(tensor.dim())
    if tensor.is_meta:
        return tuple(dims)
    return tuple(
        dim for dim in dims if tensor.numel() and not bool((tensor == tensor.narrow(dim, 0, 1)).all())
    )


def on_meta(model: nn.Module) -> nn.Module:
    """A copy of a network whose parameters and buffers have shapes but no storage; ties between them stay."""
    buffers = {id(buffer): without_storage(buffer) for buffer in model.buffers()}
    return copied(model, {**_meta_parameters(model), **buffers})


def structure(model: nn.Module) -> nn.Module:
    """A copy of a network without its weights: parameters on the meta device; buffers and constants as they are."""
    constants = constant_parameters(model)
    return copied(model, {key: one for key, one in _meta_parameters(model).items() if key not in constants})


def _meta_parameters(model: nn.Module) -> dict[int, Any]:
    return {
        id(parameter): nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        for parameter in model.parameters()
    }


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by name; a tied one comes once, under its first name."""
    modules, seen = list(model.named_modules()), set[int]()
    for kind in ("_parameters", "_buffers"):
        for path, module in modules:
            for name, tensor in module.__dict__[kind].items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{path}.{name}" if path else name, tensor
