"""Residual blocks that a network can do without: with nothing added to it, what came in goes out.

Nothing about types of modules is needed. A block is a module that takes one tensor and gives one of the same shape,
and that gives back exactly what it was given once the output of its last layer is zero. It is then the same network
with `nn.Identity` in the block's place, of fewer layers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nas_prune.graph.axes import atoms_of
from nas_prune.graph.channels import ChannelGraph, Layer
from nas_prune.graph.inputs import Forward, is_within
from nas_prune.graph.trace import slow_attention

_IMAGES = 2
_Run: TypeAlias = Callable[[nn.Module], Any]


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block that can be taken out.

    Attributes:
        path: the module.
        last: the layer whose output, added to what came in, is all that the block does.
        stage: that of the channels it adds to.
        columns: the searchable groups that live in the block alone, by place.
    """

    path: str
    last: str
    stage: int
    columns: tuple[int, ...]


def without(model: nn.Module, removed: Iterable[str]) -> nn.Module:
    """A network with blocks replaced by nothing, in place."""
    for path in removed:
        model.set_submodule(path, nn.Identity())
    return model


def removable_blocks(
    make: Callable[[], nn.Module], graph: ChannelGraph, forward: Forward
) -> tuple[Block, ...]:
    """The residual blocks of a network, found and proved by running it.

    Args:
        make: makes the whole network with weights.
        graph: its channel graph.
        forward: what is run of it.

    Returns:
        In order of execution; empty where the network cannot be run here, or where it does not put out the same with
        all of them taken out as with all of them adding nothing.
    """
    model = _stirred(make()).eval()
    run = partial(forward.run, inputs=forward.sampled(model, _IMAGES))
    last = {path: layer for path in _holders(model) if (layer := _last_layer(graph, path)) is not None}
    with torch.no_grad(), slow_attention():
        try:
            given = _inputs(model, run, last)
        except Exception:  # noqa: BLE001  (what the network cannot do here, it will say where it is trained)
            return ()
        kept = [path for path, x in given.items() if _is_identity(model, path, last[path].path, x)]
        paths = [path for path in kept if not any(one != path and is_within(one, path) for one in kept)]
        if not _agrees(model, paths, {path: last[path].path for path in paths}, run):
            return ()
    return tuple(_block(graph, path, last[path]) for path in paths)


@torch.no_grad()
def _stirred(model: nn.Module) -> nn.Module:
    """The network with every parameter that is the same everywhere made uneven: a branch may begin as zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.is_floating_point() and bool((parameter == parameter.reshape(-1)[:1]).all()):
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def _holders(model: nn.Module) -> list[str]:
    """Modules with modules of their own, whose parameters nothing else in the network shares."""
    owners: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), set()).add(name)
    shared = [names for names in owners.values() if len(names) > 1]
    return [
        path
        for path, module in model.named_modules()
        if path
        and next(module.children(), None) is not None
        and all(len({is_within(name, path) for name in names}) == 1 for names in shared)
    ]


def _last_layer(graph: ChannelGraph, path: str) -> Layer | None:
    return next((layer for layer in reversed(graph.layers) if is_within(layer.path, path)), None)


def _inputs(model: nn.Module, run: _Run, paths: Iterable[str]) -> dict[str, Tensor]:
    """What goes into the modules that are called once, with one tensor, and put out one of the same shape."""
    calls: dict[str, list[Tensor | None]] = {}

    def enter(path: str, _: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        fits = len(inputs) == 1 and not keywords and isinstance(inputs[0], Tensor)
        calls.setdefault(path, []).append(inputs[0].clone() if fits else None)

    def leave(path: str, _: nn.Module, __: object, output: object) -> None:
        given = calls[path][-1]
        if not (given is not None and isinstance(output, Tensor) and output.shape == given.shape):
            calls[path][-1] = None

    handles = []
    for path in paths:
        module = model.get_submodule(path)
        handles.append(module.register_forward_pre_hook(partial(enter, path), with_kwargs=True))
        handles.append(module.register_forward_hook(partial(leave, path)))
    try:
        run(model)
    finally:
        for handle in handles:
            handle.remove()
    return {path: seen[0] for path, seen in calls.items() if len(seen) == 1 and seen[0] is not None}


def _is_identity(model: nn.Module, path: str, last: str, x: Tensor) -> bool:
    try:
        with _silenced(model, [last]):
            return torch.equal(model.get_submodule(path)(x.clone()), x)
    except Exception:  # noqa: BLE001  (what cannot run by itself is no block)
        return False


def _agrees(model: nn.Module, paths: Sequence[str], last: Mapping[str, str], run: _Run) -> bool:
    """Whether the network puts out the same without the blocks as with blocks that add nothing."""
    try:
        with _silenced(model, last.values()):
            expected = _tensors(run(model))
        found = _tensors(run(without(model, paths)))
    except Exception:  # noqa: BLE001  (code that looks into its blocks)
        return False
    return len(expected) == len(found) and all(map(torch.equal, expected, found))


def _tensors(output: object) -> list[Tensor]:
    leaves: list[object] = torch.utils._pytree.tree_leaves(output)  # noqa: SLF001
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


@contextmanager
def _silenced(model: nn.Module, layers: Iterable[str]) -> Iterator[None]:
    """With the outputs of some layers zero."""
    handles = [
        model.get_submodule(path).register_forward_hook(lambda _, __, output: torch.zeros_like(output))
        for path in layers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _block(graph: ChannelGraph, path: str, last: Layer) -> Block:
    groups = [graph.groups[number] for number in graph.searchable]
    columns = [
        column for column, group in enumerate(groups) if all(is_within(layer, path) for layer in group.layers)
    ]
    stage = min(graph.groups[atom.index].stage for atom in atoms_of(last.channels))
    return Block(path, last.path, stage, tuple(columns))
