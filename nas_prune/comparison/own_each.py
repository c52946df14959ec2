"""Arms that find what they train anew for each seed: a study of its own, or Torch-Pruning's cut of a trained network.

Everything that had to be trained for a seed lies in the comparison's directory, goes on after a kill, and is charged.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from nas_prune.comparison.arms import path_of
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.lengths import lengths
from nas_prune.comparison.narrow import SHARE, found_narrowly, of_all_trainings
from nas_prune.comparison.plan import bound_of, driving_axis, groups_of
from nas_prune.comparison.torch_pruning import DEFAULT, Way, cut_by_torch_pruning
from nas_prune.comparison.winner import number_of, study_of_seed, winner_file
from nas_prune.data import ImageData
from nas_prune.runs.directory import NETWORK, RESULT
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.search.config import SearchConfig
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import MethodRecord, Widths, read_widths
from nas_prune.study.config import StudyConfig
from nas_prune.study.run import run_study
from nas_prune.training.config import TrainConfig
from nas_prune.training.job import Inputs
from nas_prune.training.network_file import read_network, set_weights
from nas_prune.training.result import read_trained
from nas_prune.training.run import train_member

_USUAL = 10.0  # trainings of the whole network, where nothing bounds a study


class Compared(Protocol):
    """What is compared, with everything loaded."""

    @property
    def run(self) -> Path:
        """The directory of the comparison."""

    @property
    def config(self) -> CompareConfig:
        """Its settings."""

    @property
    def widths(self) -> Widths:
        """Those that it is about."""

    @property
    def space(self) -> SearchSpace:
        """Their network."""

    @property
    def data(self) -> ImageData:
        """The images."""


def found_by_study(job: Compared, seed: int, progress: Progress) -> Widths:
    """The winner of a study of its own, which is run or gone on with."""
    path = path_of(job.run, "study", seed)
    if not path.exists():
        folder = study_of_seed(job.run, seed)
        folder.parent.mkdir(exist_ok=True)
        found = _narrowly(job, seed, progress) if job.config.equal_training else _usual(job, seed, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        job.space.priced(found).write(path)
    return read_widths(path)


def _usual(job: Compared, seed: int, progress: Progress) -> Widths:
    """The winner of a study in the network itself, for ten trainings of it."""
    folder, number, config = study_of_seed(job.run, seed), number_of(seed), job.config
    study = StudyConfig.model_validate(
        {
            **of_all_trainings(config),
            **_network(job),
            **lengths(_USUAL, _share(job), config.recipe.epochs),
            "name": f"study-{number}",
            "recipe": config.recipe,
            "budgets": (_bound(job),),
            "budget_training": _USUAL,
            "seed": number,
        }
    )
    run_study(study, folder, progress=progress.without_words())
    return read_widths(winner_file(folder))


def _narrowly(job: Compared, seed: int, progress: Progress) -> Widths:
    """The winner of a study in a narrower network, for little of the training that an arm has."""
    number, config = number_of(seed), job.config
    assert config.equal_training is not None
    settings = SearchConfig.model_validate(
        {
            **of_all_trainings(config),
            **_network(job),
            "recipe": config.recipe,
            "budgets": (_bound(job),),
            "stop": False,
            "seed": number,
        }
    )
    return found_narrowly(
        settings,
        job.space,
        job.data,
        _bound(job),
        total=SHARE * config.equal_training,
        study=study_of_seed(job.run, seed),
        progress=progress,
    )


def _share(job: Compared) -> float:
    """Of the MACs, that the widths keep."""
    return job.widths.cost.macs / job.widths.base_cost.macs


def _network(job: Compared) -> dict[str, Any]:
    """Which network is narrowed, and how, as settings have it."""
    if job.config.search is not None:
        return {**job.config.search.network_settings(), "target": job.config.target}
    space = job.widths.space
    return {
        "space": space.name,
        "width_multiplier": space.width_multiplier,
        "groups": groups_of(job.widths),
        "target": job.config.target,
        **({} if job.widths.limits is None else job.widths.limits.model_dump(exclude_none=True)),
    }


def _bound(job: Compared) -> Budget:
    """As much as the widths cost that the comparison is about."""
    return bound_of(driving_axis(job.widths, job.space), job.widths, job.space)


def cut_by_peer(
    job: Compared, seed: int, begin: Callable[[], nn.Module], progress: Progress
) -> Callable[[], nn.Module]:
    """What makes the network that Torch-Pruning leaves of a whole one, trained for it; its widths are written."""
    settings = TrainConfig(
        **job.config.of_trainings(),
        recipe=job.config.recipe,
        schedule="scratch-e",
        seeds=(seed,),
        data_seed=job.config.data_seed,
    )
    widths, cut = cut_of_whole(
        settings,
        Inputs(job.data, job.space, begin),
        _bound(job),
        folder=job.run / "torch-pruning",
        progress=progress,
    )
    path = path_of(job.run, "torch-pruning", seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    widths.write(path)
    return cut


def cut_of_whole(
    settings: TrainConfig,
    inputs: Inputs,
    budget: Budget,
    *,
    folder: Path,
    way: Way = DEFAULT,
    progress: Progress = SILENT,
) -> tuple[Widths, Callable[[], nn.Module]]:
    """What Torch-Pruning leaves of a whole network: the widths, and what makes the network with its weights.

    Args:
        settings: how the whole network is trained, for one seed; a trained one that is in the folder is taken.
        inputs: images, network, and what the whole network starts from.
        budget: what the cut network may cost.
        folder: where the whole network is kept.
        way: how it is cut.
        progress: reports how far its training is.
    """
    space = inputs.network
    assert space is not None
    result = folder / f"seed-{settings.seeds[0]}" / RESULT
    if read_trained(result) is None:
        whole = space.widths(space.base_G)
        train_member(settings, whole, folder, inputs, result=result, progress=progress, keeps_network=True)
    network = space.build(seed=0)
    set_weights(network, read_network(result.parent / NETWORK, network))
    found = cut_by_torch_pruning(network, space, budget, way)
    method = MethodRecord(name="torch-pruning", is_automatic=True, settings=asdict(way))
    widths = space.widths(found.widths_G, budget=str(budget), method=method)
    return widths, partial(deepcopy, found.network)
