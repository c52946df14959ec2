"""Keeping other web pages away from a server that asks for no password.

A page in a browser can send requests to any address that its reader can reach. If it lets a name of its own point there
(DNS rebinding), it can read the answers, too; but its requests then name that host, and not the server.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from nas_prune.errors import BadInputError

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

_PLACE = r"(?P<name>\[[0-9A-Fa-f:.]+\]|[\w-]+(?:\.[\w-]+)*\.?)(?::(?P<port>[1-9][0-9]{0,4}))?"
_HOST = re.compile(_PLACE, re.ASCII)
_ORIGIN = re.compile(rf"https?://{_PLACE}", re.ASCII)
_REFERER = re.compile(rf"https?://{_PLACE}(?:[/?#].*)?", re.ASCII)
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")

_READING = ("GET", "HEAD", "OPTIONS")
_OWN_PAGE = (None, "same-origin", "none")  # Sec-Fetch-Site: programs send none, a typed address says "none"
_HOW = "To allow one: nas-prune dashboard --allow-host NAME"
_MOST_READ = 1 << 20  # bytes of a refused request; who still sends when the connection closes sees no answer

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}
# What was uploaded is shown within the dashboard's pages only: on its own it might be a page with scripts.
_OF_ARTIFACTS = {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox"}


@dataclass(frozen=True, slots=True)
class WebHost:
    """A host as requests name it: a name in lower case or an address, and a port if one is given."""

    name: str
    port: str | None = None


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The hosts that requests may name.

    Attributes:
        hosts: those that they may be sent to.
        origins: those whose pages may ask for changes, besides the one that the request is sent to.
        port: the server's.
        is_any_address: whether they may be sent to any address at that port, since the server listens at all of the
            machine's. Another page can make a name point to them, but cannot change what they are.
    """

    hosts: frozenset[WebHost]
    origins: frozenset[WebHost]
    port: str
    is_any_address: bool

    def may_be_sent_to(self, host: WebHost) -> bool:
        """Whether a request to this host is for the server."""
        if host in self.hosts:
            return True
        return self.is_any_address and host.port in (None, self.port) and _is_address(host.name)


def read_allowed(texts: Iterable[str]) -> tuple[WebHost, ...]:
    """The hosts that a user allows.

    Args:
        texts: each a name or an address, with or without a port.

    Raises:
        BadInputError: one is something else.
    """
    allowed = []
    for text in texts:
        host = _typed(text)
        if host is None:
            raise BadInputError(
                f"--allow-host must be a name or an address, with or without a port, got {text!r}. "
                "Type it as a browser's address bar has it, without http:// and what follows the host."
            )
        allowed.append(host)
    return tuple(allowed)


def known_hosts(names: Iterable[str], port: int, allowed: Iterable[WebHost] = ()) -> KnownHosts:
    """The hosts that requests to a server may name.

    Args:
        names: what it listens at, as typed and as an address; this machine's own names are always among them.
        port: and its port.
        allowed: others, each with its own port, or for both the usual port and the server's if none is given.
    """
    given = tuple(names)
    own = {host.name for host in map(_typed, (*_THIS_MACHINE, *given)) if host is not None}
    others = {WebHost(host.name, host.port or one) for host in allowed for one in (None, str(port))}
    return KnownHosts(
        hosts=frozenset(others | {WebHost(name, one) for name in own for one in (None, str(port))}),
        origins=frozenset(others | {WebHost(name, str(port)) for name in own}),
        port=str(port),
        is_any_address=any(_is_address(name) and ip_address(name).is_unspecified for name in given),
    )


def guarded(app: WSGIApplication, known: KnownHosts) -> WSGIApplication:
    """An application that answers only what its own pages, or programs, ask it.

    Args:
        app: the application itself.
        known: the hosts that requests may name.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        why = why_refused(environ, known)
        if why is not None:
            return _refuse(why, environ, start_response)
        added = _ALWAYS | (_OF_ARTIFACTS if _is_artifact(environ) else {})
        replaced = {name.lower() for name in added}

        def start(
            status: str, headers: list[tuple[str, str]], error: "OptExcInfo | None" = None, /
        ) -> Callable[[bytes], object]:
            kept = [
                (name, value)
                for name, value in headers
                if name.lower() not in replaced and not name.lower().startswith("access-control-")
            ]
            return start_response(status, [*kept, *added.items()], error)

        return app(environ, start)

    return answer


def why_refused(environ: WSGIEnvironment, known: KnownHosts) -> str | None:
    """Why a request must not be answered, in one sentence; None if it may be.

    Args:
        environ: the request, as WSGI has it: a header that was sent twice is there with a comma.
        known: the hosts that requests may name.
    """
    said = environ.get("HTTP_HOST")
    host = _read(_HOST, said or "")
    if host is None or not known.may_be_sent_to(host):
        return f"Host must be a name of this dashboard, got {_shown(said)}. {_HOW}"
    if environ["REQUEST_METHOD"] in _READING:
        return None
    name, pattern = ("Origin", _ORIGIN) if "HTTP_ORIGIN" in environ else ("Referer", _REFERER)
    page, site = environ.get(f"HTTP_{name.upper()}"), environ.get("HTTP_SEC_FETCH_SITE")
    if page is not None:
        origin = _read(pattern, page)
        if origin is None or (origin != host and origin not in known.origins):
            return f"{name} of a change must be this dashboard, got {_shown(page)}. {_HOW}"
    if site not in _OWN_PAGE and (page is None or site != "same-site"):
        return f"Sec-Fetch-Site of a change must be same-origin, got {_shown(site)}. Use the dashboard's own page."
    return None


def _read(pattern: re.Pattern[str], text: str) -> WebHost | None:
    """The host in a header; None if there is anything odd about it."""
    found = pattern.fullmatch(text)
    if found is None:
        return None
    name = found["name"].lower().removesuffix(".")
    if name.startswith("["):
        try:
            name = str(IPv6Address(name[1:-1]))
        except ValueError:
            return None
    return WebHost(name, found["port"])


def _typed(text: str) -> WebHost | None:
    """The host that a user means, who may leave out the brackets of an IPv6 address."""
    is_bare = text.count(":") > 1 and not text.startswith("[")
    return _read(_HOST, f"[{text}]" if is_bare else text)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _shown(said: str | None) -> str:
    return "none" if said is None else ascii(said)[:100]


def _is_artifact(environ: WSGIEnvironment) -> bool:
    # As Bottle reads a path: bytes that are no UTF-8 are left out.
    path: str = environ.get("PATH_INFO", "")
    return path.encode("latin-1").decode("utf-8", "ignore").lstrip("/").startswith("artifacts/")


def _refuse(why: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    with suppress(ValueError):  # a length that is no number
        environ["wsgi.input"].read(min(max(0, int(environ.get("CONTENT_LENGTH") or 0)), _MOST_READ))
    body = f"{why}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    status = HTTPStatus.FORBIDDEN
    start_response(f"{status.value} {status.phrase}", [*headers.items(), *_ALWAYS.items()])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
