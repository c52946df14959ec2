"""Networks by name: libraries, a user's own modules, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.typed import Typed
from nas_prune.space.blocks import Block, removable_blocks
from nas_prune.space.load import load_space
from nas_prune.space.names import check_trusted, is_own, space_name
from nas_prune.space.networks import image_channels, network_named

OWN = """
import torch
from torch import nn

def make(num_classes=10, in_channels=3):
    return nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, num_classes))

def needs_classes(num_classes):
    return make(num_classes, 1)

def grey():
    return make(7, 1)

def number():
    return 5

def crash():
    raise RuntimeError("out of paint\\nand of patience")

class Holder:
    make = staticmethod(make)

already = make()
settings = {"width": 3}

class Needs(nn.Module):
    def __init__(self, width, depth, *, num_classes, dropout=0.1):
        super().__init__()

def forgets():
    make()

def returns_class():
    return Needs

def returns_two():
    return make(), 3

def positional(width, /):
    return make()

class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.c(x)
"""


@pytest.fixture
def own(in_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's own in the current directory; its name differs between tests, since imports stay."""
    name = f"own_{in_empty_directory.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(in_empty_directory))
    return name


def test_a_factory_of_ones_own_is_told_classes_and_channels(own: str) -> None:
    space = load_space(Typed(f"{own}:make"), (1, 12, 12), num_classes=4)
    assert space.reference.name == f"{own}:make"
    assert space.build([3], seed=0)(torch.zeros(2, 1, 12, 12)).shape == (2, 4)


def test_a_factory_may_be_an_attribute_of_a_class(own: str) -> None:
    assert load_space(Typed(f"{own}:Holder.make")).reference.num_classes == 10


def test_a_factory_that_takes_nothing_is_taken_as_it_is(own: str) -> None:
    assert image_channels(Typed(f"{own}:grey")) == 1
    assert image_channels(Typed(f"{own}:needs_classes")) == 1
    assert load_space(Typed(f"{own}:grey"), (1, 12, 12)).reference.num_classes == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grey", r"network .*:grey must put out 10 classes, got 7\. Let its factory take num_classes"),
        ("number", r"must make a torch\.nn\.Module, got int"),
        ("crash", r"could not be made: RuntimeError: out of paint$"),
        (
            "already",
            r"a network that is made already, of class Sequential\. Write a function .* and name that",
        ),
        ("settings", r"must name a function or class in own_\w+, got dict settings"),
        (
            "Needs",
            r"got a class that needs width, depth\. Write .*return Needs\(width=…, depth=…\), and name that",
        ),
        ("positional", r"got a function that needs width"),
        ("forgets", r"got a function that returns nothing: its last line must return the network"),
        ("returns_class", r"returns the class Needs itself, not a network of it: return Needs\(\)"),
        ("returns_two", r"returns a tuple: it must return the network alone"),
        ("mkae", r"got no mkae\. Did you mean make\?"),
        ("Holder.mkae", r"got no Holder\.mkae\. Did you mean make\?"),
        ("nowhere", r"must name a function or class in own_\w+, got no nowhere"),
        (
            "Last",
            r"must have something to narrow, got none: every channel group is frozen \(the network's output\)",
        ),
    ],
)
def test_what_is_wrong_with_ones_own_network_is_said_in_one_line(own: str, name: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        load_space(
            Typed(f"{own}:{name}"),
            (1 if name == "grey" else 3, 12, 12),
            num_classes=None if name == "Last" else 10,
        )
    assert "\n" not in str(caught.value)


def test_a_module_that_does_not_import_is_named(in_empty_directory: Path) -> None:
    with pytest.raises(BadInputError, match="importing absent_module failed: ModuleNotFoundError"):
        network_named(Typed("absent_module:make"))


def test_a_forward_that_fails_is_told_with_its_own_message(own: str) -> None:
    with pytest.raises(BadInputError, match=r"must run on an input of shape \[3, 12, 12\], got: .*channel"):
        load_space(Typed(f"{own}:grey"), (3, 12, 12))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet", "resnet20"),
        ("torchvision:resnet50", "torchvision:resnet50"),
        ("timm:resnet18", "timm:resnet18"),
        ("a.b:c", "a.b:c"),
    ],
)
def test_names_of_every_kind_are_known(name: str, expected: str) -> None:
    assert space_name(name) == expected


@pytest.mark.parametrize("name", ["nothing", "a b:c", "os;ls:x", ":x", "x:", "torchvision:"])
def test_a_name_of_no_kind_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match=r"--space must be one of densenet40, .* got"):
        space_name(name)


def test_code_that_only_a_file_names_is_not_trusted() -> None:
    assert is_own("my.module:factory")
    assert not is_own("timm:resnet18")
    with pytest.raises(
        BadInputError, match=r"--space my\.module:factory must be given again, got none: w\.json"
    ):
        check_trusted("my.module:factory", None, "w.json")
    with pytest.raises(
        BadInputError, match=r"--space must be my\.module:factory, which w\.json is of, got other:f"
    ):
        check_trusted("my.module:factory", "other:f", "w.json")
    with pytest.raises(BadInputError, match="must be given again"):
        check_trusted("my.module:factory", "my.module:factory", "w.json")  # which a reader of files could say
    with pytest.raises(BadInputError, match=r"--space my\.module:factory must be given by you"):
        network_named("my.module:factory")
    assert isinstance(check_trusted("my.module:factory", Typed("my.module:factory"), "w.json"), Typed)
    check_trusted("resnet20", None, "w.json")


@pytest.mark.slow
def test_torchvision_networks_are_told_classes_and_image_size() -> None:
    space = load_space("torchvision:vit_b_32", (3, 64, 64), num_classes=4)
    assert space.template.get_parameter("encoder.pos_embedding").shape[1] == 5
    assert space.build(seed=0)(torch.zeros(2, 3, 64, 64)).shape == (2, 4)


def test_timm_networks_are_told_channels_classes_and_image_size() -> None:
    pytest.importorskip("timm")
    space = load_space("timm:vit_tiny_patch16_224", (1, 32, 32), num_classes=4)
    model = space.build([max(1, base // 2) for base in space.base_G], seed=0)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


def test_an_unknown_network_of_timm_is_refused_with_others_like_it() -> None:
    pytest.importorskip("timm")
    with pytest.raises(
        BadInputError, match=r"must name a network of timm .*, got 'resnet_1'\. Some there are"
    ):
        network_named("timm:resnet_1")


def test_an_example_of_the_input_stands_for_its_shape() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
    assert load_space(model, torch.zeros(2, 3, 9, 9)).reference.input_shape == (3, 9, 9)
    with pytest.raises(BadInputError, match=r"an input of shape \[9, 9\]"):
        load_space(model, torch.zeros(3, 9, 9))  # no batch of images
    with pytest.raises(BadInputError, match=r"channels, height and width of an image, got \[2, 64\]"):
        load_space("resnet20", (2, 64))


def test_a_network_that_cannot_be_trained_here_is_inspected_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    space = load_space("torchvision:lraspp_mobilenet_v3_large", (3, 32, 32))
    with pytest.raises(
        BadInputError, match="must put out a row of class scores for each image to be trained here"
    ):
        space.check_trainable()
    frozen = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 4)).requires_grad_(
        requires_grad=False
    )
    with pytest.raises(BadInputError, match="must have parameters that require gradients, got none"):
        load_space(frozen, (3, 8, 8)).check_trainable()


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.Conv2d(8, 4, 3)),
            "must know its sizes, got the lazy parameter",
        ),
        (
            lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))),
            "must be a Python module",
        ),
        (lambda: 1 / 0, "a network's function must make it, got ZeroDivisionError: division by zero"),
    ],
)
def test_networks_that_cannot_be_watched_are_refused(make: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        load_space(make, (3, 9, 9))  # type: ignore[arg-type]


def test_networks_of_other_types_and_with_tensors_made_in_forward_are_taken() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.b(self.a(x) * torch.tensor([2.0]).to(x.dtype))
            return result

    assert load_space(Doubled(), (3, 9, 9)).base_G == (8,)
    assert load_space(Doubled().bfloat16(), (3, 9, 9)).base_G == (8,)


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_old_weight_norm_does_not_stop_a_copy() -> None:
    normed = nn.utils.weight_norm(nn.Conv2d(8, 6, 3))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), normed, nn.Conv2d(6, 4, 3))
    assert [group.name for group in load_space(model, (3, 9, 9)).groups] == ["0", "1", "2"]


def test_a_named_network_is_loaded_once_and_one_of_ones_own_each_time(own: str) -> None:
    one = load_space("vgg11", (1, 8, 8), num_classes=3)
    assert load_space("vgg11", [1, 8, 8], num_classes=3) is one
    assert load_space("vgg11", (1, 8, 8), num_classes=4) is not one
    assert load_space(Typed(f"{own}:make"), (3, 8, 8)) is not load_space(Typed(f"{own}:make"), (3, 8, 8))


def test_the_blocks_of_a_network_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def counted(*given: Any) -> tuple[Block, ...]:
        calls.append(given)
        return removable_blocks(*given)

    monkeypatch.setattr("nas_prune.space.search_space.removable_blocks", counted)
    space = load_space(lambda: network_named("resnet20", (3, 8, 8), 10).make(), (3, 8, 8))
    assert calls == []
    assert len(space.blocks) == 7
    assert space.blocks is space.blocks
    assert len(calls) == 1
