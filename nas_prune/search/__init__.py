"""The search stage: a network is trained under a width method, and its channels' scores are cut at every budget.

This package has the name of its public function. Python binds a sub-package to its parent as soon as anything in it is
loaded, so `nas_prune.search` is this module or that function, whichever came first; either can be called.
"""

import sys
from inspect import Signature, signature
from types import ModuleType
from typing import Any


def _function() -> Any:
    from nas_prune.search.run import search

    return search


class _Room(ModuleType):
    def __reduce__(self) -> tuple[Any, ...]:
        return _function, ()

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        from nas_prune.runs.typed import called_by_person

        return called_by_person(_function())(*arguments, **settings)

    @property
    def __signature__(self) -> Signature:
        return signature(_function())


sys.modules[__name__].__class__ = _Room
