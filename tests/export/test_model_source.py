"""Programs as Python: what stands in `model.py`, and that it does the same."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.data.targets import TargetKind, TargetScale
from nas_prune.errors import BadInputError
from nas_prune.export.model_source import Source, source_of
from nas_prune.export.plain_torch import run_plain, write_plain
from nas_prune.export.program import program_of

CLASSES = ('"""; raise SystemExit', "{curly} 'quoted'")
KNOWN = Preprocessing(classes=CLASSES, channels=3, size=8, mean=(0.5,) * 3, std=(0.25,) * 3)


def written(network: nn.Module, *, with_preprocessing: bool = False) -> Source:
    deployed, program, _ = program_of(
        network, KNOWN, with_preprocessing=with_preprocessing, folds_norms=False
    )
    takes = "images: uint8" if with_preprocessing else "images: float32"
    return source_of(program, deployed.network, KNOWN, 'a "net" \\', takes)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("class", "to scores of CLASSES\n"),
        ("classes", "to scores of CLASSES: those above 0 are there"),
        ("mask", "to scores of CLASSES for each pixel"),
        ("numbers", "to numbers of CLASSES, around UNIT_MEAN in units of UNIT_STD"),
    ],
)
def test_a_file_says_what_its_network_puts_out(kind: TargetKind, said: str, tmp_path: Path) -> None:
    scale = TargetScale((50.5, -1.0), (2.0, 0.25)) if kind == "numbers" else None
    known = KNOWN.model_copy(update={"kind": kind, "scale": scale})
    network = nn.Sequential(nn.Conv2d(3, 2, 8), nn.Flatten())
    deployed, program, _ = program_of(network, known, with_preprocessing=False, folds_norms=False)
    source = source_of(program, deployed.network, known, "a net", "images: float32")
    assert said in source.text.partition('"""\n')[0] + "\n"
    made = loaded(source, tmp_path)
    assert hasattr(made, "UNIT_MEAN") == (kind == "numbers")
    if kind == "numbers":
        assert made.UNIT_MEAN.tolist() == [50.5, -1.0]
        assert made.UNIT_STD.tolist() == [2.0, 0.25]


def loaded(source: Source, folder: Path) -> ModuleType:
    write_plain(folder, source, {})
    made = ModuleType("model")
    exec(compile(source.text, "model.py", "exec"), made.__dict__)  # noqa: S102  (what was just written)
    return made


def forward_of(source: Source) -> list[str]:
    body = source.text.partition("at = self.get_submodule\n")[2].partition("\n\n")[0]
    return [line.strip() for line in body.splitlines()]


class Various(nn.Module):
    """Shared layers, parameters and buffers of its own, shapes in its code, chunks, infinities, types and devices."""

    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, (3, 1), stride=2, padding=(1, 0), bias=False)
        self.norm = nn.BatchNorm2d(8, eps=1e-3, momentum=0.2)
        self.twice = nn.Conv2d(8, 8, 1, groups=4)
        self.drop = nn.Dropout(0.5)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.register_buffer("hidden", torch.arange(8.0), persistent=False)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(4, 2)
        self.same = nn.Linear(4, 2)
        self.same.weight = self.last.weight
        self.same.register_forward_hook(lambda _, given, found: found * 2 + given[0].mean())

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.first(x)))
        x = self.twice(self.twice(x)) + x * torch.tensor([2.0])
        count, channels, height, width = x.shape
        x = x.reshape(count, channels, height * width).transpose(1, 2)
        x = torch.cat([self.token.expand(count, -1, -1), x], 1) + self.hidden
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf"), device=x.device).triu(1)
        x, _ = self.attention(x, x, x, attn_mask=mask, need_weights=False)
        left, right = x.mean(1).chunk(2, 1)
        scores: Tensor = self.last(left.to(torch.float64).float()) + self.same(right)
        return scores


def test_a_network_of_many_things_does_the_same_to_the_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Various().eval()
    source = written(network)
    made = loaded(source, tmp_path)
    images = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        model = made.load(tmp_path / "model.safetensors")
        for some in (images, images[:1]):
            assert torch.equal(model(some), network(some))
    assert made.CLASSES == CLASSES
    assert not model.training
    assert "nn.Conv2d(3, 8, (3, 1), stride=(2, 2), padding=(1, 0), bias=False)" in source.text
    assert "nn.BatchNorm2d(8, eps=0.001, momentum=0.2)" in source.text


def test_dropout_and_checks_of_sizes_are_left_out_and_names_are_used_again() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(4, 2))
    lines = forward_of(written(network))
    assert lines == [
        "x = at('0')(x)",
        "x = aten.relu.default(x)",
        "x = aten.flatten.using_ints(x, 1)",
        "x = at('4')(x)",
        "return x",
    ]


def test_uint8_images_are_taken_as_they_are(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 2)).eval()
    made = loaded(written(network, with_preprocessing=True), tmp_path)
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(made.load(tmp_path / "model.safetensors")(images), network(KNOWN.batch(images)))
    assert not hasattr(made, "normalised")


class Loop(nn.Module):
    """What has no line of its own: a loop over a condition of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        def more(x: Tensor) -> Tensor:
            return x * 2

        def less(x: Tensor) -> Tensor:
            return x / 2

        scores: Tensor = self.last(torch.cond(x.sum() > 0, more, less, (x,)).flatten(1))
        return scores


def test_what_is_no_operation_of_pytorch_is_named() -> None:
    with pytest.raises(
        BadInputError, match=r"PyTorch's own operations to be written as model\.py, got .*(cond|graph)"
    ):
        written(Loop().eval())


@pytest.mark.slow
def test_what_needs_more_than_torch_does_not_run_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    write_plain(folder, Source("import nas_prune\n", {"one": torch.zeros(1)}), {})
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(BadInputError, match=r"model\.py must run by itself, got .*nas_prune"):
        run_plain(folder, images, tmp_path, threads=1, runs=1, batch=2)
