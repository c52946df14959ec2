"""Networks by name: the shipped families, torchvision's, timm's, and those of a user's own modules.

`package.module:factory` imports code, for a `Typed` name only: one from the command line or a Python call. A name that
stands in a file is compared with what the user typed (`check_trusted`), never imported by itself.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.graph.trace import first_line
from nas_prune.runs.files import shipped
from nas_prune.runs.reading import load_yaml, read_text
from nas_prune.runs.settings import first_problem
from nas_prune.runs.typed import Typed
from nas_prune.space.models import layers
from nas_prune.space.models.densenet import densenet
from nas_prune.space.models.preresnet import preresnet
from nas_prune.space.models.resnet import resnet
from nas_prune.space.models.vgg import vgg

Shape: TypeAlias = tuple[int, int, int]

FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "preresnet": preresnet,
    "vgg": vgg,
    "densenet": densenet,
}
_CHANNELS = ("in_channels", "in_chans")  # what factories call the image's channels and its size
_SIZES = ("image_size", "img_size")


class SpaceFile(BaseModel):
    """One file of `search_spaces/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str
    family: str
    depth: int
    aliases: tuple[str, ...] = ()
    floor: int = Field(default=1, ge=1)
    divisor: int = Field(default=1, ge=1)
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Construction:
    """How a network is made in Python, without nas-prune.

    Attributes:
        calls: expressions; the first one that works makes it.
        imports: statements that they need.
        modules: of nas-prune, whose source they need.
    """

    calls: tuple[str, ...]
    imports: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """A network that a name stands for.

    Attributes:
        name: its full name.
        input_shape: channels, height and width of one image.
        num_classes: outputs of its classifier; None where the network itself decides.
        make: makes it, with random weights.
        file: the shipped space's file, if it is one.
        construction: how else it is made.
    """

    name: str
    input_shape: Shape
    num_classes: int | None
    make: Callable[[], nn.Module]
    file: SpaceFile | None = None
    construction: Construction | None = None


def network_named(
    name: str,
    input_shape: Shape | None = None,
    num_classes: int | None = None,
    *,
    takes_images: bool = True,
) -> NamedNetwork:
    """The network of a name; code of the user's own is imported here.

    Args:
        name: as `--space` takes it.
        input_shape: of one image; the network's own if None.
        num_classes: outputs of its classifier; the network's own if None.
        takes_images: whether a factory of the user's is to hear of the shape.

    Raises:
        BadInputError: nothing has this name, or it cannot be made so.
    """
    name = space_name(name)
    kind, _, rest = name.partition(":")
    if kind == "torchvision":
        return _of_torchvision(name, rest, input_shape, num_classes)
    if kind == "timm":
        return _of_timm(name, rest, input_shape, num_classes)
    if is_own(name):
        return _of_user(name, input_shape or (3, 32, 32), num_classes, takes_images=takes_images)
    file, shape, classes = known_spaces()[name], input_shape or (3, 32, 32), num_classes or 10
    settings = {"in_channels": shape[0], "num_classes": classes, "image_size": min(shape[1:])}
    family = FAMILIES[file.family]
    known = Construction(
        (f"{family.__name__}({file.depth}, {_typed(settings)})",),
        modules=(layers.__name__, family.__module__),
    )
    return NamedNetwork(name, shape, classes, partial(family, file.depth, **settings), file, known)


def _typed(settings: Mapping[str, Any]) -> str:
    """Arguments by name, as they are typed."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def space_name(name: str) -> str:
    """The full name of a space that may be given by an alias (`resnet` is resnet20).

    Raises:
        BadInputError: no such space; the message says what there is.
    """
    for full, file in known_spaces().items():
        if name == full or name in file.aliases:
            return full
    kind, colon, rest = name.partition(":")
    if colon and rest and kind and (kind in ("torchvision", "timm") or is_own(name)):
        return name
    listed = ", ".join(known_spaces())
    raise BadInputError(
        f"--space must be one of {listed}, torchvision:NAME, timm:NAME or package.module:factory, got {name!r}. "
        "`nas-prune spaces` describes them."
    )


def is_own(name: str) -> bool:
    """Whether a name stands for code of the user's own, which must be imported to be known."""
    module, colon, factory = name.partition(":")
    if not colon or module in ("torchvision", "timm"):
        return False
    return all(part.isidentifier() for part in (*module.split("."), *factory.split(".")))


def check_trusted(name: str, typed: str | None, where: str) -> str:
    """Refuse to import code that only a file names.

    Args:
        name: the network that the file is of.
        typed: what the user gave as `--space`; None if nothing.
        where: the file.

    Returns:
        The name; a `Typed` one if the network is code of the user's own.

    Raises:
        BadInputError: the network is code and the user has not named it, or has named another one.
    """
    if typed is not None and space_name(typed) != name:
        raise BadInputError(f"--space must be {name}, which {where} is of, got {typed}.")
    if not is_own(name) or isinstance(name, Typed):
        return name
    if not isinstance(typed, Typed):
        raise BadInputError(
            f"--space {name} must be given again, got none: {where} is of a network of your own, "
            "and no code that only a file names is imported."
        )
    return typed


def image_channels(name: str, factory: Callable[[], nn.Module] | None = None) -> int | None:
    """The image channels that a named network insists on; None if it takes any."""
    kind = name.partition(":")[0]
    if kind == "torchvision":
        return 3
    if not is_own(name):
        return None
    factory = _own_factory(name)
    if _accepted(factory, _CHANNELS):
        return None
    first = next((module for module in _made(name, factory).modules() if isinstance(module, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3) else None


def meant_size(name: str) -> int | None:
    """Pixels a side of the images that torchvision's or timm's network is made for; None for others.

    Raises:
        BadInputError: nothing has this name.
    """
    name = space_name(name)
    return network_named(name).input_shape[1] if name.partition(":")[0] in ("torchvision", "timm") else None


def known_spaces() -> dict[str, SpaceFile]:
    """Every shipped search space by name."""
    return {
        path.stem: _read(path.name) for path in sorted(shipped("search_spaces").glob("*.yaml"), key=_natural)
    }


def _natural(path: Path) -> tuple[str, int]:
    name = path.stem.rstrip("0123456789")
    return name, int(path.stem[len(name) :] or 0)


def _read(filename: str) -> SpaceFile:
    content = load_yaml(read_text(shipped("search_spaces") / filename))
    try:
        return SpaceFile.model_validate(content)
    except ValidationError as error:
        raise BadInputError(f"search space {filename} cannot be used: {first_problem(error)}.") from None


def torchvision_names() -> tuple[list[str], list[str]]:
    """Torchvision's classification and segmentation networks."""
    from torchvision import models

    return models.list_models(module=models), models.list_models(module=models.segmentation)


def _of_torchvision(name: str, short: str, shape: Shape | None, classes: int | None) -> NamedNetwork:
    from torchvision import models

    classifiers, segmenters = torchvision_names()
    if short not in classifiers and short not in segmenters:
        raise BadInputError(
            f"--space {name} must name a classification or segmentation network of torchvision, got {short!r}."
        )
    own_size = 299 if short == "inception_v3" else 224
    shape = shape or (3, own_size, own_size)
    if shape[0] != 3:
        raise BadInputError(f"--space {name} must have images of 3 channels, got {shape[0]}.")
    classes = classes or (21 if short in segmenters else 1000)
    settings: dict[str, Any] = {"weights": None, "num_classes": classes}
    if short in segmenters:
        settings["weights_backbone"] = None
    elif short in ("googlenet", "inception_v3"):
        settings["init_weights"] = True
    elif short.startswith("vit_"):
        settings["image_size"] = shape[1]
    elif short.startswith("maxvit"):
        settings["input_size"] = shape[1:]
    make = partial(_make_foreign, name, partial(models.get_model, short, **settings))
    known = Construction(
        (f"models.get_model({short!r}, {_typed(settings)})",), imports=("from torchvision import models",)
    )
    return NamedNetwork(name, shape, classes, make, construction=known)


def _of_timm(name: str, short: str, shape: Shape | None, classes: int | None) -> NamedNetwork:
    try:
        import timm
    except ImportError:
        raise BadInputError(
            f"--space {name} must have timm installed, got none. pip install 'nas-prune[timm]'"
        ) from None
    if not timm.is_model(short):
        similar = timm.list_models(f"*{short.split('_', maxsplit=1)[0]}*")[:5]
        hint = f" Some there are: {', '.join(similar)}." if similar else ""
        raise BadInputError(
            f"--space {name} must name a network of timm {timm.__version__}, got {short!r}.{hint}"
        )
    try:
        config = timm.get_pretrained_cfg(short)
    except Exception as error:  # of a name with a tag that timm does not know
        raise BadInputError(f"--space {name} could not be made: {_said(error)}") from error
    channels, height, width = config.input_size if config is not None else (3, 224, 224)
    shape = shape or (channels, height, width)
    settings: dict[str, Any] = {"pretrained": False, "in_chans": shape[0]}
    if classes is not None:
        settings["num_classes"] = classes
    make = partial(timm.create_model, short, **settings)
    calls = [f"timm.create_model({short!r}, {_typed(settings)})"]
    if shape[1:] != (height, width):
        make = partial(_resized, make, shape[1:])
        calls.insert(0, f"timm.create_model({short!r}, {_typed({**settings, 'img_size': shape[1:]})})")
    known = Construction(tuple(calls), imports=("import timm",))
    return NamedNetwork(name, shape, classes, partial(_make_foreign, name, make), construction=known)


def _resized(make: Callable[..., nn.Module], size: tuple[int, int]) -> nn.Module:
    """A timm network for another image size, which some must be told and others refuse to hear."""
    try:
        return make(img_size=size)
    except TypeError:
        return make()


def _of_user(name: str, shape: Shape, classes: int | None, *, takes_images: bool) -> NamedNetwork:
    factory = _own_factory(name)
    of_images = ((_CHANNELS, shape[0]), (_SIZES, min(shape[1:]))) if takes_images else ()
    settings: dict[str, Any] = {
        argument: value
        for names, value in ((("num_classes",), classes), *of_images)
        for argument in _accepted(factory, names)[:1]
        if value is not None
    }
    module, _, attribute = name.partition(":")
    known = Construction(
        (f"{attribute}({_typed(settings)})",),
        imports=(f"from {module} import {attribute.partition('.')[0]}",),
    )
    return NamedNetwork(name, shape, classes, partial(_made, name, factory, settings), construction=known)


def _own_factory(name: str) -> Callable[..., Any]:
    """Import what the user has named; the current directory is looked at first, as by `python -m`."""
    if not isinstance(name, Typed):
        raise BadInputError(
            f"--space {name} must be given by you: no code that only a file names is imported."
        )
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise BadInputError(
            f"--space {name} must import, but importing {module_name} failed: {_said(error)}"
        ) from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise BadInputError(
            f"--space {name} must name a function or class in {module_name}, got no {attribute}."
        )
    factory: Callable[..., Any] = found
    return factory


def _accepted(factory: Callable[..., Any], names: tuple[str, ...]) -> list[str]:
    """Which of some arguments a factory takes by name."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return []
    return [
        name
        for name in names
        if name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY
    ]


def _made(name: str, factory: Callable[..., Any], settings: Mapping[str, Any] | None = None) -> nn.Module:
    network = _make_foreign(name, partial(factory, **(settings or {})))
    if not isinstance(network, nn.Module):
        raise BadInputError(f"--space {name} must make a torch.nn.Module, got {type(network).__name__}.")
    return network


def _make_foreign(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """Call somebody else's constructor; what it says against its arguments is the user's to mend."""
    try:
        return make()
    except Exception as error:
        raise BadInputError(f"--space {name} could not be made: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
