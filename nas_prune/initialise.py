"""Fresh weights by a network's own rules, at any widths.

What a network's constructor did to its parameters is recorded as calls of `torch.nn.init`, and replayed at the
new sizes. What a layer type does by itself (`reset_parameters`) is not recorded but called again, since it
computes numbers from the layer's size.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas_prune.errors import NasPruneError

_OWN_RESETS = frozenset({"reset_parameters", "_reset_parameters", "reset_running_stats"})


@dataclass(frozen=True, slots=True)
class InitCall:
    """One call of a function of `torch.nn.init` on a named parameter."""

    function: str
    parameter: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]


def record_inits(factory: Callable[[], nn.Module]) -> tuple[nn.Module, tuple[InitCall, ...]]:
    """Build a network and write down how its constructor initialised the parameters.

    Args:
        factory: makes the network.

    Returns:
        The network, and the calls in order. Calls made by a layer type's own `reset_parameters` are left out.
        None of them is carried out: the network's parameters hold nothing, so that large ones cost no time.
    """
    calls: list[tuple[str, Tensor, tuple[Any, ...], dict[str, Any]]] = []
    with _listening(calls):
        model = factory()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return model, tuple(
        InitCall(function, names[id(tensor)], arguments, keywords)
        for function, tensor, arguments, keywords in calls
        if id(tensor) in names
    )


def initialise(model: nn.Module, calls: tuple[InitCall, ...], *, seed: int) -> None:
    """Give every parameter of a network fresh values, in place.

    Args:
        model: a network whose parameters need not hold anything yet.
        calls: what `record_inits` wrote down when the network was first built.
        seed: the same seed gives the same values; the global random state is left as it was.

    Raises:
        NasPruneError: some parameter has no rule, so that its values would be left to chance.
    """
    parameters = dict(model.named_parameters())
    with torch.random.fork_rng(devices=_cuda_devices(model)), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in parameters.values():
            parameter.fill_(torch.nan)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
        for call in calls:
            getattr(nn.init, call.function)(parameters[call.parameter], *call.arguments, **call.keywords)
    for name, parameter in parameters.items():
        if torch.isnan(parameter).any():
            raise NasPruneError(
                f"parameter {name} must have a rule for its first values, got none. "
                "Give load_space a function that makes the network and sets it with a function of torch.nn.init, "
                "or give its layer a reset_parameters."
            )


def _cuda_devices(model: nn.Module) -> list[int]:
    return sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})


@contextmanager
def _listening(calls: list[tuple[str, Tensor, tuple[Any, ...], dict[str, Any]]]) -> Iterator[None]:
    originals = {
        name: getattr(nn.init, name)
        for name in dir(nn.init)
        if name.endswith("_") and not name.startswith("_") and callable(getattr(nn.init, name))
    }
    try:
        for name in originals:
            setattr(nn.init, name, _noting(name, calls))
        yield
    finally:
        for name, function in originals.items():
            setattr(nn.init, name, function)


def _noting(
    name: str, calls: list[tuple[str, Tensor, tuple[Any, ...], dict[str, Any]]]
) -> Callable[..., Tensor]:
    def noted(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        if not _inside_own_reset():
            calls.append((name, tensor, arguments, keywords))
        return tensor

    return noted


def _inside_own_reset() -> bool:
    frame = sys._getframe(2)  # noqa: SLF001
    for _ in range(4):
        if frame.f_code.co_name in _OWN_RESETS:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
