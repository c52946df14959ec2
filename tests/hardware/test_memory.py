"""Peak memory: an independent count of real forward passes, arithmetic by hand, blocks that are taken out."""

from collections import Counter
from time import process_time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.graph.examples import call_like
from nas_prune.hardware.memory import Memory, _Removal, own_order
from nas_prune.hardware.memory_order import Moment
from nas_prune.hardware.steps import Flow, Step
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from tests.hardware.counter import counted_peak
from tests.networks import known

FAST = (
    ("resnet20", (3, 32, 32)),
    ("densenet40", (3, 16, 16)),
    ("torchvision:mobilenet_v2", (3, 32, 32)),
)
SLOW = (
    ("vgg16", (3, 32, 32)),
    ("preresnet164", (3, 8, 8)),
    ("torchvision:resnet18", (3, 64, 64)),
    ("torchvision:googlenet", (3, 96, 96)),
    ("torchvision:inception_v3", (3, 299, 299)),
    ("torchvision:vit_b_16", (3, 96, 96)),
    ("torchvision:swin_t", (3, 64, 64)),
    ("torchvision:shufflenet_v2_x1_0", (3, 64, 64)),
    ("torchvision:densenet121", (3, 64, 64)),
    ("torchvision:deeplabv3_mobilenet_v3_large", (3, 64, 64)),
    ("timm:vit_tiny_patch16_224", (3, 224, 224)),
    ("timm:hrnet_w18_small", (3, 64, 64)),
)
EVERY = [pytest.param(*case, id=case[0]) for case in FAST] + [
    pytest.param(*case, id=case[0], marks=pytest.mark.slow) for case in SLOW
]


def vectors(space: SearchSpace, count: int) -> list[list[int]]:
    """The whole network's widths and some random ones."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(1, np.array(space.base_G) + 1, (count, len(space.groups)))
    return [list(space.base_G), *drawn.tolist()]


def check_against_count(space: SearchSpace, count: int = 2) -> None:
    own, best = own_order(space), Memory(space)
    for widths in vectors(space, count):
        assert int(own(widths)) == counted_peak(space.build(widths, seed=0), space.forward)
        assert 0 < int(best(widths)) <= int(own(widths))
    assert best.doubts == ()


@pytest.mark.parametrize(("name", "shape"), EVERY)
def test_memory_in_the_modules_own_order_is_what_a_real_forward_holds(
    name: str, shape: tuple[int, int, int]
) -> None:
    check_against_count(known(name, shape, 10))


def test_a_norm_and_an_activation_work_in_place_and_a_shortcut_stays_live() -> None:
    """MobileNetV2 at 96 pixels in int8: the peak is the depthwise convolution that halves 96 channels of 48×48."""
    space = known("torchvision:mobilenet_v2", (3, 96, 96), 10)
    expanded, halved = 96 * 48 * 48, 96 * 24 * 24
    assert int(Memory(space, 1)(space.base_G)) == expanded + halved == 276_480
    assert (
        int(own_order(space, 1)(space.base_G)) == 2 * expanded
    )  # PyTorch puts the norm's output beside its input
    resnet = known("resnet20", (3, 32, 32), 10)
    assert (
        int(Memory(resnet, 1)(resnet.base_G)) == 3 * 16 * 32 * 32
    )  # a block: what came in, and a convolution's two


class Fork(nn.Module):
    """Two branches, each wide for a moment; the code widens both before it narrows either."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.Conv2d(3, 16, 3, padding=1) for _ in range(2))
        self.left_end, self.right_end = (nn.Conv2d(16, 2, 8, stride=8) for _ in range(2))
        self.head = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        both = self.left_end(left) + self.right_end(right)
        scores: Tensor = self.head(both.mean((2, 3)))
        return scores


def test_the_best_order_ends_one_branch_before_it_begins_the_other() -> None:
    space = load_space(Fork, (3, 16, 16))
    image, wide, end = 3 * 256, 16 * 256, 2 * 4
    assert int(own_order(space, 1)(space.base_G)) == image + 2 * wide
    assert int(Memory(space, 1)(space.base_G)) == image + wide + end
    widths = [4 if size == 16 else size for size in space.base_G]
    assert int(Memory(space, 1)(widths)) == image + wide // 4 + end


def test_what_is_written_in_place_or_cut_into_views_lies_in_one_tensor() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            one, two = self.first(x).relu_().chunk(2, 1)
            out: Tensor = self.last(torch.cat([two, one], 1))
            return out.add_(1).flatten(1)

    space = load_space(Cut, (3, 8, 8))
    check_against_count(space)
    assert (
        int(Memory(space, 1)(space.base_G)) == 2 * 8 * 64
    )  # the convolution's and the concatenation's, or the last's


def test_what_comes_out_stays_live_to_the_end() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.early, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 9, 1), nn.Conv2d(4, 5, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.first(x)
            return self.early(x), self.last(x)

    space = load_space(Both, (3, 8, 8))
    check_against_count(space)
    assert int(own_order(space, 1)(space.base_G)) == (4 + 9 + 5) * 64 == int(Memory(space, 1)(space.base_G))


def test_words_count_with_the_bytes_of_integers() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.first, self.last = nn.Embedding(10, 8), nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, words: Tensor) -> Tensor:
            out: Tensor = self.last(torch.relu(self.first(self.embedding(words))).mean(1))
            return out

    space = load_space(Words, call_like(torch.zeros(2, 4, dtype=torch.long), has_batch=True))
    check_against_count(space)
    words, looked_up = 4 * 8, 4 * 8  # eight bytes each; eight numbers for each word
    assert int(Memory(space, 1)(space.base_G)) == words + looked_up
    assert int(Memory(space, 4)(space.base_G)) == 4 * looked_up + 4 * 4 * 6  # by now more than the words


def test_an_operation_without_a_rule_still_counts() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.odd, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 64, 1), nn.Conv2d(64, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(torch.renorm(self.odd(self.first(x)), 2, 0, 1.0))
            return out

    space = load_space(Odd, (3, 8, 8))
    check_against_count(space)
    assert int(own_order(space, 1)(space.base_G)) >= 2 * 64 * 64


class Tap(nn.Module):
    """Blocks of which the first one's output is read again at the end, as a pyramid of features does it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.ModuleList(Branch() for _ in range(3))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(torch.relu(x).mean((2, 3)) + first.amax((2, 3)))
        return scores


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.as_tensor(self.two(torch.relu(self.one(x))))


def check_removed(space: SearchSpace, shape: tuple[int, int, int], patterns: int) -> None:
    """Memory without some blocks is that of the network which was made without them."""
    rng = np.random.default_rng(1)
    memory = Memory(space)
    for _ in range(patterns):
        there = rng.integers(0, 2, len(space.blocks))
        gone = [block.path for block, is_there in zip(space.blocks, there, strict=True) if not is_there]
        widths = rng.integers(1, np.array(space.base_G) + 1)
        model = space.build(widths.tolist(), seed=0, removed=gone)
        alone = load_space(model, shape)
        vector = [*widths, *there]
        in_order = int(Memory(space, reorders=False)(vector))
        assert in_order == int(Memory(alone, reorders=False)(alone.base_G)), gone
        assert int(Memory(alone)(alone.base_G)) <= int(memory(vector)) <= in_order


def test_blocks_that_are_taken_out_need_nothing_and_hand_on_what_came_in() -> None:
    space = load_space(Tap, (3, 8, 8))
    assert len(space.blocks) == 3
    check_removed(space, (3, 8, 8), 6)
    whole = [*space.base_G, 1, 1, 1]
    assert int(Memory(space)(whole)) == int(Memory(space)(space.base_G))
    assert int(Memory(space)([*space.base_G, 0, 0, 0])) < int(Memory(space)(whole))


def test_an_order_that_runs_others_between_a_blocks_steps_is_not_taken_where_blocks_may_go() -> None:
    flow = Flow(
        (Step("block", frozenset((0,)), frozenset((1,)), frozenset()),),
        (0, 1),
        frozenset((0,)),
        frozenset((1,)),
    )
    removal = _Removal(flow, ["block"], [Counter({(): 1})] * 2)
    inside, outside = Moment("block.one", frozenset()), Moment("other", frozenset())
    assert removal.can_follow([outside, inside, inside, outside])
    assert not removal.can_follow([inside, outside, inside])


@pytest.mark.slow
def test_blocks_of_residual_networks_are_taken_out_exactly() -> None:
    check_removed(known("resnet20", (3, 32, 32), 10), (3, 32, 32), 8)
    check_removed(known("preresnet164", (3, 8, 8), 10), (3, 8, 8), 2)


def check_speed(space: SearchSpace) -> None:
    memory = Memory(space)
    memory(space.base_G)
    rng = np.random.default_rng(0)
    widths_NG = rng.integers(1, np.array(space.base_G) + 1, (100_000, len(space.groups)))
    start = process_time()
    values_N = memory(widths_NG)
    assert process_time() - start < 2
    assert values_N[:3].tolist() == [int(memory(widths)) for widths in widths_NG[:3]]
    assert np.allclose(memory.real(widths_NG[:3]), values_N[:3])


def test_a_hundred_thousand_widths_take_less_than_two_seconds() -> None:
    check_speed(known("resnet20", (3, 32, 32), 10))


@pytest.mark.slow
def test_a_hundred_thousand_widths_of_a_deep_network_take_less_than_two_seconds() -> None:
    check_speed(known("resnet110", (3, 32, 32), 10))


def test_a_peak_beyond_what_is_exact_is_refused() -> None:
    space = known("resnet20", (3, 32, 32), 10)
    with pytest.raises(OverflowError, match="below 2\\^53"):
        Memory(space)([2**50] * len(space.groups))
