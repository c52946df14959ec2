"""What a file or a directory of ours is, where another was wanted: said, with what takes it."""

from pathlib import Path

import pytest
import yaml

from nas_prune.errors import BadInputError, GuidelineError, WidthsError
from nas_prune.guideline.artefact import read_guideline
from nas_prune.hardware.target import target_named
from nas_prune.runs.files import shipped
from nas_prune.runs.kinds import Kind, kind_of, refuse_missing, refuse_other
from nas_prune.space.widths import read_widths
from nas_prune.study.config import read_study
from nas_prune.training.recipe import recipe_named

RUNS = Path(__file__).parents[1] / "earlier_runs"
RECIPES = Path(recipe_named.__code__.co_filename).with_name("recipes")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("search", "search"),
        ("search-all", "search"),
        ("search-stopped", "search"),
        ("train", "train"),
        ("compare", "compare"),
        ("compare-file", "compare"),
        ("transfer", "transfer"),
        ("evaluate", "evaluate"),
        ("study", "study"),
        ("guideline.yaml", "guideline"),
        ("study.yaml", "study file"),
        ("compare.yaml", "comparison file"),
        ("search/config.yaml", "settings"),
        ("search/result.json", "result"),
        ("train/result.json", "result"),
        ("train/widths.json", "widths"),
        ("search/kept.json", None),
        ("search/checkpoint.safetensors", "weights"),
        ("README.md", None),
        ("search/widths", None),
        ("nowhere", None),
    ],
)
def test_what_each_command_leaves_is_known(name: str, kind: Kind | None) -> None:
    assert kind_of(RUNS / name) == kind


def test_every_file_that_comes_along_is_known() -> None:
    for path in RECIPES.glob("*.yaml"):
        assert kind_of(path) == "recipe", path
    for path in shipped("studies").glob("*.yaml"):
        assert kind_of(path) in ("study file", "comparison file"), path
    for path in shipped("studies").glob("*/*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        wanted = "guideline" if "schema" in content else "settings" if "command" in content else None
        assert kind_of(path) == wanted or (wanted is None and kind_of(path) is not None), path


def test_images_are_known(tmp_path: Path) -> None:
    (tmp_path / "pictures/train/cat").mkdir(parents=True)
    picture = tmp_path / "pictures/train/cat/1.JPG"
    picture.touch()
    assert kind_of(tmp_path / "pictures") == "images"
    assert kind_of(tmp_path / "pictures/train/cat") == "images"
    assert kind_of(picture) == "image"


@pytest.mark.parametrize(
    "text", ["", "[", "- 1", "space: resnet20", "trials: 3\nmethod: l0\nspace: a", "a: &a [*a]"]
)
def test_what_could_be_several_things_is_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    assert kind_of(path) is None
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    assert kind_of(path.with_suffix(".json")) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("study.yaml", "which is a study file. nas-prune study run .*study.yaml takes it"),
        ("compare.yaml", "which is a comparison file. nas-prune compare .*compare.yaml takes it"),
        (
            "guideline.yaml",
            "which is a guideline. nas-prune apply --guideline .*guideline.yaml --space NAME takes it",
        ),
        ("search/result.json", "which is the result of a run. Name its directory, .*search"),
        ("search", "which is the directory of a search. Its widths are .*/search/widths/macs-50pct.json"),
        ("search-stopped", "nas-prune search --resume .*search-stopped writes its widths"),
        ("study", "which is the directory of a study. Its widths are .*/rank/.*/widths.json"),
        ("train", "which is the directory of a training. nas-prune predict .*train IMAGES takes it"),
    ],
)
def test_python_says_it_too(name: str, said: str) -> None:
    with pytest.raises(WidthsError, match=said):
        read_widths(RUNS / name)


def test_every_reader_names_what_it_was_given() -> None:
    with pytest.raises(GuidelineError, match=r"a widths file\. nas-prune train --widths .* takes it"):
        read_guideline(RUNS / "train/widths.json")
    with pytest.raises(BadInputError, match=r"a study must be a study file, got .*, which is a recipe"):
        read_study(RECIPES / "fast.yaml")
    with pytest.raises(BadInputError, match=r"a recipe's file, got .*, which is a study file"):
        recipe_named(str(RUNS / "study.yaml"))


def test_what_is_not_there_is_named_with_what_may_be_meant(in_empty_directory: Path) -> None:
    def said(name: str) -> str:
        with pytest.raises(BadInputError) as caught:
            refuse_missing(Path(name), "RUN must be a run")
        return str(caught.value)

    assert said("frist") == "RUN must be a run, got frist, which does not exist."
    Path("runs/first").mkdir(parents=True)
    assert said("frist") == "RUN must be a run, got frist, which does not exist. Did you mean runs/first?"
    assert said("xyz") == "RUN must be a run, got xyz, which does not exist. There are: runs/first."
    assert said("runs/fist").endswith("Did you mean runs/first?")
    assert said("runs/first/a/b").endswith("There are: runs/first.")
    assert "cannot be used (File name too long)" in said("x" * 300)


def test_targets_and_measurements_are_told(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("command: measure\n")
    assert kind_of(tmp_path) == "measurement"
    with pytest.raises(BadInputError, match="a measurement that has not ended. nas-prune measure --resume"):
        target_named(str(tmp_path))
    (tmp_path / "target.yaml").write_text("description: a board\nprecision: int8\n")
    assert kind_of(tmp_path) == kind_of(tmp_path / "target.yaml") == "target"
    with pytest.raises(BadInputError, match="which is a target. nas-prune search --target"):
        refuse_other(tmp_path, "search", wanted="RUN must be a search")


@pytest.mark.parametrize("name", ["search", "study", "search/config.yaml", "compare.yaml"])
def test_a_run_is_no_target(name: str) -> None:
    with pytest.raises(BadInputError, match="--target must be a target's (file|directory), got .*, which is"):
        target_named(str(RUNS / name))
