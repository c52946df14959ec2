"""Groups of options as commands take them: each is one typed object."""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from click.shell_completion import CompletionItem

from nas_prune.cli.suggestions import spaces
from nas_prune.errors import BadInputError
from nas_prune.runs.kinds import RUNS

if TYPE_CHECKING:
    from nas_prune.data.config import DataConfig
    from nas_prune.graph.inputs import CallSpec
    from nas_prune.guideline.artefact import Match
    from nas_prune.guideline.fit import Choice
    from nas_prune.runs.kinds import Kind
    from nas_prune.runs.progress import Progress
    from nas_prune.space.limits import Limits
    from nas_prune.space.search_space import Groups, SearchSpace
    from nas_prune.training.config import RunConfig
    from nas_prune.training.recipe import Balance, Recipe


Config = TypeVar("Config", bound="RunConfig")


class _Network(click.ParamType[str]):
    """A network's name, which the command line vouches for."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """As a typed name; one that nothing has is refused before any library is loaded."""
        from nas_prune.runs.typed import Typed
        from nas_prune.space.names import space_name

        space_name(value)
        return Typed(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Networks whose names begin so."""
        return spaces(ctx, param, incomplete)


NETWORK = _Network()
RESUMES_NAMED = Path("\0")  # of no run: --resume stands alone, and RUN says which


RUNS_NOW = "nas_prune.runs_now"  # in the `meta` of a command's context


def _is_run(ctx: click.Context | None) -> bool:
    """Whether a command line is run, not only looked at: what it names need not be there then."""
    return ctx is not None and bool(ctx.meta.get(RUNS_NOW))


class _Guideline(click.ParamType[str]):
    """A rule's name, or a guideline's file, which must be there and not plainly something else."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """As it is typed.

        Raises:
            BadInputError: it is a file that is not there, or of another kind.
        """
        from nas_prune.runs.kinds import refuse_missing, refuse_other

        path, wanted = Path(value), "--guideline must be a guideline's file or a rule's name"
        if _is_run(ctx) and (path.suffix or path.exists()):
            refuse_missing(path, wanted)
            refuse_other(path, "guideline", "pattern guideline", wanted=wanted)
        return value


GUIDELINE = _Guideline()


class Place(click.Path):
    """A file or a directory of ours that must be there; refused before any library is loaded where it is another kind.

    Attributes:
        wanted: what it must be, in words.
        takes: the kinds of ours that it may be; what is of no known kind is left to its reader.
    """

    def __init__(self, wanted: str, *takes: "Kind") -> None:
        super().__init__(path_type=Path)
        self.wanted, self.takes = wanted, takes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As a path.

        Raises:
            BadInputError: it is not there, or plainly something else.
        """
        from nas_prune.runs.kinds import refuse_missing, refuse_other

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not _is_run(ctx):
            return path
        named = param.make_metavar(ctx) if isinstance(param, click.Argument) and ctx else None
        shown = "the path" if param is None else param.opts[0]
        shown = " or ".join(re.findall("[A-Z]+", named)) if named else shown
        wanted = f"{shown} must be {self.wanted}"
        refuse_missing(path, wanted)
        refuse_other(path, *self.takes, wanted=wanted)
        return path


SEARCH_RUN = Place("the directory of a search", "search")
STUDY_RUN = Place("the directory of a study", "study")
TEACHER_RUN = Place("the directory of a search or a training", "search", "train")
WIDTHS_FILE = Place("a widths file", "widths")
FITTED = Place("the directory of a search, or a widths file", "search", "compare", "transfer", "widths")
FITTED_OR_STUDY = Place(
    "the directory of a search or a study, a widths file, or a pattern",
    "search", "sparsify", "pattern", "compare", "transfer", "study", "widths",
)  # fmt: skip
COMPARED = Place(
    "the directory of a search or of a ranked study, a widths file, a comparison file, or a comparison to go on with",
    "search",
    "sparsify",
    "study",
    "widths",
    "comparison file",
    "compare",
)
WINNER = Place("the directory of a study, or a widths file", "study", "widths")
WITH_NETWORK = Place(
    "the directory of a training or a search, a network.safetensors or a net.nasp",
    *RUNS,
    "weights",
    "compressed",
)
REPORTED = Place("a run's directory, or a guideline", *RUNS, "guideline", "pattern guideline")
SEARCHED = Place("a search, to go on with", "search")
SPARSIFIED = Place("a search for patterns, to go on with", "sparsify")
TRANSFERRED = Place("a transfer, to go on with", "transfer")
TRAINED = Place(
    "the directory of a search or of a ranked study, a widths file, a pattern, or a stopped training",
    "search",
    "sparsify",
    "study",
    "train",
    "widths",
    "pattern",
)
EVALUATED = Place(
    "the directory of a search, a widths file, or a stopped evaluation",
    "search",
    "compare",
    "transfer",
    "widths",
    "evaluate",
)


class _Resumed(Place):
    """The run of --resume, or RESUMES_NAMED where it has none beside it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return RESUMES_NAMED if value in ("", RESUMES_NAMED) else super().convert(value, param, ctx)


RESUMED = _Resumed("a run's directory", *RUNS)


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Which images, and how many of them; None for what was not typed."""

    data_name: str | None
    max_images: int | None
    stream: bool | None
    task: str | None = None
    image_size: int | None = None

    @property
    def name(self) -> str:
        """The data set, by default the one that needs no download."""
        return self.data_name or "digits"

    @property
    def chosen(self) -> dict[str, Any]:
        """With the names that `images_for` gives them."""
        return {
            "name": self.data_name,
            **{one: getattr(self, one) for one in ("max_images", "stream", "task")},
        }

    def config(self) -> "DataConfig":
        """As settings hold them."""
        from nas_prune.data.config import DataConfig

        size = positive("--image-size", self.image_size)
        task = {} if self.task is None else {"task": self.task}
        return DataConfig(
            name=self.name, image_size=size, max_images=self.max_images, stream=self.stream, **task
        )


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """How networks are trained; None for what was not typed."""

    recipe_name: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    balance: "Balance | None" = None
    patience: int | None = None

    def recipe(self, otherwise: "Recipe | str", *, has_own_epochs: bool = False) -> "Recipe":
        """The recipe that is named, with what was typed changed.

        Args:
            otherwise: the recipe if none is named, or the data set whose default recipe is taken.
            has_own_epochs: whether `--epochs` is another setting than the length of the recipe.
        """
        from nas_prune.training.recipe import changed, default_recipe, recipe_named

        if self.recipe_name:
            chosen = recipe_named(self.recipe_name)
        else:
            chosen = default_recipe(otherwise) if isinstance(otherwise, str) else otherwise
        epochs = None if has_own_epochs else positive("--epochs", self.epochs)
        return changed(
            chosen,
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            balance=self.balance,
            patience=self.patience,
        )


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """On what a run computes, with the names of the settings."""

    device: Literal["auto", "cpu", "cuda"]
    threads: int | None
    precision: Literal["auto", "float32", "bf16"]
    channels_last: bool | None
    compiles: bool


@dataclass(frozen=True, slots=True)
class ShapeOptions:
    """What a network takes and gives, where no data set says so, None for its own; and which part of it is meant."""

    data_name: str | None
    task: str | None
    image_size: int | None
    in_channels: int | None
    classes: int | None
    inputs: tuple[str, ...]
    part: str

    def load(
        self, space: str, progress: "Progress", *, width_multiplier: float, selections: bool
    ) -> "SearchSpace":
        """The network of this name, for these images."""
        from nas_prune.space.load import load_space

        if self.data_name is None:
            takes, classes = self._call() if self.inputs else self._image(space), self.classes
        else:
            takes, classes = self._images(space, progress)
        with progress.waiting("tracing the network"):
            return load_space(
                space,
                takes,
                num_classes=classes,
                width_multiplier=width_multiplier,
                selections=selections,
                part=self.part,
            )

    def _images(self, space: str, progress: "Progress") -> tuple[tuple[int, int, int], int]:
        """Channels, height and width of the images of a data set, as the network takes them, and how many classes."""
        from nas_prune.data.config import DataConfig
        from nas_prune.space.load import images_for

        if self.inputs or self.in_channels is not None or self.classes is not None:
            raise BadInputError(
                "--data must stand without --input, --in-channels and --classes: the images say them."
            )
        assert self.data_name is not None
        task = {} if self.task is None else {"task": self.task}
        config = DataConfig(name=self.data_name, image_size=self.image_size, **task)
        data = images_for(space, config, 0, progress)
        return (data.in_channels, data.image_size, data.image_size), data.num_classes

    def _image(self, space: str) -> tuple[int, int, int]:
        from nas_prune.space.networks import network_named

        channels, height, width = network_named(space).input_shape
        return self.in_channels or channels, self.image_size or height, self.image_size or width

    def _call(self) -> "CallSpec":
        from nas_prune.graph.examples import call_written

        if self.image_size is not None or self.in_channels is not None:
            raise BadInputError("--input must not be given with --image-size or --in-channels, got both.")
        return call_written(self.inputs)


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """What bounds widths beside a budget, and what they are meant for."""

    target: str | None
    divisor: int | None
    min_width: int | None
    keep: tuple[str, ...]

    @property
    def limits(self) -> "Limits":
        """As a space takes them."""
        from nas_prune.space.limits import Limits

        return Limits(divisor=self.divisor, min_width=self.min_width, keep=self.keep)


@dataclass(frozen=True, slots=True)
class NetworkOptions(LimitOptions):
    """How wide the whole network is, which of its groups are narrowed, and within which limits."""

    width_multiplier: float
    groups: "Groups"

    @property
    def settings(self) -> dict[str, Any]:
        """With the names that settings have."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a guideline is fitted to runs, with the names of the arguments of `fit_guideline`."""

    model: "Choice"
    match: "Match"
    cost: str | None
    confidence: float
    with_guesses: bool


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where a new run is written, or which run is resumed."""

    out: Path | None
    resume: Path | None


@dataclass(frozen=True, slots=True)
class Setup:
    """The options of every command that trains networks: images, recipe, run directory and machine."""

    images: ImageOptions
    training: RecipeOptions
    run: RunOptions
    machine: MachineOptions

    def config(
        self, kind: type[Config], data: "DataConfig | None" = None, recipe: "Recipe | None" = None, **own: Any
    ) -> Config:
        """The settings of a run.

        Args:
            kind: of settings.
            data: the images; those that were named if None.
            recipe: how networks are trained; if None, as typed, or by default for the images.
            own: the other settings of this kind.
        """
        data = data or self.images.config()
        recipe = recipe or self.training.recipe(self.images.name)
        return kind(**{"data": data, "recipe": recipe, **asdict(self.machine), **own})


def positive(flag: str, value: int | None, most: int = 100_000) -> int | None:
    """The value of a flag that counts something; refused below 1 and above the most."""
    if value is not None and not 1 <= value <= most:
        raise click.UsageError(f"{flag} must be from 1 to {most:,}, got {value}.")
    return value
