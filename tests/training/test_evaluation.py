"""The balanced accuracy against a count by hand, whatever the batch."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_prune.data import ImageData, ImageSet
from nas_prune.data.targets import TargetScale
from nas_prune.data.tasks import task_named
from nas_prune.training.compute import Compute
from nas_prune.training.evaluation import balanced_accuracy, evaluate
from nas_prune.training.ranks import Ranks

# 400 of class 0, all right; 4 of class 1, one right; none of class 2.
LABELS = torch.tensor([0] * 400 + [1] * 4)
TAKEN_FOR = torch.tensor([0] * 400 + [1, 0, 0, 2])


class Told(nn.Module):
    """Takes each image for the class that its first pixel names."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(x[:, 0, 0, 0].round().long(), 3).float()


def test_in_the_balanced_accuracy_all_classes_count_alike() -> None:
    pixels = TAKEN_FOR.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    part = ImageSet(pixels, LABELS)
    data = ImageData("x", part, part, part, ("a", "b", "c"), flip=False, mean=(0.0,), std=(1 / 255,))
    assert evaluate(Told(), part, data)[1] == pytest.approx(401 / 404)
    assert balanced_accuracy(Told(), part, data) == pytest.approx((1 + 1 / 4) / 2)


@dataclass(frozen=True, slots=True)
class Noted(Ranks):
    """A process whose sums stay its own and are noted."""

    seen: list[Tensor] = field(default_factory=list)

    def add(self, *tensors: Tensor) -> None:
        self.seen.append(tensors[1].clone())

    def take_buffers(self, model: nn.Module) -> None:
        pass


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :2]


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("classification", torch.tensor([0, 1, 1])),
        ("multi-label", torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])),
        ("regression", torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])),
    ],
)
def test_processes_add_up_to_the_whole_though_one_has_no_image(name: str, targets: Tensor) -> None:
    task = task_named(name)
    pixels = torch.randint(0, 255, (3, 1, 8, 8), dtype=torch.uint8)
    part = ImageSet(pixels, targets)
    scale = TargetScale((1.0, 2.0), (3.0, 4.0)) if name == "regression" else None
    known: dict[str, Any] = {"mean": (0.0,), "std": (1.0,), "task": task, "scale": scale}
    data = ImageData("x", part, part, part, ("a", "b"), flip=False, **known)
    _, whole = evaluate(Rows(), part, data)
    found = []
    for rank in range(5):
        ranks = Noted(rank, 5)
        evaluate(Rows(), part, data, Compute(ranks=ranks))
        found += ranks.seen
    assert len({one.shape for one in found}) == 1
    assert task.score(torch.stack(found).sum(0)) == pytest.approx(whole, rel=1e-12)
