"""What it takes to have each arm of a comparison: its own trainings, and all that had to be trained before them."""

from dataclasses import dataclass
from pathlib import Path

from nas_prune.comparison.arms import OWN_EACH, Arm, Kind, path_of
from nas_prune.comparison.charge import Charge, search_behind, searches_behind, total
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.result import CompareResult, search_macs
from nas_prune.comparison.winner import study_behind, study_of_seed
from nas_prune.guideline.artefact import read_guideline
from nas_prune.space.widths import Widths, read_widths
from nas_prune.training.schedules import training_macs


@dataclass(frozen=True, slots=True)
class ArmCost:
    """What one arm takes, in multiply-accumulates of training, forward and backward.

    Attributes:
        training: its own trainings, all seeds together.
        behind: what had to be trained before. What arms share (a search, whole networks) is charged to each of them.
    """

    training: int
    behind: tuple[Charge, ...]

    @property
    def search(self) -> int | None:
        """All that is behind it together; None if some of it is not known."""
        return total(self.behind)

    @property
    def all(self) -> int | None:
        """With its own trainings; None likewise."""
        return None if self.search is None else self.training + self.search


def arm_costs(result: CompareResult) -> dict[str, ArmCost]:
    """What each arm takes, as far as it is trained.

    Uniform and random widths, and the whole network, need nothing but their own trainings.
    """
    found = {}
    for arm in result.config.chosen:
        own = result.arms.get(arm.name, ())
        spent = sum(training_macs(one.macs, result.num_train, one.epochs) for one in own)
        behind = list(_behind_widths(arm, result))
        source = result.config.source
        if arm.inherits:
            epochs = (result.config.recipe if source is None else source.search_recipe).epochs
            each = training_macs(result.widths.base_cost.macs, result.num_train, epochs)
            what = f"{len(own)} whole network{'s' * (len(own) != 1)}, one for each training"
            behind.append(Charge(what=what, macs=len(own) * each))
        if source is not None and source.weights is not None and arm.start == "given":
            behind.append(Charge(what=f"the training of {source.weights}"))
        found[arm.name] = ArmCost(spent, tuple(behind))
    return found


def _behind_widths(arm: Arm, result: CompareResult) -> tuple[Charge, ...]:
    """What had to be trained to have an arm's widths, for all of its trainings together."""
    if arm.kind == "found":
        return tuple(map(search_behind, (result.widths, *result.more_found)))
    if arm.kind == "direct":
        return (Charge(what="search on these images", macs=search_macs(result)),)
    if arm.kind in OWN_EACH:
        done = result.arms.get(arm.name, ())
        charged = (_behind_own(arm.kind, one.seed, result.run, result.config, result.widths) for one in done)
        return tuple(charge for charges in charged for charge in charges)
    return _given(arm, result.run, result.config)


def _given(arm: Arm, run: Path, config: CompareConfig) -> tuple[Charge, ...]:
    """What is behind widths that were given to a comparison; of those that need nothing, none."""
    if arm.kind == "guided":
        path = run / "guideline.yaml"  # a rule has none
        return searches_behind(read_guideline(path)) if path.exists() else ()
    if arm.kind == "winner":
        known = config.winner_charges
        return (Charge(what="the study behind the winner"),) if known is None else known
    return ()


def _behind_own(
    kind: Kind, seed: int, run: Path, config: CompareConfig, widths: Widths
) -> tuple[Charge, ...]:
    """What had to be trained for one training of such an arm."""
    if kind == "study":
        charges = study_behind(study_of_seed(run, seed)).charges
        return (Charge(what="the study behind the winner"),) if charges is None else charges
    each = training_macs(widths.base_cost.macs, config.num_train, config.recipe.epochs)
    return (Charge(what="a whole network", macs=each),)


def behind_one(arm: Arm, seed: int, run: Path, config: CompareConfig, widths: Widths) -> tuple[Charge, ...]:
    """What had to be trained for one training of an arm; what several share is charged to each of them.

    Args:
        arm: from random weights, or one that finds what it trains anew for each seed.
        seed: of the training.
        run: the comparison's directory.
        config: its settings.
        widths: those it is about.
    """
    if arm.kind == "found":
        return (search_behind(read_widths(path_of(run, "found", seed))),)
    if arm.kind in OWN_EACH:
        return _behind_own(arm.kind, seed, run, config, widths)
    return _given(arm, run, config)
