"""Factors that are drawn before every pass: once for each image, whatever the network is called with."""

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

import nas_prune
from nas_prune.search.methods.drawn_gates import DrawnGates
from nas_prune.search.methods.learned_gates import gates_of
from nas_prune.space.load import load_space


class _Named(nn.Module):
    """A network whose loop calls it by keyword, or with a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        )
        self.last = nn.Linear(8, 4)

    def forward(self, batch: "Tensor | dict[str, Tensor]") -> Tensor:
        image = batch if isinstance(batch, Tensor) else batch["image"]
        found: Tensor = self.last(self.convs(image).mean((2, 3)))
        return found


@pytest.mark.parametrize("name", ["l0", "variational-dropout"])
@pytest.mark.parametrize("way", ["by place", "by keyword", "in a dictionary"])
def test_factors_are_drawn_however_the_network_is_called(name: str, way: str) -> None:
    model, images = _Named(), torch.randn(5, 3, 16, 16)
    as_dict = {"image": images}
    space = load_space(model, (({**as_dict},) if way == "in a dictionary" else (3, 16, 16)))
    own = nas_prune.method(name, space, model, strength=1e-3)
    optimiser = SGD(model.parameters(), lr=0.1)
    given = {"by place": (images,), "in a dictionary": (as_dict,)}.get(way, ())
    found = model(*given, **({} if given else {"batch": images}))
    found.sum().backward()
    own.penalty(optimiser)
    gates = gates_of(model)
    assert isinstance(gates, DrawnGates)
    wanted = (5, 8) if name == "variational-dropout" else (8,)  # L0's are of the batch
    assert {tuple(drawn.shape) for drawn in gates.chance.values()} == {wanted}
