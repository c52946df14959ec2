"""Networks by name: the shipped families, torchvision's, timm's, and those of a user's own modules."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from torch import nn

from nas_prune.errors import BadInputError
from nas_prune.runs.own_code import imported
from nas_prune.runs.text import first_line
from nas_prune.space.models import layers
from nas_prune.space.models.densenet import densenet
from nas_prune.space.models.lenet import lenet
from nas_prune.space.models.preresnet import preresnet
from nas_prune.space.models.resnet import resnet
from nas_prune.space.models.vgg import vgg
from nas_prune.space.names import SpaceFile, is_own, known_spaces, space_name

Shape: TypeAlias = tuple[int, int, int]

FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "preresnet": preresnet,
    "vgg": vgg,
    "densenet": densenet,
    "lenet": lenet,
}
_CHANNELS = ("in_channels", "in_chans")  # what factories call the image's channels and its size
_SIZES = ("image_size", "img_size")


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


def image_channels(name: str) -> int | None:
    """The image channels that a named network insists on; None if it takes any."""
    kind = name.partition(":")[0]
    if kind == "torchvision":
        return 3
    if not is_own(name):
        return None
    factory = _own_factory(name)
    if _accepted(factory, _CHANNELS):
        return None
    settings = {  # it may need them, and they do not change what it insists on
        argument: value
        for names, value in ((("num_classes",), 10), (_SIZES, 32))
        for argument in _accepted(factory, names)[:1]
        if argument in _missing(factory, {})
    }
    made = _made(name, factory, settings).modules()
    first = next((module for module in made if isinstance(module, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3) else None


def meant_size(name: str) -> int | None:
    """Pixels a side of the images that torchvision's or timm's network is made for; None for others.

    Raises:
        BadInputError: nothing has this name.
    """
    name = space_name(name)
    return network_named(name).input_shape[1] if name.partition(":")[0] in ("torchvision", "timm") else None


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
    found = imported(name, "--space", what="a function or class")
    module_name, _, attribute = name.partition(":")
    if isinstance(found, nn.Module):
        raise BadInputError(
            f"--space {name} must name what makes the network, a function or class, got a network that is made "
            f"already, of class {type(found).__name__}. {_write_a_function(type(found).__name__)}"
        )
    if not callable(found):
        raise BadInputError(
            f"--space {name} must name a function or class in {module_name}, got {type(found).__name__} {attribute}."
        )
    factory: Callable[..., Any] = found
    return factory


def _write_a_function(makes: str, needed: Sequence[str] = ()) -> str:
    arguments = ", ".join(f"{one}=…" for one in needed)
    return f"Write a function that returns a new one, def make(): return {makes}({arguments}), and name that."


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
    missing = _missing(factory, settings or {})
    what = "a class" if isinstance(factory, type) else "a function"
    if missing:
        raise BadInputError(
            f"--space {name} must be made without arguments but num_classes, in_channels and image_size, got {what} "
            f"that needs {', '.join(missing)}. {_write_a_function(getattr(factory, '__name__', name), missing)}"
        )
    network = _make_foreign(name, partial(factory, **(settings or {})))
    if isinstance(network, nn.Module):
        return network
    got = type(network).__name__
    if network is None:
        got = f"{what} that returns nothing: its last line must return the network"
    elif isinstance(network, type) and issubclass(network, nn.Module):
        own = network.__name__
        got = f"{what} that returns the class {own} itself, not a network of it: return {own}()"
    elif isinstance(network, (tuple, list)):
        got = f"{what} that returns a {got}: it must return the network alone"
    raise BadInputError(f"--space {name} must make a torch.nn.Module, got {got}.")


def _missing(factory: Callable[..., Any], settings: Mapping[str, Any]) -> list[str]:
    """The arguments that a factory cannot be called without, and that it is not given."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    named = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    return [
        one.name
        for one in parameters
        if one.default is inspect.Parameter.empty and one.kind in named and one.name not in settings
    ]


def _make_foreign(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """Call somebody else's constructor; what it says against its arguments is the user's to mend."""
    try:
        return make()
    except Exception as error:
        raise BadInputError(f"--space {name} could not be made: {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
