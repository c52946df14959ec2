"""Guideline files as parts of a report."""

from functools import partial
from pathlib import Path

from nas_prune.guideline.artefact import read_guideline
from nas_prune.guideline.explain import sentences
from nas_prune.guideline.figure import guideline_figure
from nas_prune.report.content import Part, Picture, Section
from nas_prune.report.figures import drawn


def part_of_guideline(path: Path, name: str) -> Part:
    """A guideline in words and as a picture."""
    guideline = read_guideline(path)
    said = [*sentences(guideline), *(f"Note: {note}" for note in guideline.notes)]
    picture = Picture(
        partial(drawn, guideline_figure(guideline), name), "Keep ratios and their intervals along the depth."
    )
    pictures = [picture] if guideline.cells else []
    section = Section("What found widths have in common", said, pictures=pictures)
    count = len(guideline.sources)
    headline = (
        f"A guideline, from {count} width vector{'s' * (count != 1)}"
        if count
        else "A guideline, written by hand"
    )
    return Part(path.name, "guideline", headline, [section], guideline.model_dump(mode="json"))
