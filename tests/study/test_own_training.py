"""Studies whose trainings a function of somebody's own does: begun, killed, gone on with, ranked, refused."""

import json
import os
import random
import signal
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, cast

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import nn

import nas_prune
from nas_prune.errors import BadInputError, BudgetError
from nas_prune.study import trial_record as record
from nas_prune.study.creation import OneStudy
from nas_prune.study.dashboard import figures, note
from nas_prune.study.location import StudyLocation, read_trials, studies_in
from nas_prune.study.objective import trial_folder
from nas_prune.study.own_trainer import OwnTrainer
from nas_prune.study.own_training import OwnStudyResult
from nas_prune.study.trainer import Asked
from tests.forking import FORKING
from tests.study.own_trainings import loss_after, loss_by_epochs, study_in, tiny_space


def begun(out: Path, function: Any = loss_after, **settings: Any) -> OwnStudyResult:
    """A study of a few trials without a ranking, unless asked for otherwise."""
    known: dict[str, Any] = {
        "metric": "loss", "direction": "minimize", "trials": 4, "sampler": "random", "seed": 2,
        "rank": False, "name": "s",
    }  # fmt: skip
    return nas_prune.study(tiny_space(), function, out=out, **{**known, **settings})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> OwnStudyResult:
    out = tmp_path_factory.mktemp("own") / "s"
    return begun(out, loss_by_epochs, epochs=2, full_epochs=3, trials=6, rank=True, sampler="rule")


def test_a_plain_function_is_asked_and_its_winner_can_be_built_again(tmp_path: Path) -> None:
    result = begun(tmp_path / "s")
    limit = tiny_space().cost_at(tiny_space().base_G).macs // 2
    assert [trial.state for trial in result.trials] == [TrialState.COMPLETE] * 4
    assert all(trial.user_attrs["macs"] <= limit for trial in result.trials)
    best = max(result.trials, key=lambda trial: trial.values[0])
    assert result.widths.vector == record.widths_of(best)
    assert result.widths.budget == "macs<=50%"
    network = nas_prune.rebuild(result.widths, space=tiny_space())
    assert sum(one.numel() for one in network.parameters()) == result.widths.cost.params
    with pytest.raises(BadInputError, match="got 'Tiny'"):
        nas_prune.rebuild(result.widths)


def test_a_value_is_what_the_function_gives_for_the_trials_widths_and_seed(tmp_path: Path) -> None:
    result = begun(tmp_path / "s", seeds=2)
    for trial in result.trials:
        values = []
        for seed in (trial.user_attrs[record.SEED], trial.user_attrs[record.SEED] + 1):
            torch.manual_seed(seed)
            network = tiny_space().build(record.widths_of(trial), seed=seed)
            torch.manual_seed(seed)
            values.append(loss_after(network))
        assert trial.value == -sum(values) / 2
        folder = trial_folder(result.run, "s", trial.number)
        assert json.loads((folder / "result.json").read_text()) == {"metric": "loss", "values": values}


def test_the_finalists_have_new_seeds_and_the_winner_a_file(finished: OwnStudyResult) -> None:
    ranking = finished.ranking
    assert ranking is not None
    winner = nas_prune.read_widths(finished.run / "rank" / "s" / "widths.json")
    assert finished.widths == ranking.winner.widths == winner
    assert {one.name for one in ranking.candidates} > {"uniform"}
    assert all(one.full_test == () for one in ranking.candidates)
    again = finished.rank(top=2, seeds=2, full_seeds=2)
    assert again.ranking is not None
    seeds = {path.parent.name for path in finished.run.glob("rank/s/*/short/*/result.json")}
    assert seeds == {"21000", "21001"}  # by the study's own seed, 2
    in_full = [json.loads(path.read_text()) for path in finished.run.glob("rank/s/*/scratch-e/*/result.json")]
    assert {(one["seed"], one["epochs"]) for one in in_full} == {(22_000, 3), (22_001, 3)}
    assert [len(one.full) for one in again.ranking.candidates if one.name == "uniform"] == [2]


def test_the_same_call_trains_nothing_again_and_more_trials_go_on(tmp_path: Path) -> None:
    first = begun(tmp_path / "s", trials=3)
    calls: list[int] = []

    def counted(network: nn.Module) -> float:
        calls.append(1)
        return loss_after(network)

    assert begun(tmp_path / "s", counted, trials=3).widths == first.widths
    assert calls == []
    more = begun(tmp_path / "s", counted, trials=5)
    assert len(calls) == 2
    assert [one.value for one in more.trials[:3]] == [one.value for one in first.trials]


def test_the_metric_is_named_wherever_a_study_speaks_of_accuracy(finished: OwnStudyResult) -> None:
    with studies_in(finished.study.location, finished.context.config) as studies:
        assert studies["s"].metric_names == ["negative loss"]
        one = OneStudy("s", studies["s"], finished.context.config.budgets)
        said = note(finished.context, one, finished.trials, finished.study.known["s"])
    assert "its value is the negative of its loss" in said
    assert "accuracy" not in said
    assert "%," not in said.replace("<=50%", "")
    axes = figures(finished.context, finished.trials)["macs"].layout
    assert axes.yaxis.title.text == "loss"
    best = max(trial.value or 0.0 for trial in finished.trials)
    assert f"with {-best:.3f}" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": "macs<=40%"}, r'budgets was \["macs<=50%"\] and is \["macs<=40%"\]'),
        ({"seed": 1}, "seed was 2 and is 1"),
        ({"metric": "MAE"}, 'metric was {"name": "loss"'),
        ({"direction": "maximize"}, '"is_greater_better": false.*"is_greater_better": true'),
    ],
)
def test_another_study_in_the_same_directory_is_refused(tmp_path: Path, changes: Any, said: str) -> None:
    begun(tmp_path / "s", trials=1)
    with pytest.raises(BadInputError, match=f"{said}.*begin a study of its own with another out"):
        begun(tmp_path / "s", **changes)


def test_another_network_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "s", trials=1)
    wider = nas_prune.load_space(nn.Sequential(nn.Conv2d(1, 9, 3), nn.ReLU(), nn.Conv2d(9, 2, 3)), (1, 8, 8))
    with pytest.raises(BadInputError, match='space was "Tiny" and is "Sequential" now'):
        nas_prune.study(wider, loss_after, out=tmp_path / "s", metric="loss", name="s")


def fails(calls: list[int], bad: set[int], error: Exception) -> Any:
    def train(network: nn.Module) -> float:
        calls.append(1)
        if len(calls) in bad:
            raise error
        return loss_after(network)

    return train


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("the disk\nof images is gone"),  # which a storage may raise, too
        *(pytest.param(one, marks=pytest.mark.slow) for one in (ValueError("x"), OSError("y"))),
    ],
)
def test_a_function_that_fails_is_recorded_and_a_few_in_a_row_end_the_study(
    tmp_path: Path, error: Exception
) -> None:
    calls: list[int] = []
    said: list[str] = []
    name = type(error).__name__
    with pytest.raises(
        BadInputError, match=rf"must not fail 2 times in a row.*train raised {name}: .*out='.*s'"
    ):
        begun(tmp_path / "s", fails(calls, {2, 4, 5}, error), max_failures=2, trials=8, say=said.append)
    trials = read_trials(StudyLocation(tmp_path / "s")).trials["s"]
    assert [str(one) for one in record.fates(trials)] == [
        "complete",
        "failed",
        "complete",
        "failed",
        "failed",
    ]
    assert "\n" not in trials[1].user_attrs[record.FAILED]
    assert any("Traceback" in text and name in text for text in said)
    assert len(begun(tmp_path / "s", trials=8).trials) == 8


def test_a_storage_that_does_not_answer_is_no_fault_of_the_function(tmp_path: Path) -> None:
    class Gone(optuna.trial.FixedTrial):
        def report(self, value: float, step: int) -> None:
            raise ConnectionError(f"no storage for {value} at {step}")

    metric = nas_prune.Metric("loss", is_greater_better=False)
    trainer = OwnTrainer(loss_by_epochs, takes_trial=True, metric=metric, has_epochs=True)
    config = begun(tmp_path / "s", trials=1).context.config
    asked = Asked(config, tiny_space(), tiny_space().widths(tiny_space().base_G), 0, tmp_path)
    with pytest.raises(ConnectionError, match="no storage"):
        trainer.trial(asked, cast("optuna.Trial", Gone({})))


@pytest.mark.parametrize("value", [None, True, float("nan"), "0.5", torch.ones(2), 1j])
def test_what_is_no_single_number_fails_the_trial(tmp_path: Path, value: object) -> None:
    with pytest.raises(BadInputError, match="train must return one finite number, got "):
        begun(tmp_path / "s", lambda _: value, max_failures=1, trials=1)


def test_ctrl_c_in_the_function_stops_and_the_same_trial_goes_on(tmp_path: Path) -> None:
    seen: list[float] = []

    def stopped(network: nn.Module) -> float:
        seen.append(float(network.get_parameter("first.weight").detach().sum()))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return loss_after(network)

    with pytest.raises(KeyboardInterrupt, match=r"Go on with: nas_prune.study\(…, out='"):
        begun(tmp_path / "s", stopped)
    assert len([one for one in begun(tmp_path / "s", stopped).trials if one.values]) == 4
    assert seen[1] == seen[2]


@pytest.mark.parametrize("catches", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_trials_that_fall_behind_are_ended(tmp_path: Path, catches: bool) -> None:
    said: list[int] = []

    def bad_in_the_end(_: nn.Module, trial: nas_prune.Trial) -> float:
        said.append(0)
        with suppress(Exception) if catches else nullcontext():
            for epoch in range(trial.epochs):
                said[-1] = epoch + 1
                trial.report(epoch + 1, 1.0 if len(said) <= 8 else 2.0 + epoch)
        return 1.0

    result = begun(tmp_path / "s", bad_in_the_end, epochs=6, stopping="median", trials=10)
    assert [one.state for one in result.trials] == [TrialState.COMPLETE] * 8 + [TrialState.PRUNED] * 2
    assert said[:8] == [6] * 8
    assert max(said[8:]) < 6


def test_a_judge_of_ones_own_leads_and_is_not_taken_for_a_training(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def judge(network: nn.Module, widths: nas_prune.Widths) -> float:
        asked.append(widths.vector)
        assert network.get_parameter("first.weight").shape[0] == widths.vector[0]
        return 1000.0 * widths.vector[-1]

    result = begun(tmp_path / "s", judge=judge, judged=4, trials=8, sampler="rule")
    judges = [record.judge_of(one) for one in result.trials]
    assert sorted(judges) == ["own"] * 3 + ["scratch"] * 5  # uniform widths are both
    for one in result.trials:
        widths = record.widths_of(one) or ()
        said = one.value if record.judge_of(one) == "own" else one.user_attrs["said by own"]
        assert said == 1000.0 * widths[-1]
    assert asked


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["synflow", "log-widths"])
def test_judges_that_need_no_data_are_there(tmp_path: Path, judge: str) -> None:
    result = begun(tmp_path / "s", judge=judge, budget_training=6, trials=None, sampler="rule", rank=True)
    assert {record.judge_of(one) for one in result.trials} == {judge, "scratch"}
    spent = result.study.spent
    assert spent is not None
    assert spent.judging == 0
    assert 0 < spent.total <= 6 * result.context.whole_training
    assert result.ranking is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judge": "inherited"}, "judge must be synflow, log-widths or a function of yours.*got inherited"),
        ({"judge": "slimmable"}, "got slimmable"),
        ({"judge": "synflow"}, "judge must come with judged=N"),
        ({"function": 3}, "train must be a function that takes a network, got 3"),
        ({"function": lambda: 1.0}, r"train must take a network, and may take trial beside it, got \(\)"),
        ({"function": lambda network, epochs: 1.0}, r"got \(network, epochs\)"),
        ({"epochs": 3}, "epochs must come with a function that takes a trial"),
        ({"full_epochs": 3}, "full_epochs must come with epochs"),
        ({"stopping": "median"}, "stopping must come with epochs"),
        ({"direction": "down"}, "direction must be maximize or minimize, got 'down'"),
        ({"metric": "a\nb"}, "metric cannot be used"),
        ({"metric": nas_prune.Metric("PSNR")}, "direction must be left out beside a Metric"),
        ({"recipe": "fast"}, "must leave out recipe: your function trains"),
        ({"sampler": "best"}, "the study cannot be used: sampler"),
        ({"trails": 3}, "trails"),
        ({"budgets": ("macs<=50%", "macs<=40%")}, "budget must be one, got 2"),
        ({"budget": "macs<=0.01%"}, "macs"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    settings = dict(changes)
    with pytest.raises((BadInputError, BudgetError), match=said) as caught:
        begun(tmp_path / "s", settings.pop("function", loss_after), **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_study_has_a_target_and_limits_and_a_storage(tmp_path: Path) -> None:
    result = begun(
        tmp_path / "s", budget="memory<=80%,params<=60%", target="cpu-onnxruntime", min_width=12, trials=3,
        storage=f"sqlite:///{tmp_path}/trials.db",
    )  # fmt: skip
    assert result.widths.target is not None
    assert all(min(record.widths_of(one) or ()) >= 12 for one in result.trials)
    assert not (result.run / "journal.log").exists()


def in_process(*arguments: Any) -> int:
    """The exit code of a study in a process of its own."""
    process = FORKING.Process(target=study_in, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode or 0


def numbers(run: Path) -> list[Any]:
    """Widths, seeds and values of a study's trials by line, and its ranking without names of trials."""
    trials = read_trials(StudyLocation(run)).trials["s"]
    done = {record.line_of(one): one for one in trials if one.values}
    ranking = json.loads((run / "rank" / "s" / "result.json").read_text())
    kept = ("short", "full", "widths", "expected")
    return [
        [(record.widths_of(one), one.user_attrs[record.SEED], one.values) for _, one in sorted(done.items())],
        [[one[name] for name in kept] for one in ranking["candidates"]],
    ]  # fmt: skip


@pytest.mark.slow
def test_a_study_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, killed = str(tmp_path / "whole"), str(tmp_path / "killed")
    kills = (0, 3, 4, 13)  # the first trial, one twice, and the race
    assert in_process(whole) == 0
    assert [in_process(killed, kills) for _ in kills] == [-signal.SIGKILL] * len(kills)
    assert in_process(killed, kills) == 0
    assert numbers(Path(killed)) == numbers(Path(whole))
    assert len(Path(f"{killed}.calls").read_bytes()) == len(Path(f"{whole}.calls").read_bytes()) + len(kills)


@pytest.mark.slow
def test_processes_share_a_study(tmp_path: Path) -> None:
    run = tmp_path / "shared"
    processes = [FORKING.Process(target=study_in, args=(str(run),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    trials = read_trials(StudyLocation(run)).trials["s"]
    complete = [record.line_of(one) for one in trials if one.state == TrialState.COMPLETE]
    assert len(complete) == len(set(complete)) == 10
    assert (run / "rank" / "s" / "widths.json").exists()
    assert os.getpid() not in {int(str(one.user_attrs[record.WORKER]).split("-")[-3]) for one in trials}


def test_what_came_out_is_said_in_words(finished: OwnStudyResult, tmp_path: Path) -> None:
    assert finished.ranking is not None
    said = str(finished).splitlines()
    assert said[0].startswith(
        "s: 6 complete within macs<=50%, by loss; the best again with new seeds, 2 epochs each"
    )
    assert said[-1] == f"Winner: {finished.ranking.winner.name}."
    assert sum("P(best)" in line for line in said) == len(finished.ranking.candidates)
    assert " 2." in said[1]
    assert "-" not in said[1]
    brief = begun(tmp_path / "t", trials=2, name="t")
    best = max(one.values[0] for one in brief.trials)
    assert str(brief).splitlines()[1].endswith(f": {-best:.3f}")


MET = -1000 * pow(9999, -1, 2**30) % 2**30  # where 10,000 times itself and 1000 is itself again, modulo 2^30


@pytest.mark.parametrize(
    ("seed", "first"), [(0, 1000), (1, 11_000), (2**31 - 1, 2**30 - 9000), (MET, 2 * MET + 200_000)]
)
def test_a_race_is_by_seeds_that_no_trial_and_no_other_study_had(
    tmp_path: Path, seed: int, first: int
) -> None:
    def luck(_: nn.Module) -> float:
        return random.random()

    ranking = begun(tmp_path / "s", luck, seed=seed, seeds=2, rank=True).ranking
    assert ranking is not None
    used = {int(path.parent.name) for path in ranking.folder.glob("*/short/*/result.json")}
    assert min(used) == first
    assert used.isdisjoint({seed, seed + 1})


def test_a_judge_may_cut_a_network_that_was_trained_before(tmp_path: Path) -> None:
    space, trained = tiny_space(), tiny_space().build(seed=5)
    loss_after(trained)
    scored = nas_prune.scores("l1-norm", space, trained)

    def judge(network: nn.Module, widths: nas_prune.Widths) -> torch.Tensor:
        kept = space.narrow(trained, scored.kept(widths))
        assert [one.shape for one in kept.parameters()] == [one.shape for one in network.parameters()]
        return kept.get_parameter("first.weight").abs().sum()

    result = begun(tmp_path / "s", judge=judge, judged=3, trials=3, sampler="rule")
    by_own = [one for one in result.trials if record.judge_of(one) == "own"]
    assert len({one.values[0] for one in by_own}) == len(by_own) == 2
