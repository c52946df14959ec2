"""Whole networks that arms inherit from: one for each seed, trained like the search that found the widths."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import RESULT
from nas_prune.runs.files import saying_why
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import CONFIG
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import FixedInputs
from nas_prune.search.run import best_of_trained, resume_search, search
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.training.config import RunConfig
from nas_prune.training.recipe import Recipe


def source_for(found: SearchConfig, run: RunConfig, recipe: Recipe) -> SearchConfig:
    """How the whole networks are trained: as in a search, but to the end, and by the comparison's recipe.

    If that is not the search's recipe, the strength of the penalty is chosen again, as in a new search (0 stays 0).
    Channels that the search removed in steps stay.

    Raises:
        BadInputError: the search's method trains no network.
    """
    method = method_named(found.method)
    if not method.trains:
        raise BadInputError(f"its method, {found.method}, trains no network")
    is_same = found.search_recipe == recipe
    return SearchConfig(
        **run.model_dump(include=set(RunConfig.model_fields)),
        **found.network_settings(),
        **found.model_dump(include={"method", "scope", "budgets", "cost"}),
        recipe=recipe,
        sparsity=found.sparsity if is_same or found.sparsity == 0 else None,
        stop=False if method.shows_widths(found.scope) else None,
        seed=found.seed,
    )


def finish_search(
    folder: Path, config: SearchConfig, data: ImageData, space: SearchSpace, progress: Progress
) -> None:
    """Search in a directory, or resume the search there."""
    if not (folder / RESULT).exists():
        with saying_why(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        loaded, progress = FixedInputs(given=(data, space)), progress.without_words()
        if (folder / CONFIG).exists():
            resume_search(
                folder, data_name=config.data.name, space=config.space, loaded=loaded, progress=progress
            )
        else:
            search(config, folder, loaded=loaded, progress=progress)


def beginnings(
    folder: Path, widths: Widths, data: ImageData, space: SearchSpace, seed: int
) -> dict[str, Callable[[], nn.Module]]:
    """What arms of found widths start from: {`trained` or `initial`: a function that makes the network}.

    `initial` has the initial weights of the channels that were kept, and norms as in a new network.
    """
    model, kept_G = best_of_trained(folder, widths, FixedInputs(given=(data, space)))
    return {
        "trained": partial(space.narrow, model, kept_G, widths.removed_blocks),
        "initial": partial(space.narrow, space.build(seed=seed), kept_G, widths.removed_blocks),
    }
