"""Timing networks in ONNX Runtime, as it fuses their operations and lays out their channels."""

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nas_prune.errors import BadInputError
from nas_prune.graph.inputs import Forward
from nas_prune.hardware.timing import Parts, clocked

_LAYERS = frozenset(("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose"))
_BEFORE_A_LAYER = frozenset(("ReorderInput",))  # lays channels out for the layer that follows
_KERNEL, _BLOCKED, _FUSED = "_kernel_time", "_nchwc", "fused "  # ends and a beginning of names in a profile
_SPARE_RUNS = 4  # of a profile, that warm up


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """ONNX Runtime with one of its execution providers.

    Attributes:
        name: as `--target` takes it.
        provider: what it computes with.
    """

    name: str
    provider: str

    @property
    def has_parts(self) -> bool:
        """TensorRT runs a network as one piece."""
        return self.provider == "CPUExecutionProvider"

    def check(self) -> None:
        """Refuse where it, or its provider, is not installed.

        Raises:
            BadInputError: it is so.
        """
        try:
            import onnx  # noqa: F401
            import onnxruntime
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise BadInputError(
                f"--target {self.name} must have ONNX Runtime installed, got no {error.name}. "
                "pip install 'nas-prune[onnx]'"
            ) from None
        there = onnxruntime.get_available_providers()
        if self.provider not in there:
            raise BadInputError(
                f"--target {self.name} must have an ONNX Runtime with {self.provider}, got {', '.join(there)}. "
                "pip install onnxruntime-gpu tensorrt, on a machine with an NVIDIA GPU"
            )

    def versions(self) -> tuple[str, ...]:
        """The names of the libraries that decide how fast it is."""
        return ("onnxruntime", "onnx", "torch")

    @contextmanager
    def loaded(self, model: nn.Module, forward: Forward, threads: int) -> Iterator["_Loaded"]:
        """A network as ONNX Runtime has prepared it for one image."""
        inputs = forward.sampled(model, 1)
        written = _exported(model.eval().get_submodule(forward.part), inputs)
        tensors = [one.numpy() for one in tree_leaves(inputs) if isinstance(one, Tensor)]
        yield _Loaded(written, tensors, self.provider, threads, forward.part)


class _Loaded:
    """A network in a session of its own; the profile has another one."""

    def __init__(self, written: bytes, tensors: list[Any], provider: str, threads: int, part: str) -> None:
        self._written, self._provider, self._threads, self._part = written, provider, threads, part
        self._session: Any = self._opened(None)
        names = [one.name for one in self._session.get_inputs()]
        if len(names) != len(tensors):
            raise BadInputError(
                f"a network must use all of its {len(tensors)} tensors to be timed in ONNX Runtime, got one that uses "
                f"{len(names)}. Measure --target cpu-torch."
            )
        self._feed = dict(zip(names, tensors, strict=True))

    def whole(self, runs: int) -> list[int]:
        """Nanoseconds of each of some runs."""
        return clocked(lambda: self._session.run(None, self._feed), runs)

    def parts(self, runs: int, layers: tuple[str, ...]) -> Parts:
        """The runtime's own profile, what is between two layers counted with the first."""
        homes = _homes(self._written, layers, self._part)
        self._session = None  # its threads would stand in the way
        with TemporaryDirectory(prefix="nas-prune-") as folder:
            session = self._opened(Path(folder) / "profile")
            for _ in range(runs + _SPARE_RUNS):
                session.run(None, self._feed)
            events = json.loads(Path(session.end_profiling()).read_bytes())
        self._session = self._opened(None)
        return _divided(events, homes, runs)

    def _opened(self, profile: Path | None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        return onnxruntime.InferenceSession(self._written, options, providers=[self._provider])


def _exported(module: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> bytes:
    """A network as ONNX, its parameters by their names.

    The older exporter comes first: it takes a twentieth of the newer one's time, and hundreds of networks are timed.
    ONNX Runtime folds norms into layers itself.
    """
    with _quietly():
        try:
            return _by_tracing(module, inputs)
        except Exception:  # noqa: BLE001  (whatever the exporter meets)
            try:
                return _by_exporting(module, inputs)
            except Exception as error:
                said = " ".join(str(error.__cause__ or error).split())[:200]
                raise BadInputError(
                    "a network must be one that can be written as ONNX to be timed in ONNX Runtime, got: "
                    f"{said}. Measure --target cpu-torch."
                ) from error


def _by_tracing(module: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> bytes:
    args, kwargs = inputs
    stream = io.BytesIO()
    torch.onnx.export(
        module,
        args,
        stream,  # type: ignore[arg-type]  # which it takes
        kwargs=kwargs or None,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # as it is: in evaluation mode, norms not folded yet
        do_constant_folding=False,
    )
    return stream.getvalue()


def _by_exporting(module: nn.Module, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> bytes:
    args, kwargs = inputs
    made = torch.onnx.export(module, args, kwargs=kwargs or None, dynamo=True, verbose=False)
    assert made is not None
    return bytes(made.model_proto.SerializeToString())


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep exporters from warning of themselves, and from printing a network that one of them cannot write."""
    level, kept = logging.root.manager.disable, os.dup(1)
    with warnings.catch_warnings(), Path(os.devnull).open("wb") as nowhere:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        sys.stdout.flush()
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            logging.disable(level)


def _homes(written: bytes, layers: Iterable[str], part: str) -> dict[str, str]:
    """The layer of each convolution and product by a weight, by its name and by those that a fusion gives it.

    ONNX Runtime calls a fused operation after its first one, or after the tensor that its last one puts out.
    """
    import onnx

    nodes = onnx.load_model_from_string(written).graph.node
    same = {node.output[0]: node.input[0] for node in nodes if node.op_type in ("Identity", "Transpose")}
    known, found, of_tensor = set(layers), dict[str, str](), dict[str, str]()
    for node in nodes:
        weights = [_source(name, same) for name in node.input[1:2]] if node.op_type in _LAYERS else []
        paths = [f"{part}.{name}".strip(".").rpartition(".")[0] for name in weights]
        home = next((path for path in paths if path in known), None)
        if home is None:
            home = next((of_tensor[name] for name in node.input if name in of_tensor), None)
        else:
            found[node.name] = home
        if home is not None:
            of_tensor |= dict.fromkeys(node.output, home)
    return {name + _BLOCKED: home for name, home in of_tensor.items()} | found


def _source(name: str, same: Mapping[str, str]) -> str:
    while name in same:
        name = same[name]
    return name


def _divided(events: list[dict[str, Any]], homes: Mapping[str, str], runs: int) -> Parts:
    """The kernels of a profile's last runs, added up for each layer."""
    kernels = [one for one in events if one.get("cat") == "Node" and one["name"].endswith(_KERNEL)]
    kernels.sort(key=lambda one: int(one["ts"]))
    of_run = len(kernels) // (runs + _SPARE_RUNS)
    if not of_run or len(kernels) % (runs + _SPARE_RUNS):
        raise BadInputError(
            "a network must run the same operations each time to be timed layer by layer, got others. "
            "Measure --target cpu-torch."
        )
    owners = _owners(kernels[-of_run:], homes)
    ns = {owner: np.zeros(runs) for owner in owners}
    for number, one in enumerate(kernels[-of_run * runs :]):
        ns[owners[number % of_run]][number // of_run] += 1000.0 * one["dur"]
    return Parts(ns, {owner: owners.count(owner) for owner in ns})


def _owners(kernels: list[dict[str, Any]], homes: Mapping[str, str]) -> list[str]:
    """The layer that each kernel of a run counts with."""
    own = [
        _home(one["name"].removesuffix(_KERNEL), homes) if one["args"]["op_name"] in _LAYERS else None
        for one in kernels
    ]
    last = next((home for home in own if home), None)
    if last is None:
        raise BadInputError(
            "a network must run its layers by their names to be timed layer by layer, got none of them in the profile "
            "of ONNX Runtime. Measure --target cpu-torch."
        )
    found = []
    for number, (one, home) in enumerate(zip(kernels, own, strict=True)):
        last = home or last
        following = next((later for later in own[number:] if later), last)
        found.append(following if one["args"]["op_name"] in _BEFORE_A_LAYER else last)
    return found


def _home(name: str, homes: Mapping[str, str]) -> str | None:
    """The layer of a kernel: some fusions put their own names behind that of the operation, others in front."""
    name = name.removeprefix(_FUSED)
    while name and name not in homes:
        name = name.rpartition("/")[0]
    return homes.get(name)
