"""What a width vector must be to be one."""

from collections.abc import Sequence

from nas_prune.errors import WidthsError
from nas_prune.graph.channels import ChannelGroup


def whole_numbers(widths_G: Sequence[int], count: int | None = None) -> tuple[int, ...]:
    """A width vector as plain integers.

    Args:
        widths_G: what is given, of whatever numbers.
        count: how many there must be; left open if None.

    Raises:
        WidthsError: a width is no whole number of at least 1, or there are too many or too few.
    """
    for width in widths_G:
        if not (width >= 1 and float(width).is_integer()):
            raise WidthsError(f"a width must be a whole number of at least 1, got {width}.")
    if count is not None and len(widths_G) != count:
        raise WidthsError(f"a width vector must have {count} numbers, got {len(widths_G)}.")
    return tuple(int(width) for width in widths_G)


def narrowed_widths(widths_G: Sequence[int], groups: Sequence[ChannelGroup]) -> tuple[int, ...]:
    """A width vector as plain integers, none above the width that its group has in the whole network.

    Raises:
        WidthsError: it is none, as in `whole_numbers`, or one is above.
    """
    vector_G = whole_numbers(widths_G, len(groups))
    for width, group in zip(vector_G, groups, strict=True):
        if width > group.size:
            raise WidthsError(
                f"a width must be at most its base {group.size}, got {width} (group {group.name})."
            )
    return vector_G
