"""From a trained network to a file and back to scores: to the bit, within its budget, whatever stops it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nas_prune
from nas_prune.cli import main
from nas_prune.coding import decode
from nas_prune.coding.file import read_compressed
from nas_prune.compression.account import LayerAccount
from nas_prune.compression.config import CompressConfig
from nas_prune.compression.result import Compressed, read_compression
from nas_prune.compression.run import compress, resume_compress
from nas_prune.data import load_data
from nas_prune.errors import BadInputError, BudgetError, DamagedError
from nas_prune.report.read import read_parts
from nas_prune.runs.files import alone_in
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import read_config
from nas_prune.training.config import TrainConfig
from nas_prune.training.evaluation import evaluate
from nas_prune.training.load_network import network_in
from nas_prune.training.loop import Training
from nas_prune.training.network_file import read_record
from nas_prune.training.state import TrainState
from tests.conftest import WriteDigits


def compressed(run: Path, out: Path, **settings: object) -> Compressed:
    return compress(run, CompressConfig(**{"epochs": 1, "with_int8": False, **settings}), out=out)


@pytest.fixture(scope="module")
def done(pruned: Path, tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    """Compressed with four bits, tuned for an epoch, into a file beside its directory."""
    return compressed(pruned, tmp_path_factory.mktemp("done") / "net.nasp", bits="4")


def test_the_file_holds_the_network_whose_accuracy_is_said(done: Compressed) -> None:
    data = load_data("digits")
    network = nas_prune.load_network(done.path)
    assert evaluate(network, data.test, data)[1] == pytest.approx(done.accuracies[-1].test)
    assert [one.step for one in done.accuracies] == ["as trained", "with shared values", "fine-tuned"]
    assert done.path.stat().st_size == done.account.file_bytes
    for name, weight in network.named_parameters():
        own = next((one for one in done.layers if one.name == name), None)
        if own is not None:
            there = weight[weight != 0]
            assert (there.numel(), weight.numel()) == (own.nonzeros, own.weights)
            assert there.unique().numel() <= min(16, own.values or 16)


def test_nobody_else_may_write_while_results_are_written(
    pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[Path] = []

    def written(run: Path, _: Compressed) -> None:
        with pytest.raises(BadInputError, match="by one process at a time"), alone_in(run):
            pass
        refused.append(run)

    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0.1)
    monkeypatch.setattr("nas_prune.compression.run.write_result", written)
    compressed(pruned, tmp_path / "run", bits="4")
    assert refused == [tmp_path / "run"]


def test_the_directory_stands_for_its_file(done: Compressed) -> None:
    one, other = nas_prune.load_network(done.path), nas_prune.load_network(done.run)
    images = load_data("digits").test.sample().float() / 255
    with torch.no_grad():
        assert torch.equal(one(images), other(images))


def test_the_decoder_beside_it_gives_the_same_bits(done: Compressed) -> None:
    found, header = decode.load(done.path)
    assert (done.path.with_name("decode.py")).read_bytes() == Path(decode.__file__).read_bytes()
    assert header["network"]["preprocessing"]["classes"] == [str(digit) for digit in range(10)]
    state = nas_prune.load_network(done.path).state_dict()
    assert found.keys() == state.keys()
    assert all(found[name].tobytes() == state[name].numpy().tobytes() for name in state)


def test_zeros_of_the_pattern_are_those_of_the_file(done: Compressed, pruned: Path) -> None:
    before = nas_prune.load_network(pruned).state_dict()
    after = read_compressed(done.path).arrays
    for one in done.layers:
        assert np.array_equal(before[one.name].numpy() == 0, after[one.name] == 0), one.name


def test_the_account_adds_up(done: Compressed) -> None:
    account = done.account
    assert account.file_bytes == account.header_bytes + account.plain_bytes + sum(
        one.total_bytes for one in account.layers
    )
    assert all(_parts(one) <= one.total_bytes <= _parts(one) + 2 for one in account.layers)
    assert 0 <= account.codes_above_entropy < 0.04
    assert 0 <= account.above_bound < 0.03
    sizes = {form.name: form.bytes for form in done.forms}
    assert list(sizes)[-1] == "and Huffman codes: the file"
    assert sizes["and Huffman codes: the file"] == account.file_bytes
    pruned, shared, coded = (form.bytes for form in done.forms if form.is_step)
    assert pruned > shared > coded - account.header_bytes
    assert sizes["bitmap and 32 bits"] < sizes["32 bits"] < sizes["safetensors"]
    assert read_compression(done.run) == done


def _parts(layer: LayerAccount) -> float:
    return layer.value_bytes + layer.table_bytes + (layer.index_bits + layer.position_bits) / 8


def test_it_is_reported_with_its_picture(done: Compressed) -> None:
    (part,) = read_parts([done.run])
    assert part.kind == "compress"
    assert part.sections[0].pictures[0].draw().startswith("<svg")
    assert (done.run / "account.png").stat().st_size > 10_000
    assert part.numbers["account"]["file_bytes"] == done.account.file_bytes


def test_a_finished_one_is_read_again(done: Compressed) -> None:
    before = done.path.stat().st_mtime_ns
    assert resume_compress(done.run) == done
    assert done.path.stat().st_mtime_ns == before


def test_a_budget_is_kept_and_the_least_is_said(pruned: Path, tmp_path: Path) -> None:
    found = compressed(pruned, tmp_path / "in", budget="size<=6%", epochs=0)
    limit = int(0.06 * found.account.whole_bytes)
    assert 0.9 * limit < found.path.stat().st_size <= limit
    assert found.path == tmp_path / "in" / "net.nasp"
    with pytest.raises(BudgetError, match="at least size<="):
        compressed(pruned, tmp_path / "out", budget="size<=1%")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_gone_have_no_gradient_that_a_clipped_norm_would_count(
    pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: list[nn.Module] = []

    def caught(_: Path, state: TrainState, __: Training, ___: Progress, *, is_held: bool) -> None:
        assert is_held
        tuned.append(state.model)

    monkeypatch.setattr("nas_prune.compression.run.train_in", caught)
    compressed(pruned, tmp_path / "out", bits="4")
    (network,) = tuned
    network(load_data("digits").train.sample().float() / 255).square().sum().backward()
    gone = {name: one for name, one in network.named_parameters() if one.dim() > 1 and (one == 0).any()}
    assert len(gone) > 5
    for name, one in gone.items():
        assert one.grad is not None
        assert one.grad.any()
        assert not one.grad[one == 0].any(), name


def test_what_cannot_be_compressed_is_refused_before_anything_is_written(
    done: Compressed, pruned: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match="not compressed yet"):
        compressed(done.path, tmp_path / "a")
    with pytest.raises(BadInputError, match="--out must be a new file"):
        compressed(pruned, done.path)
    (tmp_path / "b").mkdir()
    with pytest.raises(BadInputError, match="puts the settings and the account into"):
        compressed(pruned, tmp_path / "b.nasp")
    (tmp_path / "decode.py").write_text("mine", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"puts decode\.py beside it"):
        compressed(pruned, tmp_path / "c.nasp")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "decode.py"]


def test_a_damaged_file_is_one_line(
    done: Compressed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "net.nasp"
    broken.write_bytes(done.path.read_bytes()[:-20])
    with pytest.raises(DamagedError, match="checksum differs"):
        nas_prune.load_network(broken)
    assert main(["predict", str(broken), str(tmp_path)]) == 2
    assert "must be whole, got net.nasp" in capsys.readouterr().err


def test_the_command_prints_what_it_did(done: Compressed, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", str(done.run), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["account"]["file_bytes"] == done.account.file_bytes
    assert main(["compress", str(done.run)]) == 0
    said = capsys.readouterr().out
    assert "and Huffman codes: the file" in said
    assert f"nas-prune predict {done.path}" in said


def test_zeros_of_layers_that_are_written_number_by_number_stay(pruned: Path, tmp_path: Path) -> None:
    found = compressed(pruned, tmp_path / "run", bits="conv=4,classifier=7,features.0=5", epochs=2)
    before = nas_prune.load_network(pruned).state_dict()
    after = read_compressed(found.path).arrays
    shared = {one.name for one in found.layers}
    others = [name for name in before if before[name].dim() > 1 and name not in shared]
    assert others
    assert any((before[name] == 0).any() for name in others)
    for name in others:
        assert not (after[name][before[name].numpy() == 0]).any(), name
        assert not np.array_equal(after[name], before[name].numpy())


def test_what_is_there_by_the_time_it_is_written_is_kept(
    pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("nas_prune.compression.run.write_beside", stop)
        with pytest.raises(KeyboardInterrupt):
            compressed(pruned, tmp_path / "net.nasp", epochs=0)
    (tmp_path / "net.nasp").write_text("mine", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"net\.nasp must be free for what is written"):
        resume_compress(tmp_path / "net")
    assert (tmp_path / "net.nasp").read_text(encoding="utf-8") == "mine"
    (tmp_path / "net.nasp").unlink()
    (tmp_path / "decode.py").write_text("mine", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"decode\.py must be free"):
        resume_compress(tmp_path / "net")
    assert not (tmp_path / "net.nasp").exists()
    (tmp_path / "decode.py").unlink()
    assert resume_compress(tmp_path / "net").path == tmp_path / "net.nasp"


def test_a_run_that_was_renamed_names_its_file_and_a_damaged_one_is_noticed(
    done: Compressed, tmp_path: Path
) -> None:
    shutil.copytree(done.run, tmp_path / "other")
    shutil.copy(done.path, tmp_path / "other.nasp")
    assert resume_compress(tmp_path / "other").path == tmp_path / "other.nasp"
    (tmp_path / "other.nasp").write_bytes(b"NASP and more")
    with pytest.raises(DamagedError, match="must be whole"):
        resume_compress(tmp_path / "other")


def test_training_goes_on_from_a_compressed_network(done: Compressed, tmp_path: Path) -> None:
    record = read_record(done.path)
    assert record is not None
    config = TrainConfig(data="digits", schedule="fine-tune", epochs=4, weights=str(done.path))
    result = nas_prune.train(config, record.widths, tmp_path / "run")
    assert result.seeds[0].test_score > done.accuracies[-1].test - 0.1
    assert (tmp_path / "run" / "start.safetensors").is_file()


def test_a_file_in_a_trainings_directory_does_not_stand_for_it(pruned: Path, tmp_path: Path) -> None:
    shutil.copytree(pruned, tmp_path / "trained")
    compressed(tmp_path / "trained", tmp_path / "trained" / "net.nasp", epochs=0)
    assert network_in(tmp_path / "trained").name == "network.safetensors"


def test_a_lone_network_is_tuned_by_the_recipe_of_its_images(
    pruned: Path, tmp_path: Path, write_digits: WriteDigits
) -> None:
    for part in ("train", "test"):
        write_digits(f"own/{part}", dict.fromkeys("0123456789", 12))
    shutil.copy(network_in(pruned), tmp_path / "alone.safetensors")
    config = CompressConfig(epochs=0, with_int8=False)
    found = compress(
        tmp_path / "alone.safetensors", config, out=tmp_path / "run", data=f"folder:{tmp_path}/own"
    )
    assert read_config(found.run, CompressConfig).recipe.name == "fast"


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--bits", "3"], ["--budget", "size<=20%"]])
def test_one_that_is_killed_at_any_moment_ends_in_the_same_file(
    more: list[str], pruned: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "nas_prune", "compress"]
    new = [*command, str(pruned), "--epochs", "40", "--no-int8", *more]
    subprocess.run([*new, "--out", str(tmp_path / "whole.nasp")], check=True, capture_output=True)
    out, kills = tmp_path / "killed.nasp", 0
    wait = 2.0
    while not out.exists() and kills < 30:
        again = [*command, "--resume", str(out.with_suffix(""))]
        begun = (out.with_suffix("") / "config.yaml").exists()
        process = subprocess.Popen(
            again if begun else [*new, "--out", str(out)],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        wait *= 1.3
        time.sleep(0.01)
    assert kills >= 3
    subprocess.run([*command, "--resume", str(out.with_suffix(""))], check=True, capture_output=True)
    assert out.read_bytes() == (tmp_path / "whole.nasp").read_bytes()
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed")]
    assert results[0] == {**results[1], "file": "../whole.nasp"}


@pytest.mark.slow
def test_the_pipeline_of_the_readme_goes_from_a_search_to_labels_of_images(
    write_digits: WriteDigits, in_empty_directory: Path
) -> None:
    write_digits("my-images/train", dict.fromkeys("0123", 60), size=32)
    write_digits("my-images/test", dict.fromkeys("0123", 20), size=32)
    shutil.copy(next((in_empty_directory / "my-images" / "test" / "2").iterdir()), "photo.png")
    text = (Path(nas_prune.__file__).parent / "compression" / "README.md").read_text(encoding="utf-8")
    first = text.partition("```\n")[2].partition("```")[0]
    commands = [shlex.split(line) for line in first.splitlines()]
    assert [words[1] for words in commands] == ["search", "train", "compress", "predict"]
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "nas_prune", *words[1:]], capture_output=True, text=True, check=True
        )
    assert re.search(r"photo\.png +2 ", done.stdout)
    found = read_compression(Path("net"))
    assert found is not None
    assert any(form.name == "int8, ONNX" and form.test is not None for form in found.forms)
    assert found.account.file_bytes < found.account.whole_bytes / 4
    assert main(["export", "net.nasp", "--out", "exported"]) == 0
