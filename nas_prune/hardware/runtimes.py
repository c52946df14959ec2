"""What networks are timed in: by name, each with what it needs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.graph.inputs import Forward
from nas_prune.hardware import runtime_onnx, runtime_torch
from nas_prune.hardware.timing import Parts


class Loaded(Protocol):
    """A network that is ready to be run on one image."""

    def whole(self, runs: int) -> list[int]:
        """Nanoseconds of each of some runs."""

    def parts(self, runs: int, layers: tuple[str, ...]) -> Parts:
        """How some runs divide into layers, by their paths; a layer that is not run has no part."""


class Runtime(Protocol):
    """What runs networks."""

    @property
    def name(self) -> str:
        """As `--target` takes it."""

    @property
    def has_parts(self) -> bool:
        """Whether a network's time can be divided into its layers' there."""

    def check(self) -> None:
        """Refuse where it is not installed, or has no device.

        Raises:
            BadInputError: it is so.
        """

    def versions(self) -> tuple[str, ...]:
        """The names of the libraries that decide how fast it is."""

    def loaded(self, model: nn.Module, forward: Forward, threads: int) -> AbstractContextManager[Loaded]:
        """A network in evaluation mode, ready for one image; `threads` count on a CPU."""


_RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "cpu-onnxruntime": lambda: runtime_onnx.OnnxRuntime("cpu-onnxruntime", "CPUExecutionProvider"),
    "cpu-torch": lambda: runtime_torch.Torch("cpu-torch", "cpu"),
    "cuda-torch": lambda: runtime_torch.Torch("cuda-torch", "cuda"),
    "cuda-tensorrt": lambda: runtime_onnx.OnnxRuntime("cuda-tensorrt", "TensorrtExecutionProvider"),
}
RUNTIMES = tuple(_RUNTIMES)


def runtime_named(name: str) -> Runtime:
    """The runtime of this name, which is there.

    Raises:
        BadInputError: there is none of this name, it is not installed, or has no device.
    """
    if name not in _RUNTIMES:
        raise BadInputError(f"latency can be measured on {', '.join(RUNTIMES)}, got {name!r}.")
    runtime = _RUNTIMES[name]()
    runtime.check()
    return runtime
