"""Options that several commands share; each group of them becomes one typed object."""

from collections.abc import Callable, Collection
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from nas_prune.cli import suggestions
from nas_prune.cli.data_types import DATA, TASK
from nas_prune.cli.option_types import (
    RESUMED,
    FitOptions,
    ImageOptions,
    LimitOptions,
    MachineOptions,
    NetworkOptions,
    RecipeOptions,
    RunOptions,
    Setup,
    ShapeOptions,
)

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

SPACE_HELP = "A name from `nas-prune spaces`, torchvision:NAME, timm:NAME, or package.module:factory."
GUIDELINE_HELP = "A file that `guide` wrote, or uniform, smart-ratio, erk, bottleneck-first."
BUDGET_HELP = (
    "macs<=50%, params<=1.2M, channels<=40%, activations<=60%, memory<=256KiB, size<=1MiB or latency<=3ms (with a "
    "--target that has been measured); several joined by commas hold together."
)


def packed(name: str, kind: type[Any], *options: Decorator[Any]) -> Decorator[Function]:
    """A decorator that adds options to a command and passes their values as one object.

    Args:
        name: of the argument that the command's function takes.
        kind: a dataclass whose fields are named like the options.
        options: click's own decorators, in the order of the help text.
    """
    names = [field.name for field in fields(kind)]

    def decorate(function: Function) -> Function:
        @wraps(function)
        def with_object(*arguments: Any, **given: Any) -> Any:
            values = {field: given.pop(field) for field in names if field in given}
            return function(*arguments, **{name: kind(**values)}, **given)

        decorated: Any = with_object
        for option in reversed(options):
            decorated = option(decorated)
        found: Function = decorated
        return found

    return decorate


image_size_option = click.option(
    "--image-size",
    type=int,
    help="Resize images to this many pixels a side (at least 8); by default the data set's own size, for folders 32 or "
    "what torchvision's or timm's network is made for.",
)
budget_option = click.option("--budget", help=f"What the widths may cost: {BUDGET_HELP}")
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed of all random numbers.",
)
format_option = click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json"]),
    default="table",
    help="How to print the result.",
)
weights_option = click.option(
    "--weights",
    metavar="FILE|as-built",
    help="Start from the weights in a .safetensors or .pth file, or from those that a --space function of your own "
    "gives its network, instead of random ones.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of trainings at once, each in its own process with its share of the threads.",
)
keep_checkpoints_option = click.option(
    "--keep-checkpoints",
    is_flag=True,
    help="Keep the checkpoints of finished trainings beside their networks.",
)
log_option = click.option(
    "--log",
    type=click.Choice(["tensorboard"]),
    help="Write the losses, accuracies and learning rate of each epoch for TensorBoard, too, into RUN/tensorboard.",
)
groups_option = click.option(
    "--groups",
    type=click.Choice(["inner", "all", "selections"]),
    default="inner",
    show_default=True,
    help="inner leaves residual streams whole; all narrows them too; with selections, layers that read a "
    "stream or a concatenation select channels of it.",
)
width_multiplier_option = click.option(
    "--width-multiplier",
    type=float,
    default=1.0,
    show_default=True,
    help="Factor on all base widths.",
)
target_option = click.option(
    "--target",
    metavar="NAME|FILE|DIR",
    help="What the network is for: a device or runtime by its name (cpu-onnxruntime, ethos-u, …), a file of your own, "
    "or what `nas-prune measure` wrote. Widths fit its alignment; its memory, size and latency can be bounded.",
)
LIMITS: tuple[Decorator[Any], ...] = (
    target_option,
    click.option(
        "--divisor",
        type=click.IntRange(1, 2**16),
        help="Widths are multiples of this number, or the whole width.",
    ),
    click.option("--min-width", type=click.IntRange(1, 2**16), help="The least width of any channel group."),
    click.option(
        "--keep",
        multiple=True,
        metavar="LAYER",
        help="Leave a layer, or all in a module, at its whole width: conv1, layer4, 'layer*.0.conv2'. Repeatable.",
    ),
)
data_option = click.option(
    "--data",
    "data_name",
    type=DATA,
    shell_complete=suggestions.images,
    help="Data set: digits (the default), cifar10, cifar100, mnist, fashion-mnist, svhn, or your own: folder:PATH, "
    "csv:FILE (path, label, split), hf:DIR (saved by datasets), wds:DIR (WebDataset), "
    "package.module:function (PyTorch data sets).",
)
task_option = click.option(
    "--task",
    type=TASK,
    help="What is to be learned: classification (the default), multi-label, regression, segmentation (images/ and "
    "masks/ side by side), or package.module:task of your own.",
)
_IMAGES: tuple[Decorator[Any], ...] = (
    data_option,
    task_option,
    click.option(
        "--max-images", type=int, help="Use this many training images, chosen by seed, class by class."
    ),
    click.option(
        "--stream/--no-stream",
        default=None,
        help="Leave images of your own in their files and decode them batch by batch; by default decided by size.",
    ),
)
image_options: Decorator[Any] = packed("images", ImageOptions, *_IMAGES)
sized_image_options: Decorator[Any] = packed("images", ImageOptions, *_IMAGES, image_size_option)
recipe_options: Decorator[Any] = packed(
    "training",
    RecipeOptions,
    click.option(
        "--recipe",
        "recipe_name",
        shell_complete=suggestions.recipes,
        help="Recipe of the training: digits, fast, quick, paper-cifar, tas-cifar, or a .yaml file.",
    ),
    click.option("--epochs", type=int, help="Epochs; the recipe's by default."),
    click.option("--batch-size", type=int, help="Images in a step; the recipe's by default."),
    click.option("--learning-rate", type=float, help="Largest learning rate; the recipe's by default."),
    click.option(
        "--balance",
        type=click.Choice(["none", "weights", "sampling"]),
        help="Classes of different sizes: weights lets rare ones count more in the loss, sampling shows all equally "
        "often; the recipe's by default (none).",
    ),
    click.option(
        "--patience",
        type=int,
        metavar="EPOCHS",
        help="End a training when the validation accuracy has not risen for so many epochs, and keep the best epoch's "
        "network. Searches train to the end.",
    ),
)
shape_options: Decorator[Any] = packed(
    "made_for",
    ShapeOptions,
    click.option(
        "--data",
        "data_name",
        type=DATA,
        shell_complete=suggestions.images,
        help="The images that it is for: their channels and classes, and their size unless --image-size gives another.",
    ),
    task_option,
    click.option(
        "--image-size",
        type=int,
        help="Pixels a side; by default 32, or the size that torchvision or timm gives.",
    ),
    click.option("--in-channels", type=click.IntRange(1), help="Channels of the images; 3 by default."),
    click.option(
        "--classes", type=int, help="Outputs of the classifier; by default 10, or the library's own number."
    ),
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="SIZES",
        help="What a network of your own takes, without the batch: 2x64, mask=128, words=128:int64<30522; once for "
        "each input.",
    ),
    click.option(
        "--part",
        default="",
        metavar="PATH",
        help="The module that is searched, where the whole network branches on what it sees: backbone.",
    ),
)
network_options: Decorator[Any] = packed(
    "network", NetworkOptions, groups_option, width_multiplier_option, *LIMITS
)
limit_options: Decorator[Any] = packed("limiting", LimitOptions, *LIMITS)
machine_options: Decorator[Any] = packed(
    "machine",
    MachineOptions,
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto is CUDA where PyTorch finds a GPU.",
    ),
    click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads; by default one for small networks."
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bf16"]),
        default="auto",
        show_default=True,
        help="auto is bf16 on CUDA devices that have it.",
    ),
    click.option(
        "--channels-last/--no-channels-last",
        default=None,
        help="Store the channels of each pixel together (faster); by default where the network allows it.",
    ),
    click.option("--compile", "compiles", is_flag=True, help="Use torch.compile."),
)
fit_options: Decorator[Any] = packed(
    "fitting",
    FitOptions,
    click.option(
        "--model",
        type=click.Choice(
            ["auto", "uniform", "stage-means", "stage-role", "stage-role-slope", "stage-role-shape"]
        ),
        default="auto",
        show_default=True,
        help="The form of the pattern. auto: the one that best predicts runs left out; uniform where runs do not "
        "agree.",
    ),
    click.option(
        "--match",
        type=click.Choice(["output", "input"]),
        default="output",
        show_default=True,
        help="From which end stages are counted where networks have different numbers of them.",
    ),
    click.option("--cost", help="Use only runs driven by this cost (macs, params, …); all uses every run."),
    click.option(
        "--confidence",
        type=float,
        default=0.9,
        show_default=True,
        help="Confidence of all intervals together.",
    ),
    click.option(
        "--with-guesses",
        is_flag=True,
        help="Use runs, too, whose network was hardly better than guessing.",
    ),
)
run_options: Decorator[Any] = packed(
    "run",
    RunOptions,
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Directory of the run, new or empty; by default a free name in runs/.",
    ),
    click.option(
        "--resume",
        is_flag=False,
        flag_value="",
        metavar="[RUN]",
        type=RESUMED,
        help="Go on with RUN, a stopped run of this command, by its own settings; --data says where its images are "
        "now, --space permits the import of a network of your own.",
    ),
)


def setup_options(*, are_sized: bool = False) -> Decorator[Any]:
    """A decorator that adds the options of `Setup`.

    Args:
        are_sized: whether the size of the images can be chosen.
    """

    def decorate(function: Function) -> Function:
        @wraps(function)
        def with_setup(
            *arguments: Any,
            images: ImageOptions,
            training: RecipeOptions,
            run: RunOptions,
            machine: MachineOptions,
            **given: Any,
        ) -> Any:
            return function(*arguments, setup=Setup(images, training, run, machine), **given)

        decorated: Any = with_setup
        for options in (
            machine_options,
            run_options,
            recipe_options,
            sized_image_options if are_sized else image_options,
        ):
            decorated = options(decorated)
        found: Function = decorated
        return found

    return decorate


def was_typed(context: click.Context, name: str) -> bool:
    """Whether an option was given on the command line."""
    return context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def refuse_beside(context: click.Context, allowed: Collection[str], rule: str, advice: str) -> None:
    """Refuse every typed option that is not allowed."""
    names = [
        parameter.make_metavar(context) if isinstance(parameter, click.Argument) else parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in allowed and was_typed(context, parameter.name or "")
    ]
    if names:
        raise click.UsageError(f"{rule}, got {', '.join(names)} beside it. {advice}")


def refuse_with_resume(context: click.Context, adding: Collection[str] = (), addable: str = "") -> None:
    """Refuse settings given for a run that is gone on with: they would be ignored in favour of its own.

    Args:
        context: of the command.
        adding: options that add something to a run.
        addable: what that is, in a sentence.
    """
    allowed = {"resume", "named", "style", "data_name", "task", "space", "workers", *adding}
    rule = "go on by the run's own settings" if adding else "stand alone"
    what = "--resume" if was_typed(context, "resume") else "a run that is gone on with"
    refuse_beside(context, allowed, f"{what} must {rule}", addable or "The run's settings hold.")
