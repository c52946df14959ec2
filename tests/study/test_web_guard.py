"""The real dashboard on a real study, asked by its own pages, by programs and by web pages elsewhere."""

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage

from nas_prune.cli import main
from nas_prune.errors import BadInputError
from nas_prune.study.dashboard_server import opened_server
from nas_prune.study.location import StudyLocation
from nas_prune.study.web_guard import known_hosts, read_allowed

pytest.importorskip("optuna_dashboard")
STUDY = Path(__file__).parent.parent / "earlier_runs" / "study"
ALLOWED = ("dash.lab.example", "tunnel.example:9000", "Office.Example.", "fd00::7")
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard that runs; `{port}` in a header is its port."""

    port: int
    address: str = "127.0.0.1"

    def ask(self, method: str, path: str, headers: Headers, body: object = None) -> Reply:
        """Send just these headers, with the length and kind of the body."""
        content = b"" if body is None else json.dumps(body).encode()
        connection = HTTPConnection(self.address, self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.replace("{port}", str(self.port)))
        if content:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content)
        with connection.getresponse() as answer:
            got = {name.lower(): text for name, text in answer.getheaders()}
            reply = Reply(answer.status, answer.read(), got)
        connection.close()
        return reply

    def send(self, request: bytes, *later: bytes) -> bytes:
        """Send bytes as they are; some perhaps a little later."""
        with socket.create_connection((self.address, self.port), timeout=5) as connection:
            connection.sendall(request.replace(b"{port}", str(self.port).encode()))
            for one in later:
                time.sleep(0.05)
                connection.sendall(one)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def studies(self) -> dict[str, int]:
        found = self.ask("GET", "/api/studies", [OWN]).json()["study_summaries"]
        return {one["study_name"]: one["study_id"] for one in found}


OWN = ("Host", "127.0.0.1:{port}")
PAGE = ("Origin", "http://127.0.0.1:{port}")


def new_study(name: str) -> dict[str, object]:
    return {"study_name": name, "directions": ["maximize"]}


@contextmanager
def running(run: Path, host: str = "127.0.0.1", address: str = "127.0.0.1") -> Iterator[Dashboard]:
    with opened_server(StudyLocation(run), host, 0, allow=ALLOWED) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Dashboard(server.server_port, address)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(STUDY, tmp_path_factory.mktemp("dashboard") / "study"))


@pytest.fixture(scope="module")
def dashboard(run: Path) -> Iterator[Dashboard]:
    with running(run) as one:
        yield one


@pytest.mark.parametrize(
    "host",
    [
        "localhost:{port}", "localhost", "127.0.0.1:{port}", "127.0.0.1", "[::1]:{port}", "[::1]",
        "[0:0:0:0:0:0:0:1]:{port}", "LocalHost:{port}", "localhost.:{port}", "dash.lab.example",
        "dash.lab.example:{port}", "DASH.lab.example.", "office.example", "tunnel.example:9000", "[fd00::7]:{port}",
    ],
)  # fmt: skip
def test_its_own_and_allowed_hosts_are_answered(dashboard: Dashboard, host: str) -> None:
    answer = dashboard.ask("GET", "/api/studies", [("Host", host)])
    assert answer.status == 200
    assert answer.json()["study_summaries"][0]["study_name"] == "study"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "localhost.evil.example", "evil.example.localhost", "x.dash.lab.example",
        "lab.example", "tunnel.example", "tunnel.example:{port}", "dash.lab.example:9000", "localhost:1", "localhost:",
        "localhost:0{port}", "localhost:{port}0", "localhost:{port}:{port}", "localhost:x", "localhost:+1",
        "localhost:{port}@evil.example", "user@localhost:{port}", "user:word@localhost", "localhost..", ".localhost",
        "localhost:{port},localhost:{port}", "localhost, evil.example", "local host", "localhost/", "localhost?",
        "localhost#", "localhost\\", "http://localhost:{port}", "//localhost", "loc\xe4lhost", "", ".", "::1", "[::1",
        "::1]", "[::1]x", "[::1].", "[::1%25lo]", "[::2]", "[]", "[localhost]", "[127.0.0.1]", "[::ffff:127.0.0.1]",
        "127.1", "2130706433", "0x7f.0.0.1", "127.000.000.001", "127.0.0.2", "0.0.0.0:{port}", "192.168.1.5", "x" * 500,
    ],
)  # fmt: skip
def test_any_other_host_is_refused_in_one_line(dashboard: Dashboard, host: str) -> None:
    answer = dashboard.ask("GET", "/api/studies", [("Host", host)])
    assert answer.status == 403
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    (line,) = answer.body.decode("ascii").splitlines()
    assert "--allow-host NAME" in line
    assert len(line) < 250


def test_a_host_that_is_missing_or_said_twice_is_refused(dashboard: Dashboard) -> None:
    own, page = b"Host: 127.0.0.1:{port}\r\n", b"GET /api/studies HTTP/1."
    assert b" 200 OK" in dashboard.send(page + b"1\r\n" + own + b"\r\n")
    assert b" 200 OK" in dashboard.send(page + b"0\r\n" + own + b"\r\n")
    for refused in (
        page + b"1\r\n\r\n",
        page + b"0\r\n\r\n",
        b"GET /api/studies\r\n\r\n",
        page + b"1\r\n" + own + own + b"\r\n",
        page + b"1\r\n" + own + b"Host: evil.example\r\n\r\n",
        page + b"1\r\nHost: evil.example\r\n" + own + b"\r\n",
        page + b"1\r\nHost: 127.0.0.1:{port}\r\n evil.example\r\n\r\n",
    ):
        said = dashboard.send(refused)
        assert b"--allow-host" in said
        assert b"study_name" not in said
    assert dashboard.ask("HEAD", "/api/studies", []).status == 403
    assert dashboard.send(b"HEAD / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "is_done"),
    [
        ([OWN], True),
        ([OWN, PAGE], True),
        ([OWN, PAGE, ("Sec-Fetch-Site", "same-origin")], True),
        ([OWN, ("Origin", "http://localhost:{port}")], True),
        ([("Host", "localhost"), ("Origin", "http://localhost")], True),
        ([("Host", "dash.lab.example"), ("Origin", "https://dash.lab.example")], True),
        ([OWN, ("Origin", "https://dash.lab.example"), ("Sec-Fetch-Site", "same-site")], True),
        ([OWN, ("Origin", "http://tunnel.example:9000")], True),
        ([OWN, ("Referer", "http://127.0.0.1:{port}/dashboard/studies/0?x=http://evil.example/#y")], True),
        ([OWN, ("Referer", "http://127.0.0.1:{port}")], True),
        ([OWN, PAGE, ("Referer", "http://evil.example/")], True),
        ([OWN, ("Sec-Fetch-Site", "none")], True),
        ([OWN, ("Sec-Fetch-Site", "same-origin")], True),
        ([("Host", "evil.example:{port}")], False),
        ([("Host", "evil.example:{port}"), ("Origin", "http://evil.example:{port}")], False),
        ([], False),
        ([OWN, OWN], False),
        ([OWN, ("Origin", "http://evil.example")], False),
        ([OWN, ("Origin", "http://evil.example:{port}")], False),
        ([OWN, ("Origin", "null")], False),
        ([OWN, ("Origin", "")], False),
        ([OWN, ("Origin", "http://127.0.0.1")], False),
        ([OWN, ("Origin", "http://127.0.0.1:9000")], False),
        ([OWN, ("Origin", "http://127.0.0.1:{port}/")], False),
        ([OWN, ("Origin", "http://127.0.0.1:{port}@evil.example")], False),
        ([OWN, ("Origin", "127.0.0.1:{port}")], False),
        ([OWN, ("Origin", "chrome-extension://127.0.0.1:{port}")], False),
        ([OWN, PAGE, PAGE], False),
        ([OWN, PAGE, ("Origin", "http://evil.example")], False),
        ([OWN, ("Origin", "null"), ("Referer", "http://127.0.0.1:{port}/")], False),
        ([OWN, ("Referer", "http://evil.example/http://127.0.0.1:{port}/")], False),
        ([OWN, ("Referer", "http://127.0.0.1:{port}@evil.example/")], False),
        ([OWN, ("Referer", "http://127.0.0.1:{port}.evil.example/")], False),
        ([OWN, ("Referer", "http://127.0.0.1:{port}\\@evil.example/")], False),
        ([OWN, ("Referer", "")], False),
        ([OWN, ("Sec-Fetch-Site", "cross-site")], False),
        ([OWN, ("Sec-Fetch-Site", "same-site")], False),
        ([OWN, ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")], False),
        ([OWN, PAGE, ("Sec-Fetch-Site", "cross-site")], False),
        ([OWN, ("Referer", "http://127.0.0.1:{port}/"), ("Sec-Fetch-Site", "cross-site")], False),
    ],
)
def test_only_its_own_pages_and_programs_change_studies(
    dashboard: Dashboard, headers: Headers, is_done: bool
) -> None:
    created = dashboard.ask("POST", "/api/studies", headers, new_study("new"))
    assert ("new" in dashboard.studies()) == is_done
    assert created.status == (201 if is_done else 403)
    assert is_done or created.body.endswith(b"\n")
    if not is_done:
        assert dashboard.ask("POST", "/api/studies", [OWN], new_study("new")).status == 201
    removed = dashboard.ask("DELETE", f"/api/studies/{dashboard.studies()['new']}", headers)
    assert ("new" in dashboard.studies()) != is_done
    assert removed.status == (204 if is_done else 403)
    if not is_done:
        assert dashboard.ask("DELETE", f"/api/studies/{dashboard.studies()['new']}", [OWN]).status == 204


def test_reading_asks_for_no_origin_and_a_verb_in_small_letters_is_no_reading(dashboard: Dashboard) -> None:
    elsewhere = [OWN, ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    assert dashboard.ask("GET", "/dashboard", elsewhere).status == 200
    for method in ("put", "post", "delete", "get", "PUT", "PATCH"):
        assert dashboard.ask(method, "/api/studies", elsewhere).status == 403


def test_a_refused_request_is_answered_whatever_its_length(dashboard: Dashboard) -> None:
    head = b"POST /api/studies HTTP/1.1\r\nHost: evil.example\r\nContent-Length: "
    for length in (b"x", b"-1", b"-5", b"0", b"", b"9" * 5000):
        assert b"403 Forbidden" in dashboard.send(head + length + b"\r\n\r\n")
    assert b"403 Forbidden" in dashboard.send(head + b"600000\r\n\r\n", b"x" * 300_000, b"x" * 300_000)


def test_artifacts_are_downloads_and_no_other_site_may_read_or_frame_anything(dashboard: Dashboard) -> None:
    study = dashboard.ask("GET", "/api/studies/0", [OWN]).json()
    trial = next(one for one in study["trials"] if one["artifacts"])
    kinds = {}
    for artifact in trial["artifacts"]:
        place = f"/0/{trial['trial_id']}/{artifact['artifact_id']}"
        # Bottle leaves out what is no UTF-8 from a path before it looks for a route.
        for path in (f"/artifacts{place}", f"//artifacts{place}/", f"/%FFartifacts{place}"):
            answer = dashboard.ask("GET", path, [OWN])
            assert answer.status == 200
            assert answer.headers["content-disposition"] == "attachment"
            assert answer.headers["content-security-policy"] == "sandbox"
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        kinds[artifact["filename"]] = answer.headers["content-type"]
    assert kinds == {"widths.svg": "image/svg+xml", "curve.csv": "text/csv"}
    for path in (
        "/dashboard",
        "/static/bundle.js",
        "/api/studies",
        "/csv/0",
        "/nothing",
        f"/artifacts{place}",
    ):
        headers = dashboard.ask("GET", path, [OWN, ("Accept-Encoding", "gzip")]).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
    page = dashboard.ask("GET", "/dashboard", [OWN]).headers
    assert "default-src 'self'" in page["content-security-policy"]
    assert "content-disposition" not in page


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1"), ("0", "127.0.0.1"), ("::", "::1")])  # noqa: S104
def test_at_all_addresses_any_address_is_answered_but_names_must_be_allowed(
    run: Path, host: str, address: str
) -> None:
    if ":" in host and not has_ipv6():
        pytest.skip("there is no IPv6 here")
    with running(run, host, address) as dashboard:
        for one in (
            "192.168.1.5:{port}",
            "10.0.0.1",
            "[fd00::1]:{port}",
            "localhost:{port}",
            "office.example",
        ):
            assert dashboard.ask("GET", "/api/meta", [("Host", one)]).status == 200
        for one in ("box:{port}", "192.168.1.5:1", "127.1", "1", "[::1%25lo]", "192.168.1.5.evil.example"):
            assert dashboard.ask("GET", "/api/meta", [("Host", one)]).status == 403
        for page, status in (("http://192.168.1.5:{port}", 201), ("http://192.168.1.6:{port}", 403)):
            headers = [("Host", "192.168.1.5:{port}"), ("Origin", page)]
            assert dashboard.ask("POST", "/api/studies", headers, new_study(f"of {host}")).status == status


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_change_that_has_begun_is_written_before_the_server_ends(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, create = threading.Event(), JournalStorage.create_new_study

    def slowly(*given: Any, **named: Any) -> int:
        begun.set()
        time.sleep(0.3)
        return create(*given, **named)

    monkeypatch.setattr(JournalStorage, "create_new_study", slowly)
    journal = run / "journal.log"
    with running(run) as dashboard:
        asked = (dashboard.port, dashboard.address)
        sender = threading.Thread(
            target=lambda: Dashboard(*asked).ask("POST", "/api/studies", [OWN], new_study("late"))
        )
        sender.start()
        assert begun.wait(5)
        assert '"late"' not in journal.read_text(encoding="utf-8")
    assert '"late"' in journal.read_text(encoding="utf-8")
    sender.join()


def test_a_silent_connection_keeps_nobody_waiting(dashboard: Dashboard) -> None:
    with socket.create_connection((dashboard.address, dashboard.port)):
        assert dashboard.ask("GET", "/api/meta", [OWN]).status == 200


def test_the_command_takes_hosts_says_its_address_and_ends_when_asked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found: list[int] = []

    def ask_and_end() -> None:
        for _ in range(500):
            time.sleep(0.01)
            try:
                found.append(Dashboard(port).ask("GET", "/api/meta", [("Host", "dash.example")]).status)
            except OSError:
                continue
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            return

    asking = threading.Thread(target=ask_and_end)
    asking.start()
    allowed = ["--allow-host", "x", "--allow-host", "dash.example"]
    assert main(["dashboard", str(run), "--port", str(port), *allowed]) == 0
    asking.join()
    assert found == [200]
    assert capsys.readouterr().err == f"http://127.0.0.1:{port}  (Ctrl-C ends it)\n"


@pytest.mark.parametrize(
    "host", ["http://dash.example", "dash.example/", "*", "*.example", "a b", "", "b\xfccher.example"]
)
def test_what_is_no_host_cannot_be_allowed(run: Path, capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert main(["dashboard", str(run), "--allow-host", host]) == 2
    assert "--allow-host must be a name or an address" in capsys.readouterr().err


def test_an_allowed_host_has_its_own_port_or_the_usual_one_and_the_servers() -> None:
    with pytest.raises(BadInputError, match="got '\\[::1'"):
        read_allowed(["fine.example", "[::1"])
    known = known_hosts(
        ["::1"], 8080, read_allowed(["one.example", "two.example:9000", "fe80::2", "[fe80::3]:81"])
    )
    assert {(one.name, one.port) for one in known.hosts if one.name not in ("localhost", "127.0.0.1", "::1")} == {
        ("one.example", None), ("one.example", "8080"), ("two.example", "9000"),
        ("fe80::2", None), ("fe80::2", "8080"), ("fe80::3", "81"),
    }  # fmt: skip
    assert not known.is_any_address
