"""Fresh weights by a network's own rules, at any widths.

What a network's constructor did to its parameters is recorded, and done again at the new sizes. Calls of
`torch.nn.init` are replayed; what a layer type does by itself (`reset_parameters`) is called again, since it
computes numbers from the layer's size. A parameter that was set in no such way (`nn.Parameter(torch.zeros(…))`,
`weight.data.normal_(…)`) takes values like those the constructor gave it: the same constant, a normal distribution
of the same mean and deviation, or the same few values at the same relative places.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]
from torch.nn.utils.parametrize import is_parametrized

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.graph.channels import ChannelGraph
from nas_prune.graph.fans import EXACT, SINGLE
from nas_prune.graph.resize import resized
from nas_prune.graph.spectral import estimate_anew
from nas_prune.graph.tensors import constant_parameters
from nas_prune.space.init_laws import Follows, Number, followed
from nas_prune.space.init_recorder import recorded_inits

_FEW = 8  # distinct values that a parameter may have and still be no random one
_SAMPLE = 100_000  # how many values of a large parameter are looked at
_FAR = 6  # deviations: a bound beyond does nothing
_SURE = 5  # standard errors of a deviation


@dataclass(frozen=True, slots=True)
class InitCall:
    """One call of a function of `torch.nn.init` on a named parameter."""

    function: str
    parameter: str
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    follows: Follows | None = None

    def number(self) -> Number | None:
        """The one that was given for the size of the values; None if none was, or it is worked out by the function."""
        value = self._bound().get(_GIVEN.get(self.function, ""))
        if not isinstance(value, (int, float)) or not value:
            return None
        return Number(self.parameter, self.function, abs(float(value)), EXACT)

    def apply(self, parameter: Tensor, ratio: float) -> None:
        """Do it again, with the number times a ratio."""
        arguments = self._bound()
        if ratio != 1:
            numbers = [name for name in _SCALED[self.function] if name in arguments]
            if self.function == "trunc_normal_" and abs(arguments.get("b", 2.0)) < _FAR * arguments["std"]:
                numbers += [name for name in ("a", "b") if name in arguments]  # cut at so many deviations
            arguments |= {name: arguments[name] * ratio for name in numbers}
        getattr(nn.init, self.function)(parameter, **arguments)

    def _bound(self) -> dict[str, Any]:
        function = inspect.signature(getattr(nn.init, self.function))
        bound = function.bind(None, *self.arguments, **self.keywords)
        _, *given = bound.arguments.items()
        return dict(given)


# What of the arguments of functions of torch.nn.init is as large as the values, and which of it tells how large.
_SCALED = {
    "normal_": ("std",),
    "trunc_normal_": ("std",),
    "uniform_": ("a", "b"),
    "constant_": ("val",),
}
_GIVEN = {name: numbers[-1] for name, numbers in _SCALED.items()}


@dataclass(frozen=True, slots=True)
class FirstValues:
    """What a parameter held that was set in no way that can be called again.

    Attributes:
        parameter: its name.
        mean, deviation: of all its values; a deviation of 0 is a constant.
        pattern: the values themselves where they are few distinct ones; None otherwise.
        is_fallback: only to be used where a layer's own reset leaves the parameter without values.
    """

    parameter: str
    mean: float
    deviation: float
    pattern: Tensor | None
    is_fallback: bool = False
    follows: Follows | None = None
    count: int = 1

    @classmethod
    def of(cls, name: str, values: Tensor, *, is_fallback: bool = False) -> "FirstValues":
        """Describe the values of a parameter."""
        if values.is_complex():
            return cls(name, 0.0, 0.0, values.detach().clone(), is_fallback)
        flat = values.detach().reshape(-1)
        sample = flat[:: max(1, len(flat) // _SAMPLE)].double()
        few = sample[:1000].unique()
        is_pattern = 1 < len(few) <= _FEW < len(flat) and bool(torch.isin(sample, few).all())
        mean, deviation = (float(sample.mean()), float(sample.std(correction=0))) if len(flat) else (0.0, 0.0)
        if len(few) == 1 and bool((sample == few[0]).all()):  # infinity has no deviation
            mean, deviation = float(few[0]), 0.0
        pattern = values.detach().clone() if is_pattern else None
        return cls(name, mean, deviation, pattern, is_fallback, count=len(sample))

    def number(self) -> Number | None:
        """How large the values are, as exactly as so many tell."""
        if self.is_fallback or self.pattern is not None or not (self.deviation or self.mean):
            return None
        if not self.deviation:
            return Number(self.parameter, "constant", abs(self.mean), SINGLE)
        return Number(self.parameter, "random", self.deviation, _SURE / sqrt(2 * self.count))

    def apply(self, parameter: Tensor, ratio: float) -> None:
        """Fill a parameter, perhaps of another size, with values like them, times a ratio."""
        if self.is_fallback and not torch.isnan(parameter).any():
            return
        if self.pattern is None:
            if self.deviation:
                parameter.normal_(self.mean, self.deviation * ratio)
            else:
                parameter.fill_(self.mean * ratio)
            return
        values = self.pattern
        for dim, size in enumerate(parameter.shape):
            places = torch.arange(size) * values.shape[dim] // max(1, size)
            values = values.index_select(dim, places)
        parameter.copy_(values)


Init: TypeAlias = "InitCall | FirstValues"


def record_inits(factory: Callable[[], nn.Module]) -> tuple[nn.Module, tuple[Init, ...]]:
    """Build a network and write down how its constructor initialised the parameters.

    Args:
        factory: makes the network.

    Returns:
        The network, and what to do to its parameters after every layer type's own `reset_parameters`, in order.
        Calls of `torch.nn.init` are not carried out unless something depends on them: the network's parameters
        hold nothing, so that large ones cost no time.
    """
    with recorded_inits() as recorder:
        model = factory()
    if not isinstance(model, nn.Module):
        return model, ()  # the caller says what is wrong
    _refuse_lazy(model)
    constants = constant_parameters(model)
    recorder.settle(one for one in model.parameters() if id(one) not in constants)
    inits: list[Init] = [*_fallbacks(model, recorder.read)]
    for name, parameter in model.named_parameters():
        if id(parameter) in constants:
            continue
        calls = recorder.calls_of(parameter)
        if calls is None and not parameter.is_meta:
            inits.append(FirstValues.of(name, parameter))
        else:
            inits += [InitCall(call.function, name, call.arguments, call.keywords) for call in calls or ()]
    return model, _with_laws(model, inits)


def _with_laws(model: nn.Module, inits: Sequence[Init]) -> tuple[Init, ...]:
    """The same, with the laws that the numbers follow; of a parameter that is set more than once, the last."""
    last = {init.parameter: number for number, init in enumerate(inits)}
    numbers = [init.number() for place, init in enumerate(inits) if place == last[init.parameter]]
    laws = followed(model, [number for number in numbers if number is not None])
    return tuple(
        replace(init, follows=laws[init.parameter])
        if init.parameter in laws and place == last[init.parameter]
        else init
        for place, init in enumerate(inits)
    )


def inits_of(model: nn.Module) -> tuple[Init, ...]:
    """What can be known of a network's first weights from the network alone.

    Layers are left to their types; any other parameter is described by the values it holds.

    Raises:
        NasPruneError: such a parameter is on the meta device and holds none.
    """
    _refuse_lazy(model)
    inits, constants = [*_fallbacks(model, lambda _: None)], constant_parameters(model)
    for path, module in model.named_modules():
        if _own_reset(module) is None:
            for name, parameter in module.named_parameters(path, recurse=False):
                if parameter.is_meta:
                    raise NasPruneError(_no_rule(name))
                if id(parameter) not in constants:
                    inits.append(FirstValues.of(name, parameter))
    return _with_laws(model, inits)


def initialise(model: nn.Module, inits: tuple[Init, ...], *, seed: int) -> None:
    """Give every parameter of a network fresh values, in place; constant ones keep theirs.

    Args:
        model: a network whose parameters need not hold anything yet.
        inits: what `record_inits` wrote down when the network was first built.
        seed: the same seed gives the same values; the global random state is left as it was.

    Raises:
        NasPruneError: some parameter has no rule, so that its values would be left to chance.
    """
    parameters, constants = dict(model.named_parameters()), constant_parameters(model)
    kept = {name: one.detach().clone() for name, one in parameters.items() if id(one) in constants}
    parameters = {name: one for name, one in parameters.items() if name not in kept}
    with torch.random.fork_rng(devices=_cuda_devices(model)), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in parameters.values():
            parameter.fill_(torch.nan)
        for module in reversed(list(model.modules())):  # a module's own layers are made before it sets them
            _reset(module)
        for init in inits:
            if init.parameter not in kept:
                ratio = 1.0 if init.follows is None else init.follows.ratio(model)
                init.apply(parameters[init.parameter], ratio)
        for name, values in kept.items():
            model.get_parameter(name).copy_(values)
        estimate_anew(model, by_chance=True)
    for name, parameter in parameters.items():
        if torch.isnan(parameter).any():
            raise NasPruneError(_no_rule(name))


def _reset(module: nn.Module) -> None:
    """Let a layer initialise itself; one that cannot at this size leaves its parameters without values."""
    if is_parametrized(module):
        _reset_parametrized(module)
        return
    reset = _own_reset(module)
    if reset is None:
        return
    before = dict(module.named_parameters())
    try:
        reset()
    except RuntimeError:
        if _is_of_torch(module):
            raise
        for parameter in module.parameters(recurse=False):  # the layers below have been reset already
            parameter.fill_(torch.nan)
    for name, parameter in before.items():
        path, _, own = name.rpartition(".")
        holder = module.get_submodule(path)
        if getattr(holder, own, None) is not parameter:  # a new one, of the size the layer was made with
            setattr(holder, own, parameter)


def _reset_parametrized(module: nn.Module) -> None:
    """Initialise a layer some of whose tensors are worked out from others (weight norm), as it was before it was so.

    The layer without that initialises itself, and what its tensors come from is found by the parametrisation's own
    inverse, as when it was registered.
    """
    parametrised = module.parametrizations
    assert isinstance(parametrised, nn.ModuleDict)
    plain: nn.Module = object.__new__(type(module).__mro__[1])  # the type before; PyTorch allows no copy
    plain.__dict__.update(vars(module))
    plain.__dict__["_modules"] = {
        name: one for name, one in module.named_children() if name != "parametrizations"
    }
    empty = {name: nn.Parameter(torch.full_like(getattr(module, name), torch.nan)) for name in parametrised}
    plain.__dict__["_parameters"] = {**dict(module.named_parameters(recurse=False)), **empty}
    reset = _own_reset(plain)
    if reset is not None:
        reset()
    for name in parametrised:
        setattr(module, name, plain.get_parameter(name).detach())


def _fallbacks(model: nn.Module, carry_out: Callable[[Tensor], object]) -> Iterator[FirstValues]:
    """What parameters hold whose layers, of the user's own, reset themselves: not all can at another size."""
    for path, module in model.named_modules():
        if _own_reset(module) is not None:
            for name, parameter in module.named_parameters(path, recurse=False):
                # PyTorch's layers reset what is theirs, but not what hooks of old have made of it (weight norm).
                if not parameter.is_meta and (
                    not _is_of_torch(module) or name.endswith(("_g", "_v", "_orig"))
                ):
                    carry_out(parameter)
                    yield FirstValues.of(name, parameter, is_fallback=True)


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _refuse_lazy(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, UninitializedTensorMixin):
            raise BadInputError(
                f"a network must know its sizes, got the lazy parameter {name}. Run it once on an image before."
            )


def _no_rule(parameter: str) -> str:
    return (
        f"parameter {parameter} must have a rule for its first values, got none. "
        "Give load_space a function that makes the network."
    )


def _own_reset(module: nn.Module) -> Callable[[], object] | None:
    """What a layer type does to initialise itself, if it can be called without arguments."""
    for name in ("reset_parameters", "_reset_parameters"):
        reset: Callable[[], object] | None = getattr(module, name, None)
        if callable(reset):
            needed = inspect.signature(reset).parameters.values()
            if all(
                one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
                for one in needed
            ):
                return reset
    return None


def _cuda_devices(model: nn.Module) -> list[int]:
    return sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})


def fresh(
    template: nn.Module,
    graph: ChannelGraph,
    widths_G: Sequence[int],
    inits: tuple[Init, ...],
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """A network of the given widths with new random weights; nothing is inherited.

    Args:
        template: the network the graph was made from; it is not changed.
        graph: its channel graph.
        widths_G: a width for each searchable group; it may be above the base width.
        inits: how the template's constructor initialised it (`initialise.record_inits`).
        seed: fixes the weights.
        device: where the network is to live.
    """
    model = resized(template, graph, widths_G, device=device)
    initialise(model, inits, seed=seed)
    return model
