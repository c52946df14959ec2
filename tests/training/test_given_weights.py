"""Weights that people have: files of other programs, matched by name; what does not fit is named."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.checkpoint import write_tensors
from nas_prune.training.given_weights import (
    GivenWeights,
    WeightsSource,
    given_weights,
    read_start,
    write_start,
)

TEN = tuple("0123456789")
SPACE = load_space("resnet20", (3, 16, 16))


def state(seed: int = 3, space: SearchSpace = SPACE) -> dict[str, Tensor]:
    return space.build(seed=seed).state_dict()


def given(path: Path, space: SearchSpace = SPACE, classes: tuple[str, ...] = TEN) -> GivenWeights:
    return given_weights(WeightsSource(str(path), classes), space, space.build(seed=0))


def images() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def plain(weights: dict[str, Tensor]) -> object:
    return weights


WRAPPED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "as it is": plain,
    "of several devices": lambda weights: {f"module.{name}": one for name, one in weights.items()},
    "compiled": lambda weights: {f"_orig_mod.{name}": one for name, one in weights.items()},
    "a checkpoint": lambda weights: {"epoch": 3, "state_dict": weights, "optimizer": {"lr": 0.1}},
    "a checkpoint in a checkpoint": lambda weights: {"model": {"state_dict": weights}},
    "with its average": lambda weights: {
        "model": {name: torch.zeros_like(one) for name, one in weights.items()},
        "model_ema": weights,
    },
    "of an example that notes its best accuracy": lambda weights: {
        "state_dict": weights,
        "best_acc1": torch.tensor(76.0),
        "optimizer": {"state": {0: {"exp": torch.ones(3)}}},
    },
    "with an average that is empty": lambda weights: {"model": weights, "model_ema": {}},
    "of an early version": lambda weights: {
        name: one for name, one in weights.items() if not name.endswith("num_batches_tracked")
    },
    "a network around it": lambda weights: {f"net.backbone.{name}": one for name, one in weights.items()},
    "in half precision": lambda weights: {
        name: one.half() if one.is_floating_point() else one for name, one in weights.items()
    },
}


@pytest.mark.parametrize("name", WRAPPED)
def test_files_of_training_scripts_give_the_network_they_were_saved_from(name: str, tmp_path: Path) -> None:
    weights = state()
    torch.save(WRAPPED[name](weights), tmp_path / "w.pth")
    found = given(tmp_path / "w.pth")
    assert (found.anew, found.unused) == ((), ())
    saved, loaded = SPACE.build(seed=3).eval(), found.put(SPACE.build(seed=0)).eval()
    tolerance = 2e-2 if "half" in name else 0
    torch.testing.assert_close(loaded(images()), saved(images()), rtol=tolerance, atol=tolerance)


class Wrapped(nn.Module):
    """A network around another, with a head of its own."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        inner = SPACE.build(seed=0)
        inner.fc = nn.Identity()
        self.backbone, self.head = inner, nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


def test_a_file_of_the_part_fits_the_whole_and_its_head_has_no_place(tmp_path: Path) -> None:
    space = load_space(Wrapped, (3, 16, 16), num_classes=10)
    torch.save(state(), tmp_path / "w.pth")
    found = given(tmp_path / "w.pth", space)
    assert (found.anew, found.unused) == (("head.weight", "head.bias"), ("fc.weight", "fc.bias"))
    network = found.put(space.build(seed=0))
    assert torch.equal(
        network.get_parameter("backbone.layer3.2.conv2.weight"), state()["layer3.2.conv2.weight"]
    )
    assert "drawn anew: head.weight, head.bias; not used: fc.weight, fc.bias" in found.words


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_classifier_is_drawn_anew_for_other_classes(suffix: str, tmp_path: Path) -> None:
    hundred = load_space("resnet20", (3, 16, 16), num_classes=100)
    weights = state(space=hundred)
    path = tmp_path / f"w{suffix}"
    torch.save(weights, path) if suffix == ".pth" else save_file(weights, path)
    found = given(path)
    assert found.anew == ("fc.weight", "fc.bias")
    network, fresh = found.put(SPACE.build(seed=7)), SPACE.build(seed=7)
    assert torch.equal(network.get_parameter("fc.weight"), fresh.get_parameter("fc.weight"))
    assert torch.equal(network.get_parameter("conv1.weight"), weights["conv1.weight"])


@pytest.mark.slow
def test_selections_stand_beside_the_norms_of_a_plain_file(tmp_path: Path) -> None:
    space = load_space("densenet40", (3, 8, 8), selections=True)
    whole = load_space("densenet40", (3, 8, 8))
    torch.save(state(space=whole), tmp_path / "w.pth")
    found = given(tmp_path / "w.pth", space)
    assert (found.anew, found.unused) == ((), ())
    network, plain = found.put(space.build(seed=0)).eval(), whole.build(seed=3).eval()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x), plain(x))


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    found = {**state(), **changes}
    return {name: one for name, one in found.items() if one is not None}


CONV = "layer2.0.conv1.weight"
REFUSED = {
    "a part is missing": (
        changed(**{"layer2.0.conv1.weight": None}),
        "layer2.0.conv1.weight is nothing, not 32×16×3×3",
    ),
    "another shape": (
        changed(**{CONV: torch.ones(8, 16, 3, 3)}),
        f"{CONV} is 8×16×3×3, not 32×16×3×3",
    ),
    "a deeper network": (
        state(space=load_space("resnet32", (3, 16, 16))),
        "60 tensors that it has not: layer1.3.conv1.weight",
    ),
    "another network": (
        {"a.weight": torch.ones(3), "b.bias": torch.ones(2)},
        "which has no tensor of it: a.weight",
    ),
    "not numbers": (
        changed(**{"conv1.weight": torch.full((16, 3, 3, 3), torch.nan)}),
        "conv1.weight does not",
    ),
    "nothing": ({}, "which holds none"),
    "two networks of one shape": (
        {
            f"{part}.{name}": one + number
            for number, part in enumerate(("student", "teacher"))
            for name, one in state().items()
        },
        "must hold one network, got w.pth with several of its shape (student.… and teacher.…)",
    ),
    "a sparse tensor": (
        changed(**{CONV: torch.ones(32, 16, 3, 3).to_sparse()}),
        "its tensors must be plain ones",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_and_named(name: str, tmp_path: Path) -> None:
    weights, said = REFUSED[name]
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(BadInputError) as caught:
        given(tmp_path / "w.pth")
    assert said in str(caught.value)
    assert "w.pth" in str(caught.value)


class Hostile:
    """Runs code when it is unpickled without restraint."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.canary, "ran")


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"state_dict": state(), "more": Hostile(canary)}, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match="or holds more than tensors, which is not loaded"):
        given(tmp_path / "w.pth")
    assert not canary.exists()
    torch.load(tmp_path / "w.pth", weights_only=False)  # the canary can sing
    assert canary.exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x80\x04."])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.txt"])
def test_damaged_files_are_one_line(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInputError, match="--weights must name a file that can be read") as caught:
        given(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_a_run_starts_from_is_in_it_and_is_checked(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "w.pth")
    found = given(tmp_path / "w.pth")
    write_start(tmp_path, found)
    again = read_start(tmp_path, SPACE.build(seed=0))
    assert (again.name, again.anew, again.unused) == ("w.pth", (), ())
    assert all(torch.equal(again.tensors[name], one) for name, one in found.tensors.items())
    with pytest.raises(DamagedError, match="must be of its network"):
        read_start(tmp_path, load_space("vgg11", (3, 16, 16)).build(seed=0))
    raw = bytearray((tmp_path / "start.safetensors").read_bytes())
    raw[-5] ^= 1
    (tmp_path / "start.safetensors").write_bytes(raw)
    with pytest.raises(DamagedError, match="checksum"):
        read_start(tmp_path, SPACE.build(seed=0))


class Nested(nn.Module):
    """The same names in a network and in a part of it."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 8, 3), nn.Module()
        self.inner.conv = nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner.conv
        assert isinstance(inner, nn.Conv2d)
        return self.fc(inner(self.conv(x).relu()).mean((2, 3)))  # type: ignore[no-any-return]


def test_no_tensor_of_a_file_fills_two_places(tmp_path: Path) -> None:
    space = load_space(Nested, (3, 16, 16), num_classes=10)
    weights = space.build(seed=3).state_dict()
    torch.save(
        {name: one for name, one in weights.items() if not name.startswith("inner")}, tmp_path / "w.pth"
    )
    with pytest.raises(BadInputError, match=r"inner\.conv\.\w+ is nothing"):
        given(tmp_path / "w.pth", space)


def test_a_checkpoint_of_ours_gives_its_weights_and_not_the_moments_of_its_optimiser(tmp_path: Path) -> None:
    space = load_space(Nested, (3, 16, 16), num_classes=10)  # without buffers, by which the two would differ
    weights = space.build(seed=3).state_dict()
    moments = {f"mean.{name}": torch.full_like(one, 7) for name, one in weights.items()}
    model = {f"model.{name}": one for name, one in weights.items()}
    write_tensors(tmp_path / "checkpoint.safetensors", model | moments, {"facts": {}})
    found = given(tmp_path / "checkpoint.safetensors", space)
    assert all(torch.equal(one, weights[name]) for name, one in found.tensors.items())
    assert len(found.tensors) == len(weights)
