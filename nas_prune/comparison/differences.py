"""What the trainings of a comparison say about each arm and the one it is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import TypeAlias

from nas_prune.comparison.arms import OWN_EACH, Arm
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.detectable import detectable_by
from nas_prune.comparison.statistics import (
    LEVEL,
    Contrast,
    Estimate,
    TestName,
    by_search,
    by_training,
    difference,
    holm,
    moderated,
    on_its_own,
    paired,
    search_by_search,
)
from nas_prune.comparison.variances import pooled
from nas_prune.training.result import Trained

Groups: TypeAlias = "dict[int, list[float]]"  # test scores by search


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm and the one it is compared with.

    Attributes:
        beside: the name of the other arm.
        test: by which they were compared.
        contrast: what it found of their test scores.
        holm: the p value after Holm's correction over all arms; NaN where nothing could be tested.
        detectable: the smallest true difference that this test would find in four of five repeats, as a share.
    """

    beside: str
    test: TestName
    contrast: Contrast
    holm: float
    detectable: float

    @property
    def verdict(self) -> str:
        """In words."""
        if isnan(self.holm):
            few = min(self.contrast.n, self.contrast.n_beside) < 2
            return "one seed: not tested" if few else "no spread: not tested"
        if self.holm > LEVEL:
            return "no detectable difference"
        return "better" if self.contrast.difference > 0 else "worse"


def compared(config: CompareConfig, trained: Mapping[str, Sequence[Trained]]) -> dict[str, Difference]:
    """Each arm compared with its other arm, where both were trained (with a seed in common, for paired tests).

    Args:
        config: which arms, by which test.
        trained: the trainings of each arm that are done.
    """
    groups = {arm.name: _by_search(config, arm, trained.get(arm.name, ())) for arm in config.chosen}
    found = _moderated(config, groups) if config.test == "moderated" else _paired(config, trained)
    planned = sum(arm.beside is not None for arm in config.chosen)
    corrected = holm([one.p_value for one in found.values()], planned)
    return {
        name: Difference(
            config.known[name].beside or "", config.test, one, p, detectable_by(config.test, one, planned)
        )
        for (name, one), p in zip(found.items(), corrected, strict=True)
    }


def _by_search(config: CompareConfig, arm: Arm, trained: Sequence[Trained]) -> Groups:
    """The test scores of an arm by the search whose widths were trained."""
    found: Groups = {}
    for search, seeds in enumerate(config.seeds_of(arm)):
        own = [one.test_score for one in trained if one.seed in seeds]
        if own:
            found[search] = own
    return found


def _has_searches(config: CompareConfig, name: str | None) -> bool:
    """Whether an arm's widths are of several searches."""
    return config.searches > 1 and name is not None and config.known[name].kind == "found"


def _estimates(config: CompareConfig, groups: Mapping[str, Groups]) -> dict[str, Estimate]:
    """One for each arm that was trained, of the kind that fits its widths."""
    each = {name: [by_training(one) for one in own.values()] for name, own in groups.items() if own}
    fixed = {  # of several searches: what trainings of one search's widths differ by
        name: replace(own[0], spread=pooled([one.spread for one in own]))
        for name, own in each.items()
        if config.known[name].kind not in ("random", *OWN_EACH)
    }
    noise = pooled([one.spread for one in fixed.values()])
    found = moderated(fixed)
    for name in each:
        if _has_searches(config, name):
            found[name] = by_search(list(groups[name].values()))
        elif name not in fixed:
            found[name] = on_its_own(groups[name][0], noise)
    return found


def _moderated(config: CompareConfig, groups: Mapping[str, Groups]) -> dict[str, Contrast]:
    """Unpaired, but for arms that train the widths of the same searches."""
    estimates, found = _estimates(config, groups), {}
    for arm in config.chosen:
        if arm.beside not in estimates or arm.name not in estimates:
            continue
        if _has_searches(config, arm.name) and _has_searches(config, arm.beside):
            mine, other = groups[arm.name], groups[arm.beside]
            both = sorted(set(mine) & set(other))
            if both:
                own = [mine[search] for search in both], [other[search] for search in both]
                found[arm.name] = search_by_search(*own)
        else:
            found[arm.name] = difference(estimates[arm.name], estimates[arm.beside])
    return found


def _paired(config: CompareConfig, trained: Mapping[str, Sequence[Trained]]) -> dict[str, Contrast]:
    """Training by training: number i of one arm beside number i of the other."""
    numbered = {}
    for arm in config.chosen:
        (seeds,) = config.seeds_of(arm)
        numbered[arm.name] = {
            seeds.index(one.seed): one.test_score for one in trained.get(arm.name, ()) if one.seed in seeds
        }
    found = {}
    for arm in config.chosen:
        mine, other = numbered[arm.name], numbered.get(arm.beside or "", {})
        common = sorted(set(mine) & set(other))
        if common:
            pairs = [mine[number] for number in common], [other[number] for number in common]
            found[arm.name] = paired(*pairs, config.test)
    return found
