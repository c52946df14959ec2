"""Seconds and memory of what a newcomer types first: `--help`, the default search, the test suite.

    python tools/bench_search.py [--repeats 3] [--suite]

Each command runs in a process of its own in an empty directory. Prints median, smallest and largest.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--suite", action="store_true", help="the test suite too, once")
    options = parser.parse_args()
    command = [str(Path(sys.executable).parent / "nas-prune")]
    _report("nas-prune --help", [_run([*command, "--help"]) for _ in range(options.repeats)])
    search = [*command, "search", "--space", "resnet", "--method", "slimming"]
    _report("the default search", [_run(search) for _ in range(options.repeats)])
    if options.suite:
        _report("pytest", [_run([sys.executable, "-m", "pytest", "-q", str(REPOSITORY)], REPOSITORY)])
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")


def _run(command: list[str], cwd: Path | None = None) -> tuple[float, float]:
    """Seconds, and the largest resident memory in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd or folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return seconds, usage.ru_maxrss / 2**20


def _report(what: str, runs: list[tuple[float, float]]) -> None:
    seconds = [run[0] for run in runs]
    print(
        f"{what}: median {median(seconds):.2f} s (n = {len(runs)}, {min(seconds):.2f} to {max(seconds):.2f}), "
        f"at most {max(run[1] for run in runs):.2f} GiB"
    )


if __name__ == "__main__":
    main()
