"""Colours can be seen on white and on dark paper, told apart by everybody, and stand for one budget each."""

import re
from importlib.resources import files
from itertools import combinations, pairwise

import numpy as np
import pytest

from nas_prune.runs.colours import (
    DARK_PAPER,
    LEAST_OF_GRAPHICS,
    LEAST_OF_TEXT,
    contrast,
    look_of_budget,
    on_dark,
    rgb,
)
from nas_prune.runs.figure import COLOURS

CSS = (files("nas_prune.report") / "page.css").read_text(encoding="utf-8")
LIGHT, DARK = (dict(re.findall(r"--(\w+): (#\w+)", root)) for root in re.findall(r":root \{(.*?)\}", CSS))
TONES = [look_of_budget("macs", share / 100).colour for share in range(1, 101)]
# Of linear red, green and blue to what is seen without one kind of cones (Machado et al. 2009, severity 1).
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}  # fmt: skip


def full(colour: str) -> str:
    return colour if len(colour) == 7 else "#" + "".join(2 * letter for letter in colour[1:])


def lab(colour: str, sight: str) -> np.ndarray:
    """CIE L*a*b* of a colour as it is seen."""
    encoded = np.array(rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(BLIND[sight]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("colour", "expected"), [("#777777", 4.48), ("#ff0000", 4.0), ("#0000ff", 8.59)])
def test_contrast_is_that_of_wcag(colour: str, expected: float) -> None:
    assert contrast(colour, "#ffffff") == pytest.approx(expected, abs=0.005)


def test_lines_and_dots_are_seen_on_light_and_dark_pages() -> None:
    assert full(DARK["paper"]) == DARK_PAPER
    for colour in (*COLOURS, *TONES):
        for paper in (LIGHT["paper"], LIGHT["band"]):
            assert contrast(colour, full(paper)) >= LEAST_OF_GRAPHICS, (colour, paper)
        for paper in (DARK["paper"], DARK["band"]):
            assert contrast(on_dark(colour), full(paper)) >= LEAST_OF_GRAPHICS, (colour, paper)


def test_text_is_read_on_light_and_dark_pages() -> None:
    for page in (LIGHT, DARK):
        for text in ("ink", "muted", "link"):
            for paper in ("paper", "band"):
                assert contrast(full(page[text]), full(page[paper])) >= LEAST_OF_TEXT, (text, paper)


@pytest.mark.parametrize("sight", ["none", "protan", "deutan", "tritan"])
def test_budgets_are_told_apart_by_every_sight(sight: str) -> None:
    tones = [look_of_budget("macs", share).colour for share in (0.25, 0.5, 0.75)]
    for page in (tones, [on_dark(tone) for tone in tones]):
        for one, other in combinations(page, 2):
            assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 12, (one, other)


def test_tighter_budgets_are_darker_in_print() -> None:
    lightness = [lab(tone, "grey")[0] for tone in TONES]
    assert all(low < high + 0.5 for low, high in pairwise(lightness))
    assert lightness[-1] - lightness[0] > 40


def test_budgets_in_steps_of_five_percent_all_look_different() -> None:
    looks = [
        look_of_budget(kind, share / 100)
        for kind in ("macs", "params", "channels", "activations", "latency")
        for share in range(5, 101, 5)
    ]
    assert len(set(looks)) == len(looks)
    assert look_of_budget("macs", 0.5) == look_of_budget("macs", 0.5)
    assert look_of_budget("macs", 0.5).colour == look_of_budget("params", 0.5).colour
    assert look_of_budget("macs", 1.7) == look_of_budget("macs", 1.0)
