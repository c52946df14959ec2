"""What `tools/shootout.py` compares, and where it keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas_prune.data.config import DataConfig
from nas_prune.runs.directory import RESULT
from nas_prune.runs.reading import load_yaml
from nas_prune.space.load import load_space
from nas_prune.space.search_space import SearchSpace
from nas_prune.training.recipe import Recipe, recipe_named

PLAN = Path(__file__).resolve().parents[1] / "studies" / "shootout" / "plan.yaml"
SEARCHED, FINAL = "search", "final"  # the images of a task: for all that chooses, and for the last training
SEEDS_OF_AN_ARM, SEEDS_OF_A_TASK = 1000, 100_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Images(_Strict):
    """The images of a task.

    Attributes:
        data: which of the data sets that are named on the command line.
        image_size: in pixels.
        train: how many to train and validate with.
        test: how many the test part is to have, before it is halved.
        spare: how many of those that are in neither searches have for a test part; a pilot is measured on them.
        classes: how many kinds of things they show.
    """

    data: str
    image_size: int
    train: int
    test: int
    spare: int = 200
    classes: int = 10


class Task(_Strict):
    """A network on images, and what its widths may cost.

    Attributes:
        space, width_multiplier: the network.
        images: what it is trained on.
        epochs: of a whole training.
        budget: of the widths.
        target: the runtime that a table is measured of, where the budget bounds its latency; None for no device.
        guideline_from: the images of another task, on which the search of the carried guideline is made.
        arms: the arms that it has, none of which is tested; None for all.
    """

    space: str
    width_multiplier: float = 1.0
    images: Images
    epochs: int
    budget: str
    target: str | None = None
    guideline_from: str
    arms: tuple[str, ...] | None = None

    def network(self) -> SearchSpace:
        """The network, with an output for each class, as commands load it that have its images."""
        shape = (3, self.images.image_size, self.images.image_size)
        classes, factor = self.images.classes, self.width_multiplier
        return load_space(self.space, shape, num_classes=classes, width_multiplier=factor)


class Arm(_Strict):
    """One way to spend a total.

    Attributes:
        how: `uniform`, `random`, `search`, `study`, `sampled`, `torch-pruning`, `torch-pruning-sparse`,
            `guideline`, `narrower`, `growth`.
        charged: whether what was trained before counts.
        settings: of a search, or of a study beside its share; the groups of uniform and random widths.
        share: of the total, that a sampler's trials may take.
        total: in trainings of the whole network; the plan's if None.
        start: what the last training starts from, and how: `scratch`; or, after a search, from its weights by the
            whole recipe (`rewound`) or at a constant hundredth of the rate (`fine-tuned`).
        width_multiplier: of the network that `narrower` and `guideline` search, beside the task's.
        secondary: shown, not tested.
        tasks: those that have it; all if None.
    """

    how: str
    charged: bool = True
    settings: Mapping[str, Any] = Field(default_factory=dict)
    share: float = 0.5
    total: float | None = None
    start: Literal["scratch", "rewound", "fine-tuned"] = "scratch"
    width_multiplier: float = 1.0
    secondary: bool = False
    tasks: tuple[str, ...] | None = None


class Plan(_Strict):
    """Everything that was decided before the run; `studies/shootout/plan.yaml` explains each field.

    Attributes:
        is_pilot: nothing of it is evidence: accuracies are those of spare images, and no test image is read.
        precision: of all trainings.
        secondary_repetitions: of arms that are shown and not tested.
    """

    is_pilot: bool = False
    precision: Literal["float32", "bf16"] = "float32"
    secondary_repetitions: int = 4
    question: str
    recipe: str
    total: float
    repetitions: int
    first_seed: int
    tasks: Mapping[str, Task]
    arms: Mapping[str, Arm]
    contrasts: tuple[tuple[str, str], ...] = ()
    control: tuple[str, str] | None = None

    def repetitions_of(self, task: str, arm: str) -> int:
        """How many an arm has on a task."""
        of_task, of_arm = self.tasks[task].arms, self.arms[arm].tasks
        if (of_task is not None and arm not in of_task) or (of_arm is not None and task not in of_arm):
            return 0
        is_shown_alone = of_task is not None or self.arms[arm].secondary
        return self.secondary_repetitions if is_shown_alone else self.repetitions

    def recipe_of(self, task: Task) -> Recipe:
        """How the whole network of a task is trained."""
        return recipe_named(self.recipe).with_epochs(task.epochs)


def read_plan(path: Path) -> Plan:
    """A plan from its file."""
    return Plan.model_validate(load_yaml(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Unit:
    """One repetition of an arm on a task: a search of its own, and one last training.

    Attributes:
        plan: what was decided.
        task, arm: their names.
        number: which repetition.
        out: the directory of the whole shoot-out.
    """

    plan: Plan
    task: str
    arm: str
    number: int
    out: Path

    @property
    def what(self) -> Task:
        """The task."""
        return self.plan.tasks[self.task]

    @property
    def how(self) -> Arm:
        """The arm."""
        return self.plan.arms[self.arm]

    @property
    def folder(self) -> Path:
        """Where all of it is kept."""
        return self.out / self.task / self.arm / str(self.number)

    @property
    def result(self) -> Path:
        """The file of what came out; there is none before the end."""
        return self.folder / RESULT

    @property
    def failure(self) -> Path:
        """The file of why it failed the last time, if it did."""
        return self.folder / "failed.json"

    @property
    def seed(self) -> int:
        """Of its search and what that draws; races within studies have other ones (PLAN.md, changes)."""
        task, arm = list(self.plan.tasks).index(self.task), list(self.plan.arms).index(self.arm)
        return self.plan.first_seed + SEEDS_OF_A_TASK * task + SEEDS_OF_AN_ARM * arm + self.number

    @property
    def last_seed(self) -> int:
        """Of the last training: none by which its widths were chosen, nor another's."""
        return self.seed + SEEDS_OF_AN_ARM // 2

    @property
    def recipe(self) -> Recipe:
        """How the whole network is trained."""
        return self.plan.recipe_of(self.what)

    @property
    def total(self) -> float:
        """What all of it may take, in trainings of the whole network."""
        return self.how.total or self.plan.total

    @property
    def last_images(self) -> str:
        """The images that the last training is measured on: in a pilot, none of the test part."""
        return SEARCHED if self.plan.is_pilot else FINAL

    def images(self, part: str, task: str | None = None) -> DataConfig:
        """The images of this task, or of another.

        Args:
            part: `SEARCHED`, whose test part holds no test image, or `FINAL`.
            task: another's name.
        """
        what = self.plan.tasks[task or self.task]
        folder = self.out / "images" / (task or self.task) / part
        return DataConfig(name=f"folder:{folder}", image_size=what.images.image_size)

    @property
    def images_folder(self) -> Path:
        """Where the images of this task are."""
        return self.out / "images" / self.task

    @property
    def board(self) -> Path:
        """The latency table of the task."""
        return self.out / "boards" / self.task


def units(plan: Plan, out: Path, tasks: tuple[str, ...], arms: tuple[str, ...]) -> list[Unit]:
    """All repetitions, the first one of every arm before the second of any."""
    return [
        Unit(plan, task, arm, number, out)
        for number in range(max(plan.repetitions, plan.secondary_repetitions))
        for task in tasks
        for arm in arms
        if number < plan.repetitions_of(task, arm)
    ]
