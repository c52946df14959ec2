"""Studies: Optuna samples around a guideline, and the winners are trained from scratch.

This package has the name of the public function for trainings of somebody's own, and can be called as it.
"""

from nas_prune.runs.callable_room import make_callable

make_callable(__name__, "nas_prune.study.own_training")
