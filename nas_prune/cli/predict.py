"""`nas-prune predict`."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_prune.cli.data_types import TASK
from nas_prune.cli.examples import examples
from nas_prune.cli.option_types import NETWORK, WITH_NETWORK
from nas_prune.cli.output import counted, echo, percent, print_json, print_table, showing_progress

if TYPE_CHECKING:
    from nas_prune.training.prediction import Predictions

_SHOWN = 3  # classes of an image
_MOST_ROWS = 30  # of a table for people
_OF_PART = {
    "": "",
    "test": "",
    "kept for testing": " that the training kept for testing",
    "all": ", with those trained on, if any were",
}


@click.command(
    epilog=examples(
        "nas-prune predict runs/resnet20-scratch-b-digits-001 photo.jpg holiday/",
        "nas-prune predict runs/resnet20-scratch-b-digits-001 --data my-images",
    )
)
@click.argument("run", metavar="RUN", type=WITH_NETWORK)
@click.argument("images", nargs=-1, metavar="[IMAGES]...", type=click.Path(path_type=Path))
@click.option(
    "--data",
    help="Images of which the right answers are known, as for training (a folder with a folder for each class, "
    "csv:FILE or hf:DIR): how good the network is.",
)
@click.option("--seed", type=int, help="Which of the run's networks; by default the best by validation.")
@click.option("--space", type=NETWORK, help="The network's name, needed if it is a network of your own.")
@click.option("--task", type=TASK, help="The network's task, needed with --data if it is a task of your own.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new directory for predictions.csv and, with --data, confusion.png and mistakes.png; for masks.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to print the result.",
)
def command(
    run: Path,
    images: tuple[Path, ...],
    data: str | None,
    seed: int | None,
    space: str | None,
    out: Path | None,
    task: str | None,  # noqa: ARG001  (that it is named is enough)
    style: str,
) -> None:
    """Say what a trained network says of images: their classes, or what else it was trained for.

    RUN is the directory of a training or a search, or a network.safetensors. IMAGES are files, or folders of some.
    """
    from nas_prune.cli.predict_task import show_task
    from nas_prune.runs.directory import check_out
    from nas_prune.training.prediction import predict
    from nas_prune.training.task_prediction import TaskPredictions

    check_out(out)
    with showing_progress() as progress:
        found = predict(run, images, data=data, seed=seed, space=space, progress=progress)
    if isinstance(found, TaskPredictions):
        show_task(found, out, style)
        return
    if out is not None:
        _write(found, out)
    if style == "json":
        print_json(_content(found))
    elif style == "csv":
        click.echo(_csv(found), nl=False)
    elif found.labels_N is None:
        _print_images(found)
    else:
        _print_accuracies(found)
    if out is not None and style == "table":
        echo(f"Written: {out}")


def _write(found: "Predictions", out: Path) -> None:
    from nas_prune.runs.files import saying_why, write_whole

    with saying_why(out):
        out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "predictions.csv", _csv(found))
    if found.labels_N is not None:
        from nas_prune.training.prediction_figure import draw_confusion, draw_mistakes

        draw_confusion(found, out / "confusion.png")
        draw_mistakes(found, out / "mistakes.png")


def _content(found: "Predictions") -> dict[str, object]:
    images = [
        {
            "file": str(file),
            "class": found.classes[int(found.found_N[place])],
            "probabilities": dict(zip(found.classes, map(float, found.shares_NC[place]), strict=True)),
            **({} if found.labels_N is None else {"label": found.classes[int(found.labels_N[place])]}),
        }
        for place, file in enumerate(found.files)
    ]
    if found.labels_N is None:
        return {"network": str(found.network), "images": images}
    return {
        "network": str(found.network),
        "part": found.part,
        "accuracy": found.accuracy,
        "balanced_accuracy": found.balanced_accuracy,
        "classes": {name: {"images": count, "found": share} for name, (count, share) in found.recall.items()},
        "confusion": found.confusion_CC.tolist(),
        "images": images,
    }


def _csv(found: "Predictions") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    has_labels = found.labels_N is not None
    writer.writerow(["file", *(["label"] if has_labels else []), "class", "probability", *found.classes])
    for place, file in enumerate(found.files):
        ((name, share),) = found.best(place, 1)
        label = [] if found.labels_N is None else [found.classes[int(found.labels_N[place])]]
        shares = [f"{value:.6f}" for value in found.shares_NC[place]]
        writer.writerow([file, *label, name, f"{share:.6f}", *shares])
    return text.getvalue()


def _print_images(found: "Predictions") -> None:
    rows = []
    for place, file in enumerate(found.files[:_MOST_ROWS]):
        best = found.best(place, _SHOWN)
        rows.append([str(file), *(f"{name} {percent(share)}" for name, share in best)])
    heads = ["image", "class", "or", "or"][: 1 + min(_SHOWN, len(found.classes))]
    print_table(heads, rows, left=len(heads))
    if len(found.files) > _MOST_ROWS:
        echo(f"… and {len(found.files) - _MOST_ROWS} more; --format csv has all.")
    echo(f"\nNetwork: {found.network}")


def _print_accuracies(found: "Predictions") -> None:
    rows = []
    for name, (count, share) in found.recall.items():
        row = found.confusion_CC[found.classes.index(name)].copy()
        row[found.classes.index(name)] = 0
        most = int(row.argmax())
        often = f"{found.classes[most]} ({row[most]})" if row[most] else ""
        rows.append([name, str(count), percent(share), often])
    print_table(["class", "images", "found", "most often taken for"], rows)
    echo(
        f"\nAccuracy {percent(found.accuracy, 2)}, balanced {percent(found.balanced_accuracy, 2)}, of "
        f"{counted(len(found.files), 'image')}{_OF_PART[found.part or '']}.\nNetwork: {found.network}"
    )
