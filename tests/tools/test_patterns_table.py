"""The table and the picture of weights-or-pattern are made of what is kept beside its plan."""

from pathlib import Path

import pytest

from nas_prune.comparison.pattern_result import read_pattern_comparison
from tools.kept import exchange
from tools.patterns_table import draw, sentences, table

KEPT = Path(__file__).resolve().parents[2] / "studies" / "weights-or-pattern" / "vgg11-digits.jsonl"


@pytest.mark.slow
def test_what_is_kept_gives_the_table(tmp_path: Path) -> None:
    run = tmp_path / "vgg11-digits"
    exchange(run, KEPT, [])
    result = read_pattern_comparison(run)
    lines = table(result).splitlines()
    assert lines[0] == "| arm | beside | nonzero<=70% | nonzero<=40% | nonzero<=20% | nonzero<=5% |"
    (uniform,) = (line for line in lines if line.startswith("| `uniform`"))
    assert uniform.endswith("| 85.35 ± 2.32* |")
    said = sentences(result)
    assert "- nonzero<=5%: guided − uniform +12.03 points (95 % +8.14 to +15.93, n = 5), p = 0.01." in said
    assert said.endswith("- 39 other contrasts: no difference found.")
    draw([result], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    gone = next((run / "arms" / "nonzero-5pct" / "guided").glob("seed-10000/result.json"))
    gone.unlink()
    assert "(n = 4)" in table(read_pattern_comparison(run))
    for path in run.glob("arms/**/seed-1000[1-9]/result.json"):
        path.unlink()
    assert sentences(read_pattern_comparison(run)).splitlines()[-1] == "- 43 contrasts: not tested."
