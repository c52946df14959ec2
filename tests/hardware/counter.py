"""An independent count of the memory that a real forward pass holds."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from nas_prune.graph.inputs import Forward


class Tape(TorchDispatchMode):
    """Notes which storages each operation touches and how many bytes they have, on real tensors of the CPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: list[Tensor] = []  # so that no address is used twice
        self.bytes: dict[int, int] = {}
        self.touched: list[set[int]] = []
        self.read: set[int] = set()

    def note(self, values: Any) -> set[int]:
        tensors = [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
        self.kept += tensors
        self.bytes.update({id_of(tensor): tensor.untyped_storage().nbytes() for tensor in tensors})
        return {id_of(tensor) for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.note((args, kwargs))
        output = func(*args, **(kwargs or {}))
        self.touched.append(before | self.note(output))
        self.read |= before
        return output


def id_of(tensor: Tensor) -> int:
    place: int = tensor.untyped_storage()._cdata
    return place


def counted_peak(model: nn.Module, forward: Forward) -> int:
    """The most bytes of storages between their first and last use, of those that are read or come out.

    Attention runs as plain products: the processor's own kernel does not let one look inside.
    """
    inputs, tape = forward.sampled(model, 1), Tape()
    held = {id_of(tensor) for tensor in (*model.parameters(), *model.buffers())}
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), tape:
        output = forward.run(model.eval(), inputs)
    came, went = tape.note(inputs), tape.note(output)
    last, peak = len(tape.touched), 0
    lives = {}
    for storage in (tape.read | came | went) - held:
        uses = [number for number, touched in enumerate(tape.touched) if storage in touched]
        lives[storage] = (0 if storage in came else min(uses), last if storage in went else max(uses))
    for number in range(last):
        live = [tape.bytes[one] for one, (first, end) in lives.items() if first <= number <= end]
        peak = max(peak, sum(live))
    return peak
