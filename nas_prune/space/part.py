"""A part of a network that is searched by itself: what it is called with when the whole network runs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.graph.copies import copied
from nas_prune.graph.inputs import CallSpec, Forward, call_with
from nas_prune.graph.trace import first_line
from nas_prune.space.initialise import Init, initialise

_IMAGES = 2


class _Entered(Exception):  # noqa: N818  (it is no error)
    """The part has been called; the rest of the network need not run."""

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.args_given, self.kwargs_given = args, kwargs


def call_of_part(model: nn.Module, inits: tuple[Init, ...], call: CallSpec, part: str) -> CallSpec:
    """What a part of a network is called with first, seen in a real forward of the whole that ends there.

    Args:
        model: the network; it is not changed.
        inits: how it is initialised.
        call: what the whole network is called with.
        part: the path of the part.

    Raises:
        BadInputError: there is no such part, the network does not get as far, or calls it with what is no tensor.
    """
    model = copied(model, {})
    initialise(model, inits, seed=0)  # a constructor's calls may only have been written down
    try:
        module = model.get_submodule(part)
    except AttributeError:
        names = ", ".join(name for name, _ in model.named_children())
        raise BadInputError(
            f"--part must be the path of a module of the network, got {part}. Its modules: {names}."
        ) from None

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        raise _Entered(args, kwargs)

    handle = module.register_forward_pre_hook(enter, with_kwargs=True)
    forward = Forward(call)
    try:
        with torch.no_grad():
            forward.run(model.eval(), forward.sampled(model, _IMAGES))
    except _Entered as entered:
        try:
            return call_with(entered.args_given, entered.kwargs_given)
        except BadInputError as error:
            raise BadInputError(f"--part {part} cannot be searched by itself: {error}") from None
    except NasPruneError:
        raise
    except Exception as error:
        raise BadInputError(
            f"the network must run as far as --part {part}, got {type(error).__name__}: {first_line(error)}."
        ) from error
    finally:
        handle.remove()
    raise BadInputError(f"--part {part} must be called when the network runs, but it was not.")
