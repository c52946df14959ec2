"""The paper's own guideline: stage means of VGG-16, carried to VGG-19."""

from math import exp
from pathlib import Path

import numpy as np
import pytest

from nas_prune.guideline import fit_guideline, read_guideline
from nas_prune.guideline.apply import apply_guideline
from tests.guideline.synthetic import PAPER_VGG16, found, space, with_mean

BASE = (64, 128, 256, 512, 512)


def test_the_stage_means_of_the_papers_table_come_out() -> None:
    runs = with_mean(space(), PAPER_VGG16)
    assert np.allclose(np.mean([run.vector for run in runs], axis=0), PAPER_VGG16)
    guideline = fit_guideline(runs, model="stage-means")
    assert guideline.uniform_keep is not None
    means = [
        base * exp(cell.log_ratio) * guideline.uniform_keep
        for base, cell in zip(BASE, guideline.cells, strict=True)
    ]
    assert [round(mean, 1) for mean in means] == [51.5, 127.9, 243.8, 133.4, 66.2]


def test_carried_to_vgg19_with_100_classes_they_give_the_papers_network(tmp_path: Path) -> None:
    fit_guideline(with_mean(space(), PAPER_VGG16), model="stage-means").write(tmp_path / "paper.yaml")
    vgg19 = space("vgg19", 32, 100)
    whole = vgg19.cost_at(vgg19.base_G)
    assert (round(whole.params / 1e6, 2), round(whole.macs / 1e6)) == (20.08, 398)
    applied = apply_guideline(read_guideline(tmp_path / "paper.yaml"), vgg19)
    cost = vgg19.cost_at(applied.widths_G)
    assert (round(cost.params / 1e6, 2), round(cost.macs / 1e6)) == (3.10, 213)
    assert applied.widths_G[:4] == (52, 52, 128, 128)


def test_arithmetic_means_are_no_geometric_ones() -> None:
    """The other models take the mean of logarithms, which lies lower: the two must not be the same thing."""
    vgg11 = space("vgg11")
    one = found(vgg11, (26, 51, 200, 200, 100, 100, 205, 205), seed=0)
    other = found(vgg11, (26, 51, 56, 56, 244, 244, 205, 205), seed=1)
    keeps = [
        {cell.stage: guideline.keep_ratio(cell) for cell in guideline.cells}
        for guideline in (fit_guideline([one, other], model=model) for model in ("stage-means", "stage-role"))
    ]
    assert keeps[0][2] == pytest.approx((200 + 56) / 2 / 256, rel=1e-5)
    assert keeps[1][2] < keeps[0][2] - 0.05
