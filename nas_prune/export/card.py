"""The page that goes with an exported network, as the Hugging Face Hub shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml
from torch import nn

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.export.config import ExportConfig, Form
from nas_prune.export.facts import RESIZE, gives, takes
from nas_prune.export.result import Exported
from nas_prune.runs.directory import RESULT, seed_folders
from nas_prune.runs.text import printable
from nas_prune.space.widths import Widths
from nas_prune.training.result import mean_and_deviation, read_trained

_LIBRARIES: dict[Form, str] = {
    "onnx": "onnx",
    "int8-onnx": "onnx",
    "pt2": "pytorch",
    "safetensors": "pytorch",
}
_BAR = ("|", "\\|")  # which would end a cell of a table
_TASKS = {"class": "image-classification", "mask": "image-segmentation", "classes": "image-classification"}
_NETWORKS = {
    "class": "An image classifier",
    "classes": "A network that says several classes of an image",
    "numbers": "A network that says numbers of an image",
    "mask": "A network that says the class of each pixel",
}
_FEW_ZEROS = 0.01  # that a network may have by itself
_LONG = 12  # rows of widths beyond which they are folded away


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Test accuracies of the networks of a run, or what else they are measured by; and which of them is exported."""

    each: tuple[float, ...]
    own: float | None


def accuracies_of(network: Path) -> Accuracies:
    """Of a training's networks, by the file of one; none where no training left it."""
    own = read_trained(network.parent / RESULT)
    if own is None:
        return Accuracies((), None)
    found = [read_trained(folder / RESULT) for folder in seed_folders(network.parent.parent)]
    each = tuple(one.metric.score(one.test_score) for one in found if one is not None)
    value = own.metric.score(own.test_score)
    return Accuracies(each or (value,), value)


def card(
    result: Exported, widths: Widths, known: Preprocessing, accuracies: Accuracies, zeros: float = 0.0
) -> str:
    """The page: what the network is, how it is used, how right it is, and what is not known of it.

    Args:
        result: what was exported.
        widths: of the network.
        known: of its images.
        accuracies: of its training.
        zeros: the share of weights of convolutions and linear layers that are exactly zero.
    """
    head = yaml.safe_dump(
        _head(result, widths, known, accuracies),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
    )
    parts = [
        f"---\n{head}---\n",
        _what(result, widths, known),
        _use(result.config, known),
        _images(result.config, known),
        _accuracy(result, accuracies),
        _cost(result, widths, zeros),
        _widths(widths),
        _limits(result, known),
    ]
    return "\n".join(parts)


def _head(
    result: Exported, widths: Widths, known: Preprocessing, accuracies: Accuracies
) -> dict[str, object]:
    value, measure, what = result.agreement.value, result.agreement.metric, _TASKS.get(known.kind, "other")
    if accuracies.own is not None and result.config.to != "int8-onnx":
        value = accuracies.own
    metric = {"type": measure.name, "value": round(value, 6), "name": f"test {measure.name}"}
    found = {
        "task": {"type": what},
        "dataset": {"name": result.agreement.data, "type": "image-folder", "split": "test"},
        "metrics": [metric],
    }
    return {
        "library_name": _LIBRARIES[result.config.to],
        **({"pipeline_tag": what} if known.kind in _TASKS else {}),
        "tags": [
            *([what] if known.kind in _TASKS else []),
            "structured-pruning",
            "nas-prune",
            _LIBRARIES[result.config.to],
        ],
        "metrics": [measure.name],
        "model-index": [{"name": _title(widths), "results": [found]}],
    }


def _title(widths: Widths) -> str:
    at = f" at {widths.budget}" if widths.budget else ""
    return printable(f"{widths.space.name}{at}")


def _what(result: Exported, widths: Widths, known: Preprocessing) -> str:
    how = "" if widths.method is None else f" found by {_code(printable(widths.method.words))},"
    return (
        f"# {_code(_title(widths))}\n\n{_NETWORKS[known.kind]},{how} trained on {_code(result.agreement.data)} and "
        f"exported as `{result.config.file}` by nas-prune {version('nas-prune')}.\n"
    )


def _use(config: ExportConfig, known: Preprocessing) -> str:
    shape = f"N×{known.channels}×{known.size}×{known.size}"
    pixels = "images" if config.with_preprocessing else "normalised"
    normalises = [
        'mean, std = (np.array(json.loads(known[name]), np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))',
        "normalised = (images.astype(np.float32) / 255 - mean) / std",
    ]
    asks = f'scores, classes = scores[0], json.loads(known["classes"])\n{_said(known, "classes")}'
    blank = (
        f"images = np.zeros((1, {known.channels}, {known.size}, {known.size}), np.uint8)  # yours, {shape}"
    )
    if config.to == "safetensors":
        given = "images" if config.with_preprocessing else "normalised(images)"
        names = "CLASSES, load, read" if config.with_preprocessing else "CLASSES, load, normalised, read"
        lines = [
            "import torch",
            f"from model import {names}  # in this directory; needs torch and safetensors",
            "",
            'network = load("model.safetensors")',
            f'images = read("photo.jpg").unsqueeze(0)  # uint8, {shape}',
            "with torch.no_grad():",
            f"    scores = network({given})[0]",
            _said(known, "CLASSES"),
        ]
    elif config.to == "pt2":
        lines = [
            "import json", "", "import numpy as np", "import torch", "",
            'extra = {"nas-prune.json": ""}',
            'network = torch.export.load("model.pt2", extra_files=extra).module()  # runs pickles: see Limits',
            'known = json.loads(extra["nas-prune.json"])',
            blank,
            *([] if config.with_preprocessing else normalises),
            f"scores = network(torch.from_numpy({pixels}))",
            *asks.splitlines(),
        ]  # fmt: skip
    else:
        lines = [
            "import json", "", "import numpy as np", "import onnxruntime", "",
            f'session = onnxruntime.InferenceSession("{config.file}")',
            "known = session.get_modelmeta().custom_metadata_map",
            blank,
            *([] if config.with_preprocessing else normalises),
            f'(scores,) = session.run(["scores"], {{"images": {pixels}}})',
            *asks.splitlines(),
        ]  # fmt: skip
    return "## Use\n\n```python\n{}\n```\n".format("\n".join(lines))


def _said(known: Preprocessing, names: str) -> str:
    """The line that shows what an image's scores say."""
    match known.kind:
        case "classes":
            return f"print([name for name, score in zip({names}, scores) if score > 0])"
        case "mask":
            return f"mask = scores.argmax(0)  # of each pixel the class, by its place in {names}"
        case "numbers" if known.scale is not None:
            triples = [*zip(known.scale.std, known.scale.mean, strict=True)]
            units = ", ".join(f"({std:.9g}, {mean:.9g})" for std, mean in triples)
            return (
                f"units = [{units}]  # deviation and mean of each\n"
                f"said = zip({names}, scores, units)\n"
                "print({name: float(score) * std + mean for name, score, (std, mean) in said})"
            )
    return f"print({names}[int(scores.argmax())])"


def _images(config: ExportConfig, known: Preprocessing) -> str:
    classes = ", ".join(map(_code, known.classes))
    what = "Numbers" if known.kind == "numbers" else "Classes"
    return (
        f"## Images\n\nThe network takes `{takes(config, known)}` and gives `{gives(known)}`. Of each image: {RESIZE}, "
        f"to {known.size} pixels a side, {'grey' if known.channels == 1 else 'colour'}.\n\n"
        f"- mean: {_numbers(known.mean)}\n- std: {_numbers(known.std)}\n\n{what}, in order: {classes}.\n"
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _accuracy(result: Exported, accuracies: Accuracies) -> str:
    said, own, metric = result.agreement, list[str](), result.agreement.metric
    if accuracies.each:
        mean, deviation = mean_and_deviation(accuracies.each)
        spread = "" if deviation is None else f" ± {metric.bare(deviation)}"
        own.append(
            f"Test {metric.name} {metric.bare(mean)}{spread}{' %' * metric.is_share} (n = {len(accuracies.each)}"
            f"{' seeds, mean ± standard deviation' if deviation is not None else ', one seed'}), of the exported one "
            f"{metric.shown(accuracies.own or 0)}."
        )
    own.append(f"On the {said.images:,} test images that the file was checked on: {metric.shown(said.value)}")
    own[-1] += (
        f", {metric.shown(said.value_before)} before quantisation"
        + (f"; {said.differing} are said to be of another class." if said.has_classes else ".")
        if result.config.to == "int8-onnx"
        else f", the same class as the trained network's for each{_of_ties(said.ties)}."
        if said.has_classes
        else ", as the trained network."
    )
    return f"## {metric.title}\n\n{' '.join(own)}\n"


def _of_ties(ties: int) -> str:
    return f" but {ties}, whose scores are level" if ties else ""


def zeros_in(network: nn.Module) -> float:
    """The share of a network's weights that are exactly zero; norms and biases do not count."""
    weights = [one.detach() for one in network.parameters() if one.dim() > 1]
    total = sum(one.numel() for one in weights)
    return sum(int((one == 0).sum()) for one in weights) / max(1, total)


def _cost(result: Exported, widths: Widths, zeros: float) -> str:
    rows = "\n".join(
        f"| {one.what} | {one.file_bytes / 1e6:.2f} MB | {one.median_ms:.3f} ms | {one.p95_ms:.3f} ms |"
        for one in result.speeds
    )
    base, cost = widths.base_cost, widths.cost
    masked = ""
    if zeros > _FEW_ZEROS:
        masked = (
            f"{100 * zeros:.1f} % of the weights are zero: the network was masked by a pattern of single weights. "
            "Dense kernels multiply zeros, too, so that it is no faster for them.\n\n"
        )
    return (
        f"## Cost\n\n{cost.macs:,} multiply-accumulates for each image ({_share(cost.macs, base.macs)} of the whole "
        f"network's), {cost.params:,} parameters ({_share(cost.params, base.params)}).\n\n{masked}"
        f"| runs in | file | median | 95 % |\n|---|---|---|---|\n{rows}\n\n"
        f"Single images, {result.speeds[-1].runs} runs, CPU threads: {result.config.threads}, "
        f"{printable(result.machine)}.\n"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f} %"


def _widths(widths: Widths) -> str:
    rows = "\n".join(
        f"| {_code(group.name).replace(*_BAR)} | {group.role} | {group.base} | "
        f"{'removed' if widths.is_gone(group) else group.width} |"
        for group in widths.groups
    )
    table = f"| layer | role | whole | here |\n|---|---|---|---|\n{rows}\n"
    if len(widths.groups) > _LONG:
        table = f"<details>\n<summary>{len(widths.groups)} channel groups</summary>\n\n{table}\n</details>\n"
    return f"## Widths\n\n{table}\n`widths.json` has them for programs: `nas_prune.rebuild` makes such a network.\n"


_KNOWN_ALONE = {
    "class": "It knows its classes alone: whatever an image shows, it is said to be of one of them.",
    "classes": "It knows its classes alone: of whatever else an image shows it says nothing.",
    "numbers": "It says its numbers of any image, whatever that shows; of one unlike all before they mean little.",
    "mask": "It knows its classes alone: whatever a pixel shows, it is said to be of one of them.",
}


def _limits(result: Exported, known: Preprocessing) -> str:
    said = [
        f"- {_KNOWN_ALONE[known.kind]}",
        "- It was measured on images like those it was trained on; on others it may be much worse.",
        "- A licence is for whoever publishes it to choose; that of the images may matter, too.",
    ]
    if result.config.to == "pt2":
        said.append(
            "- `torch.export.load` runs pickles: load `model.pt2` from people you trust. `onnx` and `safetensors` have "
            "none."
        )
    if result.config.to == "safetensors":
        said.append(
            "- `model.py` is code: look at it before you run it. It is in evaluation mode, without dropout."
        )
    return "## Limits\n\n{}\n".format("\n".join(said))


def _code(text: str) -> str:
    """As code in Markdown, whatever the text holds."""
    shown = printable(text)
    ticks = max((len(run) for run in "".join(c if c == "`" else " " for c in shown).split()), default=0)
    fence = "`" * (ticks + 1)
    space = " " if ticks or not shown.strip() else ""
    return f"{fence}{space}{shown}{space}{fence}"
