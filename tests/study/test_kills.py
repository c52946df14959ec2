"""Workers killed with `kill -9`: no trial is lost, none is doubled, and trainings go on from their checkpoints."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from nas_prune.study import trial_record as record
from nas_prune.study.journal import Mended
from nas_prune.study.location import Recovery, StudyLocation, read_trials, recover_study
from nas_prune.study.objective import trial_folder
from nas_prune.study.trial_record import Fate
from tests.study.servers import postgresql

TRIALS = 120  # so that the study outlasts several kills on a fast machine
STUDY = """
space: resnet20
data: {{name: digits, max_images: {images}, val_fraction: 0.3}}
epochs: 6
budget: macs<=30%
trials: {trials}
"""


def write_study(folder: Path, *, trials: int = TRIALS, images: int = 300) -> None:
    (folder / "s.yaml").write_text(STUDY.format(trials=trials, images=images), encoding="utf-8")


def start(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    if not (folder / "s.yaml").exists():
        write_study(folder)
    command = [sys.executable, "-m", "nas_prune", "study", "run", "s.yaml", "--out", "run", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)


def check(trials: list[FrozenTrial], run: Path, wanted: int = TRIALS) -> None:
    """Every trial complete exactly once, or failed and tried again."""
    fates = record.fates(trials)
    assert set(fates) <= {Fate.COMPLETE, Fate.RETRIED, Fate.SURPLUS}, list(
        zip(range(99), fates, strict=False)
    )
    complete = [record.line_of(trial) for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == len(set(complete)) == wanted
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            assert sorted(trial.intermediate_values) == [1, 2, 3, 4, 5, 6]
            if record.REPEAT_OF not in trial.user_attrs:
                folder = trial_folder(run, "s", record.line_of(trial))
                lines = (
                    (folder / f"seed-{trial.user_attrs[record.SEED]}" / "metrics.jsonl")
                    .read_text(encoding="utf-8")
                    .splitlines()
                )
                assert len(lines) == 6


def keep_killing(
    folder: Path, count: int, arguments: tuple[str, ...], *, every: float, limit: float = 540
) -> int:
    """Run so many workers, kill one every so many seconds and start another for it, until all have ended."""
    rng, killed = random.Random(7), 0
    workers = [start(folder, *arguments) for _ in range(count)]
    ends, next_kill = time.monotonic() + limit, time.monotonic() + every
    while any(worker.poll() is None for worker in workers):
        assert time.monotonic() < ends, (folder / "log").read_text()[-3000:]
        time.sleep(0.2)
        if time.monotonic() > next_kill:
            next_kill += every
            alive = [number for number, worker in enumerate(workers) if worker.poll() is None]
            if len(alive) == count:
                number = rng.choice(alive)
                workers[number].send_signal(signal.SIGKILL)
                workers[number].wait()
                workers[number] = start(folder, *arguments)
                killed += 1
    assert [worker.returncode for worker in workers] == [0] * count, (folder / "log").read_text()[-3000:]
    return killed


@pytest.mark.slow
def test_four_workers_on_postgresql_of_which_one_is_killed_every_20_seconds(tmp_path: Path) -> None:
    with postgresql() as url:
        killed = keep_killing(tmp_path, 4, ("--storage", url, "--heartbeat", "2"), every=20)
        result = read_trials(StudyLocation(tmp_path / "run", url))
        assert killed >= 2
        check(result.trials["s"], tmp_path / "run")


@pytest.mark.slow
def test_two_workers_on_a_journal_of_which_one_is_killed_every_20_seconds(tmp_path: Path) -> None:
    killed = keep_killing(tmp_path, 2, (), every=20)
    result = read_trials(StudyLocation(tmp_path / "run"))
    assert killed >= 2
    check(result.trials["s"], tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "postgresql"])
def test_a_thousand_trials_of_eight_workers_of_which_one_is_killed_every_20_seconds(
    storage: str, tmp_path: Path
) -> None:
    write_study(tmp_path, trials=1000, images=100)
    with postgresql() if storage == "postgresql" else nullcontext() as url:
        extra = ("--storage", url, "--heartbeat", "2") if url else ()
        killed = keep_killing(tmp_path, 8, extra, every=20, limit=3600)
        result = read_trials(StudyLocation(tmp_path / "run", url))
    assert killed >= 5
    check(result.trials["s"], tmp_path / "run", 1000)


@pytest.mark.slow
def test_what_two_killed_workers_leave_is_recovered_by_the_command(tmp_path: Path) -> None:
    workers = [start(tmp_path), start(tmp_path)]
    place = StudyLocation(tmp_path / "run")
    for _ in range(600):
        time.sleep(0.2)
        if (tmp_path / "run" / "journal.log").exists():
            states = [trial.state for trial in read_trials(place).trials["s"]]
            if states.count(TrialState.RUNNING) == 2 and states.count(TrialState.COMPLETE) >= 2:
                break
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    with (tmp_path / "run" / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":8,"wor')  # a line that breaks off
    recovery = recover_study(place)
    assert recovery.journal == Mended(1)
    assert len(recovery.trials) == 2
    assert not any(one.is_given_up for one in recovery.trials)
    assert recover_study(place) == Recovery(Mended(0), ())
    assert start(tmp_path).wait() == 0
    check(read_trials(place).trials["s"], tmp_path / "run")
