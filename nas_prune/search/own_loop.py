"""A width method in a training loop of somebody's own.

    space = nas_prune.load_space(model, example_inputs)
    slim = nas_prune.slimming(space, model, strength=1e-3)
    for inputs, labels in loader:
        optimiser.zero_grad()
        loss(model(inputs), labels).backward()
        slim.penalty(optimiser)
        optimiser.step()
    widths = slim.widths("macs<=50%")

A search does the same in this project's own loop: from the same steps come the same widths.
"""

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError, NothingToSearchError
from nas_prune.runs.settings import library_versions
from nas_prune.search.methods.contract import DrivingCost, Evidence, GivenBatches, OwnLoss, Scope, WidthMethod
from nas_prune.search.methods.registry import known_methods, method_named, scorable, scores_of
from nas_prune.search.own_network import check_norms, check_whole, is_fresh, is_wrapped, unwrapped
from nas_prune.search.own_steps import OwnSteps
from nas_prune.space.budget import Budget
from nas_prune.space.cut import best_channels, cut
from nas_prune.space.scores import Scores, within_groups
from nas_prune.space.search_space import Groups, SearchSpace
from nas_prune.space.widths import MethodRecord, Widths
from nas_prune.training.state import moved_by_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.amp import GradScaler


_WORDS = {"groups": Groups, "scope": Scope, "cost": DrivingCost}


@dataclass(frozen=True, slots=True)
class Scored:
    """The channels of a network, scored: the widths of any budget follow.

    Attributes:
        space: the network.
        method: what scored them.
        columns: the groups (or blocks) that are scored, by place.
        values: for each group one score for each channel, or None for what is left whole.
        settings: of the method.
        scope: `global` or `local`; the method's own if None.
    """

    space: SearchSpace
    method: WidthMethod
    columns: tuple[int, ...]
    values: Scores
    settings: Mapping[str, str | float | None]
    scope: Scope | None = None

    def widths(self, budget: str | Budget) -> Widths:
        """The widths at a budget.

        Args:
            budget: a bound on costs, e.g. `macs<=50%`; or `own` for what the method itself removes.

        Raises:
            BudgetError: it is not well formed, or no widths meet it.
        """
        bound = budget if isinstance(budget, Budget) else Budget.parse(budget)
        if bound.is_own and self.method.zero is None:
            raise BadInputError(
                f"budget own must come with a method that removes channels itself, got {self.method.name}."
            )
        found = cut(self.space, self.values, bound, self.method.zero)
        searched = self.space.groups_in(self.columns)
        return self.space.widths(
            found.widths_G,
            found.kept_G,
            found.removed,
            budget=str(bound),
            left_whole=[
                group.name for column, group in enumerate(self.space.groups) if column not in searched
            ],
            method=MethodRecord(
                name=self.method.name,
                is_automatic=self.method.kind(self.scope) == "automatic",
                settings=dict(self.settings),
            ),
            versions=library_versions(),
        )

    def kept(self, widths: Widths) -> tuple[NDArray[np.int64], ...]:
        """The best channels of each group, as many as its width: what `SearchSpace.narrow` keeps of a network."""
        return best_channels(self.values[: len(self.space.groups)], self.space.vector(widths))


class MethodInLoop:
    """A width method that acts on a network while somebody else's loop trains it.

    Attributes:
        space: the search space of the network.
        model: the network, without what wraps it.
        method: the width method.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: nn.Module,
        method: WidthMethod,
        *,
        groups: Groups,
        scope: Scope | None,
        steps: OwnSteps | None,
    ) -> None:
        self.space, self.model, self.method = space, model, method
        self._columns, self._groups, self._scope = columns_of(space, method, groups), groups, scope
        self._steps = steps
        self._settled: Scored | None = None

    def penalty(self, optimiser: Optimizer, scaler: "GradScaler | None" = None) -> None:
        """Pull channels towards zero: once for each step of the optimiser, last before it.

        With gradient accumulation that is after the last backward pass; with clipping after it (clip `parameters()`).

        Args:
            optimiser: the one that moves the network; its learning rate counts.
            scaler: the scaler of gradients in float16, if there is one; it is told to unscale them.

        Raises:
            BadInputError: there are no gradients yet, it is called a second time before a step, gradients are changed
                after it, or the method cannot work with this optimiser.
        """
        if self._settled is not None:
            raise BadInputError("penalty must come before settle, got a call after it.")
        if self._steps is None:
            raise BadInputError(
                f"method {self.method.name} has no penalty; it acts after each epoch: call after_epoch(budget) there."
            )
        self._steps.pull(self.model, self._columns, optimiser, scaler)

    def after_epoch(self, budget: str | Budget) -> None:
        """Let a method that acts after each epoch change the network, by what the cut at a budget keeps now."""
        if self.method.after_epoch is None:
            raise BadInputError(
                f"method {self.method.name} does nothing after an epoch; call penalty(optimiser) before each step."
            )
        scored = self.scored()
        kept_G = scored.kept(scored.widths(budget))
        self.method.after_epoch(self.model, self.space, kept_G)

    def parameters(self) -> list[nn.Parameter]:
        """The network's parameters without the method's: those whose gradients are to be clipped."""
        return moved_by_recipe(self.model)

    def scored(self) -> Scored:
        """The channels as the method scores them now."""
        if self._settled is not None:
            return self._settled
        check_norms(self.space, self.model, self._columns)
        evidence = Evidence(self.model, self.space, self._columns, no_images(self.method))
        return _scored(evidence, self.method, self._scope, self._settings())

    def widths(self, budget: str | Budget) -> Widths:
        """The widths at a budget, as the network is now."""
        return self.scored().widths(budget)

    def kept(self, widths: Widths) -> tuple[NDArray[np.int64], ...]:
        """The channels of each group that widths of this network keep, for `SearchSpace.narrow(settle(), …)`."""
        return self.scored().kept(widths)

    def settle(self) -> nn.Module:
        """End the method's part: the trained network without what it had put in, of the same outputs in evaluation."""
        if self._settled is None:
            self._settled = self.scored()
            if self._steps is not None:
                self._steps.end()
                sparsity = self.method.sparsity
                assert sparsity is not None
                self.model = sparsity.without_gates(self.model, self.space)
        return self.model

    def _settings(self) -> dict[str, str | float | None]:
        found = {
            "sparsity": None if self._steps is None else self._steps.strength,
            "scope": self._scope or self.method.scope,
            "cost": None if self._steps is None else self._steps.cost,
            "groups": self._groups if self.method.of == "channels" else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def slimming(
    space: SearchSpace,
    model: nn.Module,
    *,
    strength: float | None = None,
    rates: Iterable[float] | None = None,
    groups: Groups = "inner",
) -> MethodInLoop:
    """Network slimming in a training loop of your own: `method("slimming", …)`."""
    return method("slimming", space, model, strength=strength, rates=rates, groups=groups)


def method(
    name: str,
    space: SearchSpace,
    model: nn.Module,
    *,
    strength: float | None = None,
    rates: Iterable[float] | None = None,
    groups: Groups = "inner",
    scope: Scope | None = None,
    cost: DrivingCost | None = None,
) -> MethodInLoop:
    """A width method that acts while your own loop trains a network.

    What the method puts in is put in now: make the optimiser, and wrap the network for several processes, after it.
    Slimming sets the scale of norms that were never trained to 0.5, as its authors do, and leaves others as they are.

    Args:
        name: a method that changes how the network trains, e.g. `slimming`, `sss`, `l0`, `soft-filter`.
        space: the network's search space, from `load_space`.
        model: the whole network, of base widths; it is changed in place.
        strength: λ of the penalty.
        rates: instead, the learning rates of all steps to come, from which a strength follows: the one that takes a
            channel that nothing else moves to zero by the end.
        groups: which groups are searched.
        scope: `global` or `local`; the method's own if None.
        cost: which cost weighs the penalty, for methods that a cost drives; MACs if None.

    Raises:
        BadInputError: no such method, one that scores channels after the training (see `scores`), a network of another
            space, or one that is wrapped already.
    """
    _check_words(groups=groups, scope=scope, cost=cost)
    found = method_named(name)
    if not found.changes_training:
        raise BadInputError(
            f"method {name} acts after the training: use nas_prune.scores({name!r}, space, model, batches). Those "
            f"that act during it: {', '.join(one for one, own in known_methods().items() if own.changes_training)}."
        )
    _check_scope(found, scope)
    plain = unwrapped(model)
    check_whole(space, plain)
    sparsity = found.sparsity
    steps = None
    if sparsity is None:
        given = next(
            (word for word, value in (("strength", strength), ("rates", rates)) if value is not None), None
        )
        if given is not None:
            raise BadInputError(f"method {name} has no penalty, so {given} must be left out.")
    else:
        steps = OwnSteps.checked(found, space, strength, rates, cost)
        if sparsity.distance_in is None and is_wrapped(model):
            raise BadInputError(
                f"method {name} puts parameters into the network: it must come before what wraps it (DDP, "
                f"torch.compile), got a {type(model).__name__}."
            )
    columns = columns_of(space, found, groups)
    if sparsity is not None and (sparsity.distance_in is None or is_fresh(plain, space, columns)):
        sparsity.prepare(plain, space, columns)
    return MethodInLoop(space, plain, found, groups=groups, scope=scope, steps=steps)


def scores(
    method: str,
    space: SearchSpace,
    model: nn.Module,
    batches: Iterable[Any] = (),
    loss: OwnLoss | None = None,
    *,
    groups: Groups = "inner",
    scope: Scope | None = None,
    seed: int = 0,
) -> Scored:
    """Score the channels of a network that is trained already, by a method that does so after the training.

    Args:
        method: its name, e.g. `taylor`, `thinet`, `l1-norm`.
        space: the network's search space, from `load_space`.
        model: the whole network, of base widths; it is left as it is.
        batches: what to score on, some 1,000 examples; a method that looks at weights alone needs none.
        loss: called with the network and a batch: the mean loss over it, as a tensor of one number. None where batches
            are (inputs, labels) of a classifier: the cross entropy.
        groups: which groups are searched.
        scope: `global` or `local`; the method's own if None.
        seed: of what the method draws.

    Raises:
        BadInputError: no such method, one that acts during the training (see `method`), a network of another space, or
            a batch or loss that cannot be read.
    """
    _check_words(groups=groups, scope=scope)
    found = method_named(method)
    if found.changes_training:
        raise BadInputError(
            f"method {method} acts during the training: use nas_prune.method({method!r}, space, model, …) in your loop."
        )
    _check_scope(found, scope)
    plain = unwrapped(model)
    check_whole(space, plain)
    columns = columns_of(space, found, groups)
    given = GivenBatches(batches, loss)
    evidence = Evidence(plain, space, columns, no_images(found), seed, given)
    settings: dict[str, str | float | None] = {} if found.is_control else {"scope": scope or found.scope}
    if found.of == "channels":
        settings["groups"] = groups
    with _left_as_it_is(plain):
        return _scored(evidence, found, scope, settings)


def _check_words(**given: str | None) -> None:
    """Refuse a word that is none of those it can be."""
    for name, value in given.items():
        known = get_args(_WORDS[name])
        if value not in known and not (value is None and name != "groups"):
            raise BadInputError(f"{name} must be one of {', '.join(known)}, got {value!r}.")


def _check_scope(method: WidthMethod, scope: Scope | None) -> None:
    """Refuse a scope for a method whose scores compare nothing within a group."""
    if scope is not None and not method.takes_scope:
        raise BadInputError(f"method {method.name} takes no scope, got {scope!r}. Leave it out.")


def columns_of(space: SearchSpace, method: WidthMethod, groups: Groups) -> tuple[int, ...]:
    """The groups (or blocks) that a method scores, by place.

    Raises:
        NothingToSearchError: there are none.
    """
    columns = scorable(space, method, groups)
    if not columns:
        raise NothingToSearchError(
            f"method {method.name} must find {method.asks}, got none in {space.reference.name} with groups {groups}.",
            "",
        )
    return columns


class _NoImages:
    """Stands where images are, in a loop that has its own."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise BadInputError(
            f"method {self._method} looks at images of a search, which a loop of your own does not have. One of your "
            "own methods should score samples.batches_of(evidence)."
        )


def no_images(method: WidthMethod) -> ImageData:
    """What stands for images where there are none: to ask it for anything is refused."""
    return cast("ImageData", _NoImages(method.name))


def _scored(
    evidence: Evidence, method: WidthMethod, scope: Scope | None, settings: Mapping[str, str | float | None]
) -> Scored:
    values = scores_of(method, evidence)
    if (scope or method.scope) == "local":
        values = within_groups(values)
    return Scored(evidence.space, method, evidence.columns, values, settings, scope)


@contextmanager
def _left_as_it_is(model: nn.Module) -> "Iterator[None]":
    """Give every module its mode back."""
    before = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, is_training in before.items():
            module.training = is_training
