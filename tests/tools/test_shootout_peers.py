"""What others would do: Torch-Pruning's penalty, and widths by laws of growth."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.space.budget import Budget
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tools.shootout_peers import Penalty, fitted_laws, grown


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("vgg11", (3, 8, 8), width_multiplier=0.25)


def test_planted_laws_of_growth_are_found() -> None:
    params_N = np.geomspace(1e4, 1e6, 7)
    widths_NG = np.stack([3 * params_N**0.2, 0.5 * params_N**0.4, np.full(7, 12.0)], axis=1)
    log_alpha_G, beta_G = fitted_laws(widths_NG, params_N)
    assert np.exp(log_alpha_G) == pytest.approx([3, 0.5, 12])
    assert beta_G == pytest.approx([0.2, 0.4, 0], abs=1e-9)


def test_widths_follow_the_laws_and_meet_the_budget(space: SearchSpace, tmp_path: Path) -> None:
    columns = space.searched("inner")
    base = np.array(space.base_G)
    files = []
    for place, share in enumerate((0.9, 0.6, 0.4)):
        widths = base.copy()
        for rank, column in enumerate(columns):
            widths[column] = max(1, round(base[column] * share ** (2.0 if rank % 2 else 0.5)))
        files.append(tmp_path / f"{place}.json")
        space.widths(widths.tolist()).write(files[-1])
    budget = Budget.parse("macs<=40%")
    found = grown(space, columns, files, budget)
    assert found.count <= found.limit
    assert found.gap < 0.01
    kept = np.array(found.widths_G) / base
    slow, fast = ([kept[column] for column in columns[start::2]] for start in (0, 1))
    assert min(slow) > max(fast)  # what shrinks slowly in the cuts has more left


def test_the_penalty_pulls_weak_channels_harder(space: SearchSpace) -> None:
    pytest.importorskip("torch_pruning")
    network = space.build(seed=0)
    first = network.get_submodule(space.groups[0].layers[0])
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight[3] *= 0.05
    network(torch.zeros(2, 3, 8, 8)).sum().backward()
    assert first.weight.grad is not None
    before = first.weight.grad.clone()
    Penalty(space).add(network, 0.1)
    pull_C = ((first.weight.grad - before) / first.weight.detach()).flatten(1).mean(1)
    assert (pull_C > 0).all()
    assert pull_C[3] == pull_C.max()
    assert network.training
