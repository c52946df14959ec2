"""Changes files that nas-prune reads, and looks for readers that fail in another way than with one clear line.

    python tools/fuzz.py --inputs 2000 [--reader NAME] [--seed 0] [--keep DIR]

Every input is a file of a real run, changed at random, or something that is no file in its place. A reader fails if it
raises anything but a `NasPruneError`, takes more than 5 seconds or 1 GB, or writes outside the run. Each failure is a
line with its smallest input, which is kept; the exit code is 1 if there is one. The same seed gives the same inputs.
"""

import argparse
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from nas_prune.errors import NasPruneError
from tools.fuzz_mutations import changed, no_file
from tools.fuzz_readers import READERS, Reader

SECONDS, MEGABYTES = 5.0, 1_000
_NO_FILE = 0.05  # of the inputs
_SHRINK = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Failure:
    """An input on which a reader failed.

    Attributes:
        reader: which.
        number: of the input; with the seed it gives the input again.
        file: that was changed.
        what: how it failed.
        content: the smallest bytes with which it does; None for what is no file.
    """

    reader: str
    number: int
    file: str
    what: str
    content: bytes | None


class TooLongError(BaseException):
    """A reader has taken all its time; no `Exception`, so that nothing catches it."""


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` where the block takes longer."""

    def ring(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Case:
    """A directory with a reader's files, and one beside it where nothing may appear."""

    def __init__(self, reader: Reader, place: Path) -> None:
        self._reader, self._place = reader, place
        self.folder, self._fresh = place / "case", place / "fresh"
        self.outside = place / "outside"
        self._fresh.mkdir()
        reader.prepare(self._fresh)
        found = {path for pattern in reader.files for path in self._fresh.glob(pattern)}
        self.files = sorted(path.relative_to(self._fresh) for path in found if path.is_file())
        self.outside.write_text("{}")
        self._around = self._listing()

    def renew(self) -> None:
        """As it was at first."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._fresh, self.folder)

    def content(self, file: Path) -> bytes:
        """A file as it was at first."""
        return (self._fresh / file).read_bytes()

    def _listing(self) -> list[str]:
        there = [str(path) for path in self._place.rglob("*") if not path.is_relative_to(self.folder)]
        return [*sorted(there), self.outside.read_text()]

    def failure(self) -> str:
        """How the reader fails on what is in the directory; empty if it does not."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = perf_counter()
        what = self._raised()
        if not what and perf_counter() - started > SECONDS:
            what = f"more than {SECONDS:g} s"
        if not what and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEGABYTES * 1024:
            what = f"more than {MEGABYTES:,} MB"
        if not what and self._listing() != self._around:
            self._around = self._listing()
            what = "something was written outside"
        return what

    def _raised(self) -> str:
        """What the reader raises but errors of ours in one line."""
        try:
            with in_time(SECONDS):
                self._reader.read(self.folder)
        except NasPruneError as error:
            return "a message of several lines" if "\n" in str(error).strip() else ""
        except TooLongError:
            return f"more than {SECONDS:g} s"
        except BaseException as error:  # noqa: BLE001  (that is what is looked for)
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if "/nas_prune/" in frame.filename] or frames
            return f"{type(error).__name__} in {Path(own[-1].filename).name}:{own[-1].lineno}: {str(error)[:120]!r}"
        return ""


def failures(name: str, inputs: Sequence[int], seed: int) -> Iterator[Failure]:
    """The inputs, by number, on which a reader fails."""
    with tempfile.TemporaryDirectory() as place, chdir(place):
        case = Case(READERS[name], Path(place))
        for number in inputs:
            chance = random.Random(f"{name}/{seed}/{number}")  # noqa: S311  (no secret)
            file = chance.choice(case.files)
            if chance.random() < _NO_FILE:
                case.renew()
                kind = no_file(case.folder / file, case.outside, chance)
                what = case.failure()
                if what:
                    yield Failure(name, number, str(file), f"{what} ({kind})", None)
                continue
            content = changed(case.content(file), file.suffix, chance)
            what = _failure_of(case, file, content)
            if what:
                yield Failure(name, number, str(file), what, _shrunk(case, file, content, what))


def _failure_of(case: Case, file: Path, content: bytes) -> str:
    case.renew()
    (case.folder / file).write_bytes(content)
    return case.failure()


def _shrunk(case: Case, file: Path, content: bytes, what: str) -> bytes:
    """A smaller content on which the reader fails in the same way."""
    until, size = perf_counter() + _SHRINK, max(1, len(content) // 2)
    kind = what.partition(":")[0]
    while size and perf_counter() < until:
        place = 0
        while place < len(content) and perf_counter() < until:
            fewer = content[:place] + content[place + size :]
            if _failure_of(case, file, fewer).partition(":")[0] == kind:
                content = fewer
            else:
                place += size
        size //= 2
    return content


def main() -> int:
    """Fuzz, and say what failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=2_000, help="in all, over the readers")
    parser.add_argument("--reader", choices=READERS, action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-found"), help="where inputs that fail are kept"
    )
    asked = parser.parse_args()
    asked.keep = asked.keep.absolute()
    names, count, started = asked.reader or list(READERS), 0, perf_counter()
    for place, name in enumerate(names):
        share = asked.inputs // len(names) + (place < asked.inputs % len(names))
        for found in failures(name, range(share), asked.seed):
            count += 1
            kept = "no file"
            if found.content is not None:
                asked.keep.mkdir(exist_ok=True)
                path = (
                    asked.keep
                    / f"{name.replace(' ', '-')}-{asked.seed}-{found.number}{Path(found.file).suffix}"
                )
                path.write_bytes(found.content)
                kept = f"{path}, {len(found.content):,} bytes"
            print(f"{name}, input {found.number}, {found.file}: {found.what} [{kept}]", flush=True)
        print(
            f"{name}: {share:,} inputs, {perf_counter() - started:.0f} s so far", file=sys.stderr, flush=True
        )
    print(f"{asked.inputs:,} inputs, {count} failures, {perf_counter() - started:.0f} s")
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
