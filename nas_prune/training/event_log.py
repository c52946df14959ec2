"""TensorBoard's event files beside `metrics.jsonl`: each epoch's losses, accuracies and learning rate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nas_prune.errors import BadInputError
from nas_prune.runs.files import saying_why

LogName: TypeAlias = Literal["tensorboard"]
Events: TypeAlias = Callable[[Mapping[str, Any]], None]  # takes the report of an epoch
_LEFT_OUT = ("epoch", "epochs")


def _tag(name: str) -> str:
    """What TensorBoard calls a number of an epoch: `val_accuracy` is one of two lines of the chart `accuracy`.

    Example:
        >>> _tag("val_accuracy"), _tag("learning_rate")
        ('accuracy/val', 'learning_rate')
    """
    part, _, what = name.partition("_")
    return f"{what}/{part}" if part in ("train", "val") else name


def check_log(log: LogName | None) -> None:
    """Refuse a log whose library is not there.

    Raises:
        BadInputError: it is not installed.
    """
    if log is None:
        return
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise BadInputError(
            "--log tensorboard must have TensorBoard installed, got none. pip install 'nas-prune[tensorboard]'"
        ) from None


def events_folder(run: Path, seed: int) -> Path:
    """Where the events of a run's training with one seed are."""
    return run / "tensorboard" / f"seed-{seed}"


@contextmanager
def events_in(folder: Path | None, done: int, lines: Sequence[Mapping[str, Any]]) -> Iterator[Events]:
    """What writes an epoch's report to event files; it is on the disk when the call returns.

    A killed training may have written epochs that no checkpoint covers. TensorBoard drops what an earlier file has from
    the first epoch on that a later one begins with.

    Args:
        folder: where they are; nothing is written if None.
        done: how many epochs are done.
        lines: their reports, which are written first where there are no events yet.
    """
    if folder is None:
        yield _nothing
        return
    from torch.utils.tensorboard import SummaryWriter

    with saying_why(folder):
        has_events = any(folder.glob("events.*"))
        writer = SummaryWriter(str(folder), purge_step=done + 1 if has_events else 1)

    def add(report: Mapping[str, Any]) -> None:
        with saying_why(folder):
            for name, value in report.items():
                if name not in _LEFT_OUT and isinstance(value, (int, float)):
                    writer.add_scalar(_tag(name), value, report["epoch"])
            writer.flush()

    try:
        for line in () if has_events else lines:
            add(line)
        yield add
    finally:
        with saying_why(folder):
            writer.close()


def _nothing(report: Mapping[str, Any]) -> None:
    """No events."""
