"""Training patterns: masks held to the bit, starts and lengths as they should be, resumed as if never stopped."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError
from nas_prune.export.config import ExportConfig
from nas_prune.export.run import export_network
from nas_prune.patterns.config import SparsifyConfig, resolve
from nas_prune.patterns.pattern import MaskFile
from nas_prune.patterns.prepared import prepared_patterns
from nas_prune.patterns.rounds import REWOUND
from nas_prune.patterns.run import sparsify
from nas_prune.patterns.statistics import pattern_of
from nas_prune.patterns.training import images_of, inherited_weights, pattern_subject, train_pattern
from nas_prune.runs.progress import SILENT
from nas_prune.runs.settings import write_config
from nas_prune.space.budget import Budget
from nas_prune.space.widths import DataRecord
from nas_prune.training.checkpoint import write_tensors
from nas_prune.training.config import TrainConfig
from nas_prune.training.masks import identity_of_masks, read_masks, write_masks
from nas_prune.training.network_file import write_network
from nas_prune.training.result import TrainResult
from nas_prune.training.run import resume_train
from tests.patterns.conftest import at_densities, costs_for, small_space

TEN = Budget.parse("nonzero<=10%")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two epochs, at two budgets."""
    run = tmp_path_factory.mktemp("searched") / "run"
    budgets = ("nonzero<=10%", "nonzero<=30%")
    sparsify(
        SparsifyConfig(space="vgg11", width_multiplier=0.0625, data="digits", epochs=2, budgets=budgets), run
    )
    return run


def trained(searched: Path, out: Path, schedule: str, **more: object) -> TrainResult:
    config = TrainConfig(data="digits", schedule=schedule, epochs=2, seeds=more.pop("seeds", (0,)), **more)
    return train_pattern(config, searched, out, budget=TEN)


def weights_of(result: TrainResult, seed: int = 0) -> dict[str, torch.Tensor]:
    return load_file(result.run / f"seed-{seed}" / "network.safetensors")


@pytest.mark.parametrize("schedule", ["scratch-e", "rewind"])
def test_weights_that_are_left_out_stay_zero_and_all_others_learn(
    schedule: str, searched: Path, tmp_path: Path
) -> None:
    result = trained(searched, tmp_path / "run", schedule)
    masks = read_masks(searched / "patterns" / "nonzero-10pct.safetensors")
    after = weights_of(result)
    for name, mask in masks.items():
        assert torch.equal(after[name] != 0, mask)
    summary = result.config
    assert summary.pattern == "nonzero-10pct"
    assert summary.pattern_macs is not None


def test_what_is_fine_tuned_starts_from_the_searchs_weights(searched: Path, tmp_path: Path) -> None:
    result = trained(searched, tmp_path / "run", "fine-tune")
    start = load_file(result.run / "start.safetensors")
    before = load_file(searched / "network.safetensors")
    masks = read_masks(searched / "patterns" / "nonzero-10pct.safetensors")
    for name, mask in masks.items():
        assert torch.equal(start[name], before[name] * mask)
    after = weights_of(result)
    name = next(iter(masks))
    moved = (after[name] - start[name]).abs().max() / start[name].abs().max()
    assert 0 < moved < 0.05  # a quarter of the epochs at a hundredth of the rate


def test_weights_of_a_search_on_another_device_are_inherited_on_the_trainings(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = tmp_path / "search"
    shutil.copytree(searched, run)
    text = (run / "config.yaml").read_text(encoding="utf-8")
    assert "device: cpu\n" in text
    (run / "config.yaml").write_text(text.replace("device: cpu\n", "device: cuda\n"), encoding="utf-8")
    config = TrainConfig(data="digits", schedule="fine-tune", device="cpu")
    own, other = (inherited_weights(pattern_subject(place, TEN), config) for place in (searched, run))
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in own.tensors.items())


def test_a_lottery_ticket_is_rewound_to_its_early_weights_and_fine_tuned_from_its_last(
    tmp_path: Path,
) -> None:
    config = resolve(
        SparsifyConfig(
            space="vgg11", width_multiplier=0.0625, method="lottery", epochs=2, budgets=("nonzero<=10%",)
        )
    )
    stage = prepared_patterns(config, SILENT)
    (tmp_path / "patterns").mkdir()
    write_config(tmp_path, stage.resolved().relative_to(tmp_path))
    first, early, last = (stage.space.build(seed=seed) for seed in (1, 2, 3))
    write_tensors(tmp_path / REWOUND, early.state_dict(), {})
    for number, network in ((0, first), (1, last)):
        (tmp_path / f"round-{number}").mkdir()
        write_network(tmp_path / f"round-{number}" / "network.safetensors", network)
    masks = at_densities(stage.costs.layers, 0.1)
    write_masks(tmp_path / "patterns" / "p.safetensors", masks)
    beside = MaskFile(file="p.safetensors", blake2b=identity_of_masks(masks))
    pattern_of(stage.space, stage.costs, masks, mask=beside).write(tmp_path / "patterns" / "p.json")
    for schedule, expected in (("rewind", early), ("fine-tune", last)):
        training = TrainConfig(data="digits", schedule=schedule)
        weights = inherited_weights(pattern_subject(tmp_path), training).tensors
        for name, tensor in expected.state_dict().items():
            assert torch.equal(weights[name], tensor * masks[name] if name in masks else tensor), name


@pytest.mark.slow
def test_scratch_b_goes_by_the_macs_of_non_zeros_up_to_its_cap(searched: Path, tmp_path: Path) -> None:
    capped = trained(searched, tmp_path / "capped", "scratch-b")
    assert capped.config.epochs == 8
    assert capped.config.cap == 4
    assert capped.config.pattern_macs is not None
    assert capped.config.multiplier == pytest.approx(
        capped.widths.base_cost.macs / capped.config.pattern_macs
    )
    assert capped.config.multiplier > 5
    free = trained(searched, tmp_path / "free", "scratch-b", cap=5.0)
    assert free.config.epochs == 10


def test_drawn_masks_differ_by_seed_and_have_as_many_weights(searched: Path, tmp_path: Path) -> None:
    config = TrainConfig(data="digits", schedule="scratch-e", epochs=1, seeds=(0, 1))
    result = train_pattern(config, searched, tmp_path / "run", budget=TEN, draws=True)
    found = read_masks(searched / "patterns" / "nonzero-10pct.safetensors")
    one, other = (weights_of(result, seed) for seed in (0, 1))
    for name, mask in found.items():
        assert int((one[name] != 0).sum()) == int((other[name] != 0).sum()) == int(mask.sum())
    assert any(not torch.equal(one[name] != 0, other[name] != 0) for name in found)


def test_a_pattern_without_its_masks_is_drawn(searched: Path, tmp_path: Path) -> None:
    path = tmp_path / "pattern.json"
    text = (searched / "patterns" / "nonzero-10pct.json").read_text(encoding="utf-8")
    start = text.index('"mask": {')
    path.write_text(text[:start] + '"mask": null' + text[text.index("}", start) + 1 :], encoding="utf-8")
    config = TrainConfig(data="digits", schedule="scratch-e", epochs=1, seeds=(4,))
    result = train_pattern(config, path, tmp_path / "run")
    assert (result.run / "masks" / "seed-4.safetensors").exists()
    with pytest.raises(BadInputError, match="must come with a pattern in its search's directory"):
        train_pattern(config.model_copy(update={"schedule": "rewind"}), path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_pattern_that_has_lost_its_masks_is_drawn(searched: Path, tmp_path: Path) -> None:
    shutil.copy(searched / "patterns" / "nonzero-10pct.json", tmp_path / "pattern.json")
    subject = pattern_subject(tmp_path / "pattern.json")
    assert subject.exact is None
    assert pattern_subject(searched, TEN).exact is not None
    assert pattern_subject(searched, TEN, draws=True).exact is None


def test_images_are_the_searchs_wherever_its_pattern_and_they_are_now(tmp_path: Path) -> None:
    space = small_space()
    record = DataRecord(
        name="folder:cats", num_train=80, num_val=20, max_images=100, val_fraction=0.2, task="multi-label"
    )
    pattern = pattern_of(space, costs_for(space), at_densities(costs_for(space).layers, 0.5), data=record)
    (tmp_path / "run" / "patterns").mkdir(parents=True)
    found_on = DataConfig(
        name=f"folder:{tmp_path}/cats", max_images=100, val_fraction=0.2, stream=True, task="multi-label"
    )
    config = SparsifyConfig(space="vgg11", data=found_on)
    write_config(tmp_path / "run", config.relative_to(tmp_path / "run"))
    own, copied = tmp_path / "run" / "patterns" / "p.json", tmp_path / "p.json"
    as_searched = {
        "image_size": 6,
        "max_images": 100,
        "val_fraction": 0.2,
        "stream": None,
        "task": "multi-label",
    }
    moved, others = "folder:/elsewhere/cats", "folder:/elsewhere/dogs"
    for path, name, stream in ((own, None, True), (own, moved, True), (copied, moved, None)):
        found = images_of(pattern, path, name=name)
        assert found.model_dump() == {**as_searched, "stream": stream, "name": name or found.name}
        changed = images_of(pattern, path, name=name, max_images=50, stream=False, task="regression")
        assert changed == found.model_copy(update={"max_images": 50, "stream": False, "task": "regression"})
    for path in (own, copied):
        assert images_of(pattern, path, name=others) == DataConfig(name=others, image_size=6)
    with pytest.raises(BadInputError, match="--data must say where the images are"):
        images_of(pattern, copied)
    of_digits = pattern.model_copy(update={"data": record.model_copy(update={"name": "digits"})})
    assert images_of(of_digits, copied).max_images == 100


def test_costs_in_an_edited_file_are_not_believed(searched: Path, tmp_path: Path) -> None:
    run = tmp_path / "search"
    shutil.copytree(searched, run)
    path = run / "patterns" / "nonzero-10pct.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    true = content["cost"]["macs"]
    content["cost"]["macs"] = 1
    path.write_text(json.dumps(content), encoding="utf-8")
    assert pattern_subject(path).pattern.cost.macs == true
    first, second = content["layers"][1], content["layers"][2]
    first["nonzero"], second["nonzero"] = first["nonzero"] + 1, second["nonzero"] - 1
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadInputError, match="must say of each layer what its masks have"):
        pattern_subject(path)


def test_masks_that_were_changed_are_refused(searched: Path, tmp_path: Path) -> None:
    run = tmp_path / "search"
    shutil.copytree(searched, run)
    patterns = run / "patterns"
    shutil.copy(patterns / "nonzero-30pct.safetensors", patterns / "nonzero-10pct.safetensors")
    with pytest.raises(BadInputError, match="must be those that it was written with"):
        trained(run, tmp_path / "run", "scratch-e")
    assert not (tmp_path / "run").exists()


def test_a_training_that_is_resumed_has_its_masks_and_gives_the_same_bits(
    searched: Path, tmp_path: Path
) -> None:
    result = trained(searched, tmp_path / "run", "scratch-e", seeds=(0, 1))
    before = weights_of(result, 1)
    shutil.rmtree(result.run / "seed-1")
    shutil.copytree(result.run, tmp_path / "moved")  # without the search beside it
    resume_train(tmp_path / "moved")
    after = load_file(tmp_path / "moved" / "seed-1" / "network.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    (tmp_path / "moved" / "masks" / "all.safetensors").unlink()
    shutil.rmtree(tmp_path / "moved" / "seed-1")
    with pytest.raises(BadInputError, match="masks must be whole, got seed-0.safetensors"):
        resume_train(tmp_path / "moved")


def test_which_pattern_is_meant_must_be_said(searched: Path, tmp_path: Path) -> None:
    config = TrainConfig(data="digits", schedule="scratch-e", epochs=1)
    with pytest.raises(
        BadInputError, match="--budget must be one of 'nonzero<=10%', 'nonzero<=30%', got none"
    ):
        train_pattern(config, searched, tmp_path / "run")


@pytest.mark.slow
def test_an_exported_network_has_its_zeros_and_says_that_they_save_no_time(
    searched: Path, tmp_path: Path
) -> None:
    result = trained(searched, tmp_path / "run", "scratch-e")
    config = ExportConfig(to="safetensors", images=50, runs=3)
    for run, says in ((result.run, True), (searched, False)):
        out = tmp_path / f"exported-{says}"
        export_network(run, config, out=out)
        page = (out / "README.md").read_text(encoding="utf-8")
        assert ("of the weights are zero" in page) == says
        assert ("it is no faster for them" in page) == says
    weights = load_file(tmp_path / "exported-True" / "model.safetensors")
    masks = read_masks(searched / "patterns" / "nonzero-10pct.safetensors")
    assert all(torch.equal(weights[name] != 0, mask) for name, mask in masks.items())
