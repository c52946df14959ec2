"""`model.py`: what a network does, as Python that needs torch alone.

It is written from what `torch.export` has seen: each layer with its sizes as numbers, each operation as a line. No
name of the network's is anything but a quoted word in it.
"""

import inspect
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pprint import pformat
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.errors import BadInputError
from nas_prune.export.deployed import NETWORK
from nas_prune.training.model_file import NORMALISED, READ, gives, plain_text, scale_lines

LAYERS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm,
    nn.GroupNorm, nn.PReLU,
)  # fmt: skip
_ON_SIZES = {
    getattr(operator, name): f"operator.{name}"
    for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "getitem", "eq", "ne", "lt", "le",
                 "gt", "ge")
} | {getattr(torch, name): f"torch.{name}" for name in ("sym_max", "sym_min", "sym_float", "sym_int")}  # fmt: skip
_CHECKS = (
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
    "aten::_assert_async.msg",
)
_FIRST = "x"  # what the images are called, and then each value in turn
_DEVICE = "device"  # wherever the images are
_NAMES: tuple[str, ...] = (_FIRST, *"abcdefghijklmnopqrstuvw")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A network as a file of Python, and what it loads.

    Attributes:
        text: of `model.py`.
        tensors: of `model.safetensors`, by name.
    """

    text: str
    tensors: Mapping[str, Tensor]


def source_of(
    program: ExportedProgram, network: nn.Module, known: Preprocessing, what: str, takes: str
) -> Source:
    """A program as Python.

    Args:
        program: what `Deployed(network, …)` does.
        network: the network.
        known: of its images.
        what: the network, in words.
        takes: what it takes, in words: uint8 images where that begins so.

    Raises:
        BadInputError: it does something that is no operation of PyTorch's own.
    """
    writer = _Writer(program, network)
    lines = [*writer.lines()]
    if any(re.search(rf"[=(, ]{_DEVICE}\b", line) for line in lines):
        lines.insert(0, f"{_DEVICE} = {_FIRST}.device")
    is_normalised = not takes.startswith("images: uint8")
    text = _FORM.format(
        what=plain_text(what),
        version=version("nas-prune"),
        channels=known.channels,
        size=known.size,
        takes="normalised(images)" if is_normalised else "images",
        imports="import operator\n\n" if any("operator." in line for line in lines) else "",
        classes=pformat(known.classes, width=110, compact=True),
        mean=known.mean,
        std=known.std,
        gives=gives(known),
        scale=scale_lines(known),
        layers="\n".join(f"        put(self, {path!r}, {made})" for path, made in writer.made.items()),
        lines="\n".join(f"        {line}" for line in lines),
    )
    return Source(f"{text}{NORMALISED}\n\n{READ}" if is_normalised else f"{text}{READ}", writer.tensors)


class _Writer:
    """Writes operations one by one, and notes which layers and tensors they need.

    Attributes:
        made: how each layer and parameter is made, by its path.
        tensors: their weights.
    """

    def __init__(self, program: ExportedProgram, network: nn.Module) -> None:
        signature = program.graph_signature
        self.made: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self._nodes: list[Node] = list(program.graph.nodes)
        self._values: Mapping[str, Tensor] = {**program.constants, **program.state_dict}
        self._parameters = signature.inputs_to_parameters
        self._paths = {
            **signature.inputs_to_lifted_tensor_constants,
            **signature.inputs_to_buffers,
            **signature.inputs_to_parameters,
        }
        self._modules = dict(network.named_modules())
        self._alone = _calls_of_one_operation(self._nodes)
        self._same: dict[Node, Node] = {}  # what hands on its input

    def lines(self) -> Iterator[str]:
        """The body of `forward`."""
        names: dict[Node, str] = {}
        last = self._last_uses()
        for node in self._nodes:
            if node.op == "placeholder":
                if node.name not in self._paths:
                    names[node] = _FIRST
                continue
            if node.op == "output":
                yield f"return {self._value(node.all_input_nodes[0], names)}"
                continue
            if self._is_left_out(node):
                continue
            text = self._expression(node, names)
            for done in [one for one in names if last.get(one) is node]:
                del names[done]  # whose name, and memory, another value takes
            if node in last:
                names[node] = _free(names)
                yield f"{names[node]} = {text}"
            else:
                yield text

    def _is_left_out(self, node: Node) -> bool:
        """Whether an operation checks what has been checked, or only hands on what it is given."""
        return node in self._same or _schema(node) in _CHECKS

    def _last_uses(self) -> dict[Node, Node]:
        """Which operation reads a value last."""
        last: dict[Node, Node] = {}
        for node in self._nodes:
            if _schema(node) == "aten::dropout" and node.args[2] is False:
                first = node.args[0]
                assert isinstance(first, Node)
                self._same[node] = self._same.get(first, first)
            elif _schema(node) not in _CHECKS:
                for read in node.all_input_nodes:
                    last[self._same.get(read, read)] = node
        return last

    def _expression(self, node: Node, names: Mapping[Node, str]) -> str:
        path = self._layer(node)
        if path is not None:
            return f"at({path!r})({self._value(node.args[0], names)})"
        words = [self._value(one, names) for one in node.args]
        words += [f"{name}={self._value(one, names)}" for name, one in node.kwargs.items()]
        return f"{_function(node)}({', '.join(words)})"

    def _layer(self, node: Node) -> str | None:
        """The path of the layer that an operation is all of; None if it is none."""
        path = _place(node)
        module = self._modules.get(path) if path is not None and node in self._alone else None
        if module is None or type(module) not in LAYERS or not node.args:
            return None
        inputs = [one for one in node.all_input_nodes if one.name not in self._paths]
        read = [self._paths[one.name] for one in node.all_input_nodes if one.name in self._paths]
        is_own = all(one.rpartition(".")[0] == f"{NETWORK}.{path}" for one in read)
        if inputs != [node.args[0]] or not is_own or node.kwargs:
            return None
        assert path is not None
        self.made[path] = _call(module)
        self.tensors.update({f"{path}.{name}": one for name, one in module.state_dict().items()})
        return path

    def _value(self, value: Any, names: Mapping[Node, str]) -> str:
        """An argument as Python.

        Raises:
            BadInputError: it cannot be written.
        """
        if isinstance(value, Node):
            value = self._same.get(value, value)
            return names[value] if value in names else self._tensor(value)
        if isinstance(value, (list, tuple)):
            inside = ", ".join(self._value(one, names) for one in value)
            return f"[{inside}]"
        if isinstance(value, float):
            return repr(value) if abs(value) < float("inf") else f"float({str(value)!r})"
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            return str(value)
        if isinstance(value, torch.device):
            return _DEVICE
        raise _unwritable(f"an argument of type {type(value).__name__}")

    def _tensor(self, node: Node) -> str:
        """A parameter or a buffer that no layer holds alone."""
        if node.name not in self._paths:
            raise _unwritable(f"{node.op} {node.name}")
        own = self._paths[node.name]
        path, tensor = own.removeprefix(f"{NETWORK}."), self._values[own].detach()
        kind = "" if tensor.dtype is torch.float32 else f", dtype={tensor.dtype}"
        empty = f"torch.empty({tuple(tensor.shape)}{kind})"
        is_learned = node.name in self._parameters
        self.made.setdefault(path, f"nn.Parameter({empty})" if is_learned else empty)
        self.tensors[path] = tensor
        return f"self.get_{'parameter' if is_learned else 'buffer'}({path!r})"


def _calls_of_one_operation(nodes: list[Node]) -> set[Node]:
    """Operations that are all that a call of a module does."""
    calls: dict[str, list[Node]] = {}
    for node in nodes:
        for key in node.meta.get("nn_module_stack") or ():
            calls.setdefault(key, []).append(node)
    return {own[0] for own in calls.values() if len(own) == 1}


def _place(node: Node) -> str | None:
    """The path of the module whose call an operation is in."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return None
    path = str(stack[-1][0])
    return path.removeprefix(f"{NETWORK}.") if path.startswith(f"{NETWORK}.") else None


def _schema(node: Node) -> str:
    """The full name of an operation of PyTorch's or a library's; empty for anything else."""
    return str(node.target.name()) if isinstance(node.target, torch._ops.OpOverload) else ""  # noqa: SLF001


def _function(node: Node) -> str:
    """What an operation is called.

    Raises:
        BadInputError: it is none of PyTorch's own.
    """
    target = node.target
    if node.op == "call_function" and _schema(node).startswith("aten::"):
        name = str(target).removeprefix("aten.")
        assert re.fullmatch(r"\w+\.\w+", name), name
        return f"aten.{name}"
    if node.op == "call_function" and not isinstance(target, str) and target in _ON_SIZES:
        return _ON_SIZES[target]
    raise _unwritable(f"{_schema(node) or getattr(target, '__name__', target)}")


def _free(names: Mapping[Node, str]) -> str:
    taken = set(names.values())
    more = (f"{one}{number}" for number in range(2, len(names) + 3) for one in _NAMES)
    return next(one for one in (*_NAMES, *more) if one not in taken)


def _call(module: nn.Module) -> str:
    """How a layer is made: what its constructor takes, but for what it takes anyway."""
    words = []
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in ("self", "device", "dtype"):
            continue
        value = getattr(module, name)
        value = value is not None if isinstance(value, (Tensor, type(None))) and name == "bias" else value
        is_default = value == parameter.default or (
            isinstance(value, tuple) and set(value) == {parameter.default}
        )
        if parameter.default is inspect.Parameter.empty:
            words.append(repr(value))
        elif not is_default:
            words.append(f"{name}={value!r}")
    return f"nn.{type(module).__name__}({', '.join(words)})"


def _unwritable(what: str) -> BadInputError:
    return BadInputError(
        f"the network must be made of PyTorch's own operations to be written as model.py, got {what}. Use --to onnx "
        "or pt2; a training's own model.py needs the network's library, but does not write its operations out."
    )


_FORM = '''\
"""{what}; written by nas-prune {version}, needs torch and safetensors.

    network = load("model.safetensors")
    scores = network({takes})  # uint8 images, N×{channels}×{size}×{size}, to {gives}
"""

{imports}import torch
from safetensors.torch import load_file
from torch import nn

CLASSES = {classes}
CHANNELS, SIZE = {channels}, {size}
MEAN, STD = {mean}, {std}
{scale}
aten = torch.ops.aten


def put(network, path, part):
    """Put a layer, a parameter or a buffer into a network, by its path."""
    *above, name = path.split(".")
    for one in above:
        if one not in network._modules:
            network._modules[one] = nn.Module()
        network = network._modules[one]
    if isinstance(part, nn.Module):
        network._modules[name] = part
    elif isinstance(part, nn.Parameter):
        network._parameters[name] = part
    else:
        network._buffers[name] = part


class Network(nn.Module):
    def __init__(self):
        super().__init__()
{layers}

    def forward(self, x):
        at = self.get_submodule
{lines}


def load(path):
    """The trained network of a file, ready to be used."""
    network = Network()
    network.load_state_dict(load_file(path))
    return network.eval()


'''
