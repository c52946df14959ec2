"""The search stage: a network is trained under a width method, and its channels' scores are cut at every budget.

This package has the name of its public function, and can be called as it.
"""

from nas_prune.runs.callable_room import make_callable

make_callable(__name__, "nas_prune.search.run")
