"""What became of trials, worked out from Optuna's own records."""

from datetime import datetime

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_prune.study import trial_record as record
from nas_prune.study.recovery import put_back, recover
from nas_prune.study.samplers import quiet
from nas_prune.study.trial_record import Fate

quiet()


def study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


def begin(own: optuna.Study) -> optuna.Trial:
    trial = own.ask({"x": FloatDistribution(0, 1)})
    trial.set_user_attr(record.WORKER, f"worker of {trial.number}")
    return trial


def everyone(_: FrozenTrial) -> bool:
    return True


def found(own: optuna.Study) -> list[Fate]:
    return record.fates(own.get_trials())


def test_a_dead_workers_trial_is_put_back_with_its_parameters_and_counts_once() -> None:
    own = study()
    own.tell(begin(own), 0.5)
    begin(own)
    assert [one.number for one in recover(own, everyone)] == [1]
    assert found(own) == [Fate.COMPLETE, Fate.RETRIED, Fate.WAITING]
    again = own.ask({"x": FloatDistribution(0, 1)})
    trials = own.get_trials()
    assert again.params == trials[1].params
    assert record.line_of(trials[2]) == 1
    assert record.attempts(trials[2]) == [1]
    assert record.count_begun(trials) == 2
    own.tell(again, 0.6)
    assert found(own) == [Fate.COMPLETE, Fate.RETRIED, Fate.COMPLETE]
    assert record.count_finished(own.get_trials()) == 2
    assert recover(own, everyone) == []


def test_a_living_workers_trial_is_left_alone() -> None:
    own = study()
    begin(own)
    assert recover(own, lambda _: False) == []
    assert found(own) == [Fate.RUNNING]


def test_a_recovery_that_is_killed_halfway_loses_nothing_and_doubles_nothing() -> None:
    own = study()
    begin(own)
    put_back(own, own.get_trials()[0])  # and here it is killed, before it could fail the first attempt
    recover(own, lambda trial: trial.number == 0)
    assert found(own) == [Fate.RETRIED, Fate.WAITING]
    other = study()
    other.tell(begin(other), state=TrialState.FAIL)  # Optuna's own: failed, and nothing put back
    assert found(other) == [Fate.LOST]
    recover(other, lambda _: False)
    assert found(other) == [Fate.RETRIED, Fate.WAITING]


def test_of_two_that_put_back_the_same_trial_the_later_gives_way() -> None:
    own = study()
    begin(own)
    put_back(own, own.get_trials()[0])
    put_back(own, own.get_trials()[0])
    own.tell(0, state=TrialState.FAIL)
    first, second = own.ask(), own.ask()
    trials = own.get_trials()
    assert record.why_surplus(trials[first.number], trials, 1) is None
    why = record.why_surplus(trials[second.number], trials, 1)
    assert why is not None
    assert "goes on with trial 0 already" in why
    second.set_user_attr(record.FAILED, why)
    own.tell(second, state=TrialState.FAIL)
    own.tell(first, 0.5)
    assert found(own) == [Fate.RETRIED, Fate.COMPLETE, Fate.SURPLUS]
    assert record.count_begun(own.get_trials()) == 1


def test_of_two_that_begin_the_last_trial_the_later_gives_way() -> None:
    own = study()
    for _ in range(3):
        begin(own)
    trials = own.get_trials()
    assert record.why_surplus(trials[1], trials, 2) is None
    assert "another worker has begun the last" in str(record.why_surplus(trials[2], trials, 2))


def test_a_trial_that_kills_its_workers_is_given_up_but_ctrl_c_does_not_count() -> None:
    own = study()
    trial = begin(own)
    for _ in range(record.MOST_DEATHS - 1):
        recover(own, everyone)
        trial = own.ask()
    assert [one.is_given_up for one in recover(own, everyone)] == [True]
    last = own.get_trials()[trial.number]
    assert found(own)[-1] == Fate.FAILED
    assert record.reason_of(last) == "its worker died, 4 times"
    other = study()
    for _ in range(record.MOST_DEATHS + 2):
        trial = other.ask()
        trial.set_user_attr(record.INTERRUPTED, value=True)
        other.tell(trial, state=TrialState.FAIL)
        assert not any(one.is_given_up for one in recover(other, everyone))


def test_failures_in_a_row_end_with_a_success_and_with_the_command() -> None:
    own = study()

    def fail(reason: str) -> None:
        trial = begin(own)
        trial.set_user_attr(record.FAILED, reason)
        own.tell(trial, state=TrialState.FAIL)

    fail("first")
    own.tell(begin(own), 0.5)
    fail("second")
    between = datetime.now()  # noqa: DTZ005  (Optuna's have no zone)
    fail("third")
    trials = own.get_trials()
    assert record.failures_in_a_row(trials, datetime.min) == ["third", "second"]  # noqa: DTZ901
    assert record.failures_in_a_row(trials, between) == ["third"]


def test_samplers_go_on_with_what_they_noted_of_a_trial_and_pictures_do_not() -> None:
    notes = {
        "cma:generation": 3,
        "NSGAIISampler:generation": 1,
        "artifacts:1": "{}",
        "dashboard:1": "",
        "fixed_params": {},
    }
    trial = create_trial(state=TrialState.COMPLETE, value=1.0, system_attrs=notes)
    kept = record.kept_system_attrs(trial)
    assert {"cma:generation", "NSGAIISampler:generation", "fixed_params"} < set(kept)
    assert not {"artifacts:1", "dashboard:1"} & set(kept)


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_the_same_widths_are_told_from_the_record(state: TrialState) -> None:
    trial = create_trial(
        state=state,
        value=0.5 if state == TrialState.COMPLETE else None,
        user_attrs={record.WIDTHS: "[1, 2]"},
        intermediate_values={1: 0.4},
    )
    assert record.find_duplicate((1, 2), [trial]) is trial
    assert record.find_duplicate((2, 1), [trial]) is None


def test_what_is_drawn_next_depends_on_the_place_of_the_trial_however_often_it_was_begun() -> None:
    own = study()
    own.tell(begin(own), 0.5)
    assert record.next_place(own.trials) == 1
    own.ask()  # its worker dies before it has drawn anything
    recover(own, everyone)
    assert record.count_begun(own.trials) == 2
    assert record.next_place(own.trials) == 1
    assert record.next_judge(own.trials, "synflow", 2) == "synflow"
    own.ask()
    assert record.next_place(own.trials) == 2
    assert record.next_judge(own.trials, "synflow", 2) == "scratch"


def test_what_a_trial_took_counts_once_however_often_it_was_begun() -> None:
    own = study()
    for _ in range(2):
        begin(own).set_user_attr(record.TRAINING_MACS, 100)
    assert record.training_macs(own.trials) == 200
    recover(own, everyone)
    waiting = [one for one in own.trials if one.state == TrialState.WAITING]
    assert not any(record.TRAINING_MACS in one.user_attrs for one in waiting)
    for _ in waiting:
        again = own.ask()
        again.set_user_attr(record.TRAINING_MACS, 90)
        own.tell(again, 0.5)
    assert record.training_macs(own.trials) == 180


def test_a_studys_home_is_that_of_the_first_worker_that_has_named_itself() -> None:
    own = study()
    assert record.home_of(own.trials) is None
    own.ask()  # its worker dies before it has named itself
    assert record.home_of(own.trials) is None
    for name in ("host-1-a-here", "host-2-b-there"):
        own.ask().set_user_attr(record.WORKER, name)
    assert record.home_of(own.trials) == "here"


def test_against_a_cost_the_front_is_what_no_trial_beats_for_as_little() -> None:
    trials = [
        create_trial(values=values, user_attrs=attributes, state=state)
        for values, attributes, state in (
            ([0.9, 30.0], {}, TrialState.COMPLETE),
            ([0.8, 10.0], {}, TrialState.COMPLETE),
            ([0.8, 20.0], {}, TrialState.COMPLETE),  # as good and dearer
            ([0.7, 12.0], {}, TrialState.COMPLETE),  # worse and dearer than the second
            ([0.85, 30.0], {}, TrialState.COMPLETE),  # worse at the cost of the first
            ([0.6, 5.0], {record.REPEAT_OF: 1}, TrialState.COMPLETE),
            ([0.5, 4.0], {}, TrialState.COMPLETE),
        )
    ]
    assert [one.values for one in record.front(trials)] == [[0.5, 4.0], [0.8, 10.0], [0.9, 30.0]]
    assert record.front([]) == []
