"""What a report is made of, in whichever form it is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text. All columns hold numbers but the first `left`, and the last if it `ends_in_words`.

    Raises:
        ValueError: a row is not as long as the headings, so that cells would stand under others'.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    caption: str = ""
    ends_in_words: bool = False

    def __post_init__(self) -> None:
        """Refuse rows of another length."""
        if any(len(row) != len(self.headings) for row in self.rows):
            raise ValueError(f"rows must have {len(self.headings)} cells")

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return column >= self.left and not (self.ends_in_words and column == len(self.headings) - 1)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, and what it shows in words, also for readers who cannot see it.

    Attributes:
        draw: makes an `<svg>` element. It goes into the page as it is, so it must come from `report.figures.drawn`.
        caption: what it shows.
    """

    draw: Callable[[], str]
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """One subject.

    Attributes:
        title: what it is about.
        sentences: in words.
        facts: {name: value}.
        tables, pictures: the same as numbers and drawings.
        is_folded: whether the reader must open it.
    """

    title: str
    sentences: Sequence[str] = ()
    facts: dict[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    is_folded: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing but its title."""
        return not (self.sentences or self.facts or self.tables or self.pictures)


@dataclass(frozen=True, slots=True)
class Part:
    """One run.

    Attributes:
        name: of its directory, or file.
        kind: `search`, `train`, `evaluate`, `study`, `compare`, `transfer` or `guideline`.
        headline: what it is, in one line.
        sections: what it holds.
        numbers: the same as plain JSON.
    """

    name: str
    kind: str
    headline: str
    sections: Sequence[Section]
    numbers: dict[str, Any]
