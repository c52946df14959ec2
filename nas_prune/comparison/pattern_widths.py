"""Structured beside unstructured: the widths that network slimming finds at what the patterns of a seed cost.

One search for each seed, on the same images and the same validation split, trains the whole network once more and is
cut at the MACs and at the bytes of every pattern; the dense networks of these widths are arms of the comparison.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from nas_prune.errors import BudgetError, NothingToSearchError
from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.pattern import Pattern
from nas_prune.runs.files import write_whole
from nas_prune.runs.progress import Progress
from nas_prune.runs.reading import read_json
from nas_prune.runs.settings import CONFIG
from nas_prune.search.config import SearchConfig
from nas_prune.search.prepared import LoadedInputs
from nas_prune.search.result import file_stem
from nas_prune.search.run import check_search, resume_search, search
from nas_prune.space.budget import Budget
from nas_prune.space.widths import Widths, read_widths

METHOD = "slimming"
COSTS: Mapping[str, str] = {"slimming-macs": "macs", "slimming-size": "size"}  # by arm, what is equal
_LEFT_OUT = "left-out.json"


def bound_by(pattern: Pattern, kind: str) -> Budget:
    """What widths may cost that are set beside a pattern: its MACs or its bytes."""
    return Budget(kind, absolute=pattern.cost.macs if kind == "macs" else pattern.cost.size_bytes)


def search_widths(
    config: SparsifyConfig,
    patterns: Mapping[str, Pattern],
    folder: Path,
    typed: str | None,
    progress: Progress,
) -> None:
    """Search for widths that cost as much as the patterns of a seed, or go on with it.

    Args:
        config: the search that found the patterns; the whole network is trained as long as there, with the same seed.
        patterns: by budget.
        folder: of the search; where none of the costs can be met, or the method cannot look at this network, it gets a
            file that says why.
        typed: the network again, if it is one of your own.
        progress: reports how far the work is.
    """
    if (folder / CONFIG).exists():
        resume_search(folder, data_name=config.data.name, space=typed, progress=progress)
        return
    settings = SearchConfig(
        **{**config.network_settings(), "groups": "all"},
        data=config.data,
        method=METHOD,
        recipe=config.recipe,
        epochs=config.epochs,
        weights=config.weights,
        seed=config.seed,
        device=config.device,
        threads=config.threads,
        precision=config.precision,
        channels_last=config.channels_last,
        compiles=config.compiles,
    )
    loaded, reasons, bounds = LoadedInputs(), list[str](), list[Budget]()
    for bound in [bound_by(pattern, kind) for pattern in patterns.values() for kind in COSTS.values()]:
        try:
            check_search(settings.model_copy(update={"budgets": (bound,)}), loaded)
        except (BudgetError, NothingToSearchError) as error:
            reasons.append(str(error))
        else:
            bounds.append(bound)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if bounds:
        found = settings.model_copy(update={"budgets": tuple(bounds)})
        search(found, folder, loaded=loaded, progress=progress.without_words())
    else:
        folder.mkdir(exist_ok=True)
        write_whole(folder / _LEFT_OUT, json.dumps({"why": reasons[0]}) + "\n")


def why_no_widths(folder: Path) -> str | None:
    """Why a search for widths was left out; None if it was not."""
    try:
        return str(read_json(folder / _LEFT_OUT)["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def widths_beside(pattern: Pattern, kind: str, folder: Path) -> Widths:
    """The widths that a search found at what a pattern costs.

    Raises:
        BudgetError: there are none.
    """
    why, bound = why_no_widths(folder), bound_by(pattern, kind)
    if why is not None:
        raise BudgetError(why)
    path = folder / "widths" / f"{file_stem(bound)}.json"
    if not path.exists():
        raise BudgetError(f"no widths that {METHOD} can find cost as little as {bound}.")
    return read_widths(path)
