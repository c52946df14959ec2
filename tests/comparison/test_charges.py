"""What each arm of a comparison took: its trainings, and all that had to be trained to have it at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas_prune.cli import main
from nas_prune.comparison.charge import Charge, search_behind, searches_behind, total
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.result import read_comparison
from nas_prune.comparison.sentences import sentences
from nas_prune.comparison.winner import UNKNOWN, Chosen, _of_judge, _seeds
from nas_prune.guideline.artefact import Guideline, SourceRecord, read_guideline
from nas_prune.guideline.fit import fit_guideline
from nas_prune.guideline.hand import RULES
from nas_prune.report.read import read_parts
from nas_prune.report.render import as_html, as_markdown
from nas_prune.runs.settings import read_config, write_config
from nas_prune.space.widths import read_widths
from nas_prune.study.config import StudyConfig
from nas_prune.study.study_plan import StudyPlan

RUNS = Path(__file__).parents[1] / "earlier_runs"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A comparison with a guideline and a study's winner, of runs that are there."""
    home = tmp_path_factory.mktemp("told")
    for name in ("search", "study", "guideline.yaml"):
        (shutil.copytree if (RUNS / name).is_dir() else shutil.copy)(RUNS / name, home / name)
    given = ["--guideline", str(home / "guideline.yaml"), "--study", str(home / "study")]
    arms = [word for arm in ("winner-e", "guided-e", "fine-tuned") for word in ("--arm", arm)]
    small = ["--seeds", "2", "--epochs", "1", "--threads", "1"]
    command = ["compare", str(home / "search"), *given, *arms, *small, "--out", str(home / "run")]
    assert main(command) == 0
    content: dict[str, Any] = json.loads((home / "run" / "result.json").read_text(encoding="utf-8"))
    return home, content


def test_every_arm_is_charged_what_had_to_be_trained_to_have_it(told: tuple[Path, dict[str, Any]]) -> None:
    home, content = told
    arms = {one["arm"]: one for one in content["arms"]}
    widths = read_widths(home / "search" / "widths" / "macs-50pct.json")
    whole, images = widths.base_cost.macs, 90
    search = 3 * whole * images * (widths.epochs or 0)
    assert search > 0
    assert arms["scratch-e"]["search_macs"] == search
    assert arms["scratch-e"]["training_macs"] == 3 * widths.cost.macs * images * 2
    assert arms["fine-tuned"]["search_macs"] == search + 2 * 3 * whole * images * 1
    assert arms["guided-e"]["search_macs"] is None  # a guideline file of before says nothing of its images
    assert arms["winner-e"]["search_macs"] is None  # whose guideline it was


def test_a_winner_is_trained_with_seeds_by_which_it_was_not_chosen(
    told: tuple[Path, dict[str, Any]],
) -> None:
    _, content = told
    arms = {one["arm"]: [each["seed"] for each in one["trained"]] for one in content["arms"]}
    assert len(set(arms["winner-e"])) == 2
    assert not set(arms["winner-e"]) & {0, 1000, 2000}  # of its trials, and of its ranking
    assert arms["scratch-e"] == [0, 1]


def test_a_winner_is_charged_its_trials_its_ranking_and_the_searches_behind_its_guideline(
    told: tuple[Path, dict[str, Any]],
) -> None:
    home, content = told
    trained = [
        json.loads(path.read_text())
        for path in sorted((home / "study" / "rank").rglob("short/*/result.json"))
    ]
    assert len(trained) == 3
    numbers = json.loads((home / "study" / "rank" / "study" / "result.json").read_text(encoding="utf-8"))
    once = (
        3 * 70 * sum(one["macs"] for one in numbers["candidates"])
    )  # 70 images, one epoch, the same three networks
    behind = next(one for one in content["arms"] if one["arm"] == "winner-e")["behind"]
    assert behind == [
        {"what": "3 trials of the study", "macs": once},
        {"what": "3 short trainings that ranked the best trials", "macs": once},
        {"what": "1 search behind the guideline", "macs": None},
    ]


def test_tables_show_what_is_behind_each_arm_and_what_is_not_known(
    told: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    home, content = told
    parts = read_parts([home / "run"])
    html, markdown = as_html(parts, title="t"), as_markdown(parts, title="t")
    assert main(["compare", "--resume", str(home / "run")]) == 0
    printed = capsys.readouterr().out
    fine_tuned = next(one for one in content["arms"] if one["arm"] == "fine-tuned")
    for shown in (html, markdown, printed):
        assert f"{fine_tuned['search_macs'] / 1e12:.3g}" in shown
        assert "not known" in shown
        assert "3 short trainings that ranked the best trials" in shown
    assert any("trained with seeds by which it was not chosen" in one for one in content["sentences"])


def test_a_winner_of_an_earlier_comparison_is_said_to_share_seeds_with_its_study(
    told: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(told[0] / "run", run)
    config = read_config(run, CompareConfig)
    write_config(run, config.model_copy(update={"winner_seed": 0, "winner_charges": None}))
    said = " ".join(sentences(read_comparison(run)))
    assert "trained with the seeds 0 to 1, by some of which its study may have chosen it" in said


def test_a_seed_of_the_study_is_never_the_winners() -> None:
    assert UNKNOWN.first_seed() == 10_000
    assert Chosen(seeds=frozenset({10_999, 11_000, 5})).first_seed() == 12_000


def test_nor_is_that_of_widths_that_the_study_trained_again(tmp_path: Path) -> None:
    config = StudyConfig(name="s", space="vgg11", seed=9990)  # whose repeats have 9991, …, 10,000, …
    assert Chosen(seeds=_seeds(tmp_path, config)).first_seed() == 11_000


def source(**changes: Any) -> SourceRecord:
    told: dict[str, Any] = {
        "network": "vgg16", "input": 32, "data": "cifar10", "method": "slimming", "seed": 0, "epochs": 10,
        "cost": "macs", "budget": "macs<=50%", "uniform_keep": 0.5, "kept_share": 0.5, "training_macs": 100,
    }  # fmt: skip
    return SourceRecord(**{**told, **changes})


def test_a_search_cut_at_several_budgets_is_charged_once() -> None:
    cut_twice = Guideline(num_stages=3, sources=(source(), source(budget="macs<=25%"), source(seed=1)))
    assert [(one.what, one.macs) for one in searches_behind(cut_twice)] == [
        ("2 searches behind the guideline", 200)
    ]
    partly = Guideline(num_stages=3, sources=(source(), source(seed=1, training_macs=None)))
    assert total(searches_behind(partly)) is None
    assert total(searches_behind(Guideline(num_stages=3))) is None  # by hand
    assert searches_behind(RULES["erk"]) == ()
    assert total(()) == 0


def test_widths_without_a_known_search_are_not_said_to_have_cost_nothing() -> None:
    widths = read_widths(RUNS / "search" / "widths" / "macs-50pct.json")
    assert search_behind(widths).macs == 3 * widths.base_cost.macs * 90 * (widths.epochs or 0) > 0
    for lacking in ("data", "epochs", "method"):
        assert search_behind(widths.model_copy(update={lacking: None})).macs is None
    assert search_behind(widths.model_copy(update={"epochs": 0})).macs == 0


def test_a_fitted_guideline_knows_what_its_searches_took() -> None:
    widths = RUNS / "search" / "widths" / "macs-50pct.json"
    fitted = fit_guideline([widths])
    assert total(searches_behind(fitted)) == search_behind(read_widths(widths)).macs
    earlier = read_guideline(RUNS / "guideline.yaml")
    assert "training_macs" not in earlier.model_dump_json()  # by which studies of before know it


def test_the_network_of_a_judge_is_charged() -> None:
    plan = StudyPlan(100, 1000, "inherited", 250, 40, 10, 8, 20, 580)
    judged = StudyConfig(name="s", space="resnet20", judge="inherited", budget_training=10)
    assert _of_judge(judged.model_copy(update={"plan": plan})) == (
        Charge(what="the network of the judge inherited", macs=250),
    )
    assert _of_judge(judged) == (Charge(what="the network of the judge inherited"),)
    for judge in (None, "synflow"):
        assert _of_judge(StudyConfig(name="s", space="resnet20", judge=judge, trials=3)) == ()
