"""The penalty of a width method between the backward pass and the step of an optimiser that is not ours."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer

from nas_prune.errors import BadInputError
from nas_prune.search.methods.contract import DrivingCost, Penalty, PenaltyTarget, WidthMethod
from nas_prune.search.methods.registry import known_methods
from nas_prune.search.sparsity import Moved, strength_for
from nas_prune.space.search_space import SearchSpace

if TYPE_CHECKING:
    from torch.amp import GradScaler
    from torch.utils.hooks import RemovableHandle

_LOOKS = 3  # steps in which a gradient's values are compared, which makes a device wait
_FLOATS = (torch.float32, torch.float64)


@dataclass(slots=True, eq=False)
class OwnSteps:
    """A penalty, and what must hold around it so that it is exact.

    Attributes:
        method: the width method.
        space: the network's search space.
        strength: λ; None until it follows from `rates`.
        rates: the learning rates of all steps, added.
        cost: which cost weighs the penalty; None where none does.
    """

    method: WidthMethod
    space: SearchSpace
    strength: float | None
    rates: float | None
    cost: DrivingCost | None
    _penalty: Penalty | None = None
    _optimiser: Optimizer | None = None
    _handles: "list[RemovableHandle]" = field(default_factory=list)
    _pulled: list[nn.Parameter] = field(default_factory=list)
    _left: list[tuple[nn.Parameter, Tensor, int]] = field(default_factory=list)
    _looks: int = 0
    _seen: tuple[Tensor, Tensor] | None = None
    _taken: list[tuple[nn.Parameter, Tensor, int]] = field(default_factory=list)

    @staticmethod
    def checked(
        method: WidthMethod,
        space: SearchSpace,
        strength: float | None,
        rates: Iterable[float] | None,
        cost: DrivingCost | None,
    ) -> "OwnSteps":
        """The steps of a method with a penalty.

        Raises:
            BadInputError: not one of strength and rates is given, or one that is no such number; a cost for a method
                that none drives.
        """
        if (strength is None) == (rates is None):
            raise BadInputError(
                f"method {method.name} must have strength (λ of its penalty) or rates (the learning rates of all steps "
                f"to come, from which one follows), got {'neither' if rates is None else 'both'}."
            )
        if cost is not None and not method.is_driven:
            raise BadInputError(f"method {method.name} is driven by no cost, so cost must be left out.")
        if strength is not None and not (isfinite(strength) and strength >= 0):
            raise BadInputError(f"strength must be a finite number of 0 or more, got {strength}.")
        total = None if rates is None else float(sum(rates))
        if total is not None and not (isfinite(total) and total > 0):
            raise BadInputError(f"rates must add up to a finite number above 0, got {total}.")
        driven = (cost or "macs") if method.is_driven else None
        return OwnSteps(method, space, strength, total, driven)

    def pull(
        self,
        model: nn.Module,
        columns: Sequence[int],
        optimiser: Optimizer,
        scaler: "GradScaler | None",
    ) -> None:
        """Add the penalty, once for each step of the optimiser."""
        if optimiser is not self._optimiser:
            self._start(model, columns, optimiser)
        if all(parameter.grad is None for parameter in self._pulled):
            raise BadInputError(
                "penalty must come after loss.backward(), got no gradient of what the method pulls."
            )
        if any(parameter.grad is grad and not changed for parameter, grad, changed in _compared(self._taken)):
            raise BadInputError(
                "penalty must come before optimiser.step(), got gradients that a step has been taken on already."
            )
        if any(parameter.grad is grad for parameter, grad, _ in self._left):
            raise BadInputError(
                "penalty must be called once for each optimiser.step(), got a second call before it. With gradient "
                "accumulation call it after the last backward(); with a GradScaler pass it: penalty(optimiser, scaler)."
            )
        if scaler is not None and scaler.is_enabled() and not self._unscaled(optimiser, scaler):
            self._leave_out(model)
            return
        assert self._penalty is not None
        self._penalty(model, self._rate(optimiser))
        self._left = _noted(_gradients(optimiser))
        self._look()

    def _look(self) -> None:
        """Keep what one gradient is, in the first steps: a scaler changes it without a trace, and always does."""
        self._seen = None  # of a step that somebody left out
        if self._looks < _LOOKS:
            self._looks += 1
            small = sorted((grad for _, grad, _ in self._left), key=Tensor.numel)
            one = next((grad for grad in small if bool(grad.any())), None)
            self._seen = None if one is None else (one, one.clone())

    def _leave_out(self, model: nn.Module) -> None:
        """Take no step on gradients that overflowed: the optimiser takes none either, but must not see the method's."""
        for name, parameter in model.named_parameters():
            if name not in self.space.graph.parameters:
                parameter.grad = None

    def end(self) -> None:
        """Leave the optimiser alone."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._left.clear()
        self._taken.clear()

    def _start(self, model: nn.Module, columns: Sequence[int], optimiser: Optimizer) -> None:
        is_sgd = isinstance(optimiser, SGD)
        assert self.method.sparsity is not None
        if isinstance(optimiser, LBFGS) or not (is_sgd or "adamw" in self.method.sparsity.optimizers):
            others = known_methods().items()
            fitting = ", ".join(
                name
                for name, one in others
                if one.sparsity is not None and "adamw" in one.sparsity.optimizers
            )
            instead = "" if isinstance(optimiser, LBFGS) else f", or use one of {fitting}"
            raise BadInputError(
                f"method {self.method.name} must be trained by torch.optim.SGD, at whose learning rates its penalty "
                f"takes steps, got {type(optimiser).__name__}. Use SGD{instead}."
            )
        pulled = _pulled_by(self.method, self.space, model, columns)
        self._check(pulled, optimiser)
        self.end()
        self._optimiser, self._pulled = optimiser, list(pulled.values())
        if self.strength is None:
            self.strength = self._chosen(optimiser, model, columns)
        target = PenaltyTarget(self.space, tuple(columns), self.strength, self.cost, is_decoupled=not is_sgd)
        self._penalty = self.method.sparsity.penalty(target)
        self._handles = [
            optimiser.register_step_pre_hook(self._before_step),
            optimiser.register_step_post_hook(self._after_step),
        ]

    def _check(self, pulled: dict[str, nn.Parameter], optimiser: Optimizer) -> None:
        """Refuse what would make the penalty something else than it says."""
        held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
        for name, parameter in pulled.items():
            if not parameter.requires_grad:
                raise BadInputError(
                    f"{name}, which the method pulls, must take gradients, got one that does not."
                )
            if parameter.dtype not in _FLOATS:
                raise BadInputError(
                    f"{name}, which the method pulls, must be float32 (use autocast for less), got {parameter.dtype}: "
                    "small steps would be lost."
                )
            if id(parameter) not in held:
                raise BadInputError(
                    f"the optimiser must move {name}, which the method pulls, got one that does not hold it. Make it "
                    "after nas_prune.method(…), with model.parameters()."
                )

    def _chosen(self, optimiser: Optimizer, model: nn.Module, columns: Sequence[int]) -> float:
        sparsity, group = self.method.sparsity, self._groups(optimiser)[0]
        assert sparsity is not None
        assert self.rates is not None
        has_decay = isinstance(optimiser, (SGD, AdamW))
        moved = Moved(
            self.rates,
            momentum=float(group.get("momentum", 0.0)),
            decay=float(group.get("weight_decay", 0.0)) if has_decay else 0.0,
            is_decoupled=not isinstance(optimiser, SGD),
        )
        distance = None if sparsity.distance_in is None else sparsity.distance_in(model, self.space, columns)
        found = strength_for(self.method, moved, self.space, distance)
        assert found is not None
        return found

    def _groups(self, optimiser: Optimizer) -> list[dict[str, Any]]:
        own = {id(parameter) for parameter in self._pulled}
        return [
            group
            for group in optimiser.param_groups
            if any(id(parameter) in own for parameter in group["params"])
        ]

    def _rate(self, optimiser: Optimizer) -> float:
        rates = {float(group["lr"]) for group in self._groups(optimiser)}
        if len(rates) > 1:
            raise BadInputError(
                f"what the method pulls must have one learning rate, got {', '.join(map(str, sorted(rates)))}."
            )
        return rates.pop()

    def _unscaled(self, optimiser: Optimizer, scaler: "GradScaler") -> bool:
        """Let the scaler unscale gradients, if it has not; whether they are finite, so that there will be a step."""
        with suppress(RuntimeError):  # it has
            scaler.unscale_(optimiser)
        return bool(torch.stack([grad.isfinite().all() for _, grad in _gradients(optimiser)]).all())

    def _before_step(self, optimiser: Optimizer, *_: object) -> None:
        """Refuse a step on gradients that were changed after the penalty."""
        compared = _compared(self._left)
        is_changed = any(parameter.grad is not grad or changed for parameter, grad, changed in compared)
        is_scaled = bool(self._left) and getattr(optimiser, "grad_scale", None) is not None
        if self._seen is not None:
            is_scaled = is_scaled or not torch.equal(*self._seen)
            self._seen = None
        if is_changed or is_scaled:
            self._left.clear()
            raise BadInputError(
                "penalty must come last before optimiser.step(), got gradients that change after it. Accumulate and "
                "clip before it, and pass a GradScaler to it: penalty(optimiser, scaler)."
            )

    def _after_step(self, optimiser: Optimizer, *_: object) -> None:
        """Refuse gradients that were changed after a penalty that was called in the step's own closure."""
        compared = _compared(self._left)
        is_changed = any(parameter.grad is grad and changed for parameter, grad, changed in compared)
        self._left.clear()
        self._seen = None
        own = ((parameter, parameter.grad) for parameter in self._pulled)
        self._taken = _noted((parameter, grad) for parameter, grad in own if grad is not None)
        if is_changed and _leaves_gradients(optimiser):
            raise BadInputError(
                "penalty must come last in the closure of optimiser.step(), got gradients that change after it. Clip "
                "before it (in Lightning do both in configure_gradient_clipping, which runs after all other hooks)."
            )


def _leaves_gradients(optimiser: Optimizer) -> bool:
    """Whether an optimiser is known not to write into gradients itself; fused ones count as if they did."""
    writing = (group.get("maximize") or group.get("fused") for group in optimiser.param_groups)
    return type(optimiser) in (SGD, Adam, AdamW) and not any(writing)


def _noted(gradients: Iterable[tuple[nn.Parameter, Tensor]]) -> list[tuple[nn.Parameter, Tensor, int]]:
    """Gradients, and how often each has been written to."""
    return [(parameter, grad, grad._version) for parameter, grad in gradients]  # noqa: SLF001


def _compared(
    noted: Sequence[tuple[nn.Parameter, Tensor, int]],
) -> Iterator[tuple[nn.Parameter, Tensor, bool]]:
    """Gradients that were noted, and whether they have been written to since."""
    return ((parameter, grad, grad._version != version) for parameter, grad, version in noted)  # noqa: SLF001


def _gradients(optimiser: Optimizer) -> Iterator[tuple[nn.Parameter, Tensor]]:
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                yield parameter, parameter.grad


def _pulled_by(
    method: WidthMethod, space: SearchSpace, model: nn.Module, columns: Sequence[int]
) -> dict[str, nn.Parameter]:
    """The parameters that a method's penalty is about: its own ones, or else the scales of the groups' norms."""
    put_in = {name: one for name, one in model.named_parameters() if name not in space.graph.parameters}
    assert method.sparsity is not None
    if method.sparsity.distance_in is None and put_in:
        return put_in
    paths = dict.fromkeys(path for column in columns for path in space.groups[column].norms)
    return {f"{path}.weight": model.get_parameter(f"{path}.weight") for path in paths}
