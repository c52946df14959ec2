"""From a person's own images, however they are laid out, to a prediction: each command as the one before prints it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_prune.cli import main
from tests.cli.printed import printed_in, words_of
from tests.conftest import WriteDigits

PLACE = "my pictures"  # with a space: what is printed must be quoted
SIZES = {"3": 24, "5": 20, "8": 20}
SHORT = ("--epochs", "2", "--image-size", "8", "--space", "resnet20", "--width-multiplier", "0.25")

Layout = Callable[[WriteDigits], str]


def with_test(write: WriteDigits) -> str:
    write(f"{PLACE}/train", SIZES)
    write(f"{PLACE}/test", dict.fromkeys(SIZES, 6))
    return f"folder:{PLACE}"


def with_validation(write: WriteDigits) -> str:
    write(f"{PLACE}/Train", SIZES)
    write(f"{PLACE}/VALID", dict.fromkeys(SIZES, 4))
    write(f"{PLACE}/Test", dict.fromkeys(SIZES, 6))
    return f"folder:{PLACE}"


def with_validation_alone(write: WriteDigits) -> str:
    write(f"{PLACE}/train", SIZES)
    write(f"{PLACE}/val", dict.fromkeys(SIZES, 6))
    return f"folder:{PLACE}"


def classes_alone(write: WriteDigits) -> str:
    write(PLACE, SIZES)
    return f"folder:{PLACE}"


def as_an_archive_leaves_it(write: WriteDigits) -> str:
    write(f"{PLACE}/export/images", SIZES)
    write(f"{PLACE}/__MACOSX/export/images", {"3": 2})
    return f"folder:{PLACE}"


def listed(write: WriteDigits) -> str:
    write(PLACE, SIZES)
    with Path("list of mine.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, delimiter=";")
        rows.writerow(["Path", "Label"])
        rows.writerows([str(path), path.parent.name] for path in sorted(Path(PLACE).rglob("*.png")))
    return "csv:list of mine.csv"


def saved(write: WriteDigits) -> str:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    write(PLACE, SIZES)
    files = sorted(Path(PLACE).rglob("*.png"))
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=sorted(SIZES))}
    )
    columns = {"image": list(map(str, files)), "label": [path.parent.name for path in files]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk("saved ones")
    return "hf:saved ones"


LAYOUTS: dict[str, Layout] = {
    layout.__name__: layout
    for layout in (
        with_test, with_validation, with_validation_alone, classes_alone, as_an_archive_leaves_it, listed, saved,
    )
}  # fmt: skip


def next_of(capsys: pytest.CaptureFixture[str], *typed: str) -> list[str]:
    """The words of the command that another one prints to be typed next."""
    assert main(list(typed)) == 0, typed
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Next:")]
    (command,) = printed_in("\n".join(printed))
    return words_of(command, {"IMAGES…": PLACE})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "with_test" else pytest.mark.slow) for name in LAYOUTS]
)
@pytest.mark.usefixtures("in_empty_directory")
def test_images_of_every_layout_lead_to_a_prediction_as_typed(
    name: str, write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    data = LAYOUTS[name](write_digits)
    step = next_of(capsys, "search", "--data", data, *SHORT, "--budget", "macs<=60%")
    assert step[0] == "train"
    predict = next_of(capsys, *step)
    assert predict[0] == "predict"
    assert main([*predict, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["images"]) == len(
        [path for path in Path(PLACE).rglob("*.png") if "__MACOSX" not in path.parts]
    )
    run = Path(predict[1])
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["classes"] == sorted(SIZES)
    assert main(["predict", str(run), "--data", data, "--format", "json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    if name.startswith(
        "with_"
    ):  # the same part is tested; the others keep a part of their own images for that
        assert checked["accuracy"] == pytest.approx(result["seeds"][0]["test_accuracy"])
