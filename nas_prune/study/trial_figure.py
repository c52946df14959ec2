"""The picture of one trial: the keep ratio of each channel group, as an SVG. Writing it takes a millisecond."""

from html import escape

from nas_prune.runs.figure import BLUE, ORANGE
from nas_prune.space.widths import Widths

_BAR, _HEIGHT, _LEFT, _TOP = 14, 160, 44, 30
_STAGE_COLOURS = (BLUE, ORANGE)  # in turn; in grey, the first is the darker


def widths_svg(widths: Widths, *, title: str) -> str:
    """Keep ratios along the depth, one bar for each group. Stages have two colours in turn.

    Args:
        widths: the artefact.
        title: the title above the picture.
    """
    groups = widths.groups
    right = _LEFT + _BAR * len(groups)
    wide, tall = max(right + 12, _LEFT + 7 * len(title)), _TOP + _HEIGHT + 120
    size = f'viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="10">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="16" font-size="12">{escape(title)}</text>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _TOP + _HEIGHT * (1 - share)
        parts.append(f'<line x1="{_LEFT}" y1="{y:g}" x2="{right}" y2="{y:g}" stroke="#ccc"/>')
        parts.append(f'<text x="{_LEFT - 4}" y="{y + 3:g}" text-anchor="end">{100 * share:.0f} %</text>')
    for number, group in enumerate(groups):
        x, tall_bar = _LEFT + _BAR * number, _HEIGHT * group.keep_ratio
        said = escape(f"{group.name}: {group.width} of {group.base}")
        parts.append(
            f'<rect x="{x + 1}" y="{_TOP + _HEIGHT - tall_bar:.1f}" width="{_BAR - 2}" height="{tall_bar:.1f}" '
            f'fill="{_STAGE_COLOURS[group.stage % 2]}"><title>{said}</title></rect>'
        )
        at = f"{x + _BAR - 4} {_TOP + _HEIGHT + 6}"
        parts.append(
            f'<text transform="translate({at}) rotate(-90)" text-anchor="end" font-size="9">'
            f"{escape(_short(group.name))}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"…{name[-19:]}"
