"""Code of somebody's own: what it may take and return, and what it leaves as it was."""

import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from nas_prune.errors import BadInputError
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.study.own_function import FunctionError, Stopped, Trial, asks_for, number_of, outside
from tests.study.own_trainings import tiny_space


@pytest.mark.parametrize(
    "value", [0.5, 1, np.float32(0.5), np.int64(3), np.array([0.25]), torch.tensor(0.5), torch.ones(1, 1)]
)
def test_one_number_of_any_kind_is_a_number(value: Any) -> None:
    found = number_of(value)
    assert type(found) is float
    assert found == float(np.asarray(value).reshape(()))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "got None"),
        (False, "got False"),
        (np.bool_(True), r"got bool of shape \(\), bool"),
        (torch.tensor(True), r"got Tensor of shape \(\), bool"),
        ("0.5", "got '0.5'"),
        (torch.ones(3), r"got Tensor of shape \(3,\), float32"),
        (np.array(1j), r"got ndarray of shape \(\), complex128"),
        (float("inf"), "got inf"),
        (torch.tensor(float("nan")), "got nan"),
        (1e301, "got 1e"),
        ([0.1] * 100, r"got \[0.1.*…"),
    ],
)
def test_anything_else_is_refused_and_named(value: Any, said: str) -> None:
    with pytest.raises(FunctionError, match=f"train must return one finite number, {said}"):
        number_of(value)


class _Callable:
    def __call__(self, network: Any, *, trial: Any) -> float:
        return 0.0

    def method(self, network: Any) -> float:
        return 0.0


def _both(network: Any, trial: Any = None, rate: float = 0.1) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("function", "asks"),
    [
        (lambda network: 0.0, False),
        (lambda network, trial: 0.0, True),
        (lambda *network, **more: 0.0, False),
        (_both, True),
        (partial(_both, trial=None), True),
        (partial(_both, rate=0.2), True),
        (_Callable(), True),
        (_Callable().method, False),
        (len, False),
    ],
)
def test_a_trial_is_given_to_those_who_ask_for_it(function: Any, asks: bool) -> None:
    assert asks_for(function, "trial", "train") is asks


@pytest.mark.parametrize("function", [lambda: 0, lambda a, b: 0, lambda *, network: 0, 7, "train"])
def test_what_cannot_be_called_with_a_network_is_refused(function: Any) -> None:
    with pytest.raises(BadInputError, match="train must (take|be a function that takes) a network"):
        asks_for(function, "trial", "train")


def _drawn() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def _seeds_and_fails() -> None:
    with outside(1, None, SILENT, "train"):
        torch.manual_seed(99)
        raise ValueError("no")


def test_random_numbers_follow_the_seed_inside_and_go_on_outside_as_if_nothing_had_been() -> None:
    found = []
    for seed in (3, 3, 4):
        with outside(seed, None, SILENT, "train"):
            found.append(_drawn())
    assert found[0] == found[1]
    assert all(one != other for one, other in zip(found[0], found[2], strict=True))
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = _drawn()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with pytest.raises(FunctionError, match="train raised ValueError: no"):
        _seeds_and_fails()
    assert _drawn() == expected


@pytest.mark.gpu
def test_random_numbers_of_gpus_go_on_outside_as_if_nothing_had_been() -> None:
    torch.rand(1, device="cuda")
    torch.manual_seed(0)
    expected = torch.rand(3, device="cuda")
    torch.manual_seed(0)
    with outside(3, None, SILENT, "train"):
        torch.rand(3, device="cuda")
    assert torch.equal(torch.rand(3, device="cuda"), expected)


def test_linear_algebra_has_its_own_threads_inside() -> None:
    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    with threadpool_limits(1, user_api="blas"):
        with outside(0, 2, SILENT, "train"):
            assert threads() == {2}
        assert threads() == {1}


def test_what_it_raises_is_one_line_and_its_traceback_is_said() -> None:
    said: list[str] = []
    with (
        pytest.raises(FunctionError, match=r"^train raised RuntimeError: out of.* memory\.$") as caught,
        outside(0, None, Progress(say=said.append), "train"),
    ):
        raise RuntimeError("out\nof\x1b[31m memory")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "Traceback" in said[0]


def trial(folder: Path, heard: list[tuple[int, float]], epochs: int | None = None, last: int = 99) -> Trial:
    def report(step: int, value: float) -> bool:
        heard.append((step, value))
        return step >= last

    return Trial(tiny_space().widths([8, 8, 8]), 3, epochs, folder, report)


def test_reports_are_heard_in_order_until_the_training_has_fallen_behind(tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []
    own = trial(tmp_path, heard, last=3)
    own.report(0, 0.5)
    own.report(2, torch.tensor(0.25))  # type: ignore[arg-type]
    for step in (2, 1, -1, True, 2.5):
        with pytest.raises(FunctionError, match="a step must be a whole number above 2, the last one, got"):
            own.report(step, 0.1)  # type: ignore[arg-type]
    with pytest.raises(FunctionError, match="report must be given one finite number, got nan"):
        own.report(3, float("nan"))
    with pytest.raises(Stopped):
        own.report(4, 0.1)
    assert heard == [(0, 0.5), (2, 0.25), (4, 0.1)]


def test_a_trial_has_a_directory_and_says_its_epochs_where_the_study_was_told(tmp_path: Path) -> None:
    own = trial(tmp_path / "a" / "b", [], epochs=7)
    assert own.epochs == 7
    assert not (tmp_path / "a").exists()
    assert own.folder.is_dir()
    with pytest.raises(BadInputError, match=r"epochs must be given to the study.*study\(…, epochs=5"):
        _ = trial(tmp_path, []).epochs


FORKS = """
import os
from nas_prune.runs.progress import SILENT
from nas_prune.study.own_function import outside

with outside(0, None, SILENT, "train"):
    child = os.fork()
    if child == 0 and {raises}:
        raise ValueError
if child == 0:
    print("a second worker", flush=True)
else:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.parametrize("raises", [False, True])
def test_a_process_that_it_forks_does_not_go_on_as_a_worker(raises: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS.format(raises=raises)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "70\n"
    assert done.stderr == "nas-prune: a process that train forks must end in it.\n"
