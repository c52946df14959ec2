"""Workers killed with `kill -9` while the judge's network is trained; two that share one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from nas_prune.study import trial_record as record
from nas_prune.study.location import StudyLocation, read_trials

STUDY = """
space: resnet20
data: {{name: digits, max_images: 600, val_fraction: 0.3}}
epochs: 1
budget: macs<=30%
judge: {judge}
judge_epochs: 12
judged: 10
trials: 14
sampler: rule
threads: 1
"""


def start(folder: Path, judge: str) -> "subprocess.Popen[bytes]":
    (folder / "s.yaml").write_text(STUDY.format(judge=judge), encoding="utf-8")
    command = [sys.executable, "-m", "nas_prune", "study", "run", "s.yaml", "--out", "run"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def epochs_in(folder: Path, judge: str) -> int:
    metrics = folder / "run" / "judges" / judge / "metrics.jsonl"
    return len(metrics.read_text(encoding="utf-8").splitlines()) if metrics.exists() else 0


def wait_for(is_so: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["inherited", "slimmable"])
def test_a_killed_worker_is_gone_on_with_wherever_it_was(judge: str, tmp_path: Path) -> None:
    one = start(tmp_path, judge)
    wait_for(lambda: epochs_in(tmp_path, judge) >= 3)
    one.send_signal(signal.SIGKILL)
    one.wait()
    before = epochs_in(tmp_path, judge)
    assert 3 <= before < 12
    two = start(tmp_path, judge)
    log = tmp_path / "log"
    wait_for(lambda: "s, trial 4" in log.read_text(encoding="utf-8"))  # among the judged ones
    two.send_signal(signal.SIGKILL)
    two.wait()
    assert start(tmp_path, judge).wait() == 0
    assert epochs_in(tmp_path, judge) == 12  # none was trained twice
    trials = read_trials(StudyLocation(tmp_path / "run")).trials["s"]
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len({record.line_of(trial) for trial in done}) == len(done) == 14
    assert [record.judge_of(trial) for trial in done].count("scratch") == 5


@pytest.mark.slow
def test_workers_share_one_training_of_the_judges_network(tmp_path: Path) -> None:
    workers = [start(tmp_path, "slimmable")]
    wait_for(lambda: epochs_in(tmp_path, "slimmable") >= 1)
    workers[0].send_signal(signal.SIGSTOP)  # so that the other comes before the training is over
    workers.append(start(tmp_path, "slimmable"))
    wait_for(lambda: "Waiting for another worker" in (tmp_path / "log").read_text(encoding="utf-8"))
    workers[0].send_signal(signal.SIGCONT)
    assert [worker.wait() for worker in workers] == [0, 0]
    assert epochs_in(tmp_path, "slimmable") == 12
    trials = read_trials(StudyLocation(tmp_path / "run")).trials["s"]
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len({record.line_of(trial) for trial in done}) == len(done) == 14
    assert len({trial.user_attrs[record.WORKER] for trial in done}) == 2
