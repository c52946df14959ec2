"""First weights: what the constructor did is done again at the new sizes, however it was done."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas_prune.errors import BadInputError
from nas_prune.space.initialise import FirstValues, InitCall, initialise, record_inits
from nas_prune.space.load import load_space


class Bare(nn.Module):
    """Holds one parameter that it sets itself, in one of many ways."""

    def __init__(self, how: Callable[[], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 4, 1)
        self.scale = nn.Parameter(how())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.first(x) * self.scale)
        return result


def scale_of(how: Callable[[], Tensor], width: int = 32) -> Tensor:
    space = load_space(lambda: Bare(how), (3, 8, 8))
    return space.build([width], seed=0).get_parameter("scale").detach().flatten()


def test_a_constant_stays_that_constant() -> None:
    assert scale_of(lambda: 1e-6 * torch.ones(64, 1, 1)).tolist() == pytest.approx([1e-6] * 32)


def test_random_values_are_drawn_anew_with_their_mean_and_deviation() -> None:
    drawn = scale_of(lambda: 3 + 0.5 * torch.randn(64, 1, 1), width=64)
    assert len(drawn.unique()) == 64
    assert float(drawn.mean()) == pytest.approx(3, abs=0.3)
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.5)


def test_a_few_values_keep_their_relative_places() -> None:
    halves = scale_of(lambda: torch.cat([torch.zeros(32, 1, 1), torch.ones(32, 1, 1)]), width=8)
    assert halves.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_call_of_torch_nn_init_is_replayed_at_the_new_size() -> None:
    def how() -> Tensor:
        return nn.init.xavier_uniform_(torch.empty(64, 1, 1))  # depends on the size

    values = [float(scale_of(how, width).abs().max()) for width in (8, 64)]
    assert values[0] > 1.5 * values[1]


def change(action: Callable[[nn.Conv2d], object]) -> tuple[nn.Module, tuple[object, ...]]:
    def make() -> nn.Module:
        model = nn.Sequential(nn.Conv2d(3, 64, 3))
        with torch.no_grad():
            action(model[0])  # type: ignore[arg-type]
        return model

    return record_inits(make)


def drawn(mean: float = 2.0, size: tuple[int, ...] = (64, 3, 3, 3)) -> Tensor:
    return nn.init.normal_(torch.empty(size), mean, 0.1)


def half_by_half(conv: nn.Conv2d) -> None:
    nn.init.normal_(conv.weight[:32], 2.0, 0.1)
    nn.init.normal_(conv.weight[32:], 2.0, 0.1)


def another_type_between(conv: nn.Conv2d) -> None:
    nn.init.normal_(conv.weight, 9.0, 1.0)
    conv.double().float()
    nn.init.normal_(conv.weight, 2.0, 0.1)


@pytest.mark.parametrize(
    ("action", "mean", "deviation"),
    [
        (lambda conv: nn.init.normal_(conv.weight, 2.0, 0.1), 2.0, 0.1),
        (lambda conv: nn.init.normal_(conv.weight.data, 2.0, 0.1), 2.0, 0.1),
        (lambda conv: conv.weight.normal_(2.0, 0.1), 2.0, 0.1),
        (lambda conv: nn.init.normal_(conv.weight, 2.0, 0.1).mul_(3), 6.0, 0.3),
        (lambda conv: conv.weight.copy_(drawn()), 2.0, 0.1),
        (lambda conv: setattr(conv, "weight", nn.Parameter(drawn(1.0) * 2)), 2.0, 0.2),
        (lambda conv: (nn.init.normal_(conv.weight, 2.0, 0.1), conv.double(), conv.float()), 2.0, 0.1),
        (another_type_between, 2.0, 0.1),
        (half_by_half, 2.0, 0.1),
        (lambda conv: (conv.weight.fill_(9.0), conv.reset_parameters()), 0.0, 27**-0.5 / 3**0.5),
    ],
)
def test_however_a_constructor_sets_weights_fresh_ones_are_like_them(
    action: Callable[[nn.Conv2d], object], mean: float, deviation: float
) -> None:
    model, inits = change(action)
    initialise(model, inits, seed=1)  # type: ignore[arg-type]
    weight = model.get_parameter("0.weight").detach()
    assert float(weight.mean()) == pytest.approx(mean, abs=0.02)
    assert float(weight.std()) == pytest.approx(deviation, rel=0.1)


def test_what_a_layer_does_by_itself_is_not_recorded() -> None:
    _, inits = record_inits(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(4, 4)))
    assert inits == ()


def test_a_module_sets_its_layers_after_they_have_set_themselves() -> None:
    model, inits = record_inits(lambda: nn.MultiheadAttention(8, 2))
    initialise(model, inits, seed=0)
    assert model.get_parameter("out_proj.bias").count_nonzero() == 0


def test_the_record_tells_calls_from_values() -> None:
    def make() -> nn.Module:
        model = Bare(lambda: torch.zeros(64, 1, 1))
        nn.init.ones_(model.first.weight)
        return model

    _, inits = record_inits(make)
    assert [type(init) for init in inits] == [FirstValues, InitCall]


def test_a_network_given_as_a_module_keeps_the_kind_of_its_bare_parameters_only() -> None:
    model = Bare(lambda: torch.full((64, 1, 1), 0.25))
    with torch.no_grad():
        model.first.weight.fill_(7.0)
    fresh = load_space(model, (3, 8, 8)).build(seed=0)
    assert fresh.get_parameter("scale").unique().tolist() == [0.25]
    assert 7.0 not in fresh.get_parameter("first.weight").detach().unique().tolist()


class Held(nn.Module):
    """Holds a buffer, or a layer that resets itself in a way that fails at other sizes."""

    def __init__(self, how: Callable[["Held"], object]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 4, 1)
        how(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        result: Tensor = self.last(x * torch.as_tensor(self.held).view(1, -1, 1, 1))
        return result


def test_a_buffer_that_the_constructor_draws_is_kept_and_its_channels_are_frozen() -> None:
    def draw(net: Held) -> None:
        net.register_buffer("held", nn.init.normal_(torch.zeros(16), 1.0, 0.3))

    network, _ = record_inits(lambda: Held(draw))
    assert float(network.get_buffer("held").mean()) == pytest.approx(1, abs=0.4)
    with pytest.raises(BadInputError, match="buffer held holds values of its own for them"):
        load_space(lambda: Held(draw), (3, 8, 8))


def test_parts_that_are_joined_into_a_parameter_are_drawn_first() -> None:
    def join(net: Held) -> None:
        parts = [nn.init.normal_(torch.empty(8), 5.0, 0.1) for _ in range(2)]
        net.held = nn.Parameter(torch.cat(parts))

    space = load_space(lambda: Held(join), (3, 8, 8))
    assert float(space.build([8], seed=0).get_parameter("held").detach().mean()) == pytest.approx(5, abs=0.2)


def test_a_call_on_another_shape_of_a_parameter_keeps_that_shapes_spread() -> None:
    action: Callable[[nn.Conv2d], object] = lambda conv: nn.init.xavier_uniform_(conv.weight.view(64, -1))  # noqa: E731
    model, inits = change(action)
    initialise(model, inits, seed=0)  # type: ignore[arg-type]
    assert float(model.get_parameter("0.weight").detach().std()) == pytest.approx(
        (2 / (64 + 27)) ** 0.5, rel=0.1
    )


class OwnLinear(nn.Module):
    """Resets itself with tensors of the size it was made with."""

    def __init__(self, *, is_new: bool) -> None:
        super().__init__()
        self.weight, self.is_new = nn.Parameter(torch.empty(16, 16)), is_new
        self.reset_parameters()

    def reset_parameters(self) -> None:
        values = 2 + 0.1 * torch.randn(16, 16)
        if self.is_new:
            self.weight = nn.Parameter(values)
        else:
            self.weight.data.copy_(values)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("oi,nihw->nohw", self.weight, x)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_layer_whose_reset_knows_one_size_only_gets_values_like_those(is_new: bool) -> None:
    space = load_space(
        lambda: nn.Sequential(nn.Conv2d(3, 16, 1), OwnLinear(is_new=is_new), nn.Conv2d(16, 4, 1)), (3, 8, 8)
    )
    model = space.build([5] * len(space.groups), seed=0)
    weight = model.get_parameter("1.weight").detach()
    assert weight.shape == (5, 5)
    assert float(weight.mean()) == pytest.approx(2, abs=0.1)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)


class Block(nn.Module):
    """Cannot reset its own parameter at another size, and holds a layer that can."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(16, 16, 1), nn.Parameter(torch.empty(16, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.scale.data.copy_(torch.full((16, 1, 1), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x) * self.scale
        return result


def test_a_reset_that_fails_leaves_the_layers_below_as_they_reset_themselves() -> None:
    space = load_space(lambda: nn.Sequential(nn.Conv2d(3, 16, 1), Block(), nn.Conv2d(16, 4, 1)), (3, 8, 8))
    model = space.build([5] * len(space.groups), seed=0)
    assert model.get_parameter("1.scale").unique().tolist() == [3.0]
    assert float(model.get_parameter("1.conv.weight").detach().std()) > 0.1
