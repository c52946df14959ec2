"""What a recipe can ask for, each against arithmetic by hand or a step without it."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, log_softmax, softmax

from nas_prune.data import Augment, ImageData, load_data, train_batches
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.training.compute import Compute, takes_channels_last
from nas_prune.training.config import TrainConfig
from nas_prune.training.evaluation import evaluate
from nas_prune.training.loop import Training, fit
from nas_prune.training.loss import imitation
from nas_prune.training.ranks import ALONE
from nas_prune.training.recipe import Recipe, recipe_named
from nas_prune.training.state import TrainState, start

RECIPE = recipe_named("digits").model_copy(
    update={"epochs": 1, "schedule": "constant", "learning_rate": 0.05}
)


def network(seed: int = 0) -> nn.Module:
    """A network without kinks, so that the order of sums changes its last digits only."""
    torch.manual_seed(seed)
    norms = (nn.BatchNorm2d(8), nn.BatchNorm2d(8))
    convs = (nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3))
    return nn.Sequential(
        convs[0], norms[0], nn.Tanh(), convs[1], norms[1], nn.Tanh(), nn.Flatten(), nn.Linear(128, 10)
    )


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", max_images=300)


def trained(data: ImageData, recipe: Recipe = RECIPE, compute: Compute | None = None) -> TrainState:
    state = start(network(), recipe)
    fit(state, Training(data, recipe, 0, compute or Compute()))
    return state


def by_hand(data: ImageData, recipe: Recipe, step: Callable[[nn.Module, Tensor, Tensor], None]) -> nn.Module:
    """The plain loop, one update after another."""
    model = network().train()
    for images, labels in batches(data, recipe):
        model.zero_grad()
        step(model, images, labels)
    return model


def batches(data: ImageData, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    return train_batches(
        data.train,
        batch_size=recipe.batch_size,
        mean=data.mean,
        std=data.std,
        augment=Augment(crop_padding=1, flip=False),
        seed=0,
        epoch=0,
    )


def sgd(model: nn.Module, recipe: Recipe, decays: Callable[[nn.Parameter], bool]) -> torch.optim.SGD:
    groups = [
        {"params": [p], "weight_decay": recipe.weight_decay if decays(p) else 0.0} for p in model.parameters()
    ]
    return torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)


def difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_a_step_is_that_of_the_plain_loop(
    data: ImageData, decay_norms: bool, label_smoothing: float, clip_norm: float | None
) -> None:
    settings = {"decay_norms": decay_norms, "label_smoothing": label_smoothing, "clip_norm": clip_norm}
    recipe = RECIPE.model_copy(update={"weight_decay": 0.05, **settings})
    optimisers: list[torch.optim.SGD] = []

    def step(model: nn.Module, images: Tensor, labels: Tensor) -> None:
        optimisers.append(
            optimisers[0] if optimisers else sgd(model, recipe, lambda p: decay_norms or p.dim() > 1)
        )
        scores = log_softmax(model(images), 1)
        target = nn.functional.one_hot(labels, 10) * (1 - label_smoothing) + label_smoothing / 10
        (-(target * scores).sum(1).mean()).backward()
        if clip_norm is not None:
            norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
            for p in model.parameters():
                if p.grad is not None:
                    p.grad *= min(1.0, clip_norm / float(norm))
        optimisers[0].step()

    result = trained(data, recipe).model
    assert difference(result, by_hand(data, recipe, step)) < 1e-5
    if settings != {"decay_norms": True, "label_smoothing": 0.0, "clip_norm": None}:
        plain = trained(data, RECIPE.model_copy(update={"weight_decay": 0.05})).model
        assert difference(result, plain) > 1e-4


def test_the_average_follows_the_weights_and_is_what_is_evaluated(data: ImageData) -> None:
    recipe = RECIPE.model_copy(update={"average": 0.8})
    seen: list[dict[str, Tensor]] = []
    state = start(network(), recipe)
    mean = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    fit(
        state,
        Training(data, recipe, 0),
        on_step=lambda *_: seen.append({n: t.clone() for n, t in state.model.state_dict().items()}),
    )
    for number, tensors in enumerate(seen):
        decay = min(0.8, (1 + number) / (10 + number))
        for name, tensor in tensors.items():
            mean[name] = (
                decay * mean[name] + (1 - decay) * tensor if tensor.is_floating_point() else tensor.clone()
            )
    assert state.average is not None
    assert state.trained is state.average
    for name, tensor in state.average.state_dict().items():
        assert tensor.allclose(mean[name], atol=1e-5)
    assert difference(state.average, state.model) > 1e-3
    assert trained(data).average is None


def test_a_teacher_is_imitated(data: ImageData) -> None:
    whole = network(9).eval()

    def gap(share: float) -> float:
        recipe = RECIPE.model_copy(update={"teacher_share": share, "epochs": 3})
        state = start(network(), recipe)
        fit(state, Training(data, recipe, 0, teacher=lambda images: whole(images).detach() * 5))
        images = next(batches(data, recipe))[0]
        with torch.no_grad():
            ours, theirs = softmax(state.model.eval()(images), 1), softmax(whole(images) * 5, 1)
        return float((ours - theirs).abs().sum())

    assert gap(1.0) < 0.7 * gap(0.0)


def test_the_loss_of_imitation_is_hintons() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(7, 10, generator=generator) for _ in range(2))
    p, q = softmax(theirs / 4, 1), softmax(ours / 4, 1)
    by_hand = 16 * (p * (p / q).log()).sum(1).mean()
    assert float(imitation(ours, theirs, 4).sum() / 7) == pytest.approx(float(by_hand), rel=1e-5)
    assert float(imitation(ours, ours, 4).sum()) == pytest.approx(0, abs=1e-5)


def test_channels_last_changes_the_layout_and_not_the_network(data: ImageData) -> None:
    plain, last = trained(data), trained(data, compute=Compute(channels_last=True))
    weight = last.model.get_parameter("3.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert difference(plain.model, last.model) < 1e-3


def test_bf16_rounds_and_keeps_weights_whole(data: ImageData) -> None:
    plain, rounded = trained(data), trained(data, compute=Compute(precision="bf16"))
    assert {parameter.dtype for parameter in rounded.model.parameters()} == {torch.float32}
    assert 1e-4 < difference(plain.model, rounded.model) < 0.5
    loss, _ = evaluate(rounded.model, data.val, data, Compute(precision="bf16"))
    exact, _ = evaluate(rounded.model, data.val, data)
    assert loss != exact
    assert loss == pytest.approx(exact, rel=0.1)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(data: ImageData) -> None:
    plain, compiled = trained(data), trained(data, compute=Compute(compiles=True))
    assert difference(plain.model, compiled.model) < 1e-3


def test_memory_that_is_full_names_a_batch_that_may_fit(data: ImageData) -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                torch.empty(2**50)
            scores: Tensor = self.out(x.flatten(1))
            return scores

    with pytest.raises(NasPruneError, match="a batch of 64 must fit.*Try --batch-size 32"):
        fit(start(Greedy(), RECIPE), Training(data, RECIPE, 0))


def test_auxiliary_heads_are_left_out_of_the_loss(data: ImageData) -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.aux = nn.Linear(64, 10), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            x = x.flatten(1)
            return (self.out(x), self.aux(x)) if self.training else self.out(x)

    model = TwoHeads()
    before = copy.deepcopy(model)
    fit(start(model, RECIPE), Training(data, RECIPE, 0))
    assert model.aux.weight.equal(before.aux.weight)
    assert not model.out.weight.equal(before.out.weight)


def test_evaluation_is_the_mean_over_all_images_whatever_the_batch(data: ImageData) -> None:
    model = network()
    images = (data.val.sample().float() / 255 - data.mean[0]) / data.std[0]
    with torch.no_grad():
        scores = model.eval()(images)
    for batch_size in (7, 30, 1000):
        loss, accuracy = evaluate(model, data.val, data, batch_size=batch_size)
        assert loss == pytest.approx(float(cross_entropy(scores, data.val.labels)), rel=1e-5)
        assert accuracy == int((scores.argmax(1) == data.val.labels).sum()) / 30


def test_code_that_flattens_pictures_by_view_is_noticed() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 8, 3), nn.Linear(288, 10)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.out(self.conv(x).view(len(x), -1))
            return scores

    why = takes_channels_last(Viewing(), (1, 8, 8))
    assert why is not None
    assert "view" in why
    assert takes_channels_last(network(), (1, 8, 8)) is None


class Shortcut(nn.Module):
    """A 1×1 convolution with a stride, of so many channels in so many groups, called as a function."""

    def __init__(self, channels: int, groups: int = 1, stride: int = 2) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, channels, 3, padding=1), nn.Linear(16, 10)
        self.weight = nn.Parameter(torch.ones(16, channels // groups, 1, 1))
        self.groups, self.stride = groups, stride

    def forward(self, x: Tensor) -> Tensor:
        x = conv2d(self.conv(x), self.weight, stride=self.stride, groups=self.groups)
        scores: Tensor = self.out(x.mean((2, 3)))
        return scores


@pytest.mark.parametrize("network", [Shortcut(4), Shortcut(16, groups=4)])
def test_a_narrow_shortcut_with_a_stride_is_laid_out_plainly_on_the_cpu(network: nn.Module) -> None:
    why = takes_channels_last(network, (1, 8, 8))
    assert why is not None
    assert "reads 4 channels" in why
    chosen = TrainConfig().compute(torch.device("cpu"), ALONE, network, (1, 8, 8))
    assert not chosen.channels_last
    begun = TrainConfig(channels_last=True, machine="the one it was begun on").compute(
        torch.device("cpu"), ALONE, network, (1, 8, 8)
    )
    assert not begun.channels_last  # of a run from before this was known
    with pytest.raises(BadInputError, match=r"reads 4 channels.*--no-channels-last"):
        TrainConfig(channels_last=True).compute(torch.device("cpu"), ALONE, network, (1, 8, 8))


@pytest.mark.parametrize(
    "network", [Shortcut(16), Shortcut(4, stride=1), nn.Sequential(nn.Conv2d(1, 3, 3, 2))]
)
def test_other_narrow_convolutions_keep_the_fast_layout(network: nn.Module) -> None:
    assert takes_channels_last(network, (1, 8, 8)) is None
