"""Widths of networks with blocks removed: used as widths of the blocks that stay."""

from math import log

import numpy as np
import pytest

from nas_prune.errors import GuidelineError
from nas_prune.guideline import fit_guideline
from nas_prune.guideline.sources import sources_of
from nas_prune.space.widths import Widths
from tests.guideline.synthetic import found, space

RESNET = space("resnet20", factor=2.0)
REMOVED = ("layer1.1", "layer2.2")


def combined(keep: float, seed: int = 0, *, narrow: float = 1.0) -> Widths:
    """All inner groups of the same keep ratio, those of the last stage times `narrow`, two blocks gone."""
    vector = [
        round(group.size * keep * (narrow if group.stage == 2 else 1.0))
        if group.role == "inner"
        else group.size
        for group in RESNET.groups
    ]
    whole = found(RESNET, vector, seed=seed, budget="macs<=50%")
    return RESNET.widths(
        vector,
        removed=REMOVED,
        **{name: getattr(whole, name) for name in ("budget", "seed", "method", "data", "epochs")},
    )


@pytest.mark.parametrize("budget", ["macs<=50%", "params<=50%", "channels<=50%", "activations<=50%"])
def test_uniform_widths_beside_removed_blocks_are_uniform(budget: str) -> None:
    """Beside the uniform network of that cost with the same blocks removed, not beside a deeper one."""
    (source,), notes = sources_of([combined(0.5).model_copy(update={"budget": budget})])
    assert source.log_uniform == pytest.approx(log(0.5), abs=1e-3)
    assert source.log_ratio_S == pytest.approx(np.zeros(7), abs=1e-3)
    assert "1 of 1 widths have blocks removed: they stand for the widths of the blocks left." in notes
    gone = {group.name for group in source.setting.groups_S}
    assert not any(name.startswith(REMOVED) for name in gone)
    if budget.startswith("macs"):
        assert source.limit == RESNET.cost_at(combined(0.5).vector, REMOVED).macs
    assert source.record.removed_blocks == 2
    assert source.setting.depth == 22 - 2 * 2


def test_they_are_pooled_with_others() -> None:
    runs = [combined(0.5, seed, narrow=0.6) for seed in range(3)]
    guideline = fit_guideline(runs, model="stage-role")
    levels = {cell.stage: cell.log_ratio for cell in guideline.cells}
    assert levels[2] - levels[0] == pytest.approx(log(0.6), abs=0.05)
    assert guideline.num_stages == 3
    whole = [one.model_copy(update={"removed_blocks": ()}) for one in runs[:1]]
    assert len(fit_guideline([*runs[1:], *whole]).sources) == 3


def test_a_stage_that_is_gone_at_one_budget_is_known_from_the_others() -> None:
    first = found(RESNET, [group.size // 2 for group in RESNET.groups], budget="macs<=60%")
    second = combined(0.4).model_copy(
        update={"removed_blocks": tuple(block.path for block in RESNET.blocks if block.stage == 2)}
    )
    guideline = fit_guideline([second, first], model="stage-role")
    assert {cell.stage for cell in guideline.cells if cell.role == "inner"} == {0, 1, 2}


def test_what_is_gone_at_one_budget_does_not_count_towards_its_stage_at_another() -> None:
    whole = combined(0.4, narrow=0.4).model_copy(update={"removed_blocks": ()})
    gone = tuple(block.path for block in RESNET.blocks if block.stage == 0)
    both = [whole, combined(0.5, narrow=0.6).model_copy(update={"removed_blocks": gone})]
    levels = {cell.stage: cell.log_ratio for cell in fit_guideline(both, model="stage-means").cells}
    (alone,), (source, _) = sources_of([whole])[0], sources_of(both)[0]
    stage = np.array([group.stage for group in alone.setting.groups_S])
    at = fit_guideline(both, model="stage-means").uniform_keep
    assert at is not None
    own = float(alone.log_ratio_S[stage == 0].mean()) * log(at) / alone.log_uniform
    assert source.setting.num_stages == 3
    assert own > 0.1
    assert levels[0] == pytest.approx(own, abs=0.02)


def test_blocks_alone_say_nothing_of_widths() -> None:
    with pytest.raises(GuidelineError, match="only blocks were removed, and a guideline speaks of widths"):
        sources_of([combined(1.0)])
