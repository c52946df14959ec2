"""Judging by a trained network's best channels: which channels, which statistics, at which price."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.data import ImageData, normalise
from nas_prune.data.config import DataConfig, load_images
from nas_prune.runs.progress import SILENT
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.study.judges.inheriting import Inheriting, estimate_norms, places_for_norms
from nas_prune.training.evaluation import evaluate


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_images(DataConfig(name="digits", val_fraction=0.3), 0, SILENT, in_channels=1)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("resnet20", (1, 8, 8), num_classes=10)


@pytest.fixture(scope="module")
def judge(space: SearchSpace, data: ImageData) -> Inheriting:
    order_G = tuple(np.random.default_rng(0).permutation(base) for base in space.base_G)
    return Inheriting(space.build(seed=1), order_G, space, data, seed=0)


def test_norms_have_the_mean_over_batches_of_what_they_see(data: ImageData) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(10)
    )
    batches = places_for_norms(data.train, 0)
    with torch.no_grad():
        network(normalise(next(iter(data.train.batches(batches[:1]))), data.mean, data.std))
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    passed = estimate_norms(network, data, batches)
    with torch.no_grad():
        seen = [network[0](normalise(images, data.mean, data.std)) for images in data.train.batches(batches)]
    means = torch.stack([one.mean(dim=(0, 2, 3)) for one in seen]).mean(0)
    variances = torch.stack([one.transpose(0, 1).flatten(1).var(1) for one in seen]).mean(0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, means, atol=1e-5)
    assert torch.allclose(norm.running_var, variances, atol=1e-5)
    assert (norm.momentum, norm.training, passed) == (0.1, False, sum(map(len, batches)))


def test_a_network_without_running_statistics_passes_no_images(data: ImageData) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert estimate_norms(network, data, places_for_norms(data.train, 0)) == 0


def test_the_best_channels_are_kept_and_the_judges_network_stays(
    judge: Inheriting, space: SearchSpace, data: ImageData
) -> None:
    before = {key: value.clone() for key, value in judge.network.state_dict().items()}
    half = [max(1, base // 2) for base in space.base_G]
    said = judge.judged(half)
    kept_G = [np.sort(order[:width]) for order, width in zip(judge.order_G, half, strict=True)]
    narrow = space.narrow(judge.network, kept_G)
    estimate_norms(narrow, data, judge.batches)
    assert said.accuracy == evaluate(narrow, data.val, data)[1]
    assert said == judge.judged(half)
    assert said.macs == space.cost_at(half).macs * (sum(map(len, judge.batches)) + len(data.val))
    assert all(torch.equal(value, before[key]) for key, value in judge.network.state_dict().items())
    worst = Inheriting(judge.network, tuple(order[::-1] for order in judge.order_G), space, data, seed=0)
    assert worst.judged(half).accuracy != said.accuracy


@pytest.mark.slow
def test_one_candidate_costs_no_more_than_twice_its_forward_passes(
    judge: Inheriting, space: SearchSpace, data: ImageData
) -> None:
    """The least of several, since other work may share the machine."""
    half = [max(1, base // 2) for base in space.base_G]
    network = space.build(half, seed=0)
    judged, passes = [], []
    for _ in range(7):
        started = time.process_time()
        judge.judged(half)
        middle = time.process_time()
        estimate_norms(network, data, judge.batches)
        evaluate(network, data.val, data)
        judged.append(middle - started)
        passes.append(time.process_time() - middle)
    assert min(judged) < 2 * min(passes)
