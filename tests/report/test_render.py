"""Names that look like markup, like a template or like a formula are shown as they are, in every field and picture."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from nas_prune.comparison.edf_figure import edfs_figure
from nas_prune.report.content import Part, Picture, Section, Table
from nas_prune.report.figures import curves_figure, dots_figure, drawn, fronts_figure
from nas_prune.report.render import as_html, as_markdown
from nas_prune.space.load import load_space
from nas_prune.space.widths_figure import widths_figure
from nas_prune.study.trial_figure import widths_svg

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "' onload='alert(1)",
    "</style></title></svg><b>",
    "{{ 7*7 }}",
    "{% raw %}",
    "{# gone #}",
    "&lt;b&gt;",
    "--><!--",
)
IN_PICTURES = (*HOSTILE, r"$\alpha$ $\nothing$", "#000000", 'id="a" url(#b xlink:href="#c')
FIELDS = (
    "title", "name", "kind", "headline", "section", "folded", "sentence", "fact", "value", "heading", "cell", "words",
    "table caption", "picture caption",
)  # fmt: skip


def page_with(name: str) -> str:
    """A report with a name in every field; behind it stands which field it is."""
    of = {field: f"{name} {field}" for field in FIELDS}
    table = Table([of["heading"], "b"], [[of["cell"], of["words"]]], 1, of["table caption"])
    picture = Picture(lambda: "<svg></svg>", of["picture caption"])
    sections = [
        Section(of["section"], [of["sentence"]], {of["fact"]: of["value"]}, [table], [picture]),
        Section(of["folded"], is_folded=True),
    ]
    part = Part(of["name"], of["kind"], of["headline"], sections, {})
    return as_html([part, part], title=of["title"])


class Outline(HTMLParser):
    """The elements of a page with the names of their attributes, and apart from them what a reader sees or hears."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.shown: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.shown += [value or "" for name, value in attrs if name == "aria-label"]

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(("/", tag))

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_field_can_add_an_element_or_be_read_as_a_template(name: str) -> None:
    page, plain = Outline(page_with(name)), Outline(page_with("plain"))
    assert page.elements == plain.elements
    shown = "\n".join(page.shown)
    for field in FIELDS:
        assert f"{name} {field}" in shown, field
    assert "\n".join(plain.shown) == shown.replace(name, "plain")


def test_an_empty_section_says_so_and_a_full_one_does_not() -> None:
    sections = [Section("empty"), Section("full", ["Something."])]
    page = as_html([Part("n", "k", "h", sections, {})], title="t")
    assert page.count("<p>Nothing yet.</p>") == 1
    assert "<nav>" not in page


@pytest.mark.parametrize("name", [" ".join(IN_PICTURES[first::4]) for first in range(4)])
@pytest.mark.slow
def test_pictures_show_names_as_they_are(name: str) -> None:
    space = load_space("resnet20", (1, 8, 8))
    whole = space.widths(space.base_G)
    figures = [
        curves_figure({name: [[0.1, 0.2]]}, what=name),
        dots_figure({name: [0.1]}, what=name),
        fronts_figure([(1.0, 1.0, 0.5)], what=name, marked={name: 0}),
        edfs_figure({name: {name: [0.1]}}, title=name, what=name),
        widths_figure([whole], names=[name]),
    ]
    for svg in [*(drawn(figure, "f") for figure in figures), widths_svg(whole, title=name)]:
        root = ET.fromstring(svg)  # noqa: S314  (we have just written it)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert tags <= {
            "svg",
            "defs",
            "style",
            "clipPath",
            "g",
            "path",
            "rect",
            "use",
            "text",
            "tspan",
            "line",
            "title",
        }
        assert any(name in (element.text or "") for element in root.iter())


@pytest.mark.parametrize("name", [r"\[a](javascript:alert)", r"\<img src=x>", r"![x](http://x)", r"\\<b>"])
def test_markdown_has_no_links_pictures_or_tags_of_a_name(name: str) -> None:
    (line,) = as_markdown([], title=name).splitlines()
    plain = re.sub(r"\\[\\|<\[]", "", line)  # without what is escaped
    assert not set(plain) & set("<[")


def test_colours_of_pictures_are_lighter_on_a_dark_page() -> None:
    svg = drawn(dots_figure({"one": [0.1, 0.3]}, what="accuracy", reference=0.2), "f")
    assert svg.count("var(--on-0072b2, #0072b2)") >= 2  # the dots
    style = "<style>@media screen and (prefers-color-scheme:dark){:root{--on-0072b2:#2989be;}}</style>"
    assert svg.partition(">")[2].startswith(style)
    rest = svg.replace("var(--on-0072b2, #0072b2)", "").replace(style, "")
    assert (
        re.findall(r"#[0-9a-f]{6}\b|opacity: 0\.[0-6]", rest) == []
    )  # no colour is fixed, no dot is thinned


def test_captions_stay_in_place_while_wide_tables_and_pictures_are_scrolled() -> None:
    table = Table(["a", "b"], [["1", "2"]], caption="What it shows.")
    picture = Picture(lambda: "<svg></svg>", "What is drawn.")
    section = Section("both", tables=[table], pictures=[picture])
    page = as_html([Part("n", "k", "h", [section], {})], title="t")
    assert "<caption" not in page
    for inside, words in (("</table></div>", "What it shows."), ("<svg></svg></div>", "What is drawn.")):
        before, found, after = "".join(page.split("\n")).partition(inside)
        assert found
        assert re.match(rf"<(p class=.caption.|figcaption)>{words}<", after)
        assert re.search(r'<div class="wide" role="\w+" tabindex="0"[^>]*>(<table>.*)?$', before)
