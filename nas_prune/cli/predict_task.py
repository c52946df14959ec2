"""How `nas-prune predict` shows what a network says of images that are not of one class each."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_prune.cli.output import counted, echo, print_json, print_table

if TYPE_CHECKING:
    from nas_prune.training.task_prediction import TaskPredictions

_MOST_ROWS = 30
_OF_PART = {
    "all": ", with those trained on, if any were",
    "kept for testing": " that the training kept for testing",
}


def show_task(found: "TaskPredictions", out: Path | None, style: str) -> None:
    """Print what a network says of images; write it, too, where a directory is given."""
    if out is not None:
        _write(found, out)
    if style == "json":
        print_json(_content(found))
    elif style == "csv":
        click.echo(_csv(found), nl=False)
    else:
        _print(found)
        if out is not None:
            echo(f"Written: {out}")
        elif found.kind == "mask":
            echo("--out DIR writes the masks.")


def _print(found: "TaskPredictions") -> None:
    said = [found.said_of(place) for place in range(min(_MOST_ROWS, len(found.files)))]
    widest = max(map(len, said), default=0)
    rows = [
        [str(file), *own, *[""] * (widest - len(own))]
        for file, own in zip(found.files[:_MOST_ROWS], said, strict=True)
    ]
    print_table(["image", *["is"] * min(1, widest), *[""] * (widest - 1)], rows, left=1 + widest)
    if len(found.files) > _MOST_ROWS:
        echo(f"… and {len(found.files) - _MOST_ROWS} more; --format csv has all.")
    if found.metric is not None and found.value is not None:
        of = f"{counted(len(found.files), 'image')}{_OF_PART.get(found.part or '', '')}"
        echo(f"\n{found.metric.title} {found.metric.shown(found.value)}, of {of}.")
    echo(f"\nNetwork: {found.network}")


def _write(found: "TaskPredictions", out: Path) -> None:
    from nas_prune.runs.files import saying_why, write_whole

    with saying_why(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "predictions.csv", _csv(found))
    if found.kind == "mask":
        from PIL import Image

        for name, mask in zip(_mask_names(found), found.values, strict=True):
            path = out / name
            with saying_why(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)


def _mask_names(found: "TaskPredictions") -> list[str]:
    """A file for each mask: the name of its image, with a number where two have the same."""
    names, seen = list[str](), dict[str, int]()
    for file in found.files:
        stem = Path(str(file)).stem
        seen[stem] = seen.get(stem, 0) + 1
        names.append(f"masks/{stem}{f'-{seen[stem]}' if seen[stem] > 1 else ''}.png")
    return names


def _numbers(found: "TaskPredictions", place: int) -> list[float]:
    """What is said of an image, a number for each name: of a mask the share of each class."""
    import numpy as np

    own = found.values[place]
    if found.kind == "mask":
        own = np.bincount(own.reshape(-1), minlength=len(found.names)) / own.size
    return [float(value) for value in own]


def _content(found: "TaskPredictions") -> dict[str, Any]:
    masks = _mask_names(found) if found.kind == "mask" else []
    images = [
        {
            "file": str(file),
            **({"mask": masks[place]} if masks else {}),
            "says": dict(zip(found.names, _numbers(found, place), strict=True)),
        }
        for place, file in enumerate(found.files)
    ]
    known = {} if found.metric is None else {"part": found.part, found.metric.slug: found.value}
    return {"network": str(found.network), "task": found.task, **known, "images": images}


def _csv(found: "TaskPredictions") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *found.names])
    for place, file in enumerate(found.files):
        writer.writerow([file, *(f"{value:.6g}" for value in _numbers(found, place))])
    return text.getvalue()
