"""optuna-dashboard on a study of 20 real trials, opened in a browser without a screen."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

STUDY = """
question: What does the dashboard show?
space: resnet20
data: {name: digits, max_images: 150, val_fraction: 0.4}
epochs: 2
budget: macs<=30%
guideline: erk
trials: 20
threads: 1
"""


def ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        raw = answer.read()
        return json.loads(raw) if "json" in answer.headers["Content-Type"] else raw.decode()


def change(port: int, path: str, body: object) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("PUT", path, json.dumps(body), {"Content-Type": "application/json"})
    assert connection.getresponse().status == 204
    connection.close()


def browse(browser: str, url: str, picture: Path) -> tuple[str, list[str]]:
    """The page as it stands after its scripts have run, and what they complained of."""
    flags = [
        "--headless=new", "--no-sandbox", "--virtual-time-budget=20000", "--window-size=1600,2400", "--use-gl=angle",
        "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--enable-logging=stderr", "--v=0",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]  # fmt: skip
    subprocess.run(
        [browser, *flags, f"--screenshot={picture}", url], check=True, capture_output=True, timeout=120
    )
    done = subprocess.run(
        [browser, *flags, "--dump-dom", url], check=True, capture_output=True, timeout=120, text=True
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def check_note_of_a_stranger(browser: str, port: int, version: int, pictures: Path) -> None:
    """Its tags are text, its pictures are not fetched."""
    body = "![seen](http://127.0.0.1:9/seen.png)\n\n<img src=x onerror=nowhere()><script>nowhere()</script>"
    change(port, "/api/studies/0/note", {"body": body, "version": version})
    url = f"http://127.0.0.1:{port}/dashboard/studies/0/note"
    page, complaints = browse(browser, url, pictures / "strange.png")
    assert "&lt;script&gt;nowhere()" in page
    assert complaints
    assert all("seen.png" in line and "Content Security Policy" in line for line in complaints)


@pytest.mark.slow
def test_the_pages_of_a_study_show_pictures_and_widths_without_an_error(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    pytest.importorskip("optuna_dashboard")
    (tmp_path / "s.yaml").write_text(STUDY, encoding="utf-8")
    program = [sys.executable, "-m", "nas_prune"]
    subprocess.run(
        [*program, "study", "run", "s.yaml", "--out", "run"], cwd=tmp_path, check=True, capture_output=True
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*program, "dashboard", "run", "--port", str(port)],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            env=os.environ,
        )
    try:
        for _ in range(100):
            time.sleep(0.2)
            try:
                studies = ask(port, "/api/studies")
                break
            except OSError:
                continue
        assert [study["study_name"] for study in studies["study_summaries"]] == ["s"]
        study = ask(port, "/api/studies/0")
        assert len(study["trials"]) == 20
        assert {trial["state"] for trial in study["trials"]} == {"Complete"}
        assert "What does the dashboard show?" in study["note"]["body"]
        assert len(study["plotly_graph_objects"]) == 5
        assert sorted(one["filename"] for one in study["trials"][3]["artifacts"]) == [
            "curve.csv",
            "widths.svg",
        ]
        pictures = Path(os.environ.get("NAS_PRUNE_PICTURES", tmp_path))
        assert browse(browser, "data:text/html,<script>nowhere()</script>", pictures / "wrong.png")[1]
        shown = {}
        for page in ("studies/0", "studies/0/trials?numbers=3", "studies/0/note"):
            picture = pictures / f"{page.replace('/', '-').replace('?', '-')}.png"
            shown[page], complaints = browse(browser, f"http://127.0.0.1:{port}/dashboard/{page}", picture)
            assert complaints == []
            assert picture.stat().st_size > 20_000
        trial = shown["studies/0/trials?numbers=3"]
        assert "widths.svg" in trial
        assert "kept inner 1" in trial
        assert "Keep ratio along the depth" in shown["studies/0"]
        assert "Layer widths of" in shown["studies/0/note"]

        check_note_of_a_stranger(browser, port, study["note"]["version"] + 1, pictures)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
