"""Reading what others may have written: regular files of bounded size, plain YAML and strict JSON.

Every file that a run, a study or a person names is read through here, or looked at here before a library opens it. What
is no file, is too large, nests too deeply or says one thing twice is refused before it costs time or memory; nothing in
a file is imported or run.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import IO, Any, cast

import yaml

MOST_TEXT = 32 * 2**20  # bytes of a file of ours that is text: ten times the largest seen
_MOST_YAML = 2**20  # characters
_MOST_VALUES = 20_000  # in a document of YAML, repeated ones as often as they are meant
_MOST_JSON = 1_000_000  # values of a document, far more than the scores of a large network's channels
_MOST_DEPTH = 40
_MOST_DIGITS = 40  # of an integer: the state of a random generator has 39
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")
)
_NOT_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def open_regular(path: Path | str) -> IO[bytes]:
    """A file opened for reading; a pipe, a socket or a device, which could be waited for forever, is refused.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    _check_regular(os.stat(path).st_mode, path)  # noqa: PTH116  (a tenth of the time of decoding small images)
    handle = os.open(path, os.O_RDONLY | _NOT_BLOCKING)
    try:
        _check_regular(os.fstat(handle).st_mode, path)  # it may be another by now
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_regular(mode: int, path: Path | str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def check_regular(path: Path | str) -> None:
    """Refuse what `open_regular` would, for a library that opens the file itself.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    _check_regular(Path(path).stat().st_mode, path)


def read_bytes(path: Path | str, *, most: int = MOST_TEXT) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most` bytes.
    """
    with open_regular(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(
            errno.EFBIG, f"it has more than the {most:,} bytes that such a file may have", str(path)
        )
    return content


def read_text(path: Path | str, *, most: int = MOST_TEXT) -> str:
    """The text of a regular file.

    Raises:
        OSError: as `read_bytes`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path, most=most).decode().replace("\r\n", "\n")


def load_json(text: str | bytes, *, allows_nan: bool = False) -> Any:
    """What JSON says, read strictly: no key twice, no NaN or infinity, no integer of more than 40 digits.

    Args:
        text: the JSON.
        allows_nan: whether the words `NaN` and `Infinity`, which are no JSON, may stand for numbers.

    Raises:
        json.JSONDecodeError: it is damaged, or says what no file of ours does.
    """
    text = text.decode() if isinstance(text, bytes) else text
    if len(text) > _MOST_JSON and text.count(",") > _MOST_JSON:
        raise json.JSONDecodeError(f"it has more than {_MOST_JSON:,} values", "", 0)
    try:
        content = (_WITH_NAN if allows_nan else _STRICT).decode(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        said = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise json.JSONDecodeError(said, "", 0) from None
    if text.count("[") + text.count("{") > _MOST_DEPTH and _is_deep(content):
        raise json.JSONDecodeError("it nests too deeply", "", 0)
    return content


def read_json(path: Path | str) -> Any:
    """What a file of JSON says.

    Raises:
        OSError: as `read_bytes`.
        ValueError: it is not UTF-8, or as `load_json`.
    """
    return load_json(read_text(path))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"{_twice(key for key, _ in pairs)!r:.60} stands twice")
    return content


def _twice(keys: Iterable[str]) -> str | None:
    seen = set[str]()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"an integer has {len(digits)} digits")
    return int(digits)


def _number(written: str) -> float:
    number = float(written)
    if not isfinite(number):
        raise ValueError(f"{written:.20} is no finite number")
    return number


# Made once: a journal is read line by line.
_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_number
)
_WITH_NAN = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=float
)


def _is_deep(content: Any) -> bool:
    layer = [content]
    for _ in range(_MOST_DEPTH):
        layer = [
            inner
            for one in layer
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not layer:
            return False
    return True


# The one in C where there is one: ten times as fast.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}
_LONGEST_NUMBER = 400  # characters: of the smallest floating-point number, written out


class _Plain(_Safe):  # type: ignore[misc]
    """Plain YAML in which no mapping has a key twice: one of the two lines would be silently ignored."""

    # A date is a word like any other here; so is 1:30, which older YAML takes for 90.
    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own)
        first: [
            (tag, _NUMBERS.get(tag, pattern))
            for tag, pattern in found
            if tag in _PLAIN_TAGS or tag.endswith(":merge")
        ]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        form = _NUMBERS.get(node.tag) if isinstance(node, yaml.ScalarNode) else None
        if form is not None and (len(node.value) > _LONGEST_NUMBER or not form.match(node.value)):
            raise ValueError(f"{node.value:.60} is no number")
        return super().construct_scalar(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        if not isinstance(node, yaml.MappingNode):
            return cast("dict[Any, Any]", super().construct_mapping(node, deep))
        twice = _twice(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice:.60} stands twice", node.start_mark)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep))


def load_yaml(text: str, *, most: int = _MOST_VALUES) -> Any:
    """What plain YAML says; nothing in it is imported or run.

    Args:
        text: the YAML.
        most: values that it may have, of some 50 characters each.

    Raises:
        yaml.YAMLError: it is not plain, is too large or too deep, or a mapping has a key twice.
    """
    most_text = _MOST_YAML * most // _MOST_VALUES
    if len(text) > most_text:
        raise yaml.YAMLError(f"it has more than {most_text:,} characters")
    _check_events(yaml.parse(text, _Safe), most)
    loader = _Plain(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _meant(node, {}, most) > most:
            raise yaml.YAMLError(f"it repeats values until there are more than {most:,}")
        return loader.construct_document(node)
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError, IndexError) as error:
        raise yaml.YAMLError(f"a value cannot be read ({' '.join(str(error).split()):.100})") from None
    finally:
        loader.dispose()


def _check_events(events: Iterator[yaml.Event], most: int) -> None:
    """Refuse what would take long to put together, while it is being scanned."""
    depth = 0
    for number, event in enumerate(events):
        if number > 2 * most:
            raise yaml.YAMLError(f"it has more than {most:,} values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MOST_DEPTH:
            raise yaml.YAMLError("it nests too deeply")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in _PLAIN_TAGS:
            raise yaml.YAMLError(f"{tag:.60} is no plain value")


def _meant(node: yaml.Node, known: dict[int, int], most: int) -> int:
    """How many values a node stands for; one that is repeated by name counts every time."""
    if id(node) not in known:
        known[id(node)] = most  # of one that holds itself
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for one in inner for part in (one if isinstance(one, tuple) else (one,))]
        known[id(node)] = 1 + sum(_meant(part, known, most) for part in parts)
    return known[id(node)]
