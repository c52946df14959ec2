"""A part of a network that is searched by itself: what it is called with when the whole network runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.graph.copies import copied, tensors_anywhere
from nas_prune.graph.examples import call_with
from nas_prune.graph.inputs import CallSpec, Forward
from nas_prune.runs.text import first_line
from nas_prune.space.initialise import Init, initialise

_IMAGES = 2


class _Entered(Exception):  # noqa: N818  (it is no error)
    """The part has been called; the rest of the network need not run."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.args_given, self.kwargs_given = args, kwargs


def first_name(model: nn.Module, part: str) -> str:
    """The first of the paths that a part has in its network.

    Raises:
        BadInputError: there is no such part.
    """
    try:
        module = model.get_submodule(part)
    except AttributeError:
        children = ", ".join(name for name, _ in model.named_children())
        raise BadInputError(
            f"--part must be the path of a module of the network, got {part}. Its modules: {children}."
        ) from None
    first: dict[int, str] = {}
    for path, other in model.named_modules():
        first.setdefault(id(other), path)
    return first[id(module)]


def call_of_part(model: nn.Module, inits: tuple[Init, ...], call: CallSpec, part: str) -> CallSpec:
    """What a part of a network is called with first, seen in a real forward of the whole that ends there.

    Args:
        model: the network; it is not changed.
        inits: how it is initialised.
        call: what the whole network is called with.
        part: the path of the part.

    Raises:
        BadInputError: the network does not get as far, or calls it with what is no tensor or no batch.
    """
    model = copied(model, {})
    initialise(model, inits, seed=0)  # a constructor's calls may only have been written down
    module = model.get_submodule(part)
    counts = (_IMAGES, _IMAGES + 1) if any(one.is_batched for one in call.tensors) else (_IMAGES,)
    seen = [_first_call(model, module, Forward(call), part, count) for count in counts]
    try:
        calls = [call_with(args, kwargs) for args, kwargs in seen]
    except BadInputError as error:
        raise BadInputError(f"--part {part} cannot be searched by itself: {error}") from None
    return calls[0] if len(seen) == 1 else _batched(part, counts, seen, calls[0])


def _first_call(
    model: nn.Module, module: nn.Module, forward: Forward, part: str, count: int
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """What a part is called with first when the whole runs on a number of images."""

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        raise _Entered(args, kwargs)

    handle = module.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        with torch.no_grad():
            forward.run(model.eval(), forward.sampled(model, count))
    except _Entered as entered:
        return entered.args_given, entered.kwargs_given
    except NasPruneError:
        raise
    except Exception as error:
        raise BadInputError(
            f"the network must run as far as --part {part}, got {type(error).__name__}: {first_line(error)}."
        ) from error
    finally:
        handle.remove()
    raise BadInputError(f"--part {part} must be called when the network runs, but it was not.")


def _batched(part: str, counts: Sequence[int], seen: Sequence[Any], call: CallSpec) -> CallSpec:
    """A call in which that is the batch which grows with the number of images: the first dimension, or none."""
    pairs = list(zip(*(tensors_anywhere(one) for one in seen), strict=True))
    specs = []
    for (one, more), spec in zip(pairs, call.tensors, strict=True):
        grown = [
            dim for dim, sizes in enumerate(zip(one.shape, more.shape, strict=True)) if len({*sizes}) > 1
        ]
        if grown and not (grown == [0] and (one.shape[0], more.shape[0]) == tuple(counts)):
            raise BadInputError(
                f"--part {part} must be given its images along the first dimension, one after the other, got a tensor "
                f"of shape {list(one.shape)} for {counts[0]} of them and {list(more.shape)} for {counts[1]}."
            )
        specs.append(
            spec.model_copy(update={"is_batched": bool(grown), "shape": tuple(one.shape[len(grown) :])})
        )
    if not any(spec.is_batched for spec in specs):
        raise BadInputError(
            f"--part {part} must be given something of the images, got what does not grow with them."
        )
    return call.with_tensors(specs)


def check_whole(whole: nn.Module, narrowed: nn.Module, call: CallSpec, part: str) -> None:
    """Refuse a part whose insides the rest of the network looks into: it would not run around a narrowed one.

    Raises:
        BadInputError: the network runs, and does not with a narrowed part.
    """
    forward = Forward(call)
    with torch.no_grad():
        try:
            forward.run(whole.eval(), forward.sampled(whole, 1))
        except Exception:  # noqa: BLE001  (on one image of random values it may not run at all)
            return
        try:
            forward.run(narrowed.eval(), forward.sampled(narrowed, 1))
        except Exception as error:
            raise BadInputError(
                f"--part {part} must be all that its widths concern, but the rest of the network does not run around a "
                f"narrowed one: {first_line(error)}."
            ) from error
