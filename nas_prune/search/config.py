"""The settings of a search, and which of them go together."""

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from nas_prune.errors import BadInputError
from nas_prune.runs.settings import library_versions
from nas_prune.search.methods.contract import DrivingCost, Scope, WidthMethod
from nas_prune.search.methods.registry import REGISTRY, known_methods, method_named
from nas_prune.search.stability import Stability
from nas_prune.search.whole_network import SearchingConfig
from nas_prune.space.budget import Budget, BudgetSetting
from nas_prune.space.names import space_name

MOST_STEPS = 1000
DEFAULT_BUDGETS = (Budget("macs", 0.75), Budget("macs", 0.5), Budget("macs", 0.25))


class SearchConfig(SearchingConfig):
    """Every setting of a search; what `config.yaml` holds: those of its training, and these.

    Attributes:
        method: the width method.
        scope: `global` compares the channels of all groups, `local` keeps the same share of each; the method's own if
            None.
        budgets: upper bounds, in Python also as text, e.g. `macs<=50%`; `own` for what the method itself removes.
        sparsity: the strength of the method's penalty, 0 for a control without any; None for the one that its paper
            takes with the recipe, or one chosen from it, and for methods without.
        cost: which cost weighs the penalty of `cost-aware`; None for that of the first budget (MACs for channels), and
            for the other methods.
        iterations: in how many steps channels go, for methods that score a network trained as usual: in the second half
            of the training a part of them goes at a time, and the rest are scored again. It needs a single budget.
        stop: whether the training ends when the widths are stable, for methods that learn them; None for yes
            where channels are learned and a budget says how many are removed. Not for blocks, which are few: the
            choice may stay the same for epochs and then change. Not for `own`: a method removes channels late.
        stability: when widths count as stable.
    """

    command: Literal["search"] = "search"
    method: str = "slimming"
    scope: Scope | None = None
    budgets: tuple[BudgetSetting, ...] = DEFAULT_BUDGETS
    sparsity: float | None = Field(default=None, ge=0)
    cost: DrivingCost | None = None
    iterations: int = Field(default=1, ge=1, le=MOST_STEPS)
    stop: bool | None = None
    stability: Stability = Stability(tolerance=0.04, epochs=3, spent=0.5)

    @property
    def method_words(self) -> str:
        """The method's name, and in how many steps channels go where it is more than one."""
        return f"{self.method} in {self.iterations} steps" if self.iterations > 1 else self.method


def resolve(config: SearchConfig) -> SearchConfig:
    """The configuration with every name checked and written in full, before anything is loaded.

    Raises:
        BadInputError, BudgetError: an unknown space or method, a setting that the method has no use for, or a budget
            that is not well formed.
    """
    config = config.checked()
    method = method_named(config.method)
    if not config.budgets:
        raise BadInputError("--budget must be given at least once, got none.")
    _check_settings(config, method)
    changed: dict[str, object] = {
        "space": space_name(config.space),
        "budgets": tuple(dict.fromkeys(config.budgets)),
        "versions": {**library_versions(), **REGISTRY.versions(method.name)},
    }
    if method.is_driven:
        changed["cost"] = config.cost or _driving(config.budgets[0])
    return config.model_copy(update=changed)


def _check_settings(config: SearchConfig, method: WidthMethod) -> None:
    """Refuse settings that would be silently ignored."""
    has_own = any(budget.is_own for budget in config.budgets)
    if config.sparsity is not None and method.sparsity is None:
        _refuse("--sparsity", method, lambda other: other.sparsity is not None)
    if config.cost is not None and not method.is_driven:
        _refuse("--cost", method, lambda other: other.is_driven)
    if config.stop is not None and method.is_cheap and method.kind(config.scope) == "predefined":
        raise BadInputError(
            f"--stop or --no-stop must come with --scope global, got {method.name} at scope local, where "
            "widths are the same share of every group from the start. Leave it out, or add --scope global."
        )
    if config.stop is not None and not method.is_cheap:
        _refuse("--stop or --no-stop", method, lambda other: other.shows_widths())
    if config.scope is not None and not method.takes_scope:
        _refuse("--scope", method, lambda other: other.takes_scope)
    if has_own and method.zero is None:
        _refuse("--budget own", method, lambda other: other.zero is not None)
    if has_own and config.scope == "local":
        raise BadInputError(
            "--budget own must come with --scope global, got local, where the share is given."
        )
    if config.groups != "inner" and method.of == "blocks":
        _refuse("--groups", method, lambda other: other.of == "channels")
    if config.iterations > 1:
        _check_iterations(config, method)
    for option in () if method.trains else config.options_of_training:
        _refuse(option, method, lambda other: other.trains)


def _check_iterations(config: SearchConfig, method: WidthMethod) -> None:
    """Refuse steps that a method has no use for, or that there is no training between."""
    if not method.scores_as_usual:
        _refuse("--iterations", method, lambda other: other.scores_as_usual)
    if len(config.budgets) > 1:
        raise BadInputError(
            f"--iterations must come with one --budget, got {len(config.budgets)}: what goes early goes for all."
        )
    if config.stop:
        raise BadInputError("--stop must come without --iterations, which need the whole training.")
    epochs, fewest = config.search_recipe.epochs, 2 * config.iterations
    if epochs < fewest:
        raise BadInputError(
            f"--iterations {config.iterations} must come with at least {fewest} epochs, got {epochs}. "
            f"Use --epochs {fewest}, or fewer iterations."
        )


def _refuse(flag: str, method: WidthMethod, takes: Callable[[WidthMethod], bool]) -> None:
    names = ", ".join(other.name for other in known_methods().values() if takes(other))
    raise BadInputError(f"{flag} must come with a method that uses it, got {method.name}. Those do: {names}.")


def _driving(budget: Budget) -> DrivingCost:
    if budget.kind in ("params", "activations"):
        return "params" if budget.kind == "params" else "activations"
    return "macs"
