"""Which weights a network's products take as they are, and not only something that is computed from them.

Some networks standardise a weight, clamp it or add to it before they multiply by it: a zero there is none in the
product.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.graph.tensors import on_meta
from nas_prune.graph.trace import made_where_it_runs, slow_attention
from nas_prune.space.search_space import SearchSpace

_PRODUCTS = frozenset(("convolution", "linear", "addmm", "mm", "baddbmm", "bmm"))


def taken_as_they_are(space: SearchSpace, paths: Mapping[str, str]) -> frozenset[str]:
    """Of some weights, those that nothing but products reads.

    Args:
        space: the network.
        paths: those of the weights' layers, by the names of the weights.
    """
    modules = dict(space.template.named_modules())
    if all(_is_plain(modules[path]) for path in paths.values()):
        return frozenset(paths)
    meta = on_meta(space.template).eval().requires_grad_(requires_grad=False)
    own = {name: one for name, one in meta.named_parameters() if name in paths}
    watcher = _Watcher({one.untyped_storage()._cdata: name for name, one in own.items()})  # noqa: SLF001

    def run(images: int) -> None:
        blank = space.forward.blank(meta, images)
        with torch.no_grad(), slow_attention(), watcher:
            space.forward.run(meta, blank)

    made_where_it_runs(partial(run, 2))
    return frozenset(paths) - watcher.changed


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a layer of PyTorch's, without code of anybody's before it."""
    has_hooks = bool(module._forward_pre_hooks)  # noqa: SLF001
    return type(module).__module__.startswith("torch.nn.modules.") and not has_hooks


class _Watcher(TorchDispatchMode):
    """Notes which weights are read by anything that is neither a product nor a view.

    Attributes:
        names: of weights, by what holds their numbers.
        changed: those that something is computed from.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names
        self.changed: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        read = {self._name(one) for one in pytree.tree_leaves((args, kwargs))} - {None}
        views = {self._name(one) for one in pytree.tree_leaves(found)}
        if func.overloadpacket.__name__ not in _PRODUCTS:
            self.changed |= {name for name in read - views if name is not None}
        return found

    def _name(self, value: Any) -> str | None:
        if not isinstance(value, Tensor):
            return None
        return self.names.get(value.untyped_storage()._cdata)  # noqa: SLF001
