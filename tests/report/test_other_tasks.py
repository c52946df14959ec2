"""Reports of runs whose networks are measured by something else than accuracy, and of runs that are not finished."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from nas_prune.comparison.arms import ARMS, equal_arms
from nas_prune.comparison.evaluate_result import EvaluateConfig
from nas_prune.compression.config import CompressConfig
from nas_prune.data.config import DataConfig
from nas_prune.data.metric import ACCURACY, Metric, named_metric
from nas_prune.errors import DamagedError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.report.comparison import _dots, _widths
from nas_prune.report.content import Part, Section
from nas_prune.report.read import read_parts
from nas_prune.runs.directory import METRICS, RESULT
from nas_prune.runs.settings import write_config
from nas_prune.search.config import SearchConfig
from nas_prune.space.load import load_space
from nas_prune.training.config import TrainConfig
from nas_prune.training.result import Trained, write_trained

MAE = Metric("MAE", is_greater_better=False)
DATA = DataConfig(name="csv:all.csv", task="regression")
SPACE = load_space("vgg11", (1, 8, 8), width_multiplier=0.25)
CONFIGS: dict[str, BaseModel] = {
    "search": SearchConfig(space="vgg11", data=DATA),
    "sparsify": SparsifyConfig(space="vgg11", data=DATA, budgets=("nonzero<=20%",)),
    "compress": CompressConfig(data=DATA, source="trained"),
    "train": TrainConfig(data=DATA, seeds=(0, 1)),
}


def begun(run: Path, kind: str, **values: float) -> Path:
    """A run of a kind after two epochs, or seeds of two epochs, of some metrics."""
    run.mkdir()
    write_config(run, CONFIGS[kind])
    SPACE.widths(SPACE.base_G).write(run / "widths.json")
    folder = run / "seed-0" if kind == "train" else run
    folder.mkdir(exist_ok=True)
    epochs(folder, **values)
    return run


def epochs(folder: Path, **values: float) -> None:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"epoch": number, **values}) + "\n" for number in (1, 2)]
    (folder / METRICS).write_text("".join(lines), encoding="utf-8")


def curve(part: Part) -> Section:
    return next(section for section in part.sections if section.title.startswith("Learning curve"))


def reported(run: Path) -> Part:
    (part,) = read_parts([run])
    return part


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_learning_curve_of_an_unfinished_run_is_of_its_task(tmp_path: Path, kind: str) -> None:
    (picture,) = curve(reported(begun(tmp_path / "run", kind, val_mae=0.5))).pictures
    assert picture.caption.startswith("Validation MAE after each epoch")


@pytest.mark.parametrize("kind", ["search", "sparsify"])
def test_the_learning_curve_of_a_finished_run_is_of_the_metric_that_it_names(
    tmp_path: Path, kind: str
) -> None:
    run = begun(tmp_path / "run", kind, val_psnr=30.5)
    (run / RESULT).write_text(json.dumps({**named_metric(Metric("PSNR")), "epochs": 2}), encoding="utf-8")
    (picture,) = curve(reported(run)).pictures
    assert picture.caption.startswith("Validation PSNR after each epoch")


def test_an_unfinished_training_has_the_metric_of_its_seeds_that_are_done(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "train", val_psnr=30.5)
    write_trained(run / "seed-0" / RESULT, Trained(0, 30.5, 29.5, 2, 10, 10, 1.0, metric=Metric("PSNR")))
    part = reported(run)
    assert part.sections[0].title == "PSNR"
    assert len(curve(part).pictures) == 1


def test_rounds_stand_in_their_order(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "sparsify", val_mae=0.5)
    for number in (10, 2, 0):
        epochs(run / f"round-{number}", val_mae=0.5)
    drawn = curve(reported(run)).pictures[0].draw()
    places = [drawn.index(f">round-{number}<") for number in (0, 2, 10)]
    assert places == sorted(places)


@pytest.mark.parametrize("metric", [MAE, ACCURACY])
def test_an_unfinished_evaluation_is_told_by_the_metric_of_its_networks(
    tmp_path: Path, metric: Metric
) -> None:
    run = tmp_path / "run"
    (run / "guided" / "0000").mkdir(parents=True)
    data = DATA if metric == MAE else DataConfig()
    write_config(run, EvaluateConfig(space="resnet20", data=data, guideline="uniform", budget="macs<=50%"))
    told = [reported(run)]
    trained = Trained(0, metric.score(0.3), metric.score(0.4), 1, 10**6, 100, 1.0, metric=metric)
    write_trained(run / "guided" / "0000" / RESULT, trained)
    told.append(reported(run))
    for part in told:
        heading = part.sections[0].tables[0].headings[-1]
        assert heading == ("test MAE" if metric == MAE else "test error (%)")
    assert told[1].sections[0].sentences == ["Not finished: 1 networks are trained."]
    assert told[1].sections[0].tables[0].rows[0][-1] == ("0.4000" if metric == MAE else "60.00")


@pytest.mark.parametrize("kind", ["search", "sparsify", "train"])
@pytest.mark.parametrize("content", ['{"epochs": 2', "[]"])
def test_a_damaged_result_is_not_taken_for_one_that_is_not_there_yet(
    tmp_path: Path, kind: str, content: str
) -> None:
    run = begun(tmp_path / "run", kind, val_mae=0.5)
    (run / RESULT).write_text(content, encoding="utf-8")
    with pytest.raises(DamagedError, match=r"result\.json must be"):
        read_parts([run])


def compared(*names: str, known: Any = None, run: Path = Path()) -> Any:
    chosen = [(known or equal_arms())[name] for name in names]
    arms = {name: [SimpleNamespace(test_score=0.5 + 0.1 * place)] for place, name in enumerate(names)}
    config = SimpleNamespace(chosen=chosen, searches=1)
    return SimpleNamespace(metric=ACCURACY, arms=arms, config=config, run=run)


@pytest.mark.parametrize(
    ("names", "known", "reference"),
    [(("guided", "found"), None, "found"), (("scratch-e", "scratch-b", "guided-b"), ARMS, "scratch-b")],
)
def test_the_line_is_the_arm_that_others_are_compared_with(
    names: tuple[str, ...], known: Any, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("nas_prune.report.comparison.dots_figure", lambda _, **known: seen.update(known))
    (picture,) = _dots(compared(*names, known=known), "r1")
    assert picture.caption.endswith(f"bars are means, the dashed line is the mean of {reference}.")
    assert seen["reference"] == pytest.approx(0.6)
    unfinished = compared(*names, known=known)
    del unfinished.arms[reference]
    (picture,) = _dots(unfinished, "r1")
    assert picture.caption.endswith("bars are means.")
    assert seen["reference"] is None


def test_widths_that_are_one_seeds_are_not_shown_as_those_of_an_arm(tmp_path: Path) -> None:
    for name in ("found", "study/0"):
        path = tmp_path / "widths" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        SPACE.widths(SPACE.base_G).write(path)
    table = _widths(compared("found", "study", "random", run=tmp_path))
    assert [row[0] for row in table.rows] == ["found"]
    assert table.caption == "Not shown, since each seed has widths of its own: study, random."
    assert not _widths(compared("found", run=tmp_path)).caption
