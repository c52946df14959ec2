"""Searches for patterns: budgets met, the same bits after any stop, nothing written where a setting is wrong."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.patterns import rounds
from nas_prune.patterns.config import SparsifyConfig, resolve
from nas_prune.patterns.fit import fit_patterns
from nas_prune.patterns.methods.registry import METHODS
from nas_prune.patterns.pattern import read_pattern
from nas_prune.patterns.prepared import prepared_patterns
from nas_prune.patterns.result import SparsifyResult
from nas_prune.patterns.rounds import REWOUND, early_network
from nas_prune.patterns.run import SCORES, resume_sparsify, sparsify
from nas_prune.runs.files import alone_in
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.space.budget import Budget
from nas_prune.training.checkpoint import read_tensors, write_tensors
from nas_prune.training.loop import Training, fit
from nas_prune.training.masks import count, read_masks
from nas_prune.training.recipe import recipe_named
from nas_prune.training.resumable import train_in
from nas_prune.training.state import TrainState, start

SMALL: dict[str, Any] = {"space": "vgg11", "width_multiplier": 0.0625, "data": "digits", "epochs": 2}
COLD = recipe_named("digits").model_copy(update={"learning_rate": 1e-9})
TRAINED = [name for name, method in METHODS.items() if method.trains and not method.rounds]


def hashes(run: Path) -> dict[str, str]:
    """Of all that a search found, by name."""
    paths = [*run.glob("patterns/*"), run / "network.safetensors"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.exists()}


def settings(**changed: Any) -> SparsifyConfig:
    return SparsifyConfig(**{**SMALL, **changed})


def test_one_training_gives_a_pattern_at_every_budget(tmp_path: Path) -> None:
    budgets = ("nonzero<=20%", "macs<=30%, nonzero<=5K", "size<=40KiB")
    result = sparsify(settings(budgets=budgets), tmp_path / "run")
    for budget, found in zip(budgets, result.found, strict=True):
        pattern = read_pattern(found.path)
        masks = read_masks(found.mask_path)
        assert pattern.budget == budget
        assert count(masks) == pattern.cost.nonzero == sum(layer.nonzero for layer in pattern.layers)
        assert 0 <= found.gap < 0.001
    written = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert [one["budget"] for one in written["patterns"]] == list(budgets)
    assert (tmp_path / "run" / "patterns.png").stat().st_size > 1000


def test_a_round_of_one_epoch_is_rewound_to_its_middle() -> None:
    once = resolve(settings(method="lottery", epochs=1, iterations=2, budgets=("nonzero<=40%",)))
    assert once.rewind == 0.5
    assert resolve(once) == once  # and what it is resolved to can be compared
    assert resolve(settings(method="lottery", rewind=0.0, budgets=("nonzero<=40%",))).rewind == 0


def test_nobody_else_may_write_while_results_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[Path] = []

    def written(result: SparsifyResult) -> None:
        with pytest.raises(BadInputError, match="by one process at a time"), alone_in(result.run):
            pass
        refused.append(result.run)

    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0.1)
    monkeypatch.setattr("nas_prune.patterns.run.write_result", written)
    sparsify(settings(epochs=1, budgets=("nonzero<=20%",)), tmp_path / "run")
    assert refused == [tmp_path / "run"]


def test_a_finished_search_that_is_resumed_finds_the_same(tmp_path: Path) -> None:
    for method in ("magnitude", "gradual"):
        run = tmp_path / method
        sparsify(settings(method=method, budgets=("nonzero<=10%",)), run)
        before = hashes(run)
        shutil.rmtree(run / "patterns")
        resume_sparsify(run)
        assert hashes(run) == before


def check_refusals(file: Path, again: Callable[[], object]) -> None:
    """Tensors of another network, or of a training with other facts, are refused, and what was there is not."""
    content, tensors = read_tensors(file)
    name = next(iter(tensors))
    for tried, facts, said in (
        (tensors, {**content["facts"], "seed": 1}, "must be of this run, got .*, where seed is 1, not 0"),
        (
            {**tensors, name: tensors[name][1:]},
            content["facts"],
            f"must be of this network, .* where {name} is",
        ),
        ({"other": tensors[name]}, content["facts"], "must be of this network, got .*, where"),
    ):
        write_tensors(file, tried, {**content, "facts": facts})
        with pytest.raises(BadInputError, match=said):
            again()
    write_tensors(file, tensors, content)
    again()


def test_early_weights_of_another_search_or_network_are_refused(tmp_path: Path) -> None:
    stage = prepared_patterns(resolve(settings(method="lottery", budgets=("nonzero<=9%",))), SILENT)
    recipe = stage.training(None).recipe.model_dump(mode="json")
    facts = {"seed": 0, "recipe": recipe, "settings": {"method": "lottery", "round": 0, "rewind": 1.0}}
    write_tensors(tmp_path / REWOUND, dict(stage.first_network().state_dict()), {"facts": facts})
    check_refusals(tmp_path / REWOUND, lambda: early_network(stage, tmp_path))


def test_a_search_whose_network_guesses_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    sparsify(settings(epochs=1, recipe=COLD), tmp_path / "run", progress=Progress(say=said.append))
    assert "no more than guessing the largest of 10 classes may" in said[-1]
    base = json.loads((tmp_path / "run" / "result.json").read_text())["base"]
    assert base["val_accuracy"] < base["guess"] < 0.2


@pytest.mark.slow
def test_scores_of_another_search_or_network_are_refused(tmp_path: Path) -> None:
    sparsify(settings(method="gradual", budgets=("nonzero<=50%",)), tmp_path)
    check_refusals(tmp_path / SCORES, lambda: resume_sparsify(tmp_path))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "magnitudes"}, "--method must be one of magnitude"),
        ({"budgets": ("params<=10%",)}, "must bound nonzero, macs, size, got params"),
        ({"budgets": ("nonzero<=3",)}, "must leave each layer a weight, which takes 9"),
        ({"divisor": 8}, "--divisor must come with nas-prune search"),
        ({"method": "erk", "epochs": 2}, "--epochs must come with a method that uses it"),
        (
            {"method": "erk", "epochs": None, "log": "tensorboard"},
            "--log must come with a method that uses it",
        ),
        (
            {"method": "erk", "epochs": None, "keep_checkpoints": True},
            "--keep-checkpoints must come with a method that uses it",
        ),
        ({"method": "erk", "epochs": None, "scope": "local"}, "--scope local must come with a method"),
        ({"method": "gradual", "iterations": 3}, "--iterations must come with a method"),
        ({"rewind": 1}, "--rewind must come with a method that uses it, got magnitude. Those do: lottery"),
        ({"method": "lottery", "rewind": 2}, "--rewind must be below the 2 epochs"),
        ({"budgets": ("nonzero<=9%",), "iterations": 1000}, "--iterations must be at most 17, the steps of"),
        ({"strength": 1.0}, "--strength must come with a method"),
        ({"method": "guided", "epochs": None}, "--method guided must come with --guideline FILE"),
        ({"guideline": "g.yaml"}, "--guideline must come with a method that uses it"),
        ({"budgets": ("own",)}, "--budget own must come with a method"),
        (
            {"method": "gradual", "budgets": ("nonzero<=9%", "nonzero<=5%", "nonzero<=9%")},
            r"--budget must be given once where weights go .* \(gradual\), got 2",
        ),
        (
            {"iterations": 3},
            r"--budget must be given where .* \(magnitude\), got the default of several \(nonzero<=50%, ",
        ),
    ],
)
def test_a_wrong_setting_is_said_and_nothing_is_written(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(NasPruneError, match=said):
        sparsify(settings(**changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_given_weights_are_taken_and_kept_in_the_run(tmp_path: Path) -> None:
    sparsify(settings(budgets=("nonzero<=50%",)), tmp_path / "first")
    weights = tmp_path / "mine.safetensors"
    shutil.copy(tmp_path / "first" / "network.safetensors", weights)
    run = tmp_path / "second"
    result = sparsify(settings(budgets=("nonzero<=50%",), weights=str(weights), epochs=1, recipe=COLD), run)
    before, after = load_file(weights), load_file(run / "network.safetensors")
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before if "weight" in name)
    assert result.found[0].pattern.method is not None
    assert result.found[0].pattern.method.settings["weights"] == "mine.safetensors"
    weights.unlink()
    found = hashes(run)
    shutil.rmtree(run / "patterns")
    (run / "network.safetensors").unlink()
    resume_sparsify(run)
    assert hashes(run) == found


def test_the_guideline_of_a_run_is_its_own(tmp_path: Path) -> None:
    first = sparsify(settings(budgets=("nonzero<=20%",)), tmp_path / "first")
    guideline, run = tmp_path / "guideline.yaml", tmp_path / "guided"
    fit_patterns([first.found[0].pattern]).write(guideline)
    changed = {"method": "guided", "epochs": None, "guideline": str(guideline), "budgets": ("nonzero<=20%",)}
    sparsify(settings(**changed), run)
    found = hashes(run)
    guideline.unlink()
    shutil.rmtree(run / "patterns")
    resume_sparsify(run)
    assert hashes(run) == found
    with pytest.raises(NasPruneError, match="a guideline of patterns must exist"):
        sparsify(settings(**changed), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_surgery_may_decide_by_itself(tmp_path: Path) -> None:
    (found,) = sparsify(settings(method="surgery", budgets=("own",), epochs=4), tmp_path / "run").found
    assert 0.02 < found.pattern.density < 0.6


@pytest.mark.parametrize("given", [{"method": "surgery"}, {"method": "lottery"}, {"iterations": 3}])
def test_a_budget_that_is_given_twice_is_one(given: dict[str, Any]) -> None:
    config = resolve(settings(budgets=("nonzero<=10%", "nonzero<=10.0%"), **given))
    assert config.budgets == (Budget("nonzero", 0.1),)


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(NasPruneError, match="must run in one process, got 2 by torchrun"):
        sparsify(settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_go_in_steps_and_do_not_come_back(tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = sparsify(settings(budgets=("nonzero<=10%",), iterations=2, epochs=4), run).found[0]
    assert found.pattern.method is not None
    assert found.pattern.method.settings["iterations"] == 2
    weights = load_file(run / "network.safetensors")
    kept = read_masks(found.mask_path)
    # The last step was before the end of the training, so that the network that is left has no other weights.
    for name, mask in kept.items():
        assert torch.equal(weights[name] != 0, mask)


@pytest.mark.parametrize(("rewind", "step"), [(0.0, (0, 0)), (0.5, (0, 2)), (1.0, (1, 0))])
def test_a_round_begins_with_the_early_weights_that_are_left_and_no_others(
    rewind: float, step: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BegunError(Exception):
        pass

    def begun(folder: Path, state: TrainState, training: Training, progress: Progress) -> float:
        if folder.name == "round-0":
            return train_in(folder, state, training, progress)
        assert (state.epochs_done, state.steps_done) == step
        write_tensors(tmp_path / "begun", state.model.state_dict(), {})
        raise BegunError

    monkeypatch.setattr(rounds, "train_in", begun)
    few = DataConfig(name="digits", max_images=128)
    changed = {"data": few, "method": "lottery", "budgets": ("nonzero<=40%",), "iterations": 2}
    config = settings(
        **changed, recipe=recipe_named("digits").model_copy(update={"batch_size": 32}), rewind=rewind
    )
    run = tmp_path / "run"
    with pytest.raises(BegunError):
        sparsify(config, run)
    masks = read_masks(run / "round-1" / "mask.safetensors")
    assert 0.5 < count(masks) / sum(mask.numel() for mask in masks.values()) < 0.9
    begins, early = (read_tensors(path)[1] for path in (tmp_path / "begun", run / "rewound.safetensors"))
    for name, tensor in early.items():
        assert torch.equal(begins[name], tensor * masks[name] if name in masks else tensor), name
    first = prepared_patterns(resolve(config), SILENT).first_network().state_dict()
    is_moved = any(not torch.equal(tensor, first[name]) for name, tensor in early.items())
    assert is_moved == (rewind > 0)


@pytest.mark.slow
def test_each_round_of_a_lottery_starts_from_the_same_early_weights(tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = sparsify(
        settings(method="lottery", budgets=("nonzero<=40%",), rewind=1, iterations=2, epochs=3), run
    )
    assert result.epochs_done == 3 + 2
    lines = [
        (run / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        for name in ("round-0", "round-1")
    ]
    assert lines[0][0] == lines[1][0]
    assert lines[0][1] != lines[1][1]
    first = read_masks(run / "round-1" / "mask.safetensors")
    last = read_masks(result.found[0].mask_path)
    assert count(last) < count(first)
    assert all(bool((first[name] >= last[name]).all()) for name in last)  # what has gone stays away
    before = hashes(run)
    (run / "round-1" / "network.safetensors").unlink()
    shutil.rmtree(run / "patterns")
    resume_sparsify(run)
    assert hashes(run) == before


@pytest.mark.slow
def test_a_lottery_can_be_rewound_to_a_step(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = settings(
        method="lottery", budgets=("nonzero<=40%",), rewind=0.5, iterations=2, epochs=2, keep_checkpoints=True
    )
    result = sparsify(config, run)
    assert result.epochs_done == 2 + 2
    stage = prepared_patterns(resolve(config), SILENT, run)
    training, half = stage.training(None), round(stage.setting.steps_per_epoch * 0.5)
    state = start(stage.first_network(), training.recipe)

    class ReachedError(Exception):
        pass

    def stop_at_half(step: int, steps: int) -> None:
        if step == half:
            raise ReachedError

    with pytest.raises(ReachedError):
        fit(state, training, on_step=stop_at_half)
    assert state.sums is not None
    content, early = read_tensors(run / "rewound.safetensors")
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(early[name], tensor), name
    assert content["sums"]["loss"] == pytest.approx(float(state.sums.loss))
    losses = [
        json.loads((run / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])["train_loss"]
        for name in ("round-0", "round-1")
    ]
    # Half of the steps are the same ones, with the same losses.
    shared = content["sums"]["loss"] / len(stage.data.train)
    assert min(losses) > shared
    assert losses[0] == pytest.approx(losses[1], rel=0.5)


def command(out: Path, *more: str) -> list[str]:
    own = ["--space", "vgg11", "--width-multiplier", "0.0625", "--epochs", "8", "--budget", "nonzero<=10%"]
    return [sys.executable, "-m", "nas_prune", "sparsify", *own, "--out", str(out), *more]


@pytest.mark.slow
@pytest.mark.parametrize("method", [*TRAINED, "lottery"])
def test_a_search_that_is_killed_goes_on_to_the_same_bits(method: str, tmp_path: Path) -> None:
    more = ["--method", method, *(["--iterations", "2", "--rewind", "1.5"] if method == "lottery" else [])]
    subprocess.run(command(tmp_path / "whole", *more), check=True, capture_output=True, cwd=tmp_path)
    out = tmp_path / "killed"
    for wait in (1.0, 1.5, 2.0, 2.5):
        again = [*command(out, *more)] if not (out / "config.yaml").exists() else [
            sys.executable, "-m", "nas_prune", "sparsify", "--resume", str(out)
        ]  # fmt: skip
        process = subprocess.Popen(again, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=tmp_path)
        while not (out / "config.yaml").exists():
            time.sleep(0.05)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(
        [sys.executable, "-m", "nas_prune", "sparsify", "--resume", str(out)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert hashes(out) == hashes(tmp_path / "whole")
