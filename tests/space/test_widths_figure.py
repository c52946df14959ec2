"""Pictures: drawn whole, the same each time, and different for different widths."""

from pathlib import Path

from PIL import Image

from nas_prune.space.load import load_space
from nas_prune.space.widths_figure import draw_widths

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
