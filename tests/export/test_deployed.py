"""Which norms become part of a convolution, and that nothing changes by it."""

import torch
from torch import Tensor, nn

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.export.deployed import Deployed, contiguous
from nas_prune.export.program import program_of
from nas_prune.training.evaluation import class_scores

KNOWN = Preprocessing(classes=("a", "b"), channels=3, size=8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))


class Network(nn.Module):
    """Norms behind one convolution, one that is read twice, one that runs twice, a pooling, and their like."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 4, 3, bias=False)
        self.plain_norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2, padding_mode="circular")
        self.grouped_norm = nn.BatchNorm2d(4, affine=False)
        self.read_twice = nn.Conv2d(4, 4, 1)
        self.read_twice_norm = nn.BatchNorm2d(4)
        self.runs_twice = nn.Conv2d(4, 4, 1)
        self.runs_twice_norm = nn.BatchNorm2d(4)
        self.pool = nn.AvgPool2d(2)
        self.pool_norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped_norm(self.grouped(self.plain_norm(self.plain(x))))
        inner = self.read_twice(x)
        x = self.read_twice_norm(inner) + inner
        x = self.runs_twice_norm(self.runs_twice(self.runs_twice(x)))
        scores: Tensor = self.fc(self.pool_norm(self.pool(x)).mean((2, 3)))
        return scores


def network() -> Network:
    torch.manual_seed(0)
    made = Network()
    for norm in made.modules():
        if (
            isinstance(norm, nn.BatchNorm2d)
            and norm.running_mean is not None
            and norm.running_var is not None
        ):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
    return made.eval()


def test_norms_that_alone_read_one_convolution_are_folded_and_no_others() -> None:
    own, images = network(), torch.randn(5, 3, 8, 8)
    before = {name: one.clone() for name, one in own.state_dict().items()}
    deployed, program, counts = program_of(own, KNOWN, with_preprocessing=False, folds_norms=True)
    assert counts == (2, 5)
    kinds = {name: type(part) for name, part in deployed.network.named_modules() if name.endswith("_norm")}
    assert {name for name, kind in kinds.items() if kind is nn.Identity} == {"plain_norm", "grouped_norm"}
    with torch.no_grad():
        torch.testing.assert_close(deployed(images), own(images))
        torch.testing.assert_close(program.module()(images), own(images))
    assert all(torch.equal(one, before[name]) for name, one in own.state_dict().items())  # as it was


def test_nothing_is_folded_unless_that_is_asked_for() -> None:
    deployed, _, counts = program_of(network(), KNOWN, with_preprocessing=False, folds_norms=False)
    assert counts is None
    assert not any(isinstance(part, nn.Identity) for part in deployed.modules())


def test_uint8_images_are_normalised_inside_to_the_bit() -> None:
    own, images = network(), torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    before = images.clone()
    with torch.no_grad():
        assert torch.equal(Deployed(own, KNOWN)(images), class_scores(own, KNOWN.batch(images)))
    assert torch.equal(images, before)


def test_what_is_exported_is_contiguous_and_in_evaluation_mode_whatever_the_network_is() -> None:
    own = network().to(memory_format=torch.channels_last).train()
    assert not own.plain.weight.is_contiguous()
    made = contiguous(own)
    assert all(tensor.is_contiguous() for tensor in (*made.parameters(), *made.buffers()))
    assert not any(part.training for part in made.modules())
    assert own.training
    assert own.plain.weight.requires_grad


def test_norms_without_statistics_of_their_own_are_left_where_they_are() -> None:
    own = network()
    own.plain_norm = nn.BatchNorm2d(4, track_running_stats=False)
    images = torch.randn(5, 3, 8, 8)
    deployed, _, counts = program_of(own.eval(), KNOWN, with_preprocessing=False, folds_norms=True)
    assert counts == (1, 5)
    with torch.no_grad():
        torch.testing.assert_close(deployed(images), own(images))
