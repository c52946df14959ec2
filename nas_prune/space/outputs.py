"""What a network puts out for each image, and what is wanted of it."""

from typing import Literal, TypeAlias

from nas_prune.errors import BadInputError

Output: TypeAlias = Literal["row", "map", "other"]
_WORDS = {"row": "a row of class scores", "map": "maps of class scores", "other": "named or other outputs"}


def check_outputs(name: str, puts_out: Output, wanted: Output) -> None:
    """Refuse a network that does not put out what is to be learned.

    Raises:
        BadInputError: it does not.
    """
    if puts_out == wanted:
        return
    hint = "It can be inspected, built and narrowed."
    if puts_out == "map":
        hint = "For maps there is --task segmentation."
    raise BadInputError(
        f"--space {name} must put out {_WORDS[wanted]} for each image to be trained here, got {_WORDS[puts_out]}. "
        f"{hint}"
    )
