"""Serving optuna-dashboard on a study."""

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from threading import Lock
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas_prune.errors import BadInputError
from nas_prune.runs.files import refuse_links
from nas_prune.runs.settings import read_config
from nas_prune.study.config import StudyConfig
from nas_prune.study.location import StudyLocation, studies_in
from nas_prune.study.objective import artifact_store
from nas_prune.study.storage import open_storage
from nas_prune.study.web_guard import guarded, known_hosts, read_allowed

# Seconds that a change may take when the server ends: one cut short leaves the journal locked for the study's workers.
_FINISHES = 10.0


class _Server(ThreadingMixIn, WSGIServer):
    """Gives each connection a thread: browsers open some in advance, on which they send nothing."""

    daemon_threads = True  # Ctrl-C does not wait for these

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _QuietHandler)


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: an open page asks every few seconds."""


def serve(
    location: StudyLocation, host: str, port: int, *, say: Callable[[str], None], allow: Iterable[str] = ()
) -> None:
    """Show a study until Ctrl-C.

    Args:
        location: where it is.
        host: the address to listen at.
        port: and its port.
        say: called with the address.
        allow: other hosts that browsers may reach the server by, with or without a port.

    Raises:
        BadInputError: optuna-dashboard is not installed, `allow` holds what is no host, the port is taken, or there is
            no study.
    """
    with opened_server(location, host, port, allow=allow) as server:
        name = f"[{host}]" if ":" in host else host
        say(f"http://{name}:{server.server_port}  (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@contextmanager
def opened_server(
    location: StudyLocation, host: str, port: int, *, allow: Iterable[str] = ()
) -> Iterator[WSGIServer]:
    """A server that listens for the time of the block, and answers when it is told to serve.

    Args:
        location: where the study is.
        host: the address to listen at.
        port: and its port; 0 for any that is free.
        allow: other hosts that browsers may reach the server by, with or without a port.

    Raises:
        BadInputError: as `serve`.
    """
    if find_spec("optuna_dashboard") is None:
        raise BadInputError(
            "the dashboard must be installed, which it is not. Type: pip install 'nas-prune[dashboard]'."
        )
    from optuna_dashboard import wsgi

    refuse_links(location.run)

    allowed = read_allowed(allow)
    with studies_in(location, read_config(location.run, StudyConfig)):
        server = _listening(host, port)
    with server:
        storage = open_storage(location.storage, location.run)
        # The dashboard asks the storage, which knows nothing of constraints: judged trials are not to be the best.
        storage.get_best_trial = partial(_best_feasible, storage)  # type: ignore[method-assign]
        app = wsgi(storage, artifact_store=artifact_store(location.run))
        names, turn = (host, str(server.server_address[0])), Lock()
        server.set_app(guarded(_one_at_a_time(app, turn), known_hosts(names, server.server_port, allowed)))
        try:
            yield server
        finally:
            turn.acquire(timeout=_FINISHES)


def _one_at_a_time(app: WSGIApplication, turn: Lock) -> WSGIApplication:
    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with turn:
            return app(environ, start_response)

    return answer


def _best_feasible(storage: BaseStorage, study_id: int) -> FrozenTrial:
    """The complete trial with the best value that breaks no constraint.

    Raises:
        ValueError: there is none, as Optuna's storages do.
    """
    done = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
    feasible = [trial for trial in done if all(one <= 0 for one in trial.constraints.values())]
    return max(feasible, key=lambda trial: trial.values[0])


def _listening(host: str, port: int) -> WSGIServer:
    try:
        return _Server(host, port)
    except OSError as error:
        raise BadInputError(
            f"--port must be free on {host}, got {port}: {error.strerror}. Try another."
        ) from None
