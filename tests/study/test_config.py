"""Study files: what they may say, and what is said of those that cannot be used."""

from pathlib import Path
from typing import get_args

import click
import pytest
import yaml

from nas_prune.cli.study import run
from nas_prune.errors import BadInputError
from nas_prune.runs.files import shipped
from nas_prune.space.budget import Budget
from nas_prune.study.config import SamplerName, StudyConfig, read_study, study_of
from nas_prune.study.samplers import SAMPLERS

PLAIN = {"space": "resnet20", "epochs": 2, "budget": "macs<=30%"}


def write(folder: Path, **settings: object) -> Path:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **settings}), encoding="utf-8")
    return path


def test_a_file_of_three_lines_is_a_study(tmp_path: Path) -> None:
    config = read_study(write(tmp_path))
    assert (config.name, config.data.name, config.recipe.name) == ("own", "digits", "digits")
    assert config.budget_training == 10
    assert config.budgets == (Budget("macs", 0.3),)
    assert config.trial_recipe.epochs == 2
    assert list(config.studies) == ["own"]


def test_what_is_written_into_a_run_reads_back_the_same(tmp_path: Path) -> None:
    config = read_study(write(tmp_path, data="folder:images", recipe="fast"))
    assert config.data.name == f"folder:{tmp_path / 'images'}"
    text = yaml.safe_dump(config.relative_to(tmp_path / "run").model_dump(mode="json"))
    again = StudyConfig.model_validate(yaml.safe_load(text))
    assert again.data.name == "folder:../images"
    assert again.fixed() == config.fixed()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trails": 3}, "trails: there is no such setting"),
        ({"space": "resnet57"}, "resnet57"),
        ({"budget": "macs>=30%"}, "an upper bound"),
        ({"budget": "own"}, "a budget must bound a cost, got own"),
        ({"budget": "latency<=3"}, "latency"),
        ({"budgets": ["macs<=30%"]}, "budget and budgets must not stand beside each other"),
        ({"name": ".."}, "without slashes or a dot in front"),
        ({"name": "a/b"}, "without slashes"),
        ({"epochs": 0}, "epochs: it must be at least 1, got 0"),
        ({"trials": -1}, "trials"),
        ({"sampler": "nsga3"}, "sampler"),
        ({"recipe": "fats"}, "must be one of digits, fast"),
        ({"against": "macs"}, "two budgets of one cost"),
        ({"data": {"name": "digits", "size": 8}}, "data.size: there is no such setting"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(settings: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=said):
        read_study(write(tmp_path, **settings))


def test_two_objectives_go_with_what_optuna_can_do(tmp_path: Path) -> None:
    content = {"space": "resnet20", "epochs": 2, "budgets": ["macs<=60%", "macs<=20%"], "against": "macs"}
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert [str(one) for one in read_study(path).studies["two"]] == ["macs<=20%", "macs<=60%"]
    for more, said in (
        ({"budgets": ["macs<=0.5M", "macs<=50%"]}, "both as shares"),
        ({"stopping": "median"}, "no early stopping"),
        ({"sampler": "cma"}, "cma has one objective"),
        ({"sampler": "rule"}, "rule has one objective"),
    ):
        path.write_text(yaml.safe_dump({**content, **more}), encoding="utf-8")
        with pytest.raises(BadInputError, match=said):
            read_study(path)


def test_each_budget_is_a_study_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("space: resnet20\nepochs: 2\nbudgets: [macs<=30%, 'params<=100K']\n", encoding="utf-8")
    assert list(read_study(path).studies) == ["own macs<=30%", "own params<=100K"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "one setting a line"),
        ("- a", "one setting a line"),
        ("a: [", "must be YAML"),
        ("epochs: 1\nepochs: 2", "stands twice"),
    ],
)
def test_a_file_that_is_no_study_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=said):
        read_study(path)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(BadInputError, match="quickstart.*got 'quickstrat'"):
        read_study("quickstrat")
    with pytest.raises(BadInputError, match="must be a study file, got nowhere.yaml, which does not exist"):
        read_study("nowhere.yaml")


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped("studies").glob("*.yaml")))
def test_every_shipped_study_can_be_read(name: str) -> None:
    config = read_study(name)
    assert config.question
    assert config.guideline is None or Path(config.guideline).exists()


def test_a_network_that_only_the_file_names_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("space: evil:net\nepochs: 1\nbudget: macs<=30%\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="--space evil:net must be given again, got none: the study file"):
        read_study(path)
    assert read_study(path, space="evil:net").space == "evil:net"


def test_every_sampler_can_be_named_on_the_command_line() -> None:
    choices = next(one.type for one in run.params if one.name == "sampler")
    assert isinstance(choices, click.Choice)
    assert tuple(choices.choices) == get_args(SamplerName) == tuple(SAMPLERS)


def test_a_network_and_images_are_a_study_planned_from_one_number(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("space: resnet20\ndata: digits\n", encoding="utf-8")
    config = read_study(path)
    assert (config.budget_training, config.budgets, config.epochs) == (10, (Budget("macs", 0.5),), 10)
    same = study_of("resnet20", "digits")
    assert same.name == "resnet20-digits"
    assert {**same.fixed(), "name": "own"} == config.fixed()
    folder = study_of("vgg16", "folder:some/where", budget_training="3x")
    assert (folder.name, folder.budget_training) == ("vgg16-where", 3)


def test_how_many_trials_there_are_follows_from_one_number_or_is_said(tmp_path: Path) -> None:
    both = write(tmp_path, budget_training="5x", trials=3)
    with pytest.raises(BadInputError, match="budget_training or trials, got trials and budget_training"):
        read_study(both)
    planned = write(tmp_path, budget_training="5x")
    assert read_study(planned).budget_training == 5
    assert read_study(write(tmp_path, budget_training="5X")).budget_training == 5
    assert read_study(planned, hours=2.0).budget_training is None
    typed = read_study(planned, trials=7)
    assert (typed.trials, typed.budget_training) == (7, None)
    of_a_judge = write(tmp_path, budget_training="5x", judge_epochs=3)
    assert read_study(of_a_judge, trials=7).judge_epochs is None
    assert read_study(of_a_judge, trials=7, judge="inherited").judge_epochs == 3
    with pytest.raises(BadInputError, match="judge_epochs must come with a judge"):
        read_study(write(tmp_path, trials=5, judge_epochs=3), trials=7)
    said = write(tmp_path, trials=7)
    assert read_study(said, budget_training="2.5x").budget_training == 2.5
    with pytest.raises(BadInputError, match="must say budget_training or hours"):
        read_study(said, budget_training="2x", hours=1.0)
    with pytest.raises(BadInputError, match="budget_training"):
        read_study(said, budget_training="much")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"judge": "inherit"}, "judge"),
        ({"judged": 3, "trials": 9}, "must come with a judge other than scratch"),
        ({"judge": "inherited", "seeds": 2, "trials": 9}, "seeds must be 1"),
        ({"judge": "synflow", "judged": 3}, "judged must come with trials"),
        ({"judge": "synflow", "judged": 3, "trials": 9, "sampler": "cma"}, "sampler must be rule where some"),
        ({"judge": "synflow", "budget_training": "9x", "sampler": "tpe"}, "sampler must be rule where some"),
        ({"budget_training": 0}, "budget_training: it must be above 0, got 0"),
        ({"budget_training": ""}, "budget_training"),
        ({"budget_training": "nan"}, "budget_training"),
        (
            {"judge": "synflow", "judged": 3, "against": "macs", "budgets": ["macs<=60%", "macs<=20%"]},
            "judged must come with one objective",
        ),
        (
            {"budget_training": "5x", "against": "macs", "budgets": ["macs<=60%", "macs<=20%"]},
            "one objective",
        ),
    ],
)
def test_what_does_not_go_with_a_judge_or_a_plan_is_named(
    settings: dict[str, object], said: str, tmp_path: Path
) -> None:
    content = {
        key: one for key, one in {**PLAIN, **settings}.items() if key != "budget" or "budgets" not in settings
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(BadInputError, match=said):
        read_study(path)


def test_a_study_of_before_has_the_settings_that_it_had(tmp_path: Path) -> None:
    fixed = read_study(write(tmp_path, trials=3)).fixed()
    assert not {"judge", "judged", "judge_epochs", "budget_training"} & fixed.keys()
    judged = read_study(write(tmp_path, trials=3, judge="synflow")).fixed()
    assert judged["judge"] == "synflow"
    assert read_study(write(tmp_path, trials=3, judge="scratch")).fixed() == fixed
