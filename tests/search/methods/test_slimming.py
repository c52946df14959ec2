"""Network slimming: the penalty on γ, the scores, and which groups it can judge."""

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.search.methods.contract import PenaltyTarget
from nas_prune.search.methods.slimming import SLIMMING, can_score, penalty, prepare
from nas_prune.space.load import load_space
from tests.networks import known
from tests.search.methods.evidence import evidence

VGG = load_space("vgg11", (1, 8, 8))
RESNET = load_space("resnet20", (1, 8, 8))


def scale_of(model: nn.Module, path: str) -> nn.Parameter:
    return model.get_parameter(f"{path}.weight")


def test_every_scale_starts_at_one_half() -> None:
    model = RESNET.build(seed=0)
    assert scale_of(model, "layer1.0.bn1").unique().tolist() == [1.0]
    prepare(model, RESNET, range(12))
    assert {
        float(p) for n, p in model.named_parameters() if "bn" in n and "weight" in n for p in p.detach()
    } == {0.5}


def test_the_pull_is_strength_times_sign_on_searched_scales_only() -> None:
    model = RESNET.build(seed=0)
    inner = [column for column, group in enumerate(RESNET.groups) if group.role == "inner"]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    searched, stream = scale_of(model, "layer1.0.bn1"), scale_of(model, "layer1.0.bn2")
    with torch.no_grad():
        searched[:3] = torch.tensor([-2.0, 0.0, 3.0])
    penalty(PenaltyTarget(RESNET, tuple(inner), 0.25))(model, 0.1)
    assert searched.grad is not None
    assert stream.grad is not None
    assert searched.grad[:4].tolist() == [-0.25, 0.0, 0.25, 0.25]
    assert stream.grad.abs().sum() == 0


def test_a_score_is_the_size_of_the_scale() -> None:
    model = VGG.build(seed=0)
    with torch.no_grad():
        scale_of(model, "features.1").copy_(torch.linspace(-1, 1, 64))
    scores = SLIMMING.scores(evidence(model, VGG, [0]))
    assert scores[0] is not None
    assert np.allclose(scores[0], np.abs(np.linspace(-1, 1, 64)))
    assert scores[1:] == [None] * 7


def test_a_stream_scores_the_mean_over_all_norms_that_write_it() -> None:
    model = RESNET.build(seed=0)
    norms = RESNET.groups[0].norms
    assert len(norms) == 4
    with torch.no_grad():
        for number, path in enumerate(norms):
            scale_of(model, path).fill_(number)
    scores = SLIMMING.scores(evidence(model, RESNET, [0]))
    assert scores[0] is not None
    assert scores[0].tolist() == [1.5] * 16


def test_growth_scores_the_mean_over_its_part_of_every_later_norm() -> None:
    space = load_space("densenet40", (1, 8, 8))
    model = space.build(seed=0)
    group = space.groups[1]
    with torch.no_grad():
        for path in group.norms:
            scale_of(model, path).zero_()
            scale_of(model, path)[24 + 5] = 1.0  # after the 24 channels of the stem
    scores = SLIMMING.scores(evidence(model, space, [1]))
    assert scores[1] is not None
    assert scores[1].nonzero()[0].tolist() == [5]


@pytest.mark.slow
def test_what_a_shortcut_reads_without_a_norm_is_not_judged() -> None:
    space = known("preresnet164", (3, 8, 8))
    unjudged = [group.name for column, group in enumerate(space.groups) if not can_score(space, column)]
    assert unjudged == ["conv1", "layer1.0.conv3", "layer2.0.conv3"]


def test_layers_without_norms_are_not_judged() -> None:
    space = known("torchvision:vgg16_bn")
    unjudged = [group.name for column, group in enumerate(space.groups) if not can_score(space, column)]
    assert unjudged == ["classifier.0", "classifier.3"]
