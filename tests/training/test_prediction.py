"""A trained network is used: loaded again, asked about images, and checked against what they are."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nas_prune.cli import main
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, DamagedError, DataError
from nas_prune.runs.progress import Progress
from nas_prune.space.load import load_space
from nas_prune.training.checkpoint import read_tensors, write_tensors
from nas_prune.training.config import TrainConfig
from nas_prune.training.load_network import load_network
from nas_prune.training.prediction import Predictions, predict
from nas_prune.training.recipe import recipe_named
from nas_prune.training.result import TrainResult
from nas_prune.training.run import resume_train, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    space = load_space("resnet20", (1, 8, 8))
    config = TrainConfig(
        data=DataConfig(max_images=100),
        recipe=recipe_named("digits").with_epochs(1),
        schedule="scratch-e",
        threads=1,
        seeds=(0, 3),
    )
    return train(
        config, space.widths([base // 2 for base in space.base_G]), tmp_path_factory.mktemp("t") / "t"
    )


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Pictures of two classes, named as the digits are."""
    rng = np.random.default_rng(0)
    for name, count in (("3", 4), ("7", 2)):
        (tmp_path / "digits" / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, (9, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "digits" / name / f"{number}.png")
    return tmp_path / "digits"


def test_a_network_is_loaded_as_it_was_trained(trained: TrainResult) -> None:
    best = max(trained.seeds, key=lambda one: one.val_accuracy).seed
    for seed in (None, 0, 3):
        weights = load_file(trained.run / f"seed-{best if seed is None else seed}" / "network.safetensors")
        for network in (load_network(trained.run, seed=seed), trained.network(seed)):
            assert not network.training
            assert all(torch.equal(weights[name], one) for name, one in network.state_dict().items())
    file = trained.run / "seed-3" / "network.safetensors"
    assert torch.equal(load_network(file).state_dict()["fc.bias"], load_file(file)["fc.bias"])


def test_what_is_no_trained_network_is_named(trained: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="left a network with seed 5, got"):
        load_network(trained.run, seed=5)
    with pytest.raises(BadInputError, match="seed must be one of 0, 3, got 5"):
        trained.network(5)
    with pytest.raises(BadInputError, match=r"which holds none\. There are: .*seed-0/network.safetensors"):
        load_network(trained.run.parent)
    with pytest.raises(BadInputError, match="which holds none"):
        load_network(tmp_path)
    copy = shutil.copy(trained.run / "seed-0" / "network.safetensors", tmp_path)
    raw = bytearray(Path(copy).read_bytes())
    raw[-1] ^= 1
    Path(copy).write_bytes(raw)
    with pytest.raises(DamagedError, match="whose checksum differs"):
        load_network(copy)
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DamagedError, match="a network must be whole, got other.safetensors"):
        load_network(tmp_path / "other.safetensors")


def test_probabilities_are_of_the_network(trained: TrainResult, digits: Path) -> None:
    found = predict(trained.run, [digits / "3", digits / "7" / "0.png", digits / "3" / "1.png"], seed=0)
    assert isinstance(found, Predictions)
    assert [file.name for file in found.files] == ["0.png", "1.png", "2.png", "3.png", "0.png"]
    assert found.shares_NC.shape == (5, 10)
    np.testing.assert_allclose(found.shares_NC.sum(1), 1, rtol=1e-5)
    assert found.labels_N is None
    assert found.best(0, 10)[0][0] == found.classes[found.found_N[0]]
    with pytest.raises(BadInputError, match="right classes must be known"):
        _ = found.accuracy


def test_what_is_right_is_counted_class_by_class() -> None:
    shares = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.3, 0.7, 0]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1])
    found = Predictions(Path("n"), ("a", "b", "c"), tuple(map(Path, "wxyz")), shares, labels)
    assert found.accuracy == 0.75
    assert found.recall == {"a": (3, 2 / 3), "b": (1, 1.0)}
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert found.confusion_CC.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found.worst(5) == [1]


@pytest.mark.slow
def test_the_command_says_writes_and_draws(
    trained: TrainResult, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(trained.run)
    assert main(["predict", run, str(digits / "3")]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if ".png" in line]) == 4
    assert main(["predict", run, "--data", str(digits), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "of 6 images" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"predictions.csv", "confusion.png"}
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["3"] * 4 + ["7"] * 2
    assert main(["predict", run, str(digits), "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in rows] == [one["class"] for one in content["images"]]
    assert main(["predict", run, str(digits), "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "IMAGES must be given, or a data set with --data, one of the two, got neither"),
        (["nothing.jpg"], r"IMAGES must be there, got nothing.jpg, which does not exist"),
        (["empty"], "IMAGES must be images or folders of some, got empty, which has none"),
        (["--data", "nothing"], "must name a folder, got nothing, which does not exist"),
        (["--data", "empty"], "must be of classes that the network knows"),
        (["--data", "other"], "got cats beside them"),
        (["--data", "hollow"], "hollow must hold images of each class, got none"),
    ],
)
def test_what_cannot_be_predicted_is_said_in_one_line(
    arguments: list[str],
    why: str,
    trained: TrainResult,
    in_empty_directory: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("empty", "other/cats", "hollow/3"):
        Path(folder).mkdir(parents=True)
    assert main(["predict", str(trained.run), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nas-prune: ")
    with pytest.raises((BadInputError, DataError), match=why):
        raise BadInputError(line)


def test_the_layouts_that_are_trained_on_are_checked_too(
    trained: TrainResult, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("wrapped/images", "parts/Train", "parts/TEST", "two/train", "two/Validation"):
        shutil.copytree(digits, tmp_path / place)
    (tmp_path / "wrapped" / "__MACOSX").mkdir()
    for name in ("wrapped", "parts", "two"):
        for data in (tmp_path / name, f"folder:{tmp_path / name}"):
            assert len(predict(trained.run, data=data).files) == 6
    assert main(["predict", str(trained.run), "--data", str(tmp_path / "wrapped")]) == 0
    assert "has no part test: all its images are looked at" in capsys.readouterr().err
    assert len(predict(trained.run, str(digits / "3")).files) == 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"classes": ["a", "b"]}, "2 classes are not those of the widths"),
        ({"classes": ["a"] * 10}, "classes must each be named once"),
        ({"size": 100_000}, "are not those of the widths"),
        ({"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}, "are not those of the widths"),
        ({"std": [1e-300]}, "std.0"),
    ],
)
def test_a_record_that_fits_no_network_is_refused(
    changes: dict[str, object], why: str, trained: TrainResult, tmp_path: Path
) -> None:
    content, weights = read_tensors(trained.run / "seed-0" / "network.safetensors")
    content["network"]["preprocessing"] |= changes
    write_tensors(tmp_path / "x.safetensors", weights, content)
    with pytest.raises(DamagedError, match=why):
        load_network(tmp_path / "x.safetensors")


def test_weights_that_no_training_gives_are_refused(trained: TrainResult, tmp_path: Path) -> None:
    content, weights = read_tensors(trained.run / "seed-0" / "network.safetensors")
    for bad in (weights["fc.bias"].to(torch.int8), weights["fc.bias"] * torch.nan):
        write_tensors(tmp_path / "x.safetensors", {**weights, "fc.bias": bad}, content)
        with pytest.raises(DamagedError, match="must hold finite numbers, got x.safetensors, where fc.bias"):
            load_network(tmp_path / "x.safetensors")


def test_a_seed_whose_network_is_damaged_is_trained_again(trained: TrainResult, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained.run, tmp_path / "t"))
    before = (run / "seed-0" / "network.safetensors").read_bytes()
    (run / "seed-0" / "network.safetensors").write_bytes(b"x")
    said: list[str] = []
    resume_train(run, progress=Progress(say=said.append))
    assert any("is trained again" in text for text in said)
    assert (run / "seed-0" / "network.safetensors").read_bytes() == before
    (run / "seed-3" / "result.json").write_text('{"seed": 3, "val_accuracy": 77, "test_accuracy": 55}')
    assert resume_train(run).seeds[1].test_accuracy == trained.seeds[1].test_accuracy


@pytest.mark.parametrize("kind", ["csv", "hf"])
def test_accuracy_is_that_of_a_folder_wherever_the_images_are(
    kind: str, trained: TrainResult, digits: Path, tmp_path: Path
) -> None:
    expected = predict(trained.run, data=digits)
    files = sorted(digits.glob("*/*"))
    if kind == "csv":
        place = tmp_path / "all.csv"
        place.write_text(
            "path,label\n"
            + "".join(f"digits/{file.parent.name}/{file.name},{file.parent.name}\n" for file in files)
        )
    else:
        datasets = pytest.importorskip("datasets")
        datasets.disable_progress_bars()
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=["3", "7"])}
        )
        labels = [int(file.parent.name == "7") for file in files]
        place = tmp_path / "saved"
        datasets.Dataset.from_dict(
            {"image": list(map(str, files)), "label": labels}, features=features
        ).save_to_disk(str(place))
    found = predict(trained.run, data=f"{kind}:{place}")
    assert isinstance(expected, Predictions)
    assert isinstance(found, Predictions)
    assert np.array_equal(found.shares_NC, expected.shares_NC)
    assert np.array_equal(found.confusion_CC, expected.confusion_CC)
    assert (
        main(["predict", str(trained.run), "--data", f"{kind}:{place}", "--out", str(tmp_path / "out")]) == 0
    )
    with (tmp_path / "out" / "predictions.csv").open() as stream:
        names = [row["file"] for row in csv.DictReader(stream)]
    assert names == ([f"{place}[{i}]" for i in range(6)] if kind == "hf" else list(map(str, files)))
    assert (tmp_path / "out" / "mistakes.png").stat().st_size > 1000


def test_images_with_transparency_are_said_to_lie_on_white(trained: TrainResult, tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    said = list[str]()
    progress = Progress(say=said.append, update=lambda *_: None)
    clear = predict(trained.run, [tmp_path / "a.png"], progress=progress)
    assert said == ["1 image (a.png) has transparency: drawn on white."]
    Image.new("L", (8, 8), 255).save(tmp_path / "a.png")
    white = predict(trained.run, [tmp_path / "a.png"])
    assert isinstance(clear, Predictions)
    assert isinstance(white, Predictions)
    assert np.array_equal(white.shares_NC, clear.shares_NC)
