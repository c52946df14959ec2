"""A run on a person's own images is gone on with wherever they are now, and with no others."""

import re
import shutil
from pathlib import Path

import pytest

from nas_prune.cli import main
from nas_prune.runs.settings import read_config
from nas_prune.search.config import SearchConfig
from tests.conftest import WriteDigits

COMMAND = [
    "search",
    "--space",
    "resnet20",
    "--image-size",
    "8",
    "--epochs",
    "1",
    "--budget",
    "macs<=50%",
    "--out",
    "r",
]


def place_of(kind: str, folder: Path, labels: str = "35") -> str:
    """Two classes of images in a folder, listed or saved there."""
    files = sorted(folder.glob("?/*.png"))
    names = {"3": labels[0], "5": labels[1]}
    if kind == "csv":
        rows = [f"{file.relative_to(folder)},{names[file.parent.name]}\n" for file in files]
        (folder / "all.csv").write_text("path,label\n" + "".join(rows))
        return "all.csv"
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    columns = {"image": list(map(str, files)), "label": [names[file.parent.name] for file in files]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(folder / "saved"))
    return "saved"


def without_seconds(printed: str) -> str:
    return re.sub(r"\d+ s\b", "", printed)


@pytest.mark.parametrize("kind", ["csv", "hf"])
@pytest.mark.usefixtures("in_empty_directory")
def test_a_run_goes_on_with_its_images_where_they_are_now_and_with_no_others(
    kind: str, write_digits: WriteDigits, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("mine", "other"):
        write_digits(folder, {"3": 20, "5": 20})
    place, other = place_of(kind, Path("mine")), place_of(kind, Path("other"), labels="53")
    assert main([*COMMAND, "--data", f"{kind}:mine/{place}"]) == 0
    printed = capsys.readouterr().out
    assert read_config(Path("r"), SearchConfig).data.name == f"{kind}:../mine/{place}"
    shutil.move("mine", "moved")
    assert main(["search", "--resume", "r"]) == 2
    assert f"got mine/{place}" in capsys.readouterr().err
    assert main(["search", "--resume", "r", "--data", f"{kind}:other/{other}"]) == 2
    assert "must name the images that the run was begun with" in capsys.readouterr().err
    assert main(["search", "--resume", "r", "--data", f"{kind}:moved/{place}"]) == 0
    again = printed.replace(f"{kind}:mine", f"{kind}:moved")
    assert without_seconds(capsys.readouterr().out) == without_seconds(again)
