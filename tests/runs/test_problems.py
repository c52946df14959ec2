"""What is wrong with settings is said in plain words, of every setting that there is: never in pydantic's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.evaluate_result import EvaluateConfig
from nas_prune.comparison.file import CompareFile, read_compare_file
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, GuidelineError, NasPruneError, WidthsError
from nas_prune.guideline.artefact import Guideline, read_guideline
from nas_prune.runs.problems import first_problem
from nas_prune.search.config import SearchConfig
from nas_prune.space.names import SpaceFile
from nas_prune.space.widths import Widths, read_widths
from nas_prune.study.config import StudyConfig, read_study
from nas_prune.training.config import TrainConfig
from nas_prune.training.recipe import Recipe, changed, recipe_named

RUNS = Path(__file__).parents[1] / "earlier_runs"
RAW = re.compile(
    r"Input should|Field required|Extra inputs|[Vv]alid |unable to|pydantic|Value error|type=|\bNone\b"
)
WRONG: tuple[Any, ...] = (
    *("many", "", "x" * 600, -1, 0, 10**12, 2.5, float("nan"), float("inf"), True, None),
    *([], ["a"], [[]], {}, {"a": 1}, {"name": 3}),
)
WHOLE: dict[type[BaseModel], dict[str, Any]] = {
    Recipe: recipe_named("fast").model_dump(mode="json"),
    DataConfig: DataConfig().model_dump(mode="json"),
    SearchConfig: {"space": "resnet20"},
    TrainConfig: {},
    CompareConfig: {},
    EvaluateConfig: {"space": "resnet20", "budget": "macs<=50%", "guideline": "erk"},
    StudyConfig: {"name": "some", **yaml.safe_load((RUNS / "study.yaml").read_text(encoding="utf-8"))},
    CompareFile: {"name": "some", **yaml.safe_load((RUNS / "compare.yaml").read_text(encoding="utf-8"))},
    Widths: json.loads((RUNS / "train/widths.json").read_text(encoding="utf-8")),
    Guideline: yaml.safe_load((RUNS / "guideline.yaml").read_text(encoding="utf-8")),
    SpaceFile: {"description": "some", "family": "resnet", "depth": 20},
}
for schema_of in (Widths, Guideline):
    WHOLE[schema_of].pop("schema")


def said_of(kind: type[BaseModel], content: dict[str, Any]) -> str | None:
    try:
        kind.model_validate(content)
    except ValidationError as error:
        return first_problem(error, kind)
    except NasPruneError as error:  # from within, as where a name is looked up
        return str(error)
    return None


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_every_setting_of_every_kind_is_answered_plainly(kind: type[BaseModel]) -> None:
    whole = WHOLE[kind]
    assert said_of(kind, whole) is None
    count = 0
    for name in kind.model_fields:
        for wrong in WRONG:
            said = said_of(kind, {**whole, name: wrong})
            if said is not None:
                count += 1
                assert not RAW.search(said), (name, wrong, said)
                assert "\n" not in said, (name, wrong, said)
                assert len(said) < 2100, (name, wrong, said)
        without = said_of(kind, {key: one for key, one in whole.items() if key != name})
        assert without is None or not RAW.search(without), without
    assert count > 5


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_a_name_that_is_misspelt_is_answered_with_the_one_that_is_meant(kind: type[BaseModel]) -> None:
    for name in kind.model_fields:
        if len(name) > 4:
            typed = name[:2] + name[3] + name[2] + name[4:]
            said = said_of(kind, {**WHOLE[kind], typed: 1}) if typed not in kind.model_fields else None
            assert said is None or f"{typed}: there is no such setting (is " in said, said


def written(tmp_path: Path, name: str, kind: type[BaseModel], **changes: object) -> Path:
    path = tmp_path / name
    schema = {Widths: "nas-prune/widths/1", Guideline: "nas-prune/guideline/1"}.get(kind)
    content = {**({"schema": schema} if schema else {}), **WHOLE[kind], **changes}
    text = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trails": 3}, r"own.yaml cannot be used: trails: there is no such setting \(is trials meant\?\)\.$"),
        ({"trials": "many"}, r"trials: it must be a whole number, got 'many'\.$"),
        ({"trials": 0}, r"trials: it must be at least 1, got 0\.$"),
        ({"trials": 2.5}, r"trials: it must be a whole number, got 2.5\.$"),
        ({"trials": 10**9}, r"trials: it must be at most 100,000, got 1,000,000,000\.$"),
        ({"sampler": "tpr"}, r"sampler: it must be one of rule, cma, tpe, .*, got 'tpr' \(is tpe meant\?\)\.$"),
        ({"data": {"name": "digits", "max_image": 3}}, r"data.max_image: .* \(is max_images meant\?\)\.$"),
        ({"data": [1]}, r"data: it must be settings, each a name and a value, got a list\.$"),
        ({"recipe": {"epochs": 3}}, r"recipe.name: it must be given, and is not there\.$"),
        ({"question": 5}, r"question: it must be text, got 5\.$"),
    ],
)  # fmt: skip
def test_study_files(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=said):
        read_study(written(tmp_path, "own.yaml", StudyConfig, **changes))


def test_the_other_files(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"sedes: there is no such setting \(is seeds meant\?\)\.$"):
        read_compare_file(written(tmp_path, "compare.yaml", CompareFile, sedes=3))
    with pytest.raises(BadInputError, match=r"seeds: it must be at least 1, got 0\.$"):
        read_compare_file(written(tmp_path, "compare.yaml", CompareFile, seeds=0))
    with pytest.raises(
        BadInputError,
        match=r"schedule: it must be one of steps, .*, got 'cosin' \(is cosine",
    ):
        recipe_named(str(written(tmp_path, "recipe.yaml", Recipe, schedule="cosin")))
    with pytest.raises(BadInputError, match=r"learning_rate: it must be above 0, got -1\.$"):
        recipe_named(str(written(tmp_path, "recipe.yaml", Recipe, learning_rate=-1.0)))
    groups = [{**WHOLE[Widths]["groups"][0], "width": "wide"}, *WHOLE[Widths]["groups"][1:]]
    with pytest.raises(WidthsError, match=r"groups.0.width: it must be a whole number, got 'wide'\.$"):
        read_widths(written(tmp_path, "widths.json", Widths, groups=groups))
    with pytest.raises(GuidelineError, match=r"cells: it must be a list, got 'none'\.$"):
        read_guideline(written(tmp_path, "guideline.yaml", Guideline, cells="none"))


def test_settings_in_python() -> None:
    with pytest.raises(BadInputError, match=r"budgts: there is no such setting \(is budgets meant\?\)\.$"):
        SearchConfig(space="resnet20", budgts=("macs<=50%",))  # type: ignore[call-arg]
    with pytest.raises(BadInputError, match=r"--batch-size must be at least 2, got 1\.$"):
        changed(recipe_named("fast"), batch_size=1)
