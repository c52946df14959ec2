"""Memory of random networks: the same as an independent count of their forward passes."""

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from nas_prune.hardware.memory import Memory, own_order
from tests.graph.random_networks import Shuffle
from tests.graph.test_random_networks import Example, Network, load, networks
from tests.hardware.counter import counted_peak


def check(network: Network, seed: int) -> None:
    # Where each group is one channel, PyTorch's own shuffle copies on the processor alone.
    assume(not any(isinstance(block, Shuffle) and block.spelling == "torch" for block in network.blocks))
    space = load(network)
    assume(space is not None)
    assert space is not None
    own, best = own_order(space), Memory(space)
    assume(not best.doubts)
    drawn = Example(network, space, seed).widths()
    widths = [max(width, min(2, base)) for width, base in zip(drawn, space.base_G, strict=True)]
    for vector in (list(space.base_G), widths):  # of one channel, some copies are views
        assert int(own(vector)) == counted_peak(space.build(vector, seed=0), space.forward)
        assert 0 < int(best(vector)) <= int(own(vector))


@pytest.mark.slow
@settings(deadline=None, max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(networks(3), st.integers(0, 1000))
def test_memory_of_random_networks_is_what_a_real_forward_holds(network: Network, seed: int) -> None:
    torch.manual_seed(0)
    check(network, seed)
