"""The search stage: the method really acts, choices are made on validation images, λ follows the recipe."""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nas_prune.data import ImageData, ImageSet, load_data, num_batches
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.runs import files
from nas_prune.runs.directory import published
from nas_prune.runs.files import alone_in, write_whole
from nas_prune.runs.progress import Progress
from nas_prune.search import run as search_stage
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.contract import PenaltyTarget
from nas_prune.search.methods.registry import METHODS, scorable
from nas_prune.search.methods.slimming import penalty
from nas_prune.search.run import search
from nas_prune.space.budget import Budget
from nas_prune.space.cut import cut
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.config import TrainConfig
from nas_prune.training.evaluation import evaluate
from nas_prune.training.recipe import recipe_named
from nas_prune.training.run import train

CONFIG = SearchConfig(
    space="resnet20", data=DataConfig(max_images=200), epochs=2, budgets=("macs<=50%",), threads=1
)


def scales(run: Path, space: SearchSpace) -> torch.Tensor:
    """|γ| of the searched norms at the end of a run."""
    weights = load_file(run / "network.safetensors")
    paths = [path for group in space.groups if group.role == "inner" for path in group.norms]
    return torch.cat([weights[f"{path}.weight"].abs() for path in paths])


def test_the_pull_shrinks_the_searched_scales(tmp_path: Path) -> None:
    weak = search(CONFIG.model_copy(update={"sparsity": 1e-9}), tmp_path / "weak")
    strong = search(CONFIG.model_copy(update={"sparsity": 0.2}), tmp_path / "strong")
    weak_scales, strong_scales = (scales(one.run, one.space) for one in (weak, strong))
    assert float(weak_scales.mean()) == pytest.approx(0.5, abs=0.1)
    assert float(strong_scales.mean()) < 0.7 * float(weak_scales.mean())


def test_the_default_strength_moves_an_unused_scale_from_its_start_to_zero(tmp_path: Path) -> None:
    result = search(CONFIG, tmp_path / "run")
    recipe = CONFIG.search_recipe
    data = load_data("digits", max_images=200)
    per_epoch = num_batches(len(data.train), recipe.batch_size)
    steps = per_epoch * recipe.epochs
    assert result.sparsity is not None
    length = sum(recipe.rate_at(step, steps, per_epoch) for step in range(steps)) / (1 - recipe.momentum)
    assert result.sparsity * length == pytest.approx(0.5, rel=0.01)
    assert result.sparsity * length < 0.5  # the decay does the rest


def test_images_of_the_test_part_are_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spying(model: nn.Module, part: ImageSet, data: ImageData) -> tuple[float, float]:
        assert part is data.val
        seen.append(len(part))
        return evaluate(model, part, data)

    monkeypatch.setattr(search_stage, "evaluate", spying)
    search(CONFIG, tmp_path / "run")
    assert len(seen) == 2


def test_evaluating_changes_no_statistics() -> None:
    space, data = load_space("resnet20", (1, 8, 8)), load_data("digits", max_images=200)
    model = space.build(seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model.train(), data.test, data)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_groups_that_shared_norms_hold_are_pulled_once() -> None:
    space = load_space("densenet40", (1, 8, 8))
    model = space.build(seed=0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    penalty(PenaltyTarget(space, tuple(range(len(space.groups))), 0.5))(model, 0.1)
    last = model.get_parameter("bn.weight").grad
    assert last is not None
    assert last.unique().tolist() == [0.5]


def test_a_budget_on_channels_counts_searched_groups_only() -> None:
    space = load_space("resnet20", (1, 8, 8))
    columns = scorable(space, METHODS["slimming"], "inner")
    scores: list[Sequence[float] | None] = [None] * len(space.groups)
    generator = torch.Generator().manual_seed(0)
    for column in columns:
        scores[column] = torch.rand(space.base_G[column], generator=generator).double().numpy()  # type: ignore[call-overload]
    result = cut(space, scores, Budget.parse("channels<=50%"))  # type: ignore[arg-type]
    searched = sum(space.base_G[column] for column in columns)
    assert result.limit == searched // 2 == sum(result.widths_G[column] for column in columns)
    assert result.gap == 0


def test_a_gap_is_the_share_of_the_budget_left() -> None:
    space = dataclasses.replace(load_space("vgg11", (1, 8, 8)), divisor=64)
    scores = [torch.arange(base).double().numpy() for base in space.base_G]
    result = cut(space, scores, Budget.parse("macs<=50%"))
    assert result.gap == 1 - result.count / result.limit > 0.001


def test_channels_are_filled_in_best_first() -> None:
    space = load_space("vgg11", (1, 8, 8))
    scores = [torch.zeros(base).double().numpy() for base in space.base_G]
    scores[0][:], scores[1][:] = 2.0, 1.0  # all of the first, then of the second
    smallest = [base if column == 0 else 1 for column, base in enumerate(space.base_G)]
    limit = int(space.cost.params([*smallest[:1], 40, *smallest[2:]]))
    result = cut(space, scores, Budget("params", absolute=limit))
    assert result.widths_G[0] == 64
    assert result.widths_G[1] == 40


def test_every_epoch_has_its_own_dropout() -> None:
    from nas_prune.training.loop import Training, fit
    from nas_prune.training.state import start

    masks: list[torch.Tensor] = []

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                masks.append(torch.rand(3))
            scores: torch.Tensor = self.linear(x.flatten(1))
            return scores

    data = load_data("digits", max_images=40)
    recipe = recipe_named("digits").with_epochs(2)
    fit(start(Noting(), recipe), Training(data, recipe, 0))
    assert len(masks) == 2
    assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize(
    ("crop", "mirror", "flip"), [(0.25, False, True), (0.0, True, True), (0.0, True, False)]
)
def test_images_are_varied_as_the_recipe_and_the_data_say(crop: float, mirror: bool, flip: bool) -> None:
    from nas_prune.training.loop import Training, fit
    from nas_prune.training.state import start

    batches: list[torch.Tensor] = []

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                batches.append(x.detach().clone())
            scores: torch.Tensor = self.linear(x.flatten(1))
            return scores

    data = dataclasses.replace(load_data("digits", max_images=40), flip=flip)
    recipe = recipe_named("digits").model_copy(update={"epochs": 1, "crop_share": crop, "mirror": mirror})
    fit(start(Noting(), recipe), Training(data, recipe, 0))
    from nas_prune.data import normalise

    plain = {tuple(image.flatten().tolist()) for image in normalise(data.train.sample(), data.mean, data.std)}
    varied = [image for image in batches[0] if tuple(image.flatten().tolist()) not in plain]
    assert bool(varied) is (crop > 0 or (mirror and flip))


@pytest.mark.parametrize("name", ["search", "train"])
def test_a_run_is_held_until_its_results_are_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that resumed it meanwhile would remove the files that are being written."""
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    run, held = tmp_path / name, dict[str, bool]()

    def look(what: str, *_: int) -> None:
        held[what] = run.exists()  # work before there is a run needs no hold
        with suppress(BadInputError, FileNotFoundError), alone_in(run):
            held[what] = False

    data = DataConfig(max_images=100)
    if name == "search":
        config = SearchConfig(space="lenet5", method="l1-norm", data=data, epochs=1, budgets=("macs<=50%",))
        search(config, run, progress=Progress(update=look))
        assert held["scoring channels"]
    else:
        space = load_space("lenet5", (1, 8, 8))
        settings = TrainConfig(data=data, epochs=1, schedule="scratch-e")
        train(settings, space.widths(space.base_G), run, progress=Progress(update=look))
        assert held["writing model.py"]
    with alone_in(run):
        assert (run / "result.json").exists()


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas_prune.errors import FileError

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileError, match=r"note.txt must be written, which failed: No space left on device"):
        write_whole(tmp_path / "note.txt", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_published_name_holds_no_directories() -> None:
    assert published("folder:/somewhere/deep/pictures/") == "folder:pictures"
    assert published("digits") == "digits"
