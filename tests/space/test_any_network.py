"""Networks of torchvision and timm: traced, proved, priced, narrowed. The default run takes a dozen of them."""

import pytest

from nas_prune.space.load import load_space
from nas_prune.space.networks import torchvision_names
from nas_prune.space.search_space import SearchSpace
from tests.properties import check_costs, check_dead_channels, random_widths

# The smallest image each takes; 64 pixels a side for all others.
SIZES = {"inception_v3": 299, "maxvit_t": 224, "vit_h_14": 56}
CLASSIFIERS, SEGMENTERS = torchvision_names()
A_FEW = (
    "mobilenet_v3_small", "resnext50_32x4d", "shufflenet_v2_x1_0", "swin_t",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip
SLOWER = dict.fromkeys(("shufflenet_v2_x1_0", "lraspp_mobilenet_v3_large"), pytest.mark.slow)
ATTENTION = ("vit_", "swin_")
TIMM = (
    "bat_resnext26ts", "beit_base_patch16_224", "botnet26t_256", "cait_xxs24_224", "coat_tiny",
    "coatnet_nano_rw_224", "convmixer_768_32", "convnext_atto", "convnextv2_atto", "crossvit_tiny_240",
    "cspresnet50", "darknet53", "davit_tiny", "deit_tiny_patch16_224", "densenet121", "dla34", "dpn68",
    "ecaresnet50t", "edgenext_xx_small", "efficientformer_l1", "efficientnet_b0", "efficientnetv2_rw_t",
    "efficientvit_b0", "ese_vovnet19b_dw", "eva02_tiny_patch14_224", "fastvit_t8", "focalnet_tiny_srf",
    "gcresnet33ts", "gernet_s", "ghostnet_100", "gmlp_ti16_224", "halonet26t", "hardcorenas_a", "hgnet_tiny",
    "hgnetv2_b0", "hrnet_w18_small", "inception_next_atto", "inception_resnet_v2", "inception_v4",
    "lambda_resnet26t", "lcnet_050", "levit_128s", "maxvit_rmlp_nano_rw_256", "mixer_s16_224", "mixnet_s",
    "mnasnet_100", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv4_conv_small", "mobilevit_xxs",
    "mobilevitv2_050", "mvitv2_tiny", "nest_tiny", "nf_resnet26", "pit_ti_224", "poolformer_s12", "pvt_v2_b0",
    "regnetx_002", "regnety_002", "repvgg_a0", "repvit_m0_9", "res2net50_26w_4s", "resmlp_12_224", "resnest14d",
    "resnet18", "resnetv2_50", "resnext50_32x4d", "rexnet_100", "selecsls42b", "seresnet50", "skresnet18",
    "starnet_s1", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "tf_efficientnetv2_b0",
    "tiny_vit_5m_224", "tinynet_e", "tnt_s_patch16_224", "twins_pcpvt_small", "vgg11_bn", "visformer_tiny",
    "vit_tiny_patch16_224", "volo_d1_224", "vovnet39a", "xception41", "xcit_nano_12_p16_224",
)  # fmt: skip


def searchable_share(space: SearchSpace) -> float:
    return 1 - space.cost_at(space.floor_G).macs / space.cost_at(space.base_G).macs


def load(name: str) -> SearchSpace:
    pixels = SIZES.get(name, 64)
    return load_space(f"torchvision:{name}", (3, pixels, pixels))


@pytest.mark.parametrize("name", [pytest.param(one, marks=SLOWER.get(one, ())) for one in A_FEW])
def test_a_few_networks_of_torchvision_are_priced_and_narrowed_exactly(name: str) -> None:
    space = load(name)
    assert searchable_share(space) > 0.94
    check_costs(space, random_widths(space, 1))
    if name not in SLOW_TO_RUN:
        check_dead_channels(space)


# Seconds in float64.
SLOW_TO_RUN = (
    "convnext_tiny", "vit_b_16", "efficientnet_b0", "googlenet", "lraspp_mobilenet_v3_large", "swin_t",
    "resnext50_32x4d",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLASSIFIERS, *SEGMENTERS])
def test_every_network_of_torchvision_is_priced_and_narrowed_exactly(name: str) -> None:
    space = load(name)
    assert searchable_share(space) >= (0.8 if name.startswith(ATTENTION) else 0.94)
    check_costs(space, random_widths(space, 20))
    check_dead_channels(space)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLASSIFIERS, *SEGMENTERS])
def test_nearly_all_of_every_network_can_be_searched_at_its_own_size(name: str) -> None:
    assert searchable_share(load_space(f"torchvision:{name}")) >= (
        0.8 if name.startswith(ATTENTION) else 0.95
    )


@pytest.mark.parametrize("name", ["resnet18"])
def test_networks_of_timm_are_priced_and_narrowed_exactly(name: str) -> None:
    pytest.importorskip("timm")
    space = load_space(f"timm:{name}", (3, 64, 64))
    check_costs(space, random_widths(space, 2))
    check_dead_channels(space)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_every_family_of_timm_is_priced_and_narrowed_exactly(name: str) -> None:
    pytest.importorskip("timm")
    space = load_space(f"timm:{name}")
    check_costs(space, random_widths(space, 20))
    check_dead_channels(space)
