"""A report as one HTML file that fetches nothing, as Markdown, or as JSON: the same numbers in each."""

import json
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files

from nas_prune.report.content import Part, Section, Table

SCHEMA = "nas-prune/report/1"
_NOTHING_FROM_OUTSIDE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def as_html(parts: Sequence[Part], *, title: str) -> str:
    """One page: styles and figures stand in it, and it has no script."""
    style = (files("nas_prune.report") / "page.css").read_text(encoding="utf-8")
    several = len(parts) > 1
    contents = "".join(
        f'<li><a href="#r{number}">{escape(part.name)}</a> <span>{escape(part.headline)}</span></li>'
        for number, part in enumerate(parts, start=1)
    )
    index = f"<nav><ol>{contents}</ol></nav>" if several else ""
    body = "".join(_part(part, number) for number, part in enumerate(parts, start=1))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_OUTSIDE}">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n'
        "<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{index}\n{body}\n"
        f"<footer>nas-prune {version('nas-prune')}</footer>\n</main>\n</body>\n</html>\n"
    )


def _part(part: Part, number: int) -> str:
    sections = "".join(_section(section) for section in part.sections)
    return (
        f'<article id="r{number}">\n<header><p class="kind">{escape(part.kind)} · {escape(part.name)}</p>'
        f"<h2>{escape(part.headline)}</h2></header>\n{sections}</article>\n"
    )


def _section(section: Section) -> str:
    inside = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in section.sentences)
    if section.facts:
        rows = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in section.facts.items()
        )
        inside += f"<dl>{rows}</dl>\n"
    inside += "".join(map(_table, section.tables))
    inside += "".join(
        f'<figure role="img" aria-label="{escape(picture.caption)}">{picture.svg}'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>\n"
        for picture in section.pictures
    )
    if not inside:
        inside = "<p>Nothing yet.</p>\n"
    if section.is_folded:
        return f"<details><summary>{escape(section.title)}</summary>\n{inside}</details>\n"
    return f"<section>\n<h3>{escape(section.title)}</h3>\n{inside}</section>\n"


def _table(table: Table) -> str:
    def cell(kind: str, column: int, text: str) -> str:
        name = ' class="number"' if table.is_number(column) else ""
        return f"<{kind}{name}>{escape(text)}</{kind}>"

    head = "".join(cell("th", column, text) for column, text in enumerate(table.headings))
    rows = "".join(
        "<tr>" + "".join(cell("td", column, text) for column, text in enumerate(row)) + "</tr>\n"
        for row in table.rows
    )
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n'


def as_markdown(parts: Sequence[Part], *, title: str) -> str:
    """Words and tables; figures are in the HTML."""
    lines = [f"# {title}", ""]
    for part in parts:
        lines += [f"## {part.headline}", "", f"{part.kind}, `{part.name}`", ""]
        for section in part.sections:
            lines += [f"### {section.title}", ""]
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
    return [*written, *(["", table.caption] if table.caption else [])]


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("\n", " ")


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
