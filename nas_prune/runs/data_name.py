"""The names of a person's own images: `folder:PATH`, `csv:FILE`, `hf:DIR`, `wds:DIR`, and what is chosen of them."""

import re
from typing import NamedTuple

CLASSIFICATION = "classification"  # the task where none is named
KINDS = ("folder", "csv", "hf", "wds")
_CHOICES = re.compile(r"(?:,(?:path|image|label|split|folder)=[^,]*)*\Z")


class OwnData(NamedTuple):
    """A person's own images.

    Attributes:
        kind: one of `KINDS`.
        place: where they are.
        choices: which columns are meant, as they were written: `,label=species`, or nothing.
    """

    kind: str
    place: str
    choices: str = ""

    def at(self, place: str) -> str:
        """The name of the same images at another place."""
        return f"{self.kind}:{place}{self.choices}"

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are chosen, by what they are for."""
        pairs = (choice.partition("=") for choice in self.choices.split(",")[1:])
        return {role: name for role, _, name in pairs}


def own_data(name: str) -> OwnData | None:
    """A data set's name in its parts; None for one that is no place.

    Example:
        >>> own_data("csv:birds/all.csv,label=species")
        OwnData(kind='csv', place='birds/all.csv', choices=',label=species')
        >>> own_data("digits")
    """
    kind, colon, place = name.partition(":")
    if kind not in KINDS or not colon:
        return None
    if kind == "folder":
        return OwnData(kind, place)
    found = _CHOICES.search(place)
    start = found.start() if found else len(place)
    return OwnData(kind, place[:start], place[start:])
