"""What every trial of a study needs, loaded: the network, the images, the guideline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from pathlib import Path

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.guideline.apply import Pattern
from nas_prune.guideline.artefact import read_guideline
from nas_prune.guideline.hand import RULES
from nas_prune.hardware.use import network_for
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import read_config
from nas_prune.space.budget import Budget
from nas_prune.space.load import images_for
from nas_prune.space.search_space import SearchSpace
from nas_prune.study.config import GUIDELINE, StudyConfig, again_in_python
from nas_prune.study.engine import Engine
from nas_prune.study.own_trainer import OwnTrainer
from nas_prune.study.parameters import ParametrisedNetwork, parametrised
from nas_prune.study.trainer import Trainer

BUDGET = "log cost"  # the parameter of a study against a cost


@dataclass(frozen=True, slots=True)
class StudyContext:
    """What every trial of a study needs.

    Attributes:
        run: the study's directory.
        config: its settings.
        space, pattern: what they name.
        trainer: what trains networks.
    """

    run: Path
    config: StudyConfig
    space: SearchSpace
    trainer: Trainer
    pattern: Pattern | None
    _known: dict[Budget, ParametrisedNetwork] = field(default_factory=dict, repr=False, compare=False)

    def parametrised(self, budget: Budget) -> ParametrisedNetwork:
        """How parameters become widths at a budget; worked out once for each of the study's own budgets."""
        config = self.config
        if budget in self._known:
            return self._known[budget]
        found = parametrised(
            self.pattern, self.space, budget, groups=config.groups, by_layer=config.parameters == "layers"
        )
        if budget in config.budgets:
            self._known[budget] = found
        return found

    @property
    def data(self) -> ImageData:
        """The images, where nas-prune trains on some."""
        assert isinstance(self.trainer, Engine)
        return self.trainer.data

    @property
    def own(self) -> OwnTrainer:
        """The function that trains, where one of somebody's own does."""
        assert isinstance(self.trainer, OwnTrainer)
        return self.trainer

    @property
    def whole_training(self) -> int:
        """MACs of one training of the whole network in full: the unit of a study's budget."""
        macs = self.space.cost_at(self.space.base_G).macs
        return self.trainer.macs(macs, self.config.full_epochs)

    def ends(self, budgets: Sequence[Budget]) -> tuple[float, float]:
        """The logarithms of the two costs between which a study against a cost samples."""
        low, high = (log(self.space.limit(budget)) for budget in budgets)
        return low, high


def load_study(
    run: Path, *, data_name: str | None = None, space: str | None = None, progress: Progress = SILENT
) -> StudyContext:
    """What the study of a directory needs, loaded again.

    Raises:
        BadInputError: it cannot be; among others, its trainings are done by a function, which stands in no file.
    """
    if read_config(run, StudyConfig).own is not None:
        raise BadInputError(
            f"the study in {run} must go on in Python, where the function is that trains its networks: "
            f"{again_in_python(run)}."
        )
    config = reopen(run, StudyConfig, trusted=space, data_name=data_name, progress=progress, cleans=False)
    data, network = images_and_network(config, progress)
    return StudyContext(run, config, network, Engine(data), pattern_in(run, config))


def pattern_in(run: Path, config: StudyConfig) -> Pattern | None:
    """The guideline of the study of a directory."""
    if config.guideline is None or config.guideline in RULES:
        return RULES[config.guideline] if config.guideline else None
    return read_guideline(run / GUIDELINE)


def images_and_network(config: StudyConfig, progress: Progress) -> tuple[ImageData, SearchSpace]:
    """The images and the network that a study names.

    Raises:
        NasPruneError: one of them cannot be loaded, or the network cannot be trained.
    """
    data = images_for(config.space, config.data, config.seed, progress)
    with progress.waiting("tracing the network"):
        space = network_for(config, data)
    space.check_trainable(data.task.puts_out)
    return data, space
