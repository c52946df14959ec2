"""What a comparison says, in words."""

from collections.abc import Mapping, Sequence
from math import inf, isnan
from statistics import fmean

from nas_prune.comparison.costs import arm_costs
from nas_prune.comparison.differences import Difference
from nas_prune.comparison.plan import NEAR
from nas_prune.comparison.result import CompareResult, search_macs
from nas_prune.comparison.statistics import TestName
from nas_prune.data.metric import Metric
from nas_prune.training.result import Trained, guessing, mean_and_deviation
from nas_prune.training.schedules import training_macs

TESTS: dict[TestName, str] = {
    "moderated": "t tests with variances moderated over the arms",
    "t": "paired t tests",
    "wilcoxon": "Wilcoxon's signed ranks, paired",
    "sign-flip": "sign flips, paired",
}
_MATCHED = {"uniform-params": "params", "uniform-macs": "macs"}
_COSTS = {"params": "parameters", "macs": "MACs", "activations": "activations"}


def sentences(result: CompareResult) -> list[str]:
    """What the differences say about structure and weights, in words; only for arms that were trained."""
    found, said = result.compared(), []
    about = {
        "unpruned": "The whole network",
        "unpruned-given": "The whole network, from the given weights",
        "fine-tuned": "Inherited weights, fine-tuned at a hundredth of the rate",
        "rewound": "Inherited weights, trained again by the whole recipe",
        "lottery": "Initial weights of the channels kept",
        "scratch-e": "The widths found, for the whole network's epochs only (Scratch-E)",
        "uniform-params-b": "Uniform widths of the same parameters",
        "uniform-macs-b": "Uniform widths of the same MACs",
        "uniform-target-b": "Uniform widths of the same latency, memory or size",
        "random-b": "Random widths of the same cost",
        "guided-b": "The guideline's widths",
        "winner-b": "The study's widths",
        "study-b": "The winners of a study for each seed",
        "torch-pruning": "The whole network, cut by Torch-Pruning and trained on",
        "random": "Random widths of the same cost",
        "uniform-target": "Uniform widths of the same latency, memory or size",
        "guided": "The guideline's widths",
        "winner": "The study's widths",
        "study": "The winners of a study for each seed",
        "uniform-params": "Uniform widths of the same parameters",
        "uniform-macs": "Uniform widths of the same MACs",
        "direct": "Widths of a search on these images",
    }
    for name, words in about.items():
        if name in found:
            said.append(f"{words}: {_in_words(found[name], result.metric)}.")
    scores = {
        name: mean_and_deviation([one.val_score for one in result.arms[name]])[0]
        for name in ("fine-tuned", "rewound")
        if result.arms.get(name)
    }
    if len(set(scores.values())) == 2:
        best = max(scores, key=lambda name: scores[name])
        said.append(f"By validation {result.metric.name} the better way to use inherited weights is {best}.")
    if result.config.command == "transfer":
        said += [*saved(result), *_of_guideline(result)]
    if any(not isnan(one.holm) for one in found.values()):
        said.append(f"Tested by {TESTS[result.config.test]}{_but_by_search(result)}.")
    return (
        said
        + _of_searches(result)
        + _of_costs(result)
        + _of_seeds(result)
        + guessing_arms(result.arms, result.widths.space.num_classes)
    )


def _but_by_search(result: CompareResult) -> str:
    """Which arms another test is made for, where there are several searches."""
    count = result.config.searches
    if count == 1:
        return ""
    few = ", which finds next to nothing" if count == 2 else ""
    return (
        "; arms that train the widths of the same searches by a paired t test over searches, not moderated, with "
        f"{count - 1} degree{'s' * (count > 2)} of freedom{few}"
    )


def _of_guideline(result: CompareResult) -> list[str]:
    """What the searches took that the guideline comes from."""
    behind = arm_costs(result)["guided"]
    if not behind.behind:
        return []
    if behind.search is None:
        return ["What the searches behind the guideline took is not known."]
    return [f"The searches behind the guideline took {behind.search / 1e12:.3g} · 10¹² training MACs, once."]


def _of_searches(result: CompareResult) -> list[str]:
    """Whether what is said of the widths found holds for one search, or for searches of its kind."""
    count = result.config.searches
    if not any(arm.kind == "found" for arm in result.config.chosen):
        return []
    if count == 1:
        return [
            "The widths found are those of one search: how others would differ is in no interval (--searches 4)."
        ]
    done = len(result.more_found) + 1
    said = (
        f"The widths found are those of {count} searches, each with a seed of its own ({done} done): what is said of "
        "them holds for searches of this kind. Other widths of the same cost are matched to the first search's."
    )
    return [said]


def _of_costs(result: CompareResult) -> list[str]:
    """A warning where widths of the same cost as the first search's are not of the same as all searches'."""
    if not result.more_found:
        return []
    costs = [one.cost for one in (result.widths, *result.more_found)]
    said = []
    for arm in result.config.chosen:
        matched, own = _MATCHED.get(arm.kind), result.arms.get(arm.name, ())
        if matched is None or not own:
            continue
        found = [getattr(cost, matched) for cost in costs]
        theirs, mean = getattr(own[0], matched), fmean(found)
        if abs(theirs / mean - 1) > NEAR:
            said.append(
                f"{arm.name} has {theirs:,} {_COSTS[matched]}, as the first search's widths; those found have "
                f"{min(found):,} to {max(found):,}, {mean:,.0f} on average: not the same cost."
            )
    return said


def _of_seeds(result: CompareResult) -> list[str]:
    """A warning where the winner may be trained with seeds by which its study chose it."""
    config = result.config
    first, last = config.winner_seed, config.winner_seed + config.seeds - 1
    if not any(arm.kind == "winner" for arm in config.chosen):
        return []
    if first and config.winner_charges is None:
        return [
            f"With which seeds the study chose its winner is not known; it is trained with {first} to {last}."
        ]
    if first:
        return [f"The winner is trained with seeds by which it was not chosen: {first} to {last}."]
    said = (
        f"The winner is trained with the seeds 0 to {last}, by some of which its study may have chosen it: "
        "that flatters it. A new comparison gives it others."
    )
    return [said]


def guessing_arms(arms: Mapping[str, Sequence[Trained]], num_classes: int | None) -> list[str]:
    """A warning where arms have learned next to nothing.

    Args:
        arms: the trainings of each.
        num_classes: of the network; None where that is not known.
    """
    named = guessing(arms, num_classes)
    trained = [name for name, own in arms.items() if own]
    if not named:
        return []
    who = "Every arm is" if len(named) == len(trained) else f"Of the arms, {', '.join(named)}"
    verb = "" if len(named) == len(trained) else " is" if len(named) == 1 else " are"
    said = (
        f"{who}{verb} hardly better than guessing the largest class: differences from such an arm say little. "
        "Train for more epochs."
    )
    return [said]


def saved(result: CompareResult) -> list[str]:
    """What the transfer of the guideline saved and what it cost, in words."""
    spent = search_macs(result)
    if spent is None:
        whole = training_macs(result.widths.base_cost.macs, result.num_train, result.config.recipe.epochs)
        return [
            f"The transfer saved a search: {whole / 1e12:.3g} · 10¹² training MACs, at as many epochs as the recipe's.",
            f"To see what that cost in {result.metric.name}: --resume RUN --direct.",
        ]
    own = result.training_macs().get("guided", 0) / max(1, len(result.arms.get("guided", ())))
    share = f", {spent / own:.1f} times what one training of the guideline's widths takes" if own else ""
    said = [f"The transfer saved a search of {spent / 1e12:.3g} · 10¹² training MACs{share}."]
    found = result.compared().get("direct")
    if found is not None:
        one, metric = found.contrast, result.metric
        low, high = metric.difference(0 - one.high), metric.difference(0 - one.low)
        interval = "" if isnan(one.low) else f", 95 % interval {low} to {high}"
        verdict = {"better": "the search is better", "worse": "the guideline is better"}.get(
            found.verdict, found.verdict
        )
        said.append(
            f"Guideline minus search: {metric.difference(0 - one.difference)}{metric.unit} of test {metric.name}"
            f"{interval}, n = {one.n}: {verdict}."
        )
    return said


def _in_words(one: Difference, metric: Metric) -> str:
    beside = {
        "scratch-b": "than the widths found from scratch (Scratch-B)",
        "scratch-e": "than the widths found from scratch (Scratch-E)",
        "found": "than the widths found",
        "guided": "than the guideline's widths",
    }[one.beside]
    points = f"{metric.bare(abs(one.contrast.difference))}{metric.unit}"
    if one.verdict in ("better", "worse"):
        return f"{points} {one.verdict} {beside}"
    side = "better" if one.contrast.difference > 0 else "worse"
    said = (
        f"{points} {side} {beside}"
        if one.contrast.difference
        else f"as good on average as {beside[len('than ') :]}"
    )
    if isnan(one.holm):
        return f"{said}; {one.verdict}"
    limit = (
        "so few seeds could show none"
        if one.detectable > (1 if metric.is_share else inf)
        else f"{metric.bare(one.detectable)}{metric.unit} would be found in four of five repeats"
    )
    return f"no detectable difference ({said}; {limit})"
