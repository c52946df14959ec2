"""Ranking a study on real images: new seeds, full training, the winner's widths, and going on after a kill."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.space.widths import read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.location import StudyLocation, read_trials
from nas_prune.study.rank import Ranking, rank_study, summary
from nas_prune.study.run import run_study
from nas_prune.training.recipe import changed, recipe_named
from nas_prune.training.result import Trained
from nas_prune.training.run import train_one

CONFIG = StudyConfig(
    name="small",
    space="resnet20",
    data=DataConfig(name="digits", max_images=150, val_fraction=0.4),
    recipe=changed(recipe_named("digits"), epochs=2),
    epochs=1,
    budgets=("macs<=30%",),
    guideline="erk",
    sampler="cma",
    trials=5,
    threads=1,
)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyLocation, Ranking]:
    place = StudyLocation(tmp_path_factory.mktemp("ranked") / "small")
    run_study(CONFIG, place.run)
    (ranking,) = rank_study(place, top=2, seeds=2)
    return place, ranking


def test_candidates_are_ordered_by_new_seeds(ranked: tuple[StudyLocation, Ranking]) -> None:
    place, ranking = ranked
    trials = read_trials(place).trials["small"]
    best = [one for one in record.best_first(trials) if record.SOURCE not in one.user_attrs][:2]
    assert {one.name for one in ranking.candidates} == {
        "guideline",
        "uniform",
        *(f"trial {one.number}" for one in best),
    }
    means = [sum(one.short) / 2 for one in ranking.candidates]
    assert means == sorted(means, reverse=True)
    for one in ranking.candidates:
        assert one.widths.vector == record.widths_of(trials[one.number or 0])
        is_pair = one in (ranking.winner, ranking.centre)
        assert (len(one.short), len(one.full), len(one.full_test)) == (
            2,
            2 if is_pair else 1,
            2 if is_pair else 1,
        )
    seeds = {path.parent.name for path in (place.run / "rank").rglob("short/*/result.json")}
    assert seeds == {"1000", "1001"}
    assert {path.parent.name for path in (place.run / "rank").rglob("scratch-e/*/result.json")} == {
        "2000",
        "2001",
    }


def test_the_winners_widths_stand_by_themselves(ranked: tuple[StudyLocation, Ranking]) -> None:
    place, ranking = ranked
    widths = read_widths(place.run / "rank" / "small" / "widths.json")
    assert widths.vector == ranking.winner.widths.vector
    assert widths.budget == "macs<=30%"


def test_what_is_written_is_strict_json(ranked: tuple[StudyLocation, Ranking]) -> None:
    place, ranking = ranked

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    text = (place.run / "rank" / "small" / "result.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == json.loads(json.dumps(summary(ranking, CONFIG)))
    written = json.loads(text)["gain"]["full_test"]
    gain = ranking.gain("full_test")
    assert (gain is None) == (ranking.winner is ranking.centre)
    assert written == (None if gain is None else gain.plain())
    found = ranking.correlation
    assert found.n == 4
    assert math.isnan(found.rho) or -1 <= found.rho <= 1


def test_ranking_again_trains_only_what_is_missing(
    ranked: tuple[StudyLocation, Ranking], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, ranking = ranked
    calls: list[Path] = []

    def train(*given: Any, **more: Any) -> Trained:
        calls.append(given[2])
        return train_one(*given, **more)

    monkeypatch.setattr("nas_prune.training.run.train_one", train)
    (again,) = rank_study(place, top=2, seeds=2)
    assert calls == []
    assert again == ranking
    (place.run / "rank" / "small" / "uniform" / "short" / "1001" / "result.json").unlink()
    (again,) = rank_study(place, top=2, seeds=2)
    assert [path.parts[-3:] for path in calls] == [("uniform", "short", "1001")]
    assert again == ranking


def test_a_study_without_trials_to_compare_is_refused(tmp_path: Path) -> None:
    run_study(CONFIG.model_copy(update={"trials": 2}), tmp_path / "run")
    with pytest.raises(
        BadInputError, match="must have complete trials beside its first ones.*got 2 complete"
    ):
        rank_study(StudyLocation(tmp_path / "run"))
    with pytest.raises(BadInputError, match="must hold config.yaml"):
        rank_study(StudyLocation(tmp_path / "nowhere"))


def test_a_candidate_that_diverges_does_not_end_the_ranking(
    ranked: tuple[StudyLocation, Ranking], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = StudyLocation(tmp_path / "copy")
    shutil.copytree(ranked[0].run, place.run)
    shutil.rmtree(place.run / "rank")

    def train(*given: Any, **more: Any) -> Trained:
        if given[2].parts[-3] in ("guideline", "uniform"):
            raise NasPruneError("the loss must stay finite.")
        return train_one(*given, **more)

    monkeypatch.setattr("nas_prune.training.run.train_one", train)
    (ranking,) = rank_study(place, top=2, seeds=1)
    assert [one.name.partition(" ")[0] for one in ranking.candidates] == ["trial", "trial"]
    assert {name for name, _ in ranking.failed} == {"guideline short 1000", "uniform short 1000"}
    assert ranking.centre is None
    assert ranking.gain("full") is None
