"""Timing networks in PyTorch, operation by operation as it runs them, on the CPU or a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from time import perf_counter_ns
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from nas_prune.errors import BadInputError
from nas_prune.graph.inputs import Forward
from nas_prune.hardware.timing import Parts, clocked


@dataclass(frozen=True, slots=True)
class Torch:
    """PyTorch without compilation.

    Attributes:
        name: as `--target` takes it.
        device: what it computes on.
    """

    name: str
    device: Literal["cpu", "cuda"]
    has_parts: bool = True

    def check(self) -> None:
        """Refuse a GPU where PyTorch finds none.

        Raises:
            BadInputError: it is so.
        """
        if self.device == "cuda" and not torch.cuda.is_available():
            raise BadInputError(
                f"--target {self.name} must have a GPU that PyTorch finds, got none. Measure where there is one: "
                "its table can be used everywhere."
            )

    def versions(self) -> tuple[str, ...]:
        """The names of the libraries that decide how fast it is."""
        return ("torch",)

    @contextmanager
    def loaded(self, model: nn.Module, forward: Forward, threads: int) -> Iterator["_Loaded | _LoadedCuda"]:
        """A network ready for one image; PyTorch has its own number of threads again behind the block."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                model = model.eval().to(self.device)
                inputs = tree_map_only(Tensor, lambda one: one.to(self.device), forward.sampled(model, 1))
                run = partial(forward.run, model, inputs)
                yield _Loaded(model, run) if self.device == "cpu" else _LoadedCuda(model, run)
        finally:
            torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A network on the CPU."""

    model: nn.Module
    run: Callable[[], Any]

    def whole(self, runs: int) -> list[int]:
        """Nanoseconds of each of some runs."""
        return clocked(self.run, runs)

    def parts(self, runs: int, layers: tuple[str, ...]) -> Parts:
        """From the start of each layer to that of the next; what runs before the first belongs to it."""
        return _divided(self._marks(layers) for _ in range(runs))

    def _marks(self, layers: tuple[str, ...]) -> list[tuple[str, float]]:
        """When each layer began in a run, and when that ended."""
        marks = [("", float(perf_counter_ns()))]
        with _hooked(self.model, layers, lambda path: marks.append((path, float(perf_counter_ns())))):
            marks[0] = ("", float(perf_counter_ns()))
            self.run()
            marks.append(("", float(perf_counter_ns())))
        return marks


@dataclass(frozen=True, slots=True)
class _LoadedCuda:
    """A network on a GPU, timed by its events: the CPU only queues what is to be done."""

    model: nn.Module
    run: Callable[[], Any]

    def whole(self, runs: int) -> list[int]:
        """Nanoseconds of each of some runs."""
        found = []
        for _ in range(runs):
            began, ended = _event(), _event()
            torch.cuda.synchronize()
            began.record()
            self.run()
            ended.record()
            torch.cuda.synchronize()
            found.append(round(began.elapsed_time(ended) * 1e6))
        return found

    def parts(self, runs: int, layers: tuple[str, ...]) -> Parts:
        """From the start of each layer to that of the next; what runs before the first belongs to it."""
        return _divided(self._marks(layers) for _ in range(runs))

    def _marks(self, layers: tuple[str, ...]) -> list[tuple[str, float]]:
        """When each layer began in a run, in nanoseconds from its start, and when that ended."""
        events = [("", _event())]

        def mark(path: str) -> None:
            events.append((path, _event()))
            events[-1][1].record()

        with _hooked(self.model, layers, mark):
            torch.cuda.synchronize()
            events[0][1].record()
            self.run()
            mark("")
            torch.cuda.synchronize()
        return [(path, events[0][1].elapsed_time(event) * 1e6) for path, event in events]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


@contextmanager
def _hooked(model: nn.Module, layers: tuple[str, ...], mark: Callable[[str], None]) -> Iterator[None]:
    """Call `mark` with a layer's path whenever it begins, within the block."""

    def hook(path: str, *_: Any) -> None:
        mark(path)

    known = dict(model.named_modules())  # without those of removed blocks
    handles = [known[path].register_forward_pre_hook(partial(hook, path)) for path in layers if path in known]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _divided(runs: Iterator[list[tuple[str, float]]]) -> Parts:
    """The times between marks, added up for each layer."""
    found: dict[str, list[float]] = {}
    pieces: dict[str, int] = {}
    for number, marks in enumerate(runs):
        (_, began), *own = marks
        starts = [began, *(time for _, time in own[1:])]
        pieces = {}
        for (path, _), (start, end) in zip(own[:-1], pairwise(starts), strict=True):
            pieces[path] = pieces.get(path, 0) + 1
            times = found.setdefault(path, [])
            if pieces[path] == 1:
                times.append(0.0)
            assert len(times) == number + 1
            times[-1] += end - start
    return Parts({path: np.array(times) for path, times in found.items()}, pieces)
