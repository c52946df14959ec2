"""The fuzzer finds readers that fail, and ours do not."""

from pathlib import Path

import pytest

from nas_prune.errors import BadInputError
from tools import fuzz
from tools.fuzz_readers import READERS, Reader

QUICK = (
    "widths",
    "guideline",
    "recipe",
    "study file",
    "comparison file",
    "checkpoint",
    "metrics",
    "kept channels",
    "compressed network",
    "images",
)


@pytest.mark.parametrize("name", QUICK)
def test_no_reader_fails_on_60_inputs(name: str) -> None:
    assert list(fuzz.failures(name, range(60), seed=7)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_no_reader_fails_on_its_share_of_10_000_inputs(name: str) -> None:
    assert list(fuzz.failures(name, range(1_000, 1_000 + 10_000 // len(READERS)), seed=7)) == []


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> str:
    """A reader with three faults, one of them found by few inputs."""

    def prepare(case: Path) -> None:
        (case / "one.json").write_text('{"a": [1, 2], "b": "c"}')

    def read(case: Path) -> object:
        text = (case / "one.json").read_text()
        if "[" not in text:
            raise KeyError("a")
        if "\x1b" in text:
            (case.parent / "made").touch()
        if len(text) > 50_000:
            raise BadInputError("two\nlines")
        return text

    monkeypatch.setitem(READERS, "planted", Reader(prepare, ("one.json",), read))
    monkeypatch.setattr(fuzz, "_NO_FILE", 0.0)
    monkeypatch.setattr(fuzz, "_SHRINK", 0.2)
    return "planted"


@pytest.mark.slow
def test_faults_that_are_planted_are_found_with_their_smallest_input(planted: str) -> None:
    wanted, found = (
        {"KeyError", "a message of several lines", "something was written outside"},
        dict[str, fuzz.Failure](),
    )
    for one in fuzz.failures(planted, range(300), seed=0):
        found.setdefault(one.what.partition(" in ")[0], one)
        if wanted <= set(found):
            break
    assert wanted <= set(found)
    assert found["KeyError"].content == b""
    again = next(iter(fuzz.failures(planted, [found["KeyError"].number], seed=0)))
    assert again == found["KeyError"]
