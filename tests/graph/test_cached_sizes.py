"""Sizes that libraries keep beside their parameters are right after resizing (timm issues 1597 and 2370)."""

import numpy as np
import pytest
import torch
from torch import nn

from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace

timm = pytest.importorskip("timm")


def halved(space: SearchSpace) -> nn.Module:
    return space.build([max(2, base // 2) for base in space.base_G], seed=0).eval()


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenetv2_100", "convnext_atto", "vit_tiny_patch16_224"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("regnetx_002", "densenet121")),
    ],
)
def test_feature_counts_of_timm_are_those_of_the_narrowed_network(name: str) -> None:
    model = halved(load_space(f"timm:{name}"))
    images = torch.zeros(2, 3, 224, 224)
    with torch.no_grad():
        features = model.forward_features(images)  # type: ignore[operator]
        pooled = model.forward_head(features, pre_logits=True)  # type: ignore[operator]
    channels = features.shape[-1] if features.dim() == 3 else features.shape[1]
    assert model.num_features == channels
    assert model.head_hidden_size == pooled.shape[1]
    assert model.get_classifier().in_features == pooled.shape[1]  # type: ignore[operator]


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_feature_maps_of_timm_have_the_channels_that_the_network_says(name: str) -> None:
    model = halved(load_space(f"timm:{name}"))
    with torch.no_grad():
        maps = model.forward_intermediates(torch.zeros(2, 3, 224, 224), intermediates_only=True)  # type: ignore[operator]
    said = [entry["num_chs"] for entry in model.feature_info]  # type: ignore[union-attr]
    assert [one.shape[1] for one in maps][-len(said) :] == said[-len(maps) :]


def test_the_classifier_of_a_narrowed_network_of_timm_can_be_replaced() -> None:
    model = halved(load_space("timm:resnet18"))
    model.reset_classifier(3)  # type: ignore[operator]
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_what_a_module_keeps_of_its_last_run_does_not_outlive_narrowing() -> None:
    space = load_space("timm:levit_128s")
    model, images = space.build(seed=0).eval(), torch.zeros(1, 3, 224, 224)
    with torch.no_grad():
        model(images)
        small = space.narrow(model, [np.arange(max(1, base // 2)) for base in space.base_G])
        assert small(images).shape == (1, 1000)


def test_a_narrowed_attention_knows_its_heads() -> None:
    space = load_space("timm:vit_tiny_patch16_224")
    block = halved(space).get_submodule("blocks.0.attn")
    qkv = block.get_submodule("qkv")
    assert isinstance(qkv, nn.Linear)
    assert qkv.out_features == 3 * block.num_heads * block.head_dim  # type: ignore[operator]
