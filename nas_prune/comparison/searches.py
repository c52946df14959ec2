"""The searches of a comparison after the first: the same settings with other seeds, so that its interval holds them.

Widths of the same cost (uniform, random, a guideline's) cost what the first search's do. The budget is the same for
all, so that of the cost it bounds the others differ by the gap a search leaves below it; of other costs they may differ
by more, which the comparison says.
"""

from nas_prune.comparison.arms import SEEDS_OF_A_SEARCH, path_of
from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.job import Job, command_for
from nas_prune.comparison.parents import finish_search, with_weights
from nas_prune.data import ImageData
from nas_prune.data.identity import identity_of
from nas_prune.errors import BadInputError
from nas_prune.runs.progress import Progress
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.config import SearchConfig
from nas_prune.search.result import file_stem
from nas_prune.space.budget import Budget
from nas_prune.space.widths import read_widths


def check_searches(config: CompareConfig, data: ImageData) -> None:
    """Refuse several searches where the first cannot be repeated.

    Raises:
        BadInputError: it is not known, or was on other images.
    """
    if config.searches == 1:
        return
    if config.search is None:
        raise BadInputError(
            f"--searches {config.searches} must come with a search that is known (RUN, or --widths FILE --from RUN; a "
            "comparison of an earlier version does not know its own), got none."
        )
    if config.search.budgets == (Budget.parse("own"),):
        raise BadInputError(
            f"--searches {config.searches} must come with a search at a budget that bounds a cost, got own: each "
            "search would find widths of another cost."
        )
    if config.search.images and config.search.images != identity_of(data):
        raise BadInputError(
            f"--searches {config.searches} must be on the images that the first search was on, "
            f"{config.search.images}, got {identity_of(data)}."
        )


def make_searches(job: Job, progress: Progress) -> None:
    """Search as often as asked for, and write the widths found; what is already found is kept."""
    for number in range(1, job.config.searches):
        path = path_of(job.run, "found", SEEDS_OF_A_SEARCH * number)
        if path.exists():
            continue
        assert job.config.search is not None
        settings = _again(job, job.config.search, number)
        folder = job.run / "searches" / f"seed-{settings.seed}"
        with resume_hint(command_for(job.run, job.widths, job.config.command)):
            finish_search(folder, settings, job.data, job.space, progress.under(f"search {number + 1}"))
        budget = Budget.parse(str(job.widths.budget))
        found = read_widths(folder / "widths" / f"{file_stem(budget)}.json")
        job.space.priced(found).write(path)


def _again(job: Job, first: SearchConfig, number: int) -> SearchConfig:
    """The settings of a search with a seed of its own.

    It has all budgets of the first: whether widths are stable is asked of all, and what is softened follows the first.
    """
    budget = Budget.parse(str(job.widths.budget))
    changes = {
        "seed": first.seed + number,
        "data": job.config.data,
        "threads": job.config.threads,
        "images": job.config.images,
        "budgets": first.budgets if budget in first.budgets else (budget,),
    }
    return with_weights(first, job.run).model_copy(update=changes)
