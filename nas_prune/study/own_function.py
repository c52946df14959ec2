"""Code of somebody's own that a study calls: what it is given, what it may return, what may go wrong in it."""

import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, signature
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.runs.files import saying_why
from nas_prune.runs.progress import Progress
from nas_prune.runs.text import printable
from nas_prune.space.widths import Widths

Function: TypeAlias = Callable[..., Any]
_LARGEST = 1e300  # what databases hold
_FORKED = 70  # the exit code of a process that a function forked and did not end


class Stopped(Exception):  # noqa: N818  (no error of the function, which it leaves)
    """A training has fallen behind and is to end: let it through."""


class FunctionError(NasPruneError):
    """A function of somebody's own has failed, or has returned what cannot be used."""


@dataclass(slots=True)
class Trial:
    """What a training function is told beside its network, where it asks for a `trial`.

    Attributes:
        widths: of the network.
        seed: another for each training of the same widths; torch, numpy and random are seeded with it already.
        epochs: how many to train for: fewer in trials than for finalists. The study must be given them.
    """

    widths: Widths
    seed: int
    _epochs: int | None
    _folder: Path
    _report: Callable[[int, float], bool]
    _last: int = field(default=-1, init=False)

    @property
    def epochs(self) -> int:
        """How many epochs to train for.

        Raises:
            BadInputError: the study was not told.
        """
        if self._epochs is None:
            raise BadInputError(
                "epochs must be given to the study for trial.epochs to say them, got none: study(…, epochs=5, "
                "full_epochs=40)"
            )
        return self._epochs

    @property
    def folder(self) -> Path:
        """A directory of this training alone, the same when it is tried again after a kill: for checkpoints."""
        with saying_why(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def report(self, step: int, value: float) -> None:
        """Say how good the network is after a step: for curves, and for the study to end what falls behind.

        Args:
            step: epochs done, 1 after the first.
            value: as the function returns it.

        Raises:
            Stopped: the training has fallen behind (`stopping="median"`).
            FunctionError: a step does not come after the last one, or the value is no number.
        """
        if type(step) is not int or step <= self._last:
            after = f"above {self._last}, the last one" if self._last >= 0 else "0 or more"
            raise FunctionError(f"a step must be a whole number {after}, got {_shown(step)}.")
        self._last = step
        if self._report(step, number_of(value, "report")):
            raise Stopped


def number_of(value: Any, what: str = "train") -> float:
    """The one finite number that a function was to return.

    Raises:
        FunctionError: it is something else.
    """
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        kind = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        is_one = kind.size == 1 and np.issubdtype(kind.dtype, np.number)
        if not is_one or np.iscomplexobj(kind):
            raise FunctionError(_wanted(what, f"{type(value).__name__} of shape {kind.shape}, {kind.dtype}"))
        value = kind.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FunctionError(_wanted(what, _shown(value)))
    if not (isfinite(value) and abs(value) < _LARGEST):
        raise FunctionError(_wanted(what, f"{value:.3g}"))
    return float(value)


def _wanted(what: str, got: str) -> str:
    must = "be given" if what == "report" else "return"
    return f"{what} must {must} one finite number, got {got}."


def _shown(value: Any) -> str:
    text = printable(repr(value))
    return text if len(text) <= 60 else f"{text[:60]}…"


def asks_for(function: Function, name: str, what: str) -> bool:
    """Whether a function takes something by name beside its network.

    Raises:
        BadInputError: it cannot be called with a network, and that.
    """
    if not callable(function):
        raise BadInputError(f"{what} must be a function that takes a network, got {_shown(function)}.")
    try:
        parameters = signature(function).parameters
    except (ValueError, TypeError):  # of code that is not Python's
        return False
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    takes = name in parameters and parameters[name].kind in by_name
    more = {name: None} if takes else {}
    try:
        signature(function).bind(None, **more)
    except TypeError:
        raise BadInputError(
            f"{what} must take a network, and may take {name} beside it, got ({', '.join(parameters)})."
        ) from None
    return takes


@contextmanager
def outside(seed: int, threads: int | None, progress: Progress, what: str) -> Iterator[None]:
    """Where code of somebody's own runs: seeded, with its own threads, and with all that it changes put back.

    Args:
        seed: of the random numbers of torch, numpy and Python.
        threads: of linear algebra in numpy, which studies take one of; None for what there is.
        progress: is told where it failed.
        what: the function.

    Raises:
        FunctionError: the code failed, and how.
    """
    process, before = os.getpid(), (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    # `manual_seed` seeds the GPUs, too; those of a process that has not begun with them are nobody's yet.
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (theirs may draw from it)
        torch.manual_seed(seed)
        with threadpool_limits(threads, user_api="blas"):
            yield
    except (FunctionError, Stopped):
        raise
    except Exception as error:  # noqa: BLE001  (their code may raise anything)
        if os.getpid() == process:
            progress.say(traceback.format_exc())
        said = " ".join(str(error).split())
        raise FunctionError(
            printable(f"{what} raised {type(error).__name__}{f': {said}' * bool(said)}.")
        ) from None
    finally:
        if os.getpid() != process:  # or it would go on as a second worker under this one's name
            os.write(2, f"nas-prune: a process that {what} forks must end in it.\n".encode())
            os._exit(_FORKED)
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
