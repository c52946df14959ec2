"""A width method in somebody else's loop: the same widths as a search's, and what would make them others is refused."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer

import nas_prune
from nas_prune.data import epoch_seed, train_batches
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.search.own_loop import MethodInLoop
from nas_prune.search.run import search
from nas_prune.space.load import load_space
from nas_prune.training.state import seeded_rng
from tests.search.methods.evidence import digits

SPACE = load_space("vgg11", (1, 8, 8), width_multiplier=0.25)
DATA = digits(8, 1)
CONFIG = nas_prune.SearchConfig(
    space="vgg11",
    width_multiplier=0.25,
    data=DataConfig(max_images=300),
    epochs=3,
    budgets=("macs<=50%", "params<=30%"),
    stop=False,
    threads=1,
    channels_last=False,
)


def sgd(model: nn.Module) -> SGD:
    recipe = CONFIG.recipe
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}, {"params": [], "weight_decay": 0.0}]
    return SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def ours(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    recipe = CONFIG.search_recipe
    return train_batches(
        DATA.train,
        batch_size=recipe.batch_size,
        mean=DATA.mean,
        std=DATA.std,
        augment=recipe.augment(DATA.image_size, can_mirror=DATA.flip),
        seed=0,
        epoch=epoch,
    )


def train(own: MethodInLoop, model: nn.Module, *, epochs: int = 3, bf16: bool = False) -> None:
    """A plain loop, such as anybody writes, at the learning rates of our recipe."""
    recipe, optimiser, step = CONFIG.search_recipe.with_epochs(epochs), sgd(model), 0
    per_epoch = sum(1 for _ in ours(0))
    for epoch in range(recipe.epochs):
        model.train()
        with seeded_rng(epoch_seed(0, epoch, "network of rank 0"), torch.device("cpu")):
            for images, labels in ours(epoch):
                optimiser.param_groups[0]["lr"] = recipe.rate_at(step, per_epoch * recipe.epochs, per_epoch)
                optimiser.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    found = model(images)
                cross_entropy(found.float(), labels).backward()
                own.penalty(optimiser)
                optimiser.step()
                step += 1


@pytest.mark.parametrize("method", ["slimming", "sss", "l0", "variational-dropout", "cost-aware"])
def test_a_plain_loop_finds_the_widths_of_a_search_bit_for_bit(method: str, tmp_path: Path) -> None:
    strength = {"slimming": 0.02, "cost-aware": 0.02}.get(method)
    result = search(CONFIG.model_copy(update={"method": method, "sparsity": strength}), tmp_path / "run")
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=result.sparsity)
    train(own, model)
    assert [own.widths(str(one.widths.budget)).vector for one in result.found] == [
        one.widths.vector for one in result.found
    ]
    settled = own.settle()
    weights = load_file(result.run / "network.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in settled.state_dict().items())


def test_what_is_kept_narrows_the_network_and_the_widths_build_one() -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.slimming(SPACE, model, strength=0.02)
    train(own, model)
    widths = own.widths("macs<=50%")
    assert widths.cost.macs <= 0.5 * widths.base_cost.macs
    assert widths.method is not None
    assert widths.method.settings == {"sparsity": 0.02, "scope": "global", "groups": "inner"}
    narrow = SPACE.narrow(model, own.kept(widths), widths.removed_blocks)
    fresh = SPACE.build(widths, seed=1)
    shapes = [{name: one.shape for name, one in network.state_dict().items()} for network in (narrow, fresh)]
    assert shapes[0] == shapes[1]
    (images, _), *_ = ours(0)
    assert narrow.eval()(images).shape == (len(images), 10)


@pytest.mark.slow
def test_bf16_leaves_the_same_share_of_small_scales() -> None:
    def share(bf16: bool) -> float:
        model = SPACE.build(seed=0)
        own = nas_prune.slimming(SPACE, model, strength=0.01)
        train(own, model, epochs=25, bf16=bf16)
        scales = torch.cat(
            [model.get_parameter(f"{path}.weight") for group in SPACE.groups for path in group.norms]
        )
        return float((scales.abs() < 0.1).float().mean())

    assert 0.1 < share(False) < 0.9
    assert share(True) == pytest.approx(share(False), abs=0.05)


def test_accumulated_gradients_take_the_penalty_once() -> None:
    """Without batch statistics, two halves of a batch and the whole one are the same step."""
    found = []
    for micro in (1, 2):
        model = SPACE.build(seed=0)
        own = nas_prune.slimming(SPACE, model, strength=0.02)
        optimiser = sgd(model.eval())
        for images, labels in list(ours(0))[:2]:
            optimiser.zero_grad()
            for part, own_labels in zip(images.chunk(micro), labels.chunk(micro), strict=True):
                (cross_entropy(model(part), own_labels) / micro).backward()
            own.penalty(optimiser)
            optimiser.step()
        found.append(torch.cat([model.get_parameter(f"{path}.weight") for path in SPACE.groups[3].norms]))
    whole, halves = found
    assert torch.allclose(whole, halves, atol=1e-6)


def stepped(own: MethodInLoop, model: nn.Module, optimiser: Optimizer) -> None:
    images, labels = next(ours(0))
    cross_entropy(model(images), labels).backward()
    own.penalty(optimiser)
    optimiser.step()


def test_a_scaler_unscales_before_the_penalty_and_a_skipped_step_has_none() -> None:
    found = []
    for is_scaled in (False, True):
        model = SPACE.build(seed=0)
        own = nas_prune.method("sss", SPACE, model, strength=0.01)
        optimiser = sgd(model)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=is_scaled)
        for number, (images, labels) in enumerate(list(ours(0))[:3]):
            optimiser.zero_grad()
            scaler.scale(cross_entropy(model(images), labels)).backward()
            if number == 2:  # an overflow, or what a person leaves out where there is no scaler
                if not is_scaled:
                    break
                next(model.parameters()).grad[0] = torch.inf  # type: ignore[index]
            own.penalty(optimiser, scaler)
            scaler.step(optimiser)
            scaler.update()
        found.append(own.scored().values)
    for one, other in zip(*found, strict=True):
        assert (one is None and other is None) or np.allclose(one, other, atol=1e-6)


def clip(own: MethodInLoop, optimiser: Optimizer) -> None:
    del optimiser
    nn.utils.clip_grad_norm_(own.model.parameters(), 1e-3)


def accumulate(own: MethodInLoop, optimiser: Optimizer) -> None:
    del optimiser
    images, labels = next(ours(1))
    cross_entropy(own.model(images), labels).backward()


@pytest.mark.parametrize("change", [clip, accumulate])
@pytest.mark.parametrize("method", ["slimming", "sss"])
def test_gradients_that_change_after_the_penalty_are_refused(
    method: str, change: Callable[[MethodInLoop, Optimizer], None]
) -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=0.01)
    optimiser = sgd(model)
    stepped(own, model, optimiser)
    optimiser.zero_grad()
    images, labels = next(ours(0))
    cross_entropy(model(images), labels).backward()
    own.penalty(optimiser)
    change(own, optimiser)
    with pytest.raises(BadInputError, match=r"penalty must come last before optimiser.step\(\)"):
        optimiser.step()


def test_a_scaler_that_is_not_passed_is_refused() -> None:
    for make in (sgd, lambda model: SGD(model.parameters(), lr=0.1)):
        model = SPACE.build(seed=0)
        own = nas_prune.slimming(SPACE, model, strength=0.01)
        optimiser, scaler = make(model), torch.amp.GradScaler("cpu")
        images, labels = next(ours(0))
        scaler.scale(cross_entropy(model(images), labels)).backward()
        own.penalty(optimiser)
        with pytest.raises(BadInputError, match="pass a GradScaler to it"):
            scaler.step(optimiser)


@pytest.mark.parametrize("method", ["slimming", "sss"])
def test_a_penalty_before_backward_or_twice_is_refused(method: str) -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=0.01)
    optimiser = sgd(model)
    with pytest.raises(BadInputError, match=r"must come after loss.backward\(\)"):
        own.penalty(optimiser)
    images, labels = next(ours(0))
    cross_entropy(model(images), labels).backward()
    own.penalty(optimiser)
    with pytest.raises(BadInputError, match=r"once for each optimiser.step\(\)|after loss.backward\(\)"):
        own.penalty(optimiser)
    cross_entropy(model(images), labels).backward()  # as in a loop that accumulates
    with pytest.raises(BadInputError, match=r"once for each optimiser.step\(\)"):
        own.penalty(optimiser)
    optimiser.zero_grad()  # a step that was left out
    cross_entropy(model(images), labels).backward()
    own.penalty(optimiser)
    optimiser.step()
    own.settle()
    with pytest.raises(BadInputError, match="must come before settle"):
        own.penalty(optimiser)


def frozen(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    ("method", "change", "make", "says"),
    [
        ("slimming", frozen, sgd, "must take gradients"),
        ("slimming", lambda model: model.to(torch.bfloat16), sgd, "must be float32"),
        ("slimming", None, lambda model: SGD([next(model.parameters())], lr=0.1), "the optimiser must move"),
        ("sss", None, lambda model: AdamW(model.parameters()), r"must be trained by torch.optim.SGD.*slimming"),
        ("slimming", None, lambda model: LBFGS(model.parameters()), "got LBFGS"),
        (
            "slimming",
            None,
            lambda model: SGD([{"params": [one], "lr": 0.1 / (1 + n)} for n, one in enumerate(model.parameters())]),
            "must have one learning rate",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_exact_is_refused(
    method: str,
    change: Callable[[nn.Module], None] | None,
    make: Callable[[nn.Module], Optimizer],
    says: str,
) -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=0.01)
    if change is not None:
        change(model)
    optimiser = make(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with pytest.raises(BadInputError, match=says):
        own.penalty(optimiser)


def test_under_adam_slimming_takes_steps_of_its_own() -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.slimming(SPACE, model, strength=0.5)
    optimiser = Adam(model.parameters(), lr=0.01)
    scale = model.get_parameter(f"{SPACE.groups[3].norms[0]}.weight")
    images, labels = next(ours(0))
    cross_entropy(model(images), labels).backward()
    before = scale.detach().clone()
    own.penalty(optimiser)
    assert torch.allclose(scale.detach(), before - 0.5 * 0.01)


def test_the_rates_to_come_give_a_strength() -> None:
    rates = [0.1] * 50
    model = SPACE.build(seed=0)
    own = nas_prune.slimming(SPACE, model, rates=rates)
    optimiser = SGD(model.parameters(), lr=0.1, momentum=0.9)
    stepped(own, model, optimiser)
    settings = own.widths("macs<=50%").method
    assert settings is not None
    assert settings.settings["sparsity"] == pytest.approx(0.5 / (5 / 0.1))


def test_trained_scales_stay_as_they_are_and_fresh_ones_start_at_a_half() -> None:
    model = SPACE.build(seed=0)
    path = SPACE.groups[3].norms[0]
    nas_prune.slimming(SPACE, model, strength=0.01)
    assert (model.get_parameter(f"{path}.weight") == 0.5).all()
    trained = SPACE.build(seed=0)
    with torch.no_grad():
        trained.train()(next(ours(0))[0])  # statistics have been taken
        trained.get_parameter(f"{path}.weight").fill_(1.0)
    nas_prune.slimming(SPACE, trained, strength=0.01)
    assert (trained.get_parameter(f"{path}.weight") == 1).all()


def test_another_network_is_refused() -> None:
    narrow = SPACE.build([max(1, width // 2) for width in SPACE.base_G], seed=0)
    with pytest.raises(BadInputError, match="model must be whole, got .* narrowed to"):
        nas_prune.slimming(SPACE, narrow, strength=0.01)
    other = load_space("resnet20", (1, 8, 8)).build(seed=0)
    with pytest.raises(BadInputError, match="model must be the network of the space, vgg11, got another"):
        nas_prune.slimming(SPACE, other, strength=0.01)
    with pytest.raises(BadInputError, match="must come before what wraps it"):
        nas_prune.method("sss", SPACE, torch.nn.DataParallel(SPACE.build(seed=0)), strength=0.01)
    nas_prune.slimming(SPACE, torch.nn.DataParallel(SPACE.build(seed=0)), strength=0.01)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "slimming"}, "got neither"),
        ({"name": "slimming", "strength": 0.1, "rates": [0.1]}, "got both"),
        ({"name": "slimming", "strength": float("nan")}, "a finite number of 0 or more"),
        ({"name": "slimming", "rates": []}, "add up to a finite number above 0"),
        ({"name": "slimming", "strength": 0.1, "cost": "macs"}, "driven by no cost"),
        ({"name": "soft-filter", "strength": 0.1}, "has no penalty, so strength"),
        ({"name": "taylor"}, "acts after the training"),
        ({"name": "slimming", "strength": 0.1, "groups": "all groups"}, "groups must be one of inner, "),
        ({"name": "slimming", "strength": 0.1, "scope": "layer"}, "scope must be one of global, local"),
        ({"name": "cost-aware", "strength": 0.1, "cost": "flops"}, "cost must be one of macs, params"),
        ({"name": "sss-blocks", "strength": 0.1, "scope": "local"}, "method sss-blocks takes no scope"),
        ({"name": "slimmin", "strength": 0.1}, "must be one of"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(NasPruneError, match=says):
        nas_prune.method(given.pop("name"), SPACE, SPACE.build(seed=0), **given)  # type: ignore[arg-type]


def test_a_method_that_acts_after_epochs() -> None:
    model = SPACE.build(seed=0)
    own = nas_prune.method("soft-filter", SPACE, model)
    with pytest.raises(BadInputError, match="it acts after each epoch"):
        own.penalty(sgd(model))
    own.after_epoch("macs<=50%")
    assert own.settle() is model
    zeros = sum(
        int((one.flatten(1) == 0).all(1).sum()) for name, one in model.named_parameters() if one.dim() == 4
    )
    assert zeros > 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["slimming", "sss"])
def test_two_processes_take_the_steps_of_one(method: str, tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_own_loops.py")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        str(script),
        ".",
        method,
    ]
    subprocess.run(
        command, cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True
    )
    first, second = (torch.load(tmp_path / f"{method}-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    model = SPACE.build(seed=0)
    own = nas_prune.method(method, SPACE, model, strength=0.02)
    optimiser = sgd(model.eval())
    for images, labels in list(ours(0))[:3]:
        optimiser.zero_grad()
        cross_entropy(model(images), labels).backward()
        own.penalty(optimiser)
        optimiser.step()
    for name, tensor in model.state_dict().items():
        assert torch.allclose(tensor.float(), first[name].float(), atol=1e-6), name
