"""Recipes: how a network is trained, by name or from a file of your own."""

from collections.abc import Mapping
from functools import cache
from math import cos, pi
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas_prune.data.augment import Augment, ColorJitter, RandAugment
from nas_prune.errors import BadInputError
from nas_prune.runs.kinds import naming_other, refuse_missing
from nas_prune.runs.problems import first_problem, what_is_wrong
from nas_prune.runs.reading import load_yaml, read_text

OptimizerName: TypeAlias = Literal["sgd", "adamw"]
Balance: TypeAlias = Literal["none", "weights", "sampling"]
MOST_EPOCHS = 100_000
_MOST = 1e6  # of rates: beyond what any training survives, and far from what floats overflow at
_MOMENTUM, _BETAS, _EPS = 0.9, (0.9, 0.999), 1e-8
_ADAMW_DECAY = 0.01
_Beta = Annotated[float, Field(ge=0, lt=1)]
_FOLDER = Path(__file__).with_name("recipes")


class Recipe(BaseModel):
    """How one network is trained.

    Attributes:
        name: what `--recipe` takes.
        epochs: passes over the training part.
        batch_size: images in a step, over all processes together.
        learning_rate: its largest value.
        schedule: `steps` divides by 10 at 1/2 and 3/4 of the epochs; `cosine` falls from the largest value to zero
            along half a cosine; `one-cycle` rises linearly for the first fifth of the steps and falls linearly to a
            hundredth; `constant` stays.
        warmup_epochs: epochs over which the rate first rises linearly from zero; their steps count as the schedule's.
        optimizer: `sgd` or `adamw`.
        momentum, nesterov: as in `torch.optim.SGD`; AdamW has neither.
        betas, eps: as in `torch.optim.AdamW`, with its defaults; SGD has neither.
        weight_decay: as in these classes: part of the gradient in SGD, apart from it (decoupled) in AdamW. AdamW's
            default is PyTorch's, 0.01.
        decay_norms: whether the decay acts on vectors too (norms and biases), as in the paper, or on weights alone.
        label_smoothing: the share of the target that is spread over all classes.
        clip_norm: the largest norm of all gradients together; None for no bound.
        average: decay of an exponential moving average of the weights, which is then what is evaluated and kept;
            None for none. It starts small, so that the first steps are forgotten.
        crop_share: random crops after padding by this share of the image size.
        mirror: whether images are mirrored at random where the data set allows it.
        cutout_share: side of the square that is blanked in each image, as a share of the image size.
        randaugment: operations drawn for each image (Cubuk et al. 2020): `operations` of them, of a `magnitude`.
        color_jitter: by how much brightness, contrast, saturation and hue of each image change at most; a number stands
            for the first three.
        random_erasing: the probability that a rectangle of an image is blanked (Zhong et al. 2020).
        mixup, cutmix: α of the Beta distribution by which images are mixed with others of their batch (Zhang et al.
            2018, Yun et al. 2019); 0 for none. With both, one is drawn for each batch.
        balance: what is done about classes of different sizes: `weights` weighs the loss of each image by the inverse
            of its class's size, 1 on average; `sampling` shows every class equally often; an epoch stays as long.
        patience: end the training when the validation accuracy has not risen for so many epochs; None for never.
        keep: `last` keeps the network after the last epoch; `best` the one with the best validation accuracy, of equal
            ones the one with the smaller loss, then the earlier. It is `best` where there is a patience.
        teacher_share: share of the loss that compares with a teacher's scores, where there is a teacher.
        temperature: what both scores are divided by in that comparison (Hinton et al. 2015).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    epochs: int = Field(ge=1, le=MOST_EPOCHS)
    batch_size: int = Field(ge=2, le=2**20)
    learning_rate: float = Field(gt=0, le=_MOST)
    schedule: Literal["steps", "cosine", "one-cycle", "constant"]
    warmup_epochs: float = Field(default=0, ge=0, le=MOST_EPOCHS)
    optimizer: OptimizerName = "sgd"
    momentum: float = Field(default=_MOMENTUM, ge=0, lt=1)
    nesterov: bool = False
    betas: tuple[_Beta, _Beta] = _BETAS
    eps: float = Field(default=_EPS, gt=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0, le=_MOST)
    decay_norms: bool = True
    label_smoothing: float = Field(default=0, ge=0, lt=1)
    clip_norm: float | None = Field(default=None, gt=0, le=1e9)
    average: float | None = Field(default=None, gt=0, lt=1)
    crop_share: float = Field(default=0.125, ge=0, le=0.5)
    mirror: bool = True
    cutout_share: float = Field(default=0, ge=0, le=1)
    randaugment: RandAugment | None = None
    color_jitter: ColorJitter | None = None
    random_erasing: float = Field(default=0, ge=0, le=1)
    mixup: float = Field(default=0, ge=0, le=1000)
    cutmix: float = Field(default=0, ge=0, le=1000)
    balance: Balance = "none"
    patience: int | None = Field(default=None, ge=1, le=MOST_EPOCHS)
    keep: Literal["last", "best"] = "last"
    teacher_share: float = Field(default=0.9, ge=0, le=1)
    temperature: float = Field(default=4, gt=0, le=_MOST)

    @model_validator(mode="before")
    @classmethod
    def _with_what_follows(cls, given: Any) -> Any:
        """Settings with the defaults that depend on others."""
        if not isinstance(given, Mapping):
            return given
        decay = {"weight_decay": _ADAMW_DECAY} if given.get("optimizer") == "adamw" else {}
        keep = {"keep": "best"} if given.get("patience") is not None else {}
        return {**decay, **keep, **given}

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        """Refuse settings that would be silently ignored."""
        is_sgd = self.optimizer == "sgd"
        ignored = {
            "momentum": not is_sgd and self.momentum != _MOMENTUM,
            "nesterov": not is_sgd and self.nesterov,
            "betas": is_sgd and self.betas != _BETAS,
            "eps": is_sgd and self.eps != _EPS,
        }
        for name in (name for name, is_ignored in ignored.items() if is_ignored):
            other = "adamw" if is_sgd else "sgd"
            raise ValueError(
                f"{name} must come with optimizer: {other}, which uses it, got {self.optimizer}. Leave one out"
            )
        if self.patience is not None and self.keep == "last":
            raise ValueError(
                "patience must come with keep: best, got last: the last epochs are those without a gain. Leave keep out"
            )
        return self

    @property
    def of_which_epoch(self) -> str:
        """When the networks that are kept were as they are, for a sentence."""
        return "after the last epoch" if self.keep == "last" else "at each seed's best epoch by validation"

    def augment(self, image_size: int, *, can_mirror: bool, can_move: bool = True) -> Augment:
        """How training images are varied.

        Args:
            image_size: pixels a side.
            can_mirror: whether the data set allows it.
            can_move: whether what is learned stays the same where things in an image are moved.
        """
        return Augment(
            crop_padding=round(self.crop_share * image_size) * can_move,
            flip=self.mirror and can_mirror,
            cutout=round(self.cutout_share * image_size),
            randaugment=self.randaugment,
            color_jitter=self.color_jitter,
            erasing=self.random_erasing,
            mixup=self.mixup,
            cutmix=self.cutmix,
        )

    def rate_at(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """The learning rate of one step out of `steps`."""
        warmup = self.warmup_epochs * steps_per_epoch
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return self.learning_rate * rise * self._share_at(step, steps, steps_per_epoch)

    def _share_at(self, step: int, steps: int, steps_per_epoch: int) -> float:
        match self.schedule:
            case "constant":
                return 1.0
            case "one-cycle":
                return _one_cycle((step + 0.5) / steps)
            case "cosine":
                return 0.5 * (1 + cos(pi * step / steps))
            case "steps":
                epoch, epochs = step // steps_per_epoch, steps // steps_per_epoch
                milestones = (max(1, int(0.5 * epochs)), max(1, int(0.75 * epochs)))
                falls = sum(epoch >= milestone for milestone in milestones)
                return float(0.1**falls)

    def spent_after(self, epochs: int, steps_per_epoch: int) -> float:
        """The share of all learning rates, summed over the steps, that the first epochs spend.

        Example:
            >>> round(recipe_named("fast").spent_after(12, 10), 2)
            0.55
        """
        steps = self.epochs * steps_per_epoch
        rates = [self.rate_at(step, steps, steps_per_epoch) for step in range(steps)]
        return sum(rates[: epochs * steps_per_epoch]) / sum(rates)

    def with_epochs(self, epochs: int) -> "Recipe":
        """The same recipe over another number of epochs."""
        return self.model_copy(update={"epochs": epochs})

    def to_the_end(self) -> "Recipe":
        """The same recipe for all of its epochs, the last of which counts, as searches and judges need it."""
        return self.model_copy(update={"keep": "last", "patience": None})


def _one_cycle(progress: float, peak: float = 0.2, last: float = 0.01) -> float:
    if progress < peak:
        return progress / peak
    return 1 - (1 - last) * (progress - peak) / (1 - peak)


def recipe_names() -> tuple[str, ...]:
    """The names of the recipes that come with nas-prune."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def recipe_named(name: str) -> Recipe:
    """A recipe by name, or from a YAML file of your own.

    Raises:
        BadInputError: no such recipe (the message lists the known ones), or a file that holds none.
    """
    if name in recipe_names():
        return _shipped(name)
    if not name.endswith((".yaml", ".yml")):
        known = ", ".join(recipe_names())
        raise BadInputError(f"--recipe must be one of {known}, or a .yaml file, got {name!r}.")
    return _read(Path(name))


@cache
def _shipped(name: str) -> Recipe:
    return _read(_FOLDER / f"{name}.yaml")


def _read(path: Path) -> Recipe:
    refuse_missing(path, "--recipe must be a recipe's file")
    with naming_other(path, "recipe", wanted="--recipe must be a recipe's file"):
        return _checked(path)


def _checked(path: Path) -> Recipe:
    try:
        content: Any = load_yaml(read_text(path))
    except OSError as error:
        raise BadInputError(
            f"--recipe must name a file that can be read, got {path}: {error.strerror}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise BadInputError(f"--recipe must be YAML, got {path}, which is not: {said}.") from None
    if not isinstance(content, dict):
        raise BadInputError(f"--recipe must hold one setting a line, such as epochs: 30, got {path}.")
    try:
        return Recipe.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise BadInputError(f"the recipe {path} cannot be used: {first_problem(error, Recipe)}.") from None


def default_recipe(data_name: str) -> Recipe:
    """The recipe for a data set when none is asked for."""
    return recipe_named("digits" if data_name == "digits" else "fast")


def as_written_now(content: Any) -> Any:
    """A recipe that an earlier version wrote, with the settings that have come since; what is none, as it is."""
    try:
        return Recipe.model_validate(content).model_dump(mode="json")
    except ValidationError:
        return content


def changed(recipe: Recipe, **changes: float | str | None) -> Recipe:
    """The recipe with the settings that are not None replaced.

    Raises:
        BadInputError: a setting out of its range, or that does not go with the others.
    """
    update = {field: value for field, value in changes.items() if value is not None}
    follows = {"keep": "best"} if "patience" in update else {}
    try:
        return Recipe.model_validate({**recipe.model_dump(), **follows, **update})
    except ValidationError as error:
        problem = error.errors()[0]
        if not problem["loc"]:
            raise BadInputError(f"the recipe cannot be used: {first_problem(error)}.") from None
        field = str(problem["loc"][0])
        message = what_is_wrong(problem).removeprefix("it ")
        raise BadInputError(f"--{field.replace('_', '-')} {message}.") from None
