"""Which weights may go, and what they cost: against the cost model, and against what a real pass multiplies."""

from collections import defaultdict
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from nas_prune.errors import BadInputError
from nas_prune.patterns.layers import WeightLayers, weight_layers
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.networks import known
from tests.patterns.conftest import SamePadding, Standardised, UpAndDown
from tests.space.test_constants import Bins

FAMILIES = [
    ("resnet20", (3, 32, 32)),
    ("vgg11", (1, 8, 8)),
    ("densenet40", (3, 16, 16)),
    ("torchvision:mobilenet_v2", (3, 32, 32)),
    ("torchvision:mobilenet_v3_small", (3, 32, 32)),
]


class Twice(nn.Module):
    """A layer that runs twice, at two resolutions, and two that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.left, self.right, self.head = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)
        self.right.weight = self.left.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(F.max_pool2d(self.again(self.first(x)).relu(), 2)).relu()
        return torch.as_tensor(self.head((self.left(x) + self.right(x)).mean((2, 3))))


class ByHand(nn.Module):
    """Products in the network's own code: by a parameter of its own, by one stored the other way round, of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 3, 3, 3))
        self.turned = Turned(6, 5)
        self.last = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.last(self.turned(F.conv2d(x, self.kernel).relu().mean((2, 3)))))


class Turned(nn.Module):
    """A matrix of (inputs, outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Mixing(nn.Module):
    """A matrix, and a product of two activations in the same module, of as many multiplications."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.weight = nn.Linear(192, 6), nn.Parameter(torch.randn(6, 6))
        self.last = nn.Linear(36, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(self.first(x.flatten(1)), self.weight)
        return torch.as_tensor(self.last((x[:, :, None] @ x[:, None]).flatten(1)))


def own(module: Any) -> SearchSpace:
    return load_space(module, (3, 8, 8))


def vision_transformer() -> nn.Module:
    made: nn.Module = VisionTransformer(
        16, 4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=4
    )
    return made


def uses_seen(space: SearchSpace) -> dict[str, int]:
    """How often a real pass of one image takes each weight, by the sizes of what layers take in and put out."""
    model, found = space.build(seed=0).eval(), defaultdict[str, int](int)
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        is_transposed = isinstance(module, nn.ConvTranspose2d)
        places = inputs[0].shape[2:] if is_transposed else output.shape[2:]
        uses = output.numel() // output.shape[-1] if isinstance(module, nn.Linear) else prod(places)
        found[names[id(module.weight)]] += uses

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.register_forward_hook(note)
    model(torch.zeros(1, *space.reference.input_shape))
    return dict(found)


def macs_of(layers: WeightLayers) -> int:
    return layers.dense_macs + sum(layer.size * layer.uses for layer in layers.layers)


@pytest.mark.parametrize(("name", "shape"), FAMILIES)
def test_macs_of_weights_are_all_that_the_cost_model_counts(name: str, shape: tuple[int, int, int]) -> None:
    space = known(name, shape)
    layers = weight_layers(space)
    assert sum(layer.size * layer.uses for layer in layers.layers) == space.cost_at(space.base_G).macs
    assert layers.dense_macs == 0
    assert layers.dense == ()
    assert {layer.name: layer.uses for layer in layers.layers} == uses_seen(space)
    assert sum(layers.sizes) + layers.dense_params == space.cost_at(space.base_G).params


@pytest.mark.parametrize("make", [UpAndDown, Twice])
def test_transposed_grouped_shared_and_repeated_layers_count_as_a_real_pass_does(make: Any) -> None:
    space = own(make)
    layers = weight_layers(space)
    assert {layer.name: layer.uses for layer in layers.layers} == uses_seen(space)
    assert macs_of(layers) == space.cost_at(space.base_G).macs
    assert layers.dense_macs == 0


def test_dimensions_of_filters_are_those_that_put_out() -> None:
    dims = {layer.path: layer.out_dim for layer in weight_layers(own(UpAndDown)).layers}
    assert dims == {"down": 0, "up": 1, "each": 1, "wide": 0, "head": 0}
    dims = {layer.path: layer.out_dim for layer in weight_layers(own(ByHand)).layers}
    assert dims == {"turned": 1, "last": 0}


def test_a_shared_weight_is_one_layer_and_so_is_a_repeated_one() -> None:
    names = [layer.name for layer in weight_layers(own(Twice)).layers]
    assert names == ["first.weight", "again.weight", "left.weight", "head.weight"]


def test_weights_of_attention_are_named_as_dense() -> None:
    space = load_space(vision_transformer, (3, 16, 16))
    layers = weight_layers(space)
    assert "encoder.layers.encoder_layer_0.self_attention.in_proj_weight" in layers.dense
    assert {"class_token", "encoder.pos_embedding"} <= set(layers.dense)
    assert "encoder.layers.encoder_layer_0.self_attention.out_proj.weight" in {
        layer.name for layer in layers.layers
    }
    assert macs_of(layers) == space.cost_at(space.base_G).macs
    tokens, width = 17, 8
    assert layers.dense_macs == tokens * width * 3 * width + 2 * tokens * tokens * width


@pytest.mark.parametrize("name", ["resnet20", "torchvision:mobilenet_v2"])
def test_norms_and_biases_are_never_masked(name: str) -> None:
    space = known(name)
    layers = weight_layers(space)
    vectors = {name for name, one in space.template.named_parameters() if one.dim() < 2}
    assert vectors
    assert not vectors & ({layer.name for layer in layers.layers} | set(layers.dense))
    sizes = {name: one.numel() for name, one in space.template.named_parameters()}
    assert layers.dense_params == sum(sizes[name] for name in vectors)


def test_layers_that_are_kept_are_dense_and_so_are_their_macs() -> None:
    space = known("resnet20")
    whole, part = weight_layers(space), weight_layers(space, ["conv1", "fc"])
    assert part.dense == ("conv1.weight", "fc.weight")
    assert part.dense_params == whole.dense_params + 3 * 16 * 9 + 64 * 5
    assert part.dense_macs == 3 * 16 * 9 * 32 * 32 + 64 * 5
    assert macs_of(part) == macs_of(whole)


def test_a_network_of_which_all_is_kept_is_refused() -> None:
    space = own(Twice)
    with pytest.raises(
        BadInputError, match="must have convolutions or linear layers whose weights may go, got none"
    ):
        weight_layers(space, ["first", "again", "left", "head"])


def test_a_weight_that_is_standardised_first_stays_dense() -> None:
    space = own(
        lambda: nn.Sequential(
            Standardised(3, 6, 3), nn.ReLU(), SamePadding(6, 5, 3), nn.Flatten(), nn.Linear(320, 4)
        )
    )
    layers = weight_layers(space)
    assert layers.dense == ("0.weight",)
    assert [layer.path for layer in layers.layers] == ["2", "4"]
    assert layers.dense_macs == 3 * 6 * 9 * 64


def test_a_weight_that_takes_no_gradient_stays_dense() -> None:
    layers = weight_layers(load_space(Bins, (3, 8, 8)))
    assert layers.dense == ("bins.weight",)
    assert [layer.path for layer in layers.layers] == ["first", "second"]


def test_a_parameter_of_the_network_itself_stays_dense() -> None:
    space = own(ByHand)
    layers = weight_layers(space)
    assert layers.dense == ("kernel",)
    assert [layer.path for layer in layers.layers] == ["turned", "last"]
    assert macs_of(layers) == space.cost_at(space.base_G).macs


def test_a_weight_whose_module_multiplies_activations_too_stays_dense() -> None:
    space = own(lambda: nn.Sequential(nn.Identity(), Mixing()))
    layers = weight_layers(space)
    assert layers.dense == ("1.weight",)
    assert layers.dense_macs == 6 * 6 + 6 * 6
    assert macs_of(layers) == space.cost_at(space.base_G).macs


def test_stages_go_by_resolution_and_excitations_are_where_their_channels_are() -> None:
    stages = {layer.path: layer.stage for layer in weight_layers(known("resnet20")).layers}
    assert [stages[f"layer{number}.0.conv2"] for number in (1, 2, 3)] == [0, 1, 2]
    assert stages["layer2.0.conv1"] == 1
    assert stages["fc"] == 3
    layers = weight_layers(known("torchvision:mobilenet_v3_small", (3, 64, 64))).layers
    stages = {layer.path: layer.stage for layer in layers}
    assert (
        stages["features.1.block.1.fc1"] == stages["features.1.block.1.fc2"] == stages["features.1.block.2.0"]
    )
    assert stages["features.1.block.1.fc1"] < stages["features.8.block.2.fc1"] < stages["classifier.0"]
    assert stages["classifier.0"] == max(stages.values())
