"""Which of a person's own images a training has kept for testing: a table in its directory, for whoever tests again."""

import csv
import io
from pathlib import Path

from nas_prune.data import ImageData
from nas_prune.errors import DamagedError
from nas_prune.runs.directory import TEST_IMAGES
from nas_prune.runs.files import write_whole
from nas_prune.runs.reading import read_bytes


def write_held_out(run: Path, data: ImageData) -> None:
    """Write the names of the images that were kept for testing, relative to their folder, and their classes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label"])
    labels = _labels(data)
    writer.writerows(zip(data.held_out, labels, strict=True))
    write_whole(run / TEST_IMAGES, text.getvalue().encode("utf-8", "surrogateescape"))


def _labels(data: ImageData) -> list[str]:
    """What is to be learned of each test image, as a table has it; nothing of masks, which are files."""
    labels, names = data.test.labels, data.class_names
    match data.task.kind:
        case "class":
            return [names[label] for label in labels.tolist()]
        case "classes":
            return [
                "|".join(name for name, is_so in zip(names, row, strict=True) if is_so)
                for row in labels.tolist()
            ]
        case "numbers" if data.scale is not None:
            return [" ".join(f"{value:.6g}" for value in row) for row in data.scale.unscaled(labels).tolist()]
    return [""] * len(labels)


def held_out_by(network: Path) -> frozenset[str]:
    """Names of the images that the training of a network kept for testing; none where a part was for that.

    Args:
        network: its file.

    Raises:
        DamagedError: the table is not one.
    """
    place = next(
        (one for one in (network.parent, network.parent.parent) if (one / TEST_IMAGES).is_file()), None
    )
    if place is None:
        return frozenset()
    try:
        text = read_bytes(place / TEST_IMAGES).decode("utf-8", "surrogateescape")
        rows = list(csv.reader(io.StringIO(text)))
        return frozenset(name for name, _ in rows[1:])
    except (OSError, ValueError, csv.Error) as error:
        raise DamagedError(
            f"{place / TEST_IMAGES} must be a table of path and label, got: {error}."
        ) from None
