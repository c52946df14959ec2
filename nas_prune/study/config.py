"""A study file: what is asked, where Optuna looks, how trials are trained, and when it ends."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from nas_prune.data.config import placed
from nas_prune.errors import BadInputError
from nas_prune.guideline.hand import RULES
from nas_prune.hardware.use import target_beside
from nas_prune.runs.directory import DirectoryName
from nas_prune.runs.problems import first_problem
from nas_prune.runs.settings import read_settings
from nas_prune.space.budget import Budget, BudgetSetting
from nas_prune.space.names import check_trusted, space_name
from nas_prune.study.file import study_path
from nas_prune.study.own_settings import OwnStudy
from nas_prune.study.study_plan import StudyPlan
from nas_prune.training.config import NetworkConfig, with_short_forms
from nas_prune.training.recipe import MOST_EPOCHS, Recipe, changed, default_recipe

SamplerName: TypeAlias = Literal["rule", "cma", "tpe", "gp", "nsga2", "random"]
Stopping: TypeAlias = Literal["none", "median"]
Against: TypeAlias = Literal["macs", "params", "latency"]
Parameters: TypeAlias = Literal["shape", "layers"]
JudgeName: TypeAlias = Literal["scratch", "inherited", "slimmable", "synflow", "log-widths", "own"]

SCRATCH: JudgeName = "scratch"  # a training from random weights
OWN: JudgeName = "own"  # a function of somebody's own, which trains nothing

GUIDELINE = "guideline.yaml"
_BUDGET_TRAINING = 10.0  # trainings of the whole network
MOST_TRIALS = 100_000
# Of studies of before, which have none of these, at their defaults.
LATER = ("judge", "judged", "judge_epochs", "budget_training", "divisor", "min_width", "keep")
_SAY_HOW_MANY = ("trials", "budget_training", "hours", "against")  # one of them
# May differ from what the study was created with: they do not change what a trial is.
FREE = frozenset(
    {
        "command",
        "question",
        "trials",
        "hours",
        "plan",
        "timeout",
        "max_failures",
        "device",
        "threads",
        "compiles",
        "versions",
        "machine",
        "target",  # where its files are; what is in them must be the same, as of the images
    }
)


class StudyConfig(NetworkConfig, OwnStudy):
    """Every setting of a study; what a study file and a study's `config.yaml` hold.

    Attributes:
        name: of the study in the storage and of its directory; the file's own name by default.
        question: what the study is to answer, in words, for its note.
        recipe: how networks are trained in full.
        epochs: of a trial; half of the recipe's by default.
        budgets: a study each, or, with `against`, the two ends of a range.
        guideline: a rule's name, or a guideline file; None to start from uniform widths.
        parameters: `shape` for offsets and slopes by stage and role, `layers` for a number for each group.
        sampler: `rule`, or one of Optuna's; None for `rule`, or TPE where there are two objectives.
        judge: what says how good the widths of a trial are: `scratch`, a short training from random weights; or,
            without training them, `inherited` (the best channels of the network that a search trained), `slimmable`
            (one network trained at many widths), `synflow`, `log-widths`. None for what a plan has, or else `scratch`.
        judged: how many trials, the first ones, a judge other than `scratch` is asked about, but for uniform widths
            and the guideline, which are among them a second time to be trained; the others are trained, and the rule
            learns how far the judge is right. All if None.
        judge_epochs: of the training of the judge's network; the recipe's if None.
        stopping: whether trials that fall behind are ended; not with the sampler `rule`, which learns nothing of them.
        against: a second objective, to be minimised.
        budget_training: what the whole study may take, in trainings of the whole network in full (`10x`, or 10): the
            judge, the number of trials and what is left for finalists follow from it; None where `trials` says how
            many, and finalists are trained when asked for. 10x where neither is named and there is one objective.
        hours: the same as time on this machine, from what trainings take on it.
        plan: what follows from that number; written with the study.
        trials: how many for each budget.
        timeout: seconds after which no trial is started; None for none.
        seeds: trainings of a trial, of which the mean counts.
        seed: fixes the validation split, first weights, and what samplers draw.
        max_failures: how many trials in a row may fail before the study stops.
    """

    command: Literal["study"] = "study"
    name: DirectoryName = Field(min_length=1, max_length=100)
    question: str = ""
    recipe: Recipe = Field(default_factory=lambda known: default_recipe(known["data"].name))
    epochs: int = Field(default_factory=lambda known: ceil(known["recipe"].epochs / 2), ge=1, le=MOST_EPOCHS)
    budgets: tuple[BudgetSetting, ...] = Field(default=(Budget("macs", 0.5),), min_length=1)
    guideline: str | None = None
    parameters: Parameters = "shape"
    sampler: SamplerName | None = None
    judge: JudgeName | None = None
    judged: int | None = Field(default=None, ge=1)
    judge_epochs: int | None = Field(default=None, ge=1, le=MOST_EPOCHS)
    stopping: Stopping = "none"
    against: Against | None = None
    budget_training: float | None = Field(default=None, gt=0, le=1e6)
    hours: float | None = Field(default=None, gt=0, le=1e5)
    plan: StudyPlan | None = None
    trials: int = Field(default=30, ge=1, le=MOST_TRIALS)
    timeout: float | None = Field(default=None, gt=0)
    seeds: int = Field(default=1, ge=1, le=100)
    seed: int = Field(default=0, ge=0, lt=2**31)
    max_failures: int = Field(default=3, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, content: Any) -> Any:
        """One budget may be written as `budget`, and names stand for data sets and recipes."""
        if not isinstance(content, dict):
            return content
        content = with_short_forms(content)
        if "budget" in content:
            if "budgets" in content:
                raise ValueError("budget and budgets must not stand beside each other")
            content["budgets"] = (content.pop("budget"),)
        asked = content.get("budget_training")
        if isinstance(asked, str) and asked.lower().endswith("x"):
            content["budget_training"] = asked[:-1]
        if any(content.get(name) is not None for name in _SAY_HOW_MANY):
            return content
        if content.get("judged") is not None:
            raise ValueError("judged must come with trials: without, it follows from the plan")
        return {**content, "budget_training": _BUDGET_TRAINING}

    @field_validator("space")
    @classmethod
    def _known_space(cls, name: str, known: ValidationInfo) -> str:
        # A network that was given as it is has a name that nothing is loaded by.
        return name if known.data.get("own") is not None else space_name(name)

    @field_validator("budgets")
    @classmethod
    def _well_formed(cls, budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
        if any(budget.is_own for budget in budgets):
            raise ValueError("a budget must bound a cost, got own")
        if len(set(budgets)) < len(budgets):
            raise ValueError("budgets must each be named once")
        return budgets

    @model_validator(mode="after")
    def _of_one_number(self) -> "StudyConfig":
        is_whole = self.budget_training is not None or self.hours is not None
        if is_whole and self.against is not None:
            raise ValueError("budget_training and hours must come with one objective, got against")
        return self

    @model_validator(mode="after")
    def _of_trainings(self) -> "StudyConfig":
        if self.own is None and self.judging == OWN:
            raise ValueError(
                "judge must be one that is known by name without a training function of your own"
            )
        if self.own is not None and self.judging in ("inherited", "slimmable"):
            raise ValueError(
                f"judge must be synflow, log-widths or a function of yours where a function of yours trains, got "
                f"{self.judging}, whose network would be trained by a recipe on images"
            )
        if self.own is not None and (self.hours is not None or self.against is not None):
            raise ValueError("hours and against must be left out where a function of yours trains")
        return self

    @model_validator(mode="after")
    def _judged_by_others(self) -> "StudyConfig":
        is_planned = self.budget_training is not None or self.hours is not None
        if self.judging == SCRATCH:
            if self.judged is not None or (self.judge_epochs is not None and not is_planned):
                raise ValueError("judged and judge_epochs must come with a judge other than scratch")
            return self
        if self.seeds > 1:
            raise ValueError("seeds must be 1 with a judge other than scratch")
        if self.judged is not None and self.against is not None:
            raise ValueError("judged must come with one objective, got against")
        if (is_planned or self.judged is not None) and self.sampler not in (None, "rule"):
            raise ValueError(
                f"sampler must be rule where some trials are judged by {self.judge} and others trained: "
                f"{self.sampler} would take both values for the same"
            )
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> "StudyConfig":
        if self.against is None:
            return self
        parsed = self.budgets
        is_range = len(parsed) == 2 and len({(one.kind, one.share is None) for one in parsed}) == 1
        if not is_range or any(one.more for one in parsed):
            raise ValueError(
                f"against {self.against} must come with two budgets of one cost, the ends of its range, both as "
                "shares or both as numbers"
            )
        if self.stopping != "none":
            raise ValueError(
                "stopping must be none with against: Optuna has no early stopping with two objectives"
            )
        if self.sampler in ("rule", "cma"):
            raise ValueError(
                f"sampler must be tpe, gp, nsga2 or random with against: {self.sampler} has one objective"
            )
        return self

    @property
    def judging(self) -> JudgeName:
        """What judges trials: trainings, where nothing is named."""
        return self.judge or SCRATCH

    @property
    def trial_recipe(self) -> Recipe:
        """How the network of a trial is trained."""
        return self.recipe.with_epochs(self.epochs)

    @property
    def full_epochs(self) -> int:
        """Of a training in full."""
        return self.recipe.epochs if self.own is None else self.own.full_epochs or self.epochs

    def length_words(self, epochs: int) -> str:
        """How long a training is, for people: by a function of somebody's own, perhaps of the one length it has."""
        is_known = self.own is None or self.own.has_epochs
        return f"{epochs} epoch{'s' * (epochs != 1)}" if is_known else "one training"

    @property
    def judge_recipe(self) -> Recipe:
        """How the judge's network is trained."""
        return self.recipe if self.judge_epochs is None else self.recipe.with_epochs(self.judge_epochs)

    @property
    def studies(self) -> dict[str, tuple[Budget, ...]]:
        """The name of each Optuna study, and its budget (the ends of its range, the smaller first)."""
        budgets = self.budgets
        if self.against is not None:
            return {self.name: tuple(sorted(budgets, key=lambda one: one.share or one.absolute or 0))}
        if len(budgets) == 1:
            return {self.name: (budgets[0],)}
        return {f"{self.name} {budget}": (budget,) for budget in budgets}

    def fixed(self) -> dict[str, Any]:
        """The settings that must not change within a study, as plain JSON."""
        content = self.model_dump(mode="json", exclude=set(FREE))
        if self.own is None:  # a folder may be elsewhere on another machine
            content["data"]["name"] = self.data.name.partition(":")[0]
        else:
            content |= {name: one for name, one in content.pop("own").items() if name != "ranks"}
        content["judge"] = None if self.judging == SCRATCH else self.judge
        of_before = type(self).model_fields
        return {
            key: one
            for key, one in content.items()
            if key not in LATER or (one or None) != (of_before[key].default or None)
        }


def read_study(name: str | Path, **changes: Any) -> StudyConfig:
    """A study from its file, or one that comes with nas-prune by its name.

    Args:
        name: the file, or a name such as `quickstart`.
        changes: settings that replace those of the file, where not None. `data_name` is where the images are.

    Raises:
        BadInputError: there is no such file, or something in it cannot be used; the message names the setting.
    """
    path = study_path(name)
    content = read_settings(path, "study file", "trials: 30")
    named = content.get("space")
    if changes.get("space") is not None and isinstance(named, str) and named != changes["space"]:
        raise BadInputError(
            f"--space must be the network of the study file {path}, {named}, got {changes['space']}. Name another one "
            "in a file of its own."
        )
    if changes.get("space") is None and isinstance(content.get("space"), str):
        check_trusted(content["space"], None, f"the study file {path}")
    recipe_changes = {key: content.pop(key) for key in ("batch_size", "learning_rate") if key in content}
    data_name = changes.pop("data_name", None)
    content = _changed({"name": path.stem, **content}, changes)
    content = with_recipe_beside(content, path)
    try:
        config = StudyConfig.model_validate(content)
    except ValidationError as error:
        raise BadInputError(
            f"study file {path} cannot be used: {first_problem(error, StudyConfig)}."
        ) from None
    return config.model_copy(
        update={
            "data": placed(config.data, path.parent, data_name),
            "guideline": _guideline(config.guideline, path.parent),
            "target": target_beside(config.target, path.parent),
            "recipe": changed(config.recipe, **recipe_changes),
        }
    )


def study_of(space: str, data_name: str | None, **changes: Any) -> StudyConfig:
    """The default study of a network and its images, without a file.

    Raises:
        BadInputError: something in it cannot be used; the message names the setting.
    """
    content = _changed({"space": space, **({} if data_name is None else {"data": data_name})}, changes)
    words = [space, *([] if data_name is None else [data_name.rstrip("/").rpartition("/")[2]])]
    name = "-".join(
        "".join(letter if letter.isalnum() else "-" for letter in word).strip("-") for word in words
    )
    try:
        config = StudyConfig.model_validate({"name": name, **content})
    except ValidationError as error:
        raise BadInputError(f"the study cannot be used: {first_problem(error, StudyConfig)}.") from None
    return config.model_copy(update={"data": placed(config.data, Path(), data_name)})


def again_in_python(run: Path) -> str:
    """How the study of a directory goes on whose trainings somebody's own function does."""
    return f"nas_prune.study(…, out={str(run)!r})"


_FROM_ONE_NUMBER = ("trials", "judged")
_ONE_NUMBER = ("budget_training", "hours")


def _changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with what was typed instead; a number that was typed replaces those that follow from it, and back.

    Raises:
        BadInputError: both were typed, or both stand in the file.
    """
    typed = {key: one for key, one in changes.items() if one is not None}
    kept = dict(content)
    if typed.keys() & set(_ONE_NUMBER):
        kept = {key: one for key, one in kept.items() if key not in (*_FROM_ONE_NUMBER, *_ONE_NUMBER)}
    elif "trials" in typed:
        is_planned, judge = kept.get("trials") is None, typed.get("judge", kept.get("judge"))
        # A plan may choose a judge, which these epochs are of; trials alone do not.
        left = (*_ONE_NUMBER, *(["judge_epochs"] if is_planned and judge in (None, SCRATCH) else []))
        kept = {key: one for key, one in kept.items() if key not in left}
    found = {**kept, **typed}
    both = [name for name in _FROM_ONE_NUMBER if name in found]
    numbers = [name for name in _ONE_NUMBER if name in found]
    if (both and numbers) or len(numbers) > 1:
        named = [*both, *numbers]
        raise BadInputError(
            f"a study must say {numbers[0]} or {(both or numbers[1:])[0]}, got {' and '.join(named)}: "
            "how many trials there are follows from the one number. Leave one out."
        )
    return found


def with_recipe_beside(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings, a recipe's file named relative to the directory of their own file."""
    recipe = content.get("recipe")
    if isinstance(recipe, str) and recipe.endswith((".yaml", ".yml")):
        return {**content, "recipe": str(path.parent / recipe)}
    return content


def _guideline(name: str | None, folder: Path) -> str | None:
    return name if name is None or name in RULES else str(folder / name)
