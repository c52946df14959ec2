"""Serving optuna-dashboard on a study."""

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas_prune.errors import BadInputError
from nas_prune.runs.settings import read_config
from nas_prune.study.config import StudyConfig
from nas_prune.study.location import StudyLocation, studies_in
from nas_prune.study.objective import artifact_store
from nas_prune.study.storage import open_storage


def serve(location: StudyLocation, host: str, port: int, *, say: Callable[[str], None]) -> None:
    """Show a study until Ctrl-C.

    Args:
        location: where it is.
        host: the address to listen at.
        port: and its port.
        say: called with the address.

    Raises:
        BadInputError: optuna-dashboard is not installed, the port is taken, or there is no study.
    """
    if find_spec("optuna_dashboard") is None:
        raise BadInputError(
            "the dashboard must be installed, which it is not. Type: pip install 'nas-prune[dashboard]'."
        )
    from optuna_dashboard import run_server

    with studies_in(location, read_config(location.run, StudyConfig)):
        _check_free(host, port)
    storage = open_storage(location.storage, location.run)
    # The dashboard asks the storage, which knows nothing of constraints: judged trials are not to be the best.
    storage.get_best_trial = partial(_best_feasible, storage)  # type: ignore[method-assign]
    say(f"http://{host}:{port}  (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        run_server(
            storage,
            host=host,
            port=port,
            artifact_store=artifact_store(location.run),
        )


def _best_feasible(storage: BaseStorage, study_id: int) -> FrozenTrial:
    """The complete trial with the best value that breaks no constraint.

    Raises:
        ValueError: there is none, as Optuna's storages do.
    """
    done = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
    feasible = [trial for trial in done if all(one <= 0 for one in trial.constraints.values())]
    return max(feasible, key=lambda trial: trial.values[0])


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise BadInputError(
            f"--port must be free on {host}, got {port}: {error.strerror}. Try another."
        ) from None
