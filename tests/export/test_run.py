"""What is exported says what the trained network says, in a process without nas-prune; anything else is refused."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open

import nas_prune
from nas_prune.data import load_data
from nas_prune.data.preprocessing import Preprocessing
from nas_prune.data.targets import TargetKind, TargetScale
from nas_prune.errors import BadInputError, DataError
from nas_prune.export.card import _limits
from nas_prune.export.config import ExportConfig
from nas_prune.export.facts import facts_of
from nas_prune.export.result import Exported, summary
from nas_prune.export.run import _folder_for, _put_in_place
from nas_prune.runs.directory import check_out
from nas_prune.runs.progress import Progress
from tests.export.conftest import NETS, in_onnx_runtime

IMAGES = 60
SPACE = f"{NETS}:Small"


def exported(run: Path, out: Path, space: str = SPACE, data: str | None = None, **settings: Any) -> Exported:
    config = ExportConfig(**{"images": IMAGES, "runs": 2, **settings})
    return nas_prune.export_network(run, config, out=out, space=space, data=data)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, pytest.param({"folds_norms": True, "with_preprocessing": True}, marks=pytest.mark.slow)],
)
def test_onnx_says_the_same_in_a_process_without_nas_prune_and_torch(
    trained: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    result = exported(trained, tmp_path / "out", **settings)
    network = nas_prune.load_network(trained, space=SPACE)
    data = load_data("digits")
    images = data.test.sample()
    with torch.no_grad():
        scores = network((images.float() / 255 - data.mean[0]) / data.std[0])[0]
    said = in_onnx_runtime(result.path, images, tmp_path)
    assert said["found"] == scores.argmax(1).tolist()
    assert said["alone"] == said["found"][0]
    assert len(set(said["found"])) == 10
    assert json.loads(said["known"]["classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(said["known"]["mean"]) == pytest.approx(data.mean)
    assert (said["known"]["image_size"], said["known"]["channels"]) == ("8", "1")
    assert result.folded == ((2, 2) if settings else None)
    assert names(tmp_path / "out") == ["README.md", "model.onnx", "widths.json"]
    assert names(tmp_path) == ["images.npy", "out"]


@pytest.mark.parametrize("to", ["onnx", "int8-onnx", "pt2", "safetensors"])
def test_every_form_is_checked_measured_and_described(trained: Path, tmp_path: Path, to: str) -> None:
    more: dict[str, Any] = {"calibration": 20} if to == "int8-onnx" else {}
    result = exported(trained, tmp_path / "out", to=to, **more)
    said = result.agreement
    assert (said.images, said.data) == (IMAGES, "digits")
    assert said.accuracy_before > 0.5
    if to == "int8-onnx":
        assert said.accuracy > 0.5
        assert said.largest_difference > 1e-3  # or nothing was quantised
        assert result.path.stat().st_size < result.speeds[1].file_bytes * 1.5
    else:
        assert said.differing == said.ties == 0
        assert said.largest_difference < 1e-4 * said.largest_score
    assert {one.runs for one in result.speeds} == {2}
    assert all(0 < one.median_ms <= one.p95_ms for one in result.speeds)
    assert names(result.out) == sorted(result.files)
    page = (result.out / "README.md").read_text(encoding="utf-8")
    assert page.startswith(
        f"---\nlibrary_name: {'onnx' if 'onnx' in to else 'pytorch'}\npipeline_tag: image-cl"
    )
    each = [
        100 * json.loads((trained / f"seed-{seed}" / "result.json").read_text())["test_accuracy"]
        for seed in (0, 1)
    ]
    accuracy = (
        f"Test accuracy {mean(each):.2f} ± {stdev(each):.2f} % (n = 2 seeds, mean ± standard deviation)"
    )
    assert accuracy in page
    assert "| `conv2` | inner | 24 | 13 |" in page
    assert json.loads(json.dumps(summary(result)))["agreement"]["images"] == IMAGES
    for file in result.out.iterdir():  # nothing of this machine
        content = file.read_bytes()
        assert str(Path.home()).encode() not in content or str(Path.home()) == "/"
        assert b"site-packages" not in content
        assert str(tmp_path.parent).encode() not in content
        assert b"nets.py" not in content
        assert b"pkg.torch" not in content


@pytest.mark.parametrize("to", ["onnx", pytest.param("safetensors", marks=pytest.mark.slow)])
def test_the_code_on_the_page_runs_as_it_stands(trained: Path, tmp_path: Path, to: str) -> None:
    from PIL import Image

    result = exported(trained, tmp_path / "out", to=to)
    Image.new("L", (9, 9), 40).save(result.out / "photo.jpg")
    page = (result.out / "README.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    hidden = "import sys; sys.path.insert(0, '.'); sys.modules['nas_prune'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + code], cwd=result.out, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() in {str(digit) for digit in range(10)}, done.stderr


@pytest.mark.slow
def test_model_py_is_plain_torch_and_what_the_weights_are_called_is_kept(
    trained: Path, tmp_path: Path
) -> None:
    result = exported(trained, tmp_path / "out", to="safetensors")
    tree = ast.parse((result.out / "model.py").read_text(encoding="utf-8"))
    modules = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }
    assert modules <= {"torch", "safetensors", "operator"}
    network = nas_prune.load_network(trained, space=SPACE)
    assert result.path.stat().st_mode == (result.out / "README.md").stat().st_mode
    with safe_open(result.path, "pt") as file:
        assert set(file.keys()) == set(network.state_dict())
        assert json.loads(file.metadata()["classes"]) == [str(digit) for digit in range(10)]
    text = (result.out / "model.py").read_text(encoding="utf-8")
    assert "put(self, 'conv1', nn.Conv2d(1, 13, (3, 3), padding=(1, 1), bias=False))" in text
    assert "dropout" not in text


WRONG = [
    ("OtherClass", "onnx", r"got '\d' where that says '\d' for test image 0 of digits, and others for 59"),
    ("OtherClass", "pt2", r"got '\d' where that says '\d' for test image 0 of digits"),
    pytest.param(
        "OtherClass",
        "safetensors",
        r"got '\d' where that says '\d' for test image 0 of digits",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "OtherClass",
        "int8-onnx",
        r"got '\d' where that says '\d' for test image 0 of digits",
        marks=pytest.mark.slow,
    ),
    ("OtherScores", "onnx", r"scores that differ by .* for test image \d+ of digits"),
    ("NoNumbers", "pt2", "no numbers for test image 0 of digits"),
    ("Branches", "onnx", r"torch\.export takes, for any number of images, got GuardOnDataDependent"),
    ("Branches", "safetensors", r"torch\.export takes, for any number of images, got GuardOnDataDependent"),
    ("OneBatch", "pt2", r"torch\.export takes, for any number of images, got"),
    (
        "NotInOnnx",
        "onnx",
        r"torch\.onnx\.export takes, got prims\.bessel_i1e, which ONNX has no operation for",
    ),
    ("OwnOperation", "safetensors", "own operations to be written as model.py, got nas_prune_tests::twice"),
    ("Quoted", "pt2", r"names are words to be exported so, got .*raise SystemExit"),
    ("Quoted", "onnx", r"names are words to be exported so, got .*raise SystemExit"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "to", "why"), WRONG)
def test_what_says_something_else_or_cannot_be_written_leaves_nothing(
    untrained: Callable[[str], Path], tmp_path: Path, name: str, to: str, why: str
) -> None:
    path = untrained(name)
    before = names(tmp_path)
    with pytest.raises(BadInputError, match=why) as error:
        exported(path, tmp_path / "out", space=f"{NETS}:{name}", data="digits", to=to)
    assert len(str(error.value).splitlines()) == 1
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "to"), [("NotInOnnx", "pt2"), pytest.param("Quoted", "safetensors", marks=pytest.mark.slow)]
)
def test_what_one_form_cannot_hold_another_can(
    untrained: Callable[[str], Path], tmp_path: Path, name: str, to: str
) -> None:
    result = exported(untrained(name), tmp_path / "out", space=f"{NETS}:{name}", data="digits", to=to)
    assert result.agreement.differing == 0


def test_a_directory_that_is_taken_stays_as_it_is_and_an_empty_one_is_filled(
    trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    exported(trained, out, to="pt2")
    before = {one.name: one.read_bytes() for one in out.iterdir()}
    with pytest.raises(BadInputError, match="--out must be a new or an empty directory"):
        exported(trained, out, to="onnx")
    assert {one.name: one.read_bytes() for one in out.iterdir()} == before


def test_a_file_that_no_run_is_beside_needs_its_images(
    untrained: Callable[[str], Path], tmp_path: Path
) -> None:
    path = untrained("Small")
    with pytest.raises(BadInputError, match="--data must say on which images the export is checked"):
        exported(path, tmp_path / "out")
    assert exported(path, tmp_path / "out", data="digits").agreement.images == IMAGES


def test_images_of_other_classes_are_refused(
    trained: Path, tmp_path: Path, write_digits: Callable[..., Path]
) -> None:
    folder = write_digits("images/train", {"3": 4, "7": 4})
    write_digits("images/test", {"3": 2, "7": 2})
    with pytest.raises(
        DataError, match=r"--data must name images of the classes .*, got 3, 7 \(folder:images\)"
    ):
        exported(trained, tmp_path / "out", data=f"folder:{folder}/images")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"images": 0}, "images: it must be at least 1"),
        ({"to": "tflite"}, "to: it must be"),
        ({"calibration": 5}, "calibration must come with int8-onnx alone, got onnx"),
        ({"colour": 1}, "colour"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, object], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        ExportConfig(**settings)


def test_a_training_that_has_not_ended_is_named(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "unfinished"
    shutil.copytree(trained, run)
    (run / "result.json").unlink()
    told: list[str] = []
    nas_prune.export_network(
        run,
        ExportConfig(to="pt2", images=IMAGES, runs=2),
        out=tmp_path / "out",
        space=SPACE,
        progress=Progress(say=told.append),
    )
    assert f"nas-prune train --resume {run}" in " ".join(told)


@pytest.mark.parametrize(
    ("kind", "output", "limit"),
    [
        (
            "class",
            "scores: float32, N×2, of the classes, before softmax",
            "an image shows, it is said to be of one",
        ),
        (
            "classes",
            "scores: float32, N×2, of the classes, each before a sigmoid",
            "else an image shows it says",
        ),
        (
            "mask",
            "scores: float32, N×2×H×W, of the classes of each pixel",
            "a pixel shows, it is said to be of one",
        ),
        (
            "numbers",
            "numbers: float32, N×2; each times its scale_std, plus",
            "It says its numbers of any image",
        ),
    ],
)
def test_a_file_and_its_page_say_what_the_network_is_for(kind: TargetKind, output: str, limit: str) -> None:
    scale = TargetScale((50.5, -1.0), (2.0, 0.25)) if kind == "numbers" else None
    known = Preprocessing(
        classes=("a", "b"), channels=1, size=8, mean=(0.5,), std=(0.25,), kind=kind, scale=scale, task="own"
    )
    space = nas_prune.load_space("vgg11", (1, 8, 8), num_classes=2, width_multiplier=0.25)
    facts = facts_of(ExportConfig(), space.widths(space.base_G), known)
    assert facts["output"].startswith(output)
    assert facts["task"] == "own"
    assert ("scale_mean" in facts, "scale_std" in facts) == (kind == "numbers",) * 2
    if kind == "numbers":
        assert json.loads(facts["scale_mean"]) == [50.5, -1.0]
        assert json.loads(facts["scale_std"]) == [2.0, 0.25]
    result: Any = SimpleNamespace(config=ExportConfig())
    assert limit in _limits(result, known)


@pytest.mark.parametrize("asked", [".", "link", "empty", "new", "nowhere"])
def test_an_empty_directory_gets_the_files_wherever_it_is(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "here").mkdir(parents=True)
    (tmp_path / "disk" / "real").mkdir()
    monkeypatch.chdir(tmp_path / "disk" / "here" if asked == "." else tmp_path)
    if asked in ("link", "nowhere"):
        Path(asked).symlink_to(tmp_path / "disk" / ("real" if asked == "link" else "none"))
    if asked == "empty":
        Path(asked).mkdir()
    out = Path(asked)
    if asked == "nowhere":
        with pytest.raises(BadInputError, match="--out must be a new or an empty directory"):
            check_out(out)
        return
    with _folder_for(out) as folder:
        kept = folder / "kept"
        kept.mkdir()
        (kept / "model.onnx").write_text("a network", encoding="utf-8")
        _put_in_place(kept, out)
    assert names(out) == ["model.onnx"]
    assert names(Path.cwd() / out) == ["model.onnx"]
    assert out.is_symlink() == (asked == "link")
    assert not [*tmp_path.rglob("*.part")]
