"""`model.py`: a trained network in plain torch, for those who use it without nas-prune.

It makes the whole network as anybody would, tells narrower layers their sizes, and puts the weights of
`network.safetensors` in. It is tried before it is written; where it does not give the same scores, none is.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from pprint import pformat
from typing import Any

import torch
from torch import Tensor, nn

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.runs.files import write_whole
from nas_prune.runs.text import first_line
from nas_prune.space.load import named_of
from nas_prune.space.networks import Construction
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.training.evaluation import class_scores

MODEL = "model.py"
_PLAIN = (bool, int, float, str, type(None))
_TRIED = 2  # images


def write_model(
    run: Path, space: SearchSpace, widths: Widths, preprocessing: Preprocessing, typed: str | None = None
) -> str | None:
    """Write `model.py`, if such a file can be.

    Args:
        run: the directory of the networks.
        space: their space.
        widths: their widths.
        preprocessing: of their images.
        typed: the network's name again, if it is one of the user's own.

    Returns:
        Why it was not written; None where it was.
    """
    try:
        text = _text_of(space, widths, preprocessing, typed)
    except _Unwritable as why:
        return str(why)
    write_whole(run / MODEL, text)
    return None


class _Unwritable(Exception):  # noqa: N818  (a reason, which is said)
    """Why a network cannot be made without nas-prune."""


def _text_of(space: SearchSpace, widths: Widths, preprocessing: Preprocessing, typed: str | None) -> str:
    named = named_of(space.reference, typed)
    if named is None or named.construction is None:
        raise _Unwritable("the network has no name that it could be made by")
    if any(line.startswith("from model import") for line in named.construction.imports):
        raise _Unwritable("the module of your own network is called model, too")
    narrow = space.build(widths, seed=0).eval()
    whole, problem = named.make().eval(), ""
    sizes = dict(_sizes(whole, narrow))
    for call in named.construction.calls:
        text = _written(named.construction, call, sizes, widths, preprocessing)
        why = _why_other(text, narrow, preprocessing)
        if why is None:
            return text
        problem = why
    raise _Unwritable(problem)


def _sizes(whole: nn.Module, narrow: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """What modules of the narrow network hold that those of the whole one hold otherwise, by path."""
    there = dict(narrow.named_modules())
    if [*dict(whole.named_modules())] != [*there]:
        raise _Unwritable("the network has parts that the whole one has not, or is without some")
    for path, module in whole.named_modules():
        other = there[path]
        if type(module) is not type(other):
            raise _Unwritable(f"{path} is another kind of layer")
        found = {
            name: value
            for name, value in vars(other).items()
            if _is_plain(value) and (name not in vars(module) or vars(module)[name] != value)
        }
        if found:
            yield path, found


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, (tuple, list)) and all(map(_is_plain, value)))


def _source(module: str) -> str:
    """What a module of ours defines: it needs nothing of nas-prune but other such modules."""
    text = inspect.getsource(import_module(module))
    text = re.sub(r'\A""".*?"""\n', "", text, flags=re.DOTALL)
    return re.sub(r"^from nas_prune\..*\n", "", text, flags=re.MULTILINE).strip()


def _written(
    construction: Construction, call: str, sizes: dict[str, Any], widths: Widths, preprocessing: Preprocessing
) -> str:
    sources = "\n\n\n".join(map(_source, construction.modules))
    imports = "\n".join(construction.imports)
    what = f"{widths.space.name} at {widths.budget or 'the widths given'}: {widths.cost.params:,} parameters"
    made = _FORM.format(
        what=plain_text(what),
        version=version("nas-prune"),
        needs="".join(f", {line.split()[1]}" for line in construction.imports),
        imports=f"{imports}\n" if imports else "",
        classes=pformat(preprocessing.classes, width=110, compact=True),
        channels=preprocessing.channels,
        size=preprocessing.size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        gives=gives(preprocessing),
        scale=scale_lines(preprocessing),
        sizes=pformat(sizes, width=110, compact=True, sort_dicts=False),
        sources=f"{sources}\n\n\n" if sources else "",
        call=call,
    )
    return f"{made}{NORMALISED}\n\n{READ}"


def gives(preprocessing: Preprocessing) -> str:
    """What the network of a file puts out, in words of that file."""
    match preprocessing.kind:
        case "classes":
            return "scores of CLASSES: those above 0 are there"
        case "numbers":
            return "numbers of CLASSES, around UNIT_MEAN in units of UNIT_STD"
        case "mask":
            return "scores of CLASSES for each pixel"
    return "scores of CLASSES"


def scale_lines(preprocessing: Preprocessing) -> str:
    """How numbers are had in their own units; nothing where a network says none."""
    scale = preprocessing.scale
    if scale is None:
        return ""
    values = f"torch.tensor({[*scale.mean]}), torch.tensor({[*scale.std]})"
    said = "# What CLASSES names, in its own units: network(...) * UNIT_STD + UNIT_MEAN"
    return f"{said}\nUNIT_MEAN, UNIT_STD = {values}\n"


def plain_text(text: str) -> str:
    """For a docstring, which it must not end."""
    return re.sub(r'["\\]', "'", " ".join(text.split()))


def _why_other(text: str, network: nn.Module, preprocessing: Preprocessing) -> str | None:
    """Why what a file makes is another network; None where its scores are the same, to the bit."""
    namespace: dict[str, Any] = {"__name__": "model"}
    images = torch.randint(0, 256, (_TRIED, preprocessing.channels, preprocessing.size, preprocessing.size))
    images = images.to(torch.uint8)
    try:
        exec(compile(text, MODEL, "exec"), namespace)  # noqa: S102  (the text is ours, and what it imports is named)
        made: nn.Module = namespace["with_weights"](dict(_copies(network)))
        with torch.no_grad():
            theirs: Tensor = class_scores(made, namespace["normalised"](images))
            ours = class_scores(network, preprocessing.batch(images))
    except Exception as error:  # noqa: BLE001  (anybody's network)
        return f"{type(error).__name__}: {first_line(error)}"
    return None if torch.equal(theirs, ours) else "it gives other scores there"


def _copies(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return ((name, tensor.detach().clone()) for name, tensor in network.state_dict().items())


# What a file that needs no nas-prune says of images: these constants stand above it.
NORMALISED = '''\
def normalised(images):
    """Images as the network takes them: uint8, N×C×H×W, to float32."""
    mean, std = (torch.tensor([255 * value for value in values]).view(-1, 1, 1) for values in (MEAN, STD))
    return (images.float() - mean) / std
'''

READ = '''\
def read(path):
    """An image file as uint8, C×H×W: its centred square, as nas-prune reads it (needs Pillow)."""
    import numpy
    from PIL import Image, ImageOps

    mode = "L" if CHANNELS == 1 else "RGB"
    with Image.open(path) as image:
        image.draft(mode, (2 * SIZE, 2 * SIZE))
        image.load()  # which turns a TIFF upright by itself
        orientation = image.getexif().get(0x0112, 1)
        is_grey = image.mode[0] in "1LI"
        if image.mode.startswith("I"):  # 16 bits
            deep, nothing = numpy.asarray(image), image.info.get("transparency")
            pixels = (deep >> 8).astype(numpy.uint8)
            pixels[deep == (-1 if nothing is None else nothing)] = 255
            image = Image.fromarray(pixels)
        elif image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        elif image.mode == "P":
            image = image.convert("RGB")
        image = image.convert("L" if is_grey else mode)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        square = square.convert(mode)
        square.getexif()[0x0112] = orientation
        square = ImageOps.exif_transpose(square)
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8)
    return pixels.view(SIZE, SIZE, CHANNELS).permute(2, 0, 1).contiguous()
'''

_FORM = '''\
"""{what}; written by nas-prune {version}, needs torch and safetensors{needs}.

    network = load("seed-0/network.safetensors")
    scores = network(normalised(images))  # uint8 images, N×{channels}×{size}×{size}, to {gives}
"""

import torch
from safetensors.torch import load_file
from torch import nn
{imports}
CLASSES = {classes}
CHANNELS, SIZE = {channels}, {size}
MEAN, STD = {mean}, {std}
{scale}
# What narrower layers hold of their sizes beside their weights.
SIZES = {sizes}


{sources}def load(path):
    """The trained network of a file, ready to be used."""
    return with_weights(load_file(path))


def with_weights(weights):
    """The network with these weights, by name."""
    network = {call}
    for place, sizes in SIZES.items():
        for name, value in sizes.items():
            setattr(network.get_submodule(place), name, value)
    for name, tensor in weights.items():
        place, _, name = name.rpartition(".")
        module = network.get_submodule(place)
        if isinstance(getattr(module, name), nn.Parameter):
            tensor = nn.Parameter(tensor)
        setattr(module, name, tensor)
    return network.eval()


'''
