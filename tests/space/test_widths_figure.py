"""Pictures: drawn whole, the same each time, and different for different widths."""

from pathlib import Path

from PIL import Image

from nas_prune.runs.colours import look_of_budget
from nas_prune.space.load import load_space
from nas_prune.space.widths import Widths
from nas_prune.space.widths_figure import draw_widths, widths_figure

SPACE = load_space("resnet20", (1, 8, 8))
HALF = SPACE.widths([base // 2 for base in SPACE.base_G], budget="macs<=50%")
WHOLE = SPACE.widths(SPACE.base_G)


def test_a_picture_is_the_same_each_time_and_another_for_other_widths(tmp_path: Path) -> None:
    for name, widths in (("a", [WHOLE, HALF]), ("b", [WHOLE, HALF]), ("c", [WHOLE, WHOLE])):
        draw_widths(widths, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_deep_networks_get_wider_pictures_and_searched_groups_only_narrower_ones(tmp_path: Path) -> None:
    deep = load_space("resnet110", (1, 8, 8))
    draw_widths([WHOLE], tmp_path / "shallow.png")
    draw_widths([deep.widths(deep.base_G)], tmp_path / "deep.png")
    draw_widths([deep.widths(deep.base_G)], tmp_path / "some.png", searched=range(10))
    sizes = {}
    for name in ("shallow", "deep", "some"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            sizes[name] = picture.width
    assert sizes["deep"] > sizes["some"] == sizes["shallow"]


def looks(widths: list[Widths]) -> dict[str, tuple[object, ...]]:
    """Colour, marker and dashes of each line, by what it is called."""
    (axes,) = widths_figure(widths).axes
    return {
        str(line.get_label()): (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in axes.get_lines()
    }


def test_a_budget_looks_the_same_in_every_picture_whatever_else_is_in_it() -> None:
    cut = [base // 3 for base in SPACE.base_G]
    third = SPACE.widths(cut, budget="params<=30%")
    counted = SPACE.widths(cut, budget=f"params<={third.cost.params}")
    first, second = looks([HALF, third, WHOLE]), looks([third, HALF])
    assert second == {name: first[name] for name in second}
    assert len(set(first.values())) == 3
    (look,) = looks([counted]).values()  # a count is drawn as the share that it is
    known = look_of_budget("params", third.cost.params / third.base_cost.params)
    assert look == (known.colour, known.marker, known.dashes)
    odd = [SPACE.widths(cut, budget=text) for text in (None, "own", "macs<=50%, params<=30%", "later<=3")]
    assert len({look[0] for one in odd for look in looks([one]).values()}) == 1  # by the MACs they have
