"""Rooms that have the name of a public function.

Python binds a sub-package to its parent as soon as anything in it is loaded, so `nas_prune.search` is that module or
the function, whichever came first; either can be called.
"""

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any


def make_callable(room: str, home: str) -> None:
    """Let a room be called as its function.

    Args:
        room: the dotted name of the sub-package, which is loaded; its last part is the function's name.
        home: the dotted name of the module that the function is in, loaded on first use.
    """

    def function() -> Any:
        return getattr(import_module(home), room.rpartition(".")[2])

    class Room(ModuleType):
        def __reduce__(self) -> tuple[Any, ...]:
            return _of, (home, room.rpartition(".")[2])

        def __call__(self, *arguments: Any, **settings: Any) -> Any:
            from nas_prune.runs.typed import called_by_person

            return called_by_person(function())(*arguments, **settings)

        @property
        def __signature__(self) -> Signature:
            return signature(function())

    sys.modules[room].__class__ = Room


def _of(home: str, name: str) -> Any:
    """A function by where it is, for pickles of its room."""
    return getattr(import_module(home), name)
