"""Whole networks that arms inherit from: one for each seed, trained like the search that found the widths."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from nas_prune.data import ImageData
from nas_prune.errors import BadInputError
from nas_prune.hardware.use import target_in
from nas_prune.runs.directory import RESULT
from nas_prune.runs.files import saying_why
from nas_prune.runs.progress import Progress
from nas_prune.runs.settings import CONFIG, read_config
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.registry import method_named
from nas_prune.search.prepared import FixedInputs
from nas_prune.search.run import best_of_trained, resume_search, search
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.training.config import RunConfig
from nas_prune.training.given_weights import START, read_start
from nas_prune.training.recipe import Recipe


def source_for(
    found: SearchConfig, run: RunConfig, recipe: Recipe, *, other_weights: bool = False
) -> SearchConfig:
    """How the whole networks are trained: as in a search, but to the end, and by the comparison's recipe.

    If that is not the search's recipe, the strength of the penalty is chosen again, as in a new search (0 stays 0).
    Channels that the search removed in steps stay.

    Args:
        found: the search; its weights are those that the whole networks start from.
        run: the comparison.
        recipe: of the comparison.
        other_weights: whether these are others than the search itself started from.

    Raises:
        BadInputError: the search's method trains no network.
    """
    method = method_named(found.method)
    if not method.trains:
        raise BadInputError(f"its method, {found.method}, trains no network")
    made = SearchConfig(
        **run.of_trainings(),
        **found.network_settings(),
        **found.model_dump(include={"method", "scope", "budgets", "cost", "weights"}),
        recipe=recipe,
        stop=False if method.shows_widths(found.scope) else None,
        seed=found.seed,
    )
    is_same = found.search_recipe == made.search_recipe and not other_weights
    return made.model_copy(update={"sparsity": found.sparsity if is_same or found.sparsity == 0 else None})


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
    folder: Path, widths: Widths, data: ImageData, space: SearchSpace, whole: nn.Module
) -> dict[str, Callable[[], nn.Module]]:
    """What arms of found widths start from: {`trained` or `initial`: a function that makes the network}.

    Args:
        folder: the search that trained a whole network.
        widths: those found.
        data: the images.
        space: the network.
        whole: as it was before that training: `initial` is its channels that were kept.
    """
    model, kept_G = best_of_trained(folder, widths, FixedInputs(given=(data, space)))
    return {
        "trained": partial(space.narrow, model, kept_G, widths.removed_blocks),
        "initial": partial(space.narrow, whole, kept_G, widths.removed_blocks),
    }


def whole_before(run: Path, config: SearchConfig | None, space: SearchSpace, seed: int) -> nn.Module:
    """A whole network before its first step: of random weights, or of those that a comparison's search was given.

    Args:
        run: the comparison's directory, where those are.
        config: how its whole networks are trained.
        space: the network.
        seed: of what is drawn.
    """
    network = space.build(seed=seed)
    if config is None or config.weights is None:
        return network
    return read_start(run, network).put(network)


def with_weights(config: SearchConfig, run: Path) -> SearchConfig:
    """The settings of a search of a comparison, whose weights, if it is given some, are in the comparison's run."""
    return config if config.weights is None else config.model_copy(update={"weights": str(run / START)})


def search_in(home: Path) -> SearchConfig:
    """The settings of a search, with the weights and the target that it keeps."""
    search = with_weights(read_config(home, SearchConfig), home)
    return search.model_copy(update={"target": target_in(home)})
