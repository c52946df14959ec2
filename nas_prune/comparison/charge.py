"""What had to be trained before an arm could be: searches, studies, whole networks.

In multiply-accumulates of training, forward, and twice that backward (`training.schedules.training_macs`). Scoring
channels, and tracing and evaluating networks, are left out: they take less than an epoch.
"""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from nas_prune.guideline.apply import Pattern
from nas_prune.guideline.artefact import Guideline
from nas_prune.space.widths import Widths
from nas_prune.training.schedules import macs_of_search


class Charge(BaseModel):
    """One thing that had to be trained.

    Attributes:
        what: in words.
        macs: what its training took; None where that is not known, which is not nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    macs: int | None = Field(default=None, ge=0)

    def __str__(self) -> str:
        return self.what if self.macs is not None else f"{self.what}: not known"


def total(charges: Iterable[Charge]) -> int | None:
    """All together; None if one is not known.

    Example:
        >>> total([Charge(what="a search", macs=5), Charge(what="another", macs=6)])
        11
    """
    parts = [one.macs for one in charges]
    known = [macs for macs in parts if macs is not None]
    return sum(known) if len(known) == len(parts) else None


def search_behind(widths: Widths) -> Charge:
    """The search that found some widths."""
    how = "unknown origin" if widths.method is None else widths.method.words
    seed = "" if widths.seed is None else f", seed {widths.seed}"
    return Charge(what=f"search ({how}{seed})", macs=macs_of_search(widths))


def searches_behind(pattern: Pattern) -> tuple[Charge, ...]:
    """The searches that a guideline was fitted to, each once, however many budgets it was cut at.

    A rule from the literature has none. Of one written by hand nothing is known, and next to nothing of files from
    before their sources held what they took. Searches by several methods over one network (`--method all`) are charged
    each as if it had trained alone: the sources do not tell.
    """
    if not isinstance(pattern, Guideline):
        return ()
    if not pattern.sources:
        return (Charge(what="what the guideline, written by hand, goes by"),)
    each = {
        (one.network, one.input, one.data, one.method, one.seed, one.epochs, one.training_macs)
        for one in pattern.sources
    }
    known = [macs for *_, macs in each if macs is not None]
    what = f"{len(each)} search{'es' * (len(each) > 1)} behind the guideline"
    return (Charge(what=what, macs=sum(known) if len(known) == len(each) else None),)
