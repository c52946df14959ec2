"""A study for little training: in the same network a quarter as wide, around what a search finds there.

A network a quarter as wide takes a sixteenth of the MACs, so that a search in it, and a study's judge, trials and race,
take little of the training that is to be shared out: that optimised widths carry over from narrower networks is an
observation of Chin et al. (Width Transfer, CVPR workshops 2021, arXiv 2104.13255). What is found is a share of each
group's width; the network itself gets these shares, by one factor that meets its own budget.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas_prune.comparison.lengths import lengths
from nas_prune.comparison.winner import search_beside, winner_file
from nas_prune.data import ImageData
from nas_prune.data.guessing import is_guess
from nas_prune.guideline.fit import fit_guideline
from nas_prune.hardware.use import network_for
from nas_prune.runs.directory import RESULT
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import read_json
from nas_prune.runs.settings import CONFIG
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.run import resume_search, search
from nas_prune.space.budget import Budget
from nas_prune.space.cut import carried, matched
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import MethodRecord, Widths, read_widths
from nas_prune.study.config import StudyConfig
from nas_prune.study.run import run_study
from nas_prune.training.config import RunConfig

SHARE = 0.12  # of equal training, that the search and the study take; the winner is trained with the rest
_FACTORS = (0.25, 0.5)
_LEAST_WIDTH = 4  # of a searched group, or shares say nothing
_LEAST_WHOLES = 2.0  # trainings of the narrow network, of which a search may take one
_OF_ALL_TRAININGS = ("data", "device", "threads", "precision", "channels_last", "compiles")


def of_all_trainings(config: RunConfig) -> dict[str, Any]:
    """The settings that a search or a study within a comparison shares with all its trainings."""
    return {name: value for name, value in config.of_trainings().items() if name in _OF_ALL_TRAININGS}


def narrow_factor(space: SearchSpace, columns: Sequence[int]) -> float:
    """By how much a network is narrowed so that no searched group has fewer than four channels; 1 for not at all."""
    least = min(space.base_G[column] for column in columns)
    return next((factor for factor in _FACTORS if factor * least >= _LEAST_WIDTH), 1.0)


def found_narrowly(
    config: SearchConfig,
    space: SearchSpace,
    data: ImageData,
    bound: Budget,
    *,
    total: float,
    study: Path,
    progress: Progress = SILENT,
) -> Widths:
    """The widths that a study finds in a narrower network; made, or gone on with.

    Args:
        config: a search in the network itself, on the images by the recipe; its seed is that of all trainings.
        space: the network.
        data: the images.
        bound: what the widths may cost.
        total: what search and study may take together, in trainings of the network.
        study: the study's directory; that of the search, and the guideline, lie beside it.
        progress: reports how far the work is.

    Raises:
        BadInputError: the total does not pay for a study.
    """
    columns, whole = space.searched(config.groups), space.cost_at(space.base_G).macs
    factor = narrow_factor(space, columns)
    share = space.cost_at(matched(space, columns, bound).widths_G).macs / whole
    changes = {"width_multiplier": factor * config.width_multiplier, "budgets": (Budget("macs", share),)}
    narrow = config.model_copy(update={**changes, "target": None})
    small = network_for(narrow, data)
    wholes = total * whole / small.cost_at(small.base_G).macs
    pays_for_search = wholes >= _LEAST_WHOLES
    guideline = _guideline(narrow, study, progress) if pays_for_search else None
    settings = _study(narrow, wholes - pays_for_search, share, guideline, study.name)
    run_study(settings, study, progress=progress.without_words())
    cut = carried(space, columns, bound, read_widths(winner_file(study)))
    method = MethodRecord(name="study", is_automatic=True, settings={"study": study.name, "narrow": factor})
    return space.widths(cut.widths_G, budget=str(bound), method=method)


def _guideline(narrow: SearchConfig, study: Path, progress: Progress) -> Path | None:
    """The guideline of a search in the narrow network; None where that is no better than guessing."""
    run, path = search_beside(study), study.with_name(f"{study.name}-guideline.yaml")
    if not (run / RESULT).exists():
        study.parent.mkdir(parents=True, exist_ok=True)
        if (run / CONFIG).exists():
            resume_search(run, space=narrow.space, progress=progress.without_words())
        else:
            search(resolve(narrow), run, progress=progress.without_words())
    if not path.exists():
        if is_guess(read_json(run / RESULT)["base"]):
            return None
        fit_guideline([run]).write(path)
    return path


def _study(
    narrow: SearchConfig, total: float, share: float, guideline: Path | None, name: str
) -> StudyConfig:
    """The study around a guideline, for what the search has left."""
    return StudyConfig.model_validate(
        {
            **of_all_trainings(narrow),
            **narrow.network_settings(),
            **lengths(total, share, narrow.recipe.epochs),
            "name": name,
            "recipe": narrow.recipe,
            "budgets": narrow.budgets,
            "guideline": None if guideline is None else str(guideline),
            "budget_training": total,
            "seed": narrow.seed,
        }
    )
