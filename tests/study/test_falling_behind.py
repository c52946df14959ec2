"""Early stopping: what falls behind is ended, whether it still improves or not, and what dips once is not."""

from collections.abc import Callable

import optuna
import pytest

from nas_prune.study.samplers import quiet, stopping_named

EPOCHS = 20


@pytest.fixture
def study() -> optuna.Study:
    """Ten trials of 90 % and more at each epoch."""
    quiet()
    found = optuna.create_study(direction="maximize", pruner=stopping_named("median", EPOCHS))
    for _ in range(10):
        trial = found.ask()
        for epoch in range(1, EPOCHS + 1):
            trial.report(0.9 + 0.001 * epoch, epoch)
        found.tell(trial, 0.92)
    return found


@pytest.mark.parametrize(
    ("values", "ended"),
    [
        (lambda epoch: 0.2 + 0.001 * epoch, 11),  # behind, and improving
        (lambda _: 0.2, 11),
        (lambda epoch: 0.2 if epoch < 15 else 0.95, 11),
        (lambda epoch: 0.2 if epoch <= 10 else 0.95, None),  # for one epoch of the second half
        (lambda epoch: 0.902 + 0.001 * epoch, None),
    ],
)
def test_what_is_behind_for_two_epochs_of_the_second_half_is_ended(
    study: optuna.Study, values: Callable[[int], float], ended: int | None
) -> None:
    trial, stopped = study.ask(), None
    for epoch in range(1, EPOCHS + 1):
        trial.report(values(epoch), epoch)
        if trial.should_prune():
            stopped = epoch
            break
    assert stopped == ended


def test_nothing_is_ended_before_eight_others_tell_what_is_behind() -> None:
    found = optuna.create_study(direction="maximize", pruner=stopping_named("median", EPOCHS))
    for value in [0.9] * 7 + [0.1]:
        trial = found.ask()
        for epoch in range(1, EPOCHS + 1):
            trial.report(value, epoch)
            assert not trial.should_prune()
        found.tell(trial, value)
