"""A report as one HTML file that loads nothing else, as Markdown, or as JSON: the same numbers in each."""

import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from nas_prune.report.content import Part, Table
from nas_prune.runs.text import printable

SCHEMA = "nas-prune/report/1"
_ROOM = "nas_prune.report"


def as_html(parts: Sequence[Part], *, title: str) -> str:
    """One page: it contains its styles and figures, and has no script.

    Text is escaped, so that a name with `<` or `{{` in it is shown as it is. Only the pictures are markup.
    """
    pages = Environment(
        loader=PackageLoader(_ROOM, package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value, keeps="\n") if type(value) is str else value,
    )
    return pages.get_template("page.html.jinja").render(
        title=title,
        parts=parts,
        style=(files(_ROOM) / "page.css").read_text(encoding="utf-8"),
        version=version("nas-prune"),
    )


def as_markdown(parts: Sequence[Part], *, title: str) -> str:
    """Words and tables; figures are in the HTML."""
    lines = [f"# {_plain(title)}", ""]
    for part in parts:
        name = printable(part.name).replace("`", "'")
        lines += [f"## {_plain(part.headline)}", "", f"{part.kind}, `{name}`", ""]
        for section in part.sections:
            lines += [f"### {_plain(section.title)}", ""]
            lines += [line for sentence in section.sentences for line in (_plain(sentence), "")]
            lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in section.facts.items()]
            lines += [""] if section.facts else []
            for table in section.tables:
                lines += [*_markdown(table), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(table: Table) -> list[str]:
    marks = ["--:" if table.is_number(column) else "---" for column in range(len(table.headings))]
    rows = [table.headings, marks, *table.rows]
    written = ["| " + " | ".join(_plain(text) for text in row) + " |" for row in rows]
    return [*written, *(["", _plain(table.caption)] if table.caption else [])]


def _plain(text: str) -> str:
    """Text without lines, tags, links or pictures of its own."""
    return re.sub(r"([\\|<\[])", r"\\\1", printable(" ".join(text.split())))


def as_json(parts: Sequence[Part], *, title: str) -> str:
    """The numbers behind the tables."""
    content = {
        "schema": SCHEMA,
        "title": title,
        "runs": [
            {"name": part.name, "kind": part.kind, "headline": part.headline, "numbers": part.numbers}
            for part in parts
        ],
    }
    return json.dumps(content, indent=1) + "\n"
