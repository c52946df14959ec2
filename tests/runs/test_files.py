"""A directory is held by one process at a time, and the hold ends with the process."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter

import pytest

from nas_prune.errors import BadInputError
from nas_prune.runs import files
from nas_prune.runs.directory import (
    begun_whole,
    check_out,
    default_run,
    from_run,
    make_run,
    portable,
    published,
)
from nas_prune.runs.files import alone_in, check_new, write_new

HOLDING = """
import os, sys, time
from pathlib import Path
from nas_prune.runs.files import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.3)


def is_free(folder: Path) -> bool:
    try:
        with alone_in(folder):
            return True
    except BadInputError:
        return False


def test_a_second_hold_is_refused_within_one_process_and_from_another_thread(tmp_path: Path) -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_free(tmp_path)))
    with alone_in(tmp_path):
        with pytest.raises(BadInputError, match=r"by one process at a time, and another holds it\. Wait"):
            alone_in(tmp_path).__enter__()
        thread.start()
        thread.join()
    assert found == [False]
    assert is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_hold_of_a_killed_process_ends_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not is_free(tmp_path)
        holder.kill()
        holder.wait()
        began = perf_counter()
        assert is_free(tmp_path)
        assert perf_counter() - began < 0.9  # a machine may be busy
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, *, blocking: bool) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files, "lock_descriptor", refuse)
    with alone_in(tmp_path):
        assert is_free(tmp_path)


def test_what_fails_within_the_hold_is_heard_of(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"), alone_in(tmp_path):
        raise OSError(errno.ENOSPC, "no space")
    assert is_free(tmp_path)


@pytest.mark.parametrize("name", ["folder:~nobody-of-this-name", "folder:loop", "folder:a/../loop/x"])
def test_folders_that_cannot_be_are_named_without_a_fuss(name: str, in_empty_directory: Path) -> None:
    (in_empty_directory / "loop").symlink_to("loop")
    run = in_empty_directory / "run"
    assert portable(name, run).startswith("folder:../")
    assert from_run(portable(name, run), run).startswith("folder:")
    assert published(name) == f"folder:{name.rpartition('/')[2].removeprefix('folder:')}"


def test_the_name_of_a_folder_is_one_line(in_empty_directory: Path) -> None:
    assert published("folder:a\nb\x1b[31m") == r"folder:a\nb\x1b[31m"


def test_a_default_directory_that_is_a_link_is_refused(in_empty_directory: Path) -> None:
    (in_empty_directory / "runs").mkdir()
    assert default_run("s") == Path("runs/s")
    (in_empty_directory / "runs" / "s").symlink_to(in_empty_directory)
    with pytest.raises(BadInputError, match="runs/s must be no link, got one. .* type --out runs/s"):
        default_run("s")


BEGINNING = """
import os, sys
from pathlib import Path
from nas_prune.runs.directory import begun_whole, make_run
run = make_run(Path(sys.argv[1]), "space", "what", "digits")
with begun_whole(run):
    (run / "target").mkdir()
    (run / "target" / "one.yaml").touch()
    (run / ".start.safetensors.abc.part").touch()
    os._exit(137)
"""


def test_what_a_process_that_was_killed_has_begun_is_begun_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert subprocess.run([sys.executable, "-c", BEGINNING, str(run)], check=False).returncode == 137
    assert (run / "target" / "one.yaml").exists()
    check_out(run)
    assert make_run(run, "space", "what", "digits") == run
    assert list(run.iterdir()) == []
    with begun_whole(run):
        with pytest.raises(BadInputError, match="by one process at a time, and another holds it"):
            make_run(run, "space", "what", "digits")
        (run / "config.yaml").touch()
    assert [path.name for path in run.iterdir()] == ["config.yaml"]
    (run / ".beginning").touch()  # killed at the very end: the run has begun, and may hold results by now
    with pytest.raises(BadInputError, match="--out must be a new or an empty directory"):
        make_run(run, "space", "what", "digits")
    assert (run / "config.yaml").exists()


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    write_new(tmp_path / "a", "one")
    with pytest.raises(BadInputError, match="must be a new file"):
        write_new(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "one"
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="must be a new file"):
        check_new(tmp_path / "lost")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "lost"]
