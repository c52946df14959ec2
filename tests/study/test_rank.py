"""Ranking a study on real images: new seeds, full training, the winner's widths, and going on after a kill."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_prune.cli import main
from nas_prune.cli.ranking import print_ranking
from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.report.study import _ranked
from nas_prune.runs.progress import SILENT
from nas_prune.space.widths import Widths, read_widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import StudyConfig
from nas_prune.study.context import load_study
from nas_prune.study.location import StudyLocation, read_trials
from nas_prune.study.rank import _Job, least_trainings, rank_study
from nas_prune.study.rank_result import Ranking, RankTerms, summary
from nas_prune.study.rank_trainings import Trainings
from nas_prune.study.rule_search import seen_in
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
    (ranking,) = rank_study(place, top=2, seeds=2, full_seeds=2)
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
        full = 2 if one.name in (ranking.winner.name, "guideline", "uniform") else 1
        assert (len(one.short), len(one.full), len(one.full_test)) == (2, full, full)
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
    (again,) = rank_study(place, top=2, seeds=2, full_seeds=2)
    assert calls == []
    assert again == ranking
    (place.run / "rank" / "small" / "uniform" / "short" / "1001" / "result.json").unlink()
    (again,) = rank_study(place, top=2, seeds=2, full_seeds=2)
    assert [path.parts[-3:] for path in calls] == [("uniform", "short", "1001")]
    assert again == ranking


def test_a_study_without_trials_to_compare_is_refused(tmp_path: Path) -> None:
    run_study(CONFIG.model_copy(update={"trials": 2}), tmp_path / "run")
    with pytest.raises(
        BadInputError, match="must have complete trials beside its first ones.*got 2 complete"
    ):
        rank_study(StudyLocation(tmp_path / "run"))
    with pytest.raises(BadInputError, match="nas-prune wrote, got .*nowhere, which does not exist"):
        rank_study(StudyLocation(tmp_path / "nowhere"))
    with pytest.raises(BadInputError, match="seeds must be at least 1 and full_seeds 0, got 0 and 3"):
        rank_study(StudyLocation(tmp_path / "run"), seeds=0)


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
    (ranking,) = rank_study(place, top=2, seeds=1, full_seeds=1)
    assert [one.name.partition(" ")[0] for one in ranking.candidates] == ["trial", "trial"]
    assert {name for name, _ in ranking.failed} == {"guideline short 1000", "uniform short 1000"}
    assert ranking.centre is None
    assert ranking.gain("full") is None


# From here on trainings give planted accuracies.

NOISE = 0.01
TRUTH = {"guideline": 0.70, "uniform": 0.69, "first": 0.75, "second": 0.745}


@pytest.fixture
def study(ranked: tuple[StudyLocation, Ranking], in_empty_directory: Path) -> StudyLocation:
    shutil.copytree(ranked[0].run, "small", ignore=shutil.ignore_patterns("rank"))
    return StudyLocation(Path("small"))


Plant = Callable[..., list[tuple[str, ...]]]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """A function after which trainings give planted accuracies and are noted; after `kills_at` of them comes a kill."""
    trials: list[str] = []

    def planted(truth: dict[str, float], kills_at: int | None = None) -> list[tuple[str, ...]]:
        calls: list[tuple[str, ...]] = []

        def train(config: Any, widths: Any, folder: Path, *given: Any, **more: Any) -> Trained:
            if len(calls) == kills_at:
                raise KeyboardInterrupt
            name, length, seed = folder.parts[-3:]
            calls.append((name, length, seed))
            if name.startswith("trial"):
                trials.extend([name] * (name not in trials))
            own = truth[name] if name in truth else truth[("first", "second")[trials.index(name)]]
            noise = NOISE * np.random.default_rng([len(name), int(seed), name.encode()[-1]]).standard_normal(
                2
            )
            value, test = (own + noise).tolist()
            return Trained(int(seed), value, test, 1, widths.cost.macs, 1, 0.1)

        monkeypatch.setattr("nas_prune.training.run.train_one", train)
        return calls

    return planted


def test_a_clear_loser_is_not_trained_on(study: StudyLocation, plant: Plant) -> None:
    calls = plant({**TRUTH, "second": 0.76})  # with their noise, the two are alike
    (ranking,) = rank_study(study, top=2)
    counts = Counter(name for name, length, _ in calls if length == "short")
    assert counts["guideline"] == counts["uniform"] == 2
    assert all(3 <= number <= 5 for name, number in counts.items() if name.startswith("trial"))
    full = Counter(name for name, length, _ in calls if length == "scratch-e")
    winner = ranking.winner.name.replace(" ", "-")
    assert full == {**dict.fromkeys(full, 1), winner: 3, "guideline": 3, "uniform": 3}
    assert ranking.spent.short == sum(
        3 * one.widths.cost.macs * 90 * len(one.short) for one in ranking.candidates
    )
    assert ranking.spent.full == sum(
        3 * one.widths.cost.macs * 90 * 2 * len(one.full) for one in ranking.candidates
    )


def test_what_needs_no_search_gets_two_short_trainings_and_all_do_without_a_rule() -> None:
    names = ("guideline", "uniform", "rule", "trial 3")
    assert list(least_trainings(names, has_rule=True).values()) == [2, 2, 1, 1]
    assert list(least_trainings(names, has_rule=False).values()) == [2, 2, 2, 2]


def test_a_race_that_is_killed_takes_the_same_course(study: StudyLocation, plant: Plant) -> None:
    shutil.copytree(study.run, "other")
    whole = plant(TRUTH)
    (expected,) = rank_study(StudyLocation(Path("other")), top=2)
    found: list[tuple[str, ...]] = []
    for kills_at in (1, 4, 5, 3):
        calls = plant(TRUTH, kills_at)
        with pytest.raises(KeyboardInterrupt):
            rank_study(study, top=2)
        found += calls
    calls = plant(TRUTH)
    (ranking,) = rank_study(study, top=2)
    assert [*found, *calls] == whole
    assert ranking.candidates == expected.candidates
    assert (ranking.course, ranking.spent, ranking.priors) == (
        expected.course,
        expected.spent,
        expected.priors,
    )


def test_a_budget_is_kept_and_the_verdict_paid_first(study: StudyLocation, plant: Plant) -> None:
    plant(dict.fromkeys(TRUTH, 0.7))
    (ranking,) = rank_study(study, top=2)
    price = max(one.widths.cost.macs for one in ranking.candidates) * 3 * 90
    shutil.rmtree(study.run / "rank")
    most = 9 * price + 4 * 2 * price
    (ranking,) = rank_study(study, top=2, most_macs=most)
    assert (ranking.course.ended, ranking.course.rounds) == ("budget", 2)
    assert ranking.spent.short + ranking.spent.full <= most
    pair = {"uniform", ranking.winner.name}
    assert {one.name for one in ranking.candidates if len(one.full) >= 2} >= pair
    shutil.rmtree(study.run / "rank")
    (ranking,) = rank_study(study, top=2, most_macs=price)
    assert not any(one.full for one in ranking.candidates)
    assert ranking.course.rounds == 1


def test_a_study_that_trained_nothing_is_ranked_by_the_race_alone(
    plant: Plant, in_empty_directory: Path
) -> None:
    changes = {"sampler": "rule", "judge": "log-widths", "trials": 9}
    result = run_study(CONFIG.model_copy(update=changes), Path("small"))
    said = {one.value for one in result.trials["small"]}
    assert said
    assert all(value is not None and value < 0.51 for value in said)
    expected, known = result.known["small"].expected, result.known["small"].judge
    assert (known, max(one.mean for one in expected) < 0.51) == ("log-widths", True)
    plant({"guideline": 0.7, "uniform": 0.7, "rule": 0.71, "first": 0.7, "second": 0.74})
    (ranking,) = rank_study(result.location, top=3)
    assert all(0.65 < one.expected < 0.75 for one in ranking.candidates)


def test_another_answer_of_the_rule_does_not_take_the_trainings_of_the_one_before(
    ranked: tuple[StudyLocation, Ranking], tmp_path: Path
) -> None:
    context = load_study(ranked[0].run)
    trainings = Trainings(context, tmp_path, "scratch-e", 1, SILENT)
    one, other = ranked[1].candidates[:2]
    for widths in (one.widths, other.widths, one.widths):
        trainings.keep_widths("rule", widths)
        (tmp_path / "rule" / "short").mkdir()
        assert trainings.widths("rule").vector == widths.vector
    trainings.keep_widths("rule", one.widths)
    assert sorted(path.name for path in tmp_path.glob("*/short")) == ["short"] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rule", "rule.1", "rule.2"]


def test_a_race_tells_the_rule_the_widths_that_were_trained(
    ranked: tuple[StudyLocation, Ranking], tmp_path: Path
) -> None:
    context = load_study(ranked[0].run)
    points = context.parametrised(context.config.budgets[0])
    trials = read_trials(ranked[0]).trials["small"]
    wide, narrow = (one.widths for one in ranked[1].candidates[:2])
    terms = RankTerms(2, 1, 0, "scratch-e", None, 0)

    def known(chosen: Widths, folder: str) -> list[float]:
        trainings = Trainings(context, tmp_path / folder, "scratch-e", 1, SILENT)
        trainings.keep_widths("trial 3", narrow)  # what the device has time for
        job = _Job("small", trainings, {"trial 3": (3, chosen.vector)}, terms, points, seen_in(trials), {})
        return list(map(float, job._known({"trial 3": (0.9, 0.9)}).mean_N))

    assert wide.vector != narrow.vector
    assert known(wide, "one") == known(narrow, "other")


def test_full_trainings_are_said_as_long_as_their_schedule_makes_them(
    ranked: tuple[StudyLocation, Ranking], capsys: pytest.CaptureFixture[str]
) -> None:
    longer = replace(ranked[1], schedule="scratch-b")
    epochs = round(2 / 0.3)  # of a network of 30 % of the MACs, where the whole one has two
    print_ranking(longer, CONFIG)
    said = capsys.readouterr().out
    assert f"in full by scratch-b of {epochs} epochs" in said
    assert f"full: {epochs} ep. (n)" in said
    assert summary(longer, CONFIG)["full_epochs"] == epochs
    print_ranking(ranked[1], CONFIG)
    assert "in full by scratch-e of 2 epochs" in capsys.readouterr().out


def test_all_is_said_plainly(study: StudyLocation, plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    plant(TRUTH)
    assert main(["study", "rank", "small", "--top", "2"]) == 0
    said = capsys.readouterr().out
    for words in ("P(best)", "The race ended after", "times the MACs of the whole network"):
        assert words in said
    for over in ("the guideline", "uniform widths"):
        for kind in ("full training: ", "full, test images: ", "shrunk: "):
            assert f"Gain over just training {over}, {kind}" in said
    ranked = json.loads((study.run / "rank" / "small" / "result.json").read_text(encoding="utf-8"))
    assert ranked["gains"].keys() == ranked["shrunk"].keys() == {"guideline", "uniform"}
    assert ranked["gain"] == ranked["gains"]["guideline"]
    assert ranked["probability"] == ranked["candidates"][0]["probability"] > 0.4
    assert ranked["race"].keys() == {"rounds", "ended", "bound", "most"}
    section = _ranked("small", ranked, read_trials(study).config)
    assert section.tables[0].headings[1] == "P(best)"
    assert sum("shrunk" in one for one in section.sentences) == 2
    assert any("The race ended after" in one for one in section.sentences)


@pytest.mark.parametrize("best", ["guideline", "uniform"])
def test_a_baseline_that_wins_is_said_to(
    best: str, study: StudyLocation, plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    plant({**TRUTH, best: 0.9})
    assert main(["study", "rank", "small", "--top", "2"]) == 0
    said = capsys.readouterr().out
    assert "the study has found nothing better" in said
    other = {"guideline": "uniform widths", "uniform": "the guideline"}[best]
    assert f"Gain over just training {other}, full training: a gain" in said
    assert said.count("Gain over") == 3
