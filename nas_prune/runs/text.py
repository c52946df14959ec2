"""Words that came from outside (names of folders, classes, files), as they are shown."""

import unicodedata

_MOST = 2_000  # characters of a message
_LONGEST = 200  # of what an error says
_NOT_SHOWN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # which some scripts are written with


def printable(text: str, *, keeps: str = "") -> str:
    r"""Text for a terminal, a table or a report, without anything that would act on it.

    Control characters, marks that reverse the direction of writing, and bytes of file names that are no text are
    written as `\x1b` or `\u202e`.

    Args:
        text: the text.
        keeps: control characters that may stay, such as a newline.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter
        if letter in keeps or letter in _JOINERS or unicodedata.category(letter) not in _NOT_SHOWN
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def one_line(text: str) -> str:
    """A message as one line of bounded length that can be printed anywhere."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _MOST else f"{line[:_MOST]} … ({len(line):,} characters)"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, no longer than a reader would want."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
