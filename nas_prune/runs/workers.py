"""Several trainings at once, each in a process of its own, so that one that dies does not end the others."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.process import parent_process as get_parent
from time import sleep
from typing import Any, Generic, TypeAlias, TypeVar

from nas_prune.errors import FileError, NasPruneError
from nas_prune.runs.memory import keep_freed_memory
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.safe_path import leave_out_current_directory
from nas_prune.runs.stopping import held_back, interruptible, leave_to_parent

Task = TypeVar("Task")
Result = TypeVar("Result")
Work: TypeAlias = Callable[[Task, Progress], Result]
_LAST_WORDS = 15.0  # seconds that workers have for a checkpoint when all is stopped
_GRACE = 3.0  # and when the process that started them was killed


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one task: a result, or the reason why there is none."""

    result: Result | None
    error: str | None


def in_workers(
    prepare: Callable[[], Work[Task, Result]], tasks: Sequence[Task], count: int, progress: Progress = SILENT
) -> list[Outcome[Result]]:
    """Work through tasks in `count` processes.

    If a process dies, only its task fails; another is started for the rest. If this process is stopped, the others stop
    too, each at the end of a step. If it is killed, they notice and stop.

    Args:
        prepare: called once in each process, for the function that works on one task. It, the tasks and the results
            travel between our own processes by pickle.
        tasks: what is to be done.
        count: how many processes.
        progress: reports how far the work is.

    Returns:
        One outcome for each task, in their order.

    Raises:
        KeyboardInterrupt: it was stopped.
        FileError: a process could not write; the others are stopped, since they could not either.
    """
    pool = _Pool(prepare, list(tasks), progress)
    try:
        with interruptible():
            pool.work(min(count, len(tasks)))
    except BaseException:
        pool.stop()
        raise
    return [pool.outcomes[number] for number in range(len(tasks))]


class _Pool(Generic[Task, Result]):
    def __init__(
        self, prepare: Callable[[], Work[Task, Result]], tasks: list[Task], progress: Progress
    ) -> None:
        self._prepare, self._tasks, self._progress = prepare, tasks, progress
        self._waiting = list(range(len(tasks)))
        self._workers: dict[Connection, tuple[BaseProcess, int | None]] = {}
        self._given_twice: set[int] = set()
        self.outcomes: dict[int, Outcome[Result]] = {}

    def work(self, count: int) -> None:
        for _ in range(count):
            self._start()
        while self._workers:
            for ready in wait(list(self._workers)):
                assert isinstance(ready, Connection)
                self._listen(ready)

    def stop(self) -> None:
        for connection, (process, _) in self._workers.items():
            process.terminate()
            connection.close()  # so that a worker that waits for work ends too
        for process, _ in self._workers.values():
            process.join(_LAST_WORDS)
            process.kill()

    def _start(self) -> None:
        leave_out_current_directory()
        resource_tracker.ensure_running()  # which starts a process of its own, and unblocks Ctrl-C then
        with held_back():
            ours, theirs = get_context("spawn").Pipe()
            process = get_context("spawn").Process(target=_serve, args=(theirs, self._prepare))
            process.start()
            theirs.close()
            self._workers[ours] = (process, None)
        self._hand_out(ours)

    def _hand_out(self, connection: Connection) -> None:
        process, _ = self._workers[connection]
        self._workers[connection] = (
            process,
            None,
        )  # its last task is done, and must not fail if the process is dead by now
        if not self._waiting:
            with suppress(OSError):
                connection.send(None)
            return
        number = self._waiting.pop(0)
        try:
            connection.send(self._tasks[number])
        except OSError:  # it has just died; this task is not the reason, unless it happens again
            if number in self._given_twice:
                self._workers[connection] = (process, number)
            else:
                self._given_twice.add(number)
                self._waiting.insert(0, number)
        else:
            self._workers[connection] = (process, number)

    def _listen(self, connection: Connection) -> None:
        try:
            kind, content = connection.recv()
        except (EOFError, OSError):
            self._bury(connection)
            return
        match kind:
            case "progress":
                self._progress.update(*content)
            case "say":
                self._progress.say(content)
            case "note":
                self._progress.note(*content)
            case "cannot write":
                raise FileError(content)
            case "end":
                _, number = self._workers[connection]
                assert number is not None
                self.outcomes[number] = content
                self._hand_out(connection)

    def _bury(self, connection: Connection) -> None:
        """Remove a process that has ended; its task, if any, has failed, and others may be waiting."""
        process, number = self._workers.pop(connection)
        process.join()
        if number is not None:
            self.outcomes[number] = Outcome(None, _obituary(process.exitcode or 0))
        if self._waiting:
            self._start()


def _obituary(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


def _serve(connection: Connection, prepare: Callable[[], Work[Any, Any]]) -> None:
    """One worker: prepares, then works on the tasks it is sent, until it is sent None.

    Ctrl-C reaches the process that started it, too, which then stops it by SIGTERM.
    """
    leave_to_parent()
    keep_freed_memory()
    _end_with_parent()
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError), interruptible():
        _work_through(connection, prepare)


def _work_through(connection: Connection, prepare: Callable[[], Work[Any, Any]]) -> None:
    progress = Progress(
        update=lambda *content: connection.send(("progress", content)),
        say=lambda text: connection.send(("say", text)),
        note=lambda *content: connection.send(("note", content)),
    )
    work: Work[Any, Any] | None = None
    while (task := connection.recv()) is not None:
        try:
            work = work or prepare()
            outcome: Outcome[Any] = Outcome(work(task, progress), None)
        except FileError as error:
            connection.send(("cannot write", str(error)))
            return
        except NasPruneError as error:
            outcome = Outcome(None, str(error))
        connection.send(("end", outcome))


def _end_with_parent() -> None:
    """Ask this process to stop as soon as the one that started it is gone."""
    parent = get_parent()
    assert parent is not None

    def watch_over() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        sleep(_GRACE)
        os._exit(1)  # what it has written is whole, and nobody waits for more

    threading.Thread(target=watch_over, daemon=True).start()
