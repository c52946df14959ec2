"""What a report is made of, whatever it is written as."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people; all columns but the first `left`, and the last if it `ends_in_words`, hold numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    caption: str = ""
    ends_in_words: bool = False

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return column >= self.left and not (self.ends_in_words and column == len(self.headings) - 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as SVG, and what it shows, for who cannot see it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """One subject.

    Attributes:
        title: what it is about.
        sentences: in words.
        facts: {name: value}.
        tables, pictures: what they say.
        is_folded: whether it is closed at first.
    """

    title: str
    sentences: Sequence[str] = ()
    facts: dict[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One run.

    Attributes:
        name: of its directory, or file.
        kind: `search`, `train`, `judge`, `study`, `compare`, `transfer` or `guideline`.
        headline: what it is, in one line.
        sections: what it holds.
        numbers: the same as plain JSON.
    """

    name: str
    kind: str
    headline: str
    sections: Sequence[Section]
    numbers: dict[str, Any]
