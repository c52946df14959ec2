"""The settings of a search for a pattern of single weights, and which of them go together."""

from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from nas_prune.errors import BadInputError
from nas_prune.patterns.methods.contract import PatternMethod, Scope
from nas_prune.patterns.methods.registry import METHODS, method_named
from nas_prune.runs.settings import library_versions
from nas_prune.search.whole_network import SearchingConfig
from nas_prune.space.budget import Budget, BudgetSetting
from nas_prune.space.names import space_name
from nas_prune.training.recipe import MOST_EPOCHS

MOST_STEPS = 1000
DEFAULT_BUDGETS = (Budget("nonzero", 0.5), Budget("nonzero", 0.2), Budget("nonzero", 0.1))
_OF_WIDTHS = ("groups", "divisor", "min_width")


class SparsifyConfig(SearchingConfig):
    """Every setting of a search for a pattern; what `config.yaml` holds: those of its training, and these.

    Attributes:
        method: how weights are chosen.
        scope: over what their scores are compared; the method's own if None.
        budgets: upper bounds, in Python also as text: `nonzero<=10%`, `macs<=20%`, `size<=100KiB`, several joined by a
            comma; `own` for what the method itself removes.
        iterations: in how many steps weights go, for methods that can score again what is left; of lottery tickets the
            rounds. None for one step, and for as many rounds as the budget takes.
        strength: of the method's penalty; None for its own.
        rewind: after how many epochs of the first round the weights are taken that each round starts from; 0 for those
            before the first step, fractions are rounded to a step. None for one epoch, and for methods without rounds.
        guideline: of patterns, for the method that draws from one.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("guideline",)

    command: Literal["sparsify"] = "sparsify"
    method: str = "magnitude"
    scope: Scope | None = None
    budgets: tuple[BudgetSetting, ...] = DEFAULT_BUDGETS
    iterations: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    strength: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)
    rewind: float | None = Field(default=None, ge=0, le=MOST_EPOCHS, allow_inf_nan=False)
    guideline: str | None = Field(default=None, min_length=1, max_length=4096)


def resolve(config: SparsifyConfig) -> SparsifyConfig:
    """The configuration with every name checked and written in full, before anything is loaded.

    Raises:
        BadInputError, BudgetError: an unknown space or method, or a setting that the method has no use for.
    """
    config = config.checked()
    config = config.model_copy(update={"budgets": tuple(dict.fromkeys(config.budgets))})
    method = method_named(config.method)
    if not config.budgets:
        raise BadInputError("--budget must be given at least once, got none.")
    _check_of_widths(config)
    _check(config, method)
    return config.model_copy(
        update={
            "space": space_name(config.space),
            "scope": config.scope or (method.scopes[0] if method.scopes else None),
            "strength": config.strength if config.strength is not None else method.strength,
            "rewind": _rewind(config) if method.rounds else None,
            "versions": library_versions(),
        }
    )


def _rewind(config: SparsifyConfig) -> float:
    """How many epochs a network is taken back to: one, or half of the only one."""
    if config.rewind is not None:
        return config.rewind
    return 1 if config.search_recipe.epochs > 1 else 0.5


def _check_of_widths(config: SparsifyConfig) -> None:
    """Refuse settings of widths, which would be silently ignored."""
    for name in _OF_WIDTHS:
        if getattr(config, name) != type(config).model_fields[name].default:
            option = f"--{name.replace('_', '-')}"
            raise BadInputError(
                f"{option} must come with nas-prune search, which narrows layers, got it where single weights go. "
                "Leave it out; --keep names layers that stay dense."
            )


def _check(config: SparsifyConfig, method: PatternMethod) -> None:
    """Refuse settings that the method has no use for."""
    is_iterated = config.iterations is not None and config.iterations > 1
    if config.scope is not None and config.scope not in method.scopes:
        _refuse(f"--scope {config.scope}", method, lambda other: config.scope in other.scopes)
    if is_iterated and not (method.takes_iterations or method.rounds):
        _refuse("--iterations", method, lambda other: other.takes_iterations or other.rounds)
    if config.strength is not None and method.strength is None:
        _refuse("--strength", method, lambda other: other.strength is not None)
    if config.rewind is not None and not method.rounds:
        _refuse("--rewind", method, lambda other: other.rounds)
    if config.rewind is not None and config.rewind >= config.search_recipe.epochs:
        raise BadInputError(
            f"--rewind must be below the {config.search_recipe.epochs} epochs of a round, got {config.rewind:g}."
        )
    for option in () if method.trains else config.options_of_training:
        _refuse(option, method, lambda other: other.trains)
    if (config.guideline is None) == method.needs_guideline:
        if method.needs_guideline:
            raise BadInputError(f"--method {method.name} must come with --guideline FILE, got none.")
        _refuse("--guideline", method, lambda other: other.needs_guideline)
    _check_budgets(config, method, is_iterated=is_iterated)


def _check_budgets(config: SparsifyConfig, method: PatternMethod, *, is_iterated: bool) -> None:
    own = any(budget.is_own for budget in config.budgets)
    if own and method.zero is None:
        _refuse("--budget own", method, lambda other: other.zero is not None)
    if len(config.budgets) > 1 and (is_iterated or method.rounds or not method.takes_budgets):
        when = f"where weights go while the network trains ({method.name})"
        if config.budgets == DEFAULT_BUDGETS:
            usual = ", ".join(map(str, DEFAULT_BUDGETS))
            raise BadInputError(
                f"--budget must be given {when}, got the default of several ({usual}). Choose one."
            )
        raise BadInputError(
            f"--budget must be given once {when}, got {len(config.budgets)}. Search once for each."
        )


def _refuse(what: str, method: PatternMethod, uses: Callable[[PatternMethod], bool]) -> None:
    others = ", ".join(name for name, other in METHODS.items() if uses(other))
    raise BadInputError(
        f"{what} must come with a method that uses it, got {method.name}. Those do: {others or 'none'}."
    )
