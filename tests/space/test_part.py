"""Parts of networks that are searched by themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas_prune.errors import BadInputError
from nas_prune.space.load import load_space
from nas_prune.space.widths import read_widths
from tests.surgery import lively


class Detector(nn.Module):
    """Looks at what its backbone sees before it goes on, so that it cannot be watched as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1)
        )
        self.head = nn.Linear(8, 4)

    def forward(self, images: Any) -> list[Tensor]:
        stacked = torch.stack(list(images)) * 2
        maps = self.backbone(stacked)
        found = (maps.mean(1) > 0).nonzero()
        return [self.head(maps[image, :, row, column]) for image, row, column in found.tolist()]


def test_a_part_is_searched_and_the_whole_rebuilt_around_it(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="the network must run"):
        load_space(Detector, (3, 8, 8))
    space = load_space(Detector, (3, 8, 8), part="backbone")
    assert [(group.name, group.size) for group in space.groups] == [("backbone.0", 16)]
    assert [group.name for group in space.graph.groups if group.frozen] == ["backbone.3"]
    assert space.cost_at([16]).params == 3 * 9 * 16 + 16 + 32 + 16 * 8 + 8
    assert space.cost_at([5]).macs == 64 * (27 * 5 + 5 * 8)
    space.widths([5]).write(tmp_path / "widths.json")
    reference = read_widths(tmp_path / "widths.json").space
    assert (reference.part, reference.input_spec) == ("backbone", None)
    small = space.build(read_widths(tmp_path / "widths.json"), seed=0).eval()
    assert small.get_parameter("backbone.0.weight").shape[0] == 5
    found = small(torch.randn(2, 3, 8, 8))
    assert found[0].shape == (4,)
    model = lively(space)
    narrowed = space.narrow(model, [np.arange(9)])
    assert narrowed.head is not model.head
    assert torch.equal(narrowed.get_parameter("head.weight"), model.get_parameter("head.weight"))
    with pytest.raises(BadInputError, match="to be trained here"):
        space.check_trainable()
    assert space.blocks == ()


def test_a_part_of_a_network_of_lists() -> None:
    images = [torch.rand(3, 8, 8), torch.rand(3, 8, 8)]
    space = load_space(Detector(), (images,), part="backbone")
    assert space.base_G == (16,)
    assert space.forward.call.shape == (3, 8, 8)
    assert load_space(Detector(), space.reference.call, part="backbone").graph.groups == space.graph.groups


def test_what_a_part_shares_with_the_rest_stays() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Sequential(
                nn.Linear(6, 16), nn.Linear(16, 12), nn.Linear(12, 10), nn.Linear(10, 4)
            )
            self.after = nn.Linear(16, 12)
            self.after.weight = self.part.get_parameter("1.weight")

        def forward(self, x: Tensor) -> Any:
            return self.part(x).sum().item()

    space = load_space(Tied, (6,), part="part")
    frozen = {group.name: group.frozen for group in space.graph.groups}
    assert frozen["part.2"] is None
    assert frozen["part.0"] == frozen["part.1"] == "shared with what lies outside part"


class Parted(nn.Module):
    """Calls its part in some way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.q = how, nn.Parameter(torch.zeros(5, 16))
        self.inner = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        if self.how == "windows":
            y = self.inner(x.reshape(-1, 2, 16)).view(x.shape)
        elif self.how == "sequence first":
            y = self.inner(x.transpose(0, 1)).transpose(0, 1)
        elif self.how == "inside":
            y = self.inner(x) + (self.inner[0](x) * torch.ones(12)).sum(-1, keepdim=True)
        else:
            y = self.inner(x)
        return self.head(y).mean(1).sum().item()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("windows", "must be given its images along the first dimension"),
        ("sequence first", "must be given its images along the first dimension"),
        ("inside", "the rest of the network does not run around a narrowed one"),
    ],
)
def test_a_part_that_is_not_called_with_images_or_is_looked_into_is_refused(how: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        load_space(lambda: Parted(how), (8, 16), part="inner")
    assert load_space(lambda: Parted("plainly"), (8, 16), part="inner").base_G == (12,)


def test_a_part_has_the_first_of_its_names() -> None:
    class Twice(Parted):
        def __init__(self) -> None:
            super().__init__("")
            self.again = self.inner

    for part in ("inner", "again"):
        space = load_space(Twice, (8, 16), part=part)
        assert (space.reference.part, space.base_G) == ("inner", (12,))


def test_what_a_part_is_given_beside_images_is_no_batch() -> None:
    class Queries(Parted):
        def __init__(self) -> None:
            super().__init__("")
            self.inner = Crossed()  # type: ignore[assignment]

        def forward(self, x: Tensor) -> Any:
            return self.inner(self.q, x).sum().item()

    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k, self.o = nn.Linear(16, 12), nn.Linear(12, 4)

        def forward(self, q: Tensor, x: Tensor) -> Any:
            return self.o(torch.softmax(q @ x.transpose(1, 2), -1) @ self.k(x))

    space = load_space(Queries, (8, 16), part="inner")
    assert [spec.is_batched for spec in space.forward.call.tensors] == [False, True]
    assert space.cost_at([12]).macs == 5 * 16 * 8 + 8 * 16 * 12 + 5 * 8 * 12 + 5 * 12 * 4


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("neck", "must be the path of a module of the network, got neck. Its modules: backbone, head"),
        ("head", "must be called when the network runs"),
    ],
)
def test_a_part_that_cannot_be_searched_is_refused(part: str, words: str) -> None:
    class Half(Detector):
        def forward(self, images: Any) -> Any:
            return self.backbone(images).sum().item()

    with pytest.raises(BadInputError, match=words):
        load_space(Half, (3, 8, 8), part=part)
