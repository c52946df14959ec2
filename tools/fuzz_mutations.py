"""Changes to the content of a file: of its bytes, of its words, of its structure, and of what it is at all."""

import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from nas_prune.runs.reading import load_yaml

Path_ = tuple[Any, ...]

_WORDS = (
    "", "x" * 10_000, "../../x", "/x", "~", ".", "\x1b[31m", "\u202e", "a\nb", "\x00", "null", "NaN", "1e999",
    "9" * 5_000, "True", "no", "[", "]", "{", "}", ":", ",", '"', "- ", "&a", "*a", "!!int x",
    "!!python/name:os.system", "<<: *a",
    "folder:/", "os:system", "evil.module:factory", "sqlite:////x", "widths/²", "nas-prune/widths/99",
    "\ud83d", "2001-99-99",     "macs<=50%", "macs<=0%", "params<=-1", "own",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e-300, 1e300, "1", "True",
    [], {}, [[]], [None], [0] * 1_000, {"": {}}, {"a": [1, {"b": None}]},
    *(word for word in _WORDS if word.isprintable()),
)  # fmt: skip
_BOMB = "bomb:\n- &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"- &{two} [{', '.join([f'*{one}'] * 8)}]\n" for one, two in zip("abcdefg", "bcdefgh", strict=True)
)


_LARGE = tuple(
    text.encode()
    for text in (
        "[" * 100_000,
        "{a: " * 5_000,
        '{"a":' * 20_000,
        _BOMB,
        "\n".join(f"k{number}: {number}" for number in range(40_000)),
        "9" * 100_000,
        "x" * 1_000_000,
        "\n" * 100_000,
        "- " * 3_000,
    )
)


def changed(raw: bytes, suffix: str, chance: random.Random) -> bytes:
    """The bytes of a file, changed once to four times."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        raw = chance.choice(_WAYS)(raw, suffix, chance)
    return raw


def _bytes(raw: bytes, _: str, chance: random.Random) -> bytes:
    place, length = chance.randrange(len(raw) + 1), chance.choice((1, 2, 8, 64, 1_024))
    piece = raw[place : place + length]
    match chance.randrange(6):
        case 0:
            return raw[:place]
        case 1:
            return raw[:place] + raw[place + length :]
        case 2:
            return raw[:place] + piece * chance.choice((2, 3, 50)) + raw[place + length :]
        case 3:
            return raw[:place] + chance.randbytes(length) + raw[place + length :]
        case 4:
            return raw[:place] + chance.randbytes(chance.choice((1, 4))) + raw[place:]
        case _:
            return raw[place:] + raw[:place]


def _words(raw: bytes, suffix: str, chance: random.Random) -> bytes:
    """A word, a number or a line replaced, doubled or taken out."""
    if suffix not in _TEXTS:
        return _bytes(raw, suffix, chance)
    text, word = raw.decode(errors="replace"), chance.choice(_WORDS)
    if chance.random() < 0.3:
        lines = text.splitlines(keepends=True) or [""]
        place = chance.randrange(len(lines))
        lines[place : place + 1] = chance.choice(([], [lines[place]] * 2, [word + "\n", lines[place]]))
        return "".join(lines).encode(errors="replace")
    start = chance.randrange(len(text) + 1)
    while start and _is_of_word(text[start - 1]):
        start -= 1
    end = start
    while end < len(text) and _is_of_word(text[end]):
        end += 1
    return (text[:start] + word + text[end:]).encode(errors="replace")


def _is_of_word(letter: str) -> bool:
    return letter.isalnum() or letter in "._-%<="


def _large(raw: bytes, suffix: str, chance: random.Random) -> bytes:
    """Something deep, long or much repeated in place of, before or behind what is there."""
    if suffix not in _TEXTS:
        return _bytes(raw, suffix, chance)
    large = chance.choice(_LARGE)
    return chance.choice((large, raw + b"\n" + large, large + b"\n" + raw))


def _structure(raw: bytes, suffix: str, chance: random.Random) -> bytes:
    """One value of a JSON or YAML document replaced, wrapped, doubled, renamed or taken out."""
    if suffix not in _TREES:
        return _words(raw, suffix, chance)
    if suffix in (".jsonl", ".log"):
        lines = raw.splitlines(keepends=True) or [b"{}\n"]
        place = chance.randrange(len(lines))
        lines[place] = _structure(lines[place], ".json", chance).replace(b"\n", b" ") + b"\n"
        return b"".join(lines)
    try:
        content = json.loads(raw) if suffix == ".json" else load_yaml(raw.decode())
    except (ValueError, yaml.YAMLError, RecursionError):
        return _words(raw, suffix, chance)
    content = _with(content, chance.choice(list(_places(content))[:5_000]), chance)
    with suppress(ValueError, yaml.YAMLError, RecursionError):
        text = json.dumps(content) if suffix == ".json" else yaml.safe_dump(content, sort_keys=False)
        return text.encode(errors="replace")
    return raw


def _places(content: Any, here: Path_ = ()) -> Iterator[Path_]:
    yield here
    inner = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in inner:
        yield from _places(value, (*here, key))


def _with(content: Any, place: Path_, chance: random.Random) -> Any:
    if place:
        first, *rest = place
        copy = dict(content) if isinstance(content, dict) else list(content)
        if not rest and chance.random() < 0.2:
            del copy[first]
        elif not rest and isinstance(copy, dict) and chance.random() < 0.15:
            copy[chance.choice(_WORDS)] = copy.pop(first)
        else:
            copy[first] = _with(copy[first], tuple(rest), chance)
        return copy
    match chance.randrange(5):
        case 0:
            return [content]
        case 1:
            return {"a": content}
        case 2 if isinstance(content, list):
            return content * 2
        case 3 if isinstance(content, (int, float)):
            return -content
        case _:
            return chance.choice(_VALUES)


_TREES = (".json", ".yaml", ".jsonl", ".log")
_TEXTS = (*_TREES, ".csv")
_WAYS: tuple[Callable[[bytes, str, random.Random], bytes], ...] = (
    _bytes,
    _words,
    _words,
    _structure,
    _structure,
    _structure,
    _large,
)


def no_file(path: Path, outside: Path, chance: random.Random) -> str:
    """Put something that is no file in a file's place; what it is."""
    path.unlink(missing_ok=True)
    kind = chance.choice(
        ("nothing", "empty", "folder", "pipe", "socket", "link out", "lost link", "round link", "device")
    )
    match kind:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as end, suppress(OSError):  # a path may be too long for one
                end.bind(str(path))
        case "link out":
            path.symlink_to(outside)
        case "lost link":
            path.symlink_to(path.parent / "nowhere" / "at all")
        case "round link":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
    return kind
