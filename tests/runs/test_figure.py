"""The palette, and what it costs to read it."""

import subprocess
import sys

from nas_prune.runs.figure import COLOURS, MARKERS


def test_each_colour_is_another_one_and_has_a_marker_of_its_own() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(set(MARKERS)) == len(MARKERS)


def test_reading_the_palette_loads_no_matplotlib() -> None:
    code = "import sys, nas_prune.runs.figure; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
