"""The study behind a winner: what it took, and with which seeds it chose."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from nas_prune.comparison.charge import Charge, search_behind, searches_behind
from nas_prune.comparison.config import STUDY_SEED
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.guideline.artefact import read_guideline
from nas_prune.runs.directory import RESULT, WIDTHS
from nas_prune.runs.reading import read_json
from nas_prune.runs.settings import command_of, read_config
from nas_prune.space.widths import read_widths

if TYPE_CHECKING:
    from nas_prune.study.config import StudyConfig

_FIRST = 10_000  # beyond the seeds of a study with seed 0 and of its ranking
_STEP = 1000
_WITH_NETWORK = ("inherited", "slimmable")  # judges that a network is trained for


@dataclass(frozen=True, slots=True)
class Chosen:
    """How a winner was chosen.

    Attributes:
        charges: what had to be trained for that; None where it is not known.
        seeds: of all trainings of the study, by whose accuracies it was chosen; None where they are not known.
    """

    charges: tuple[Charge, ...] | None = None
    seeds: frozenset[int] | None = None

    def first_seed(self) -> int:
        """Where the seeds of a new training begin: so many of them are the study's own.

        Example:
            >>> Chosen(seeds=frozenset({0, 1000, 10_003})).first_seed()
            11000
        """
        used = {seed // _STEP for seed in self.seeds or ()}
        return next(first for first in range(_FIRST, 2**31, _STEP) if first // _STEP not in used)


UNKNOWN = Chosen()


def winner_file(study: Path, what: str = "--study") -> Path:
    """The file of the widths of a study's winner.

    Args:
        study: the directory of a study that was ranked, or a widths file.
        what: what the user has named it with.

    Raises:
        BadInputError: it was not ranked, or has several winners, one for each budget.
    """
    if not study.is_dir():
        return study
    found = sorted(study.glob(f"rank/*/{WIDTHS}"))
    if not found:
        raise BadInputError(
            f"{what} must be a study that was ranked, got {study}. Rank it: nas-prune study rank {quote(str(study))}"
        )
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise BadInputError(f"{what} must name one winner, got several in {study}. Name one of {names}.")
    return found[0]


def number_of(seed: int) -> int:
    """Which of a comparison's own studies has the winner that is trained with a seed."""
    return seed - STUDY_SEED


def study_of_seed(run: Path, seed: int) -> Path:
    """The directory of the study, in a comparison's, whose winner is trained with a seed."""
    return run / "studies" / f"seed-{number_of(seed)}"


def search_beside(study: Path) -> Path:
    """The search that is made for a study in a narrower network, before it."""
    return study.with_name(f"{study.name}-search")


def study_behind(study: Path) -> Chosen:
    """What is known of the study whose winner some widths are.

    Args:
        study: as in `winner_file`; of a file that is not in a study nothing is known.
    """
    found = winner_file(study)
    ranked, run = found.parent, found.parent.parent.parent
    if not (ranked / RESULT).exists() or command_of(run) != "study":
        return UNKNOWN
    from nas_prune.study.config import StudyConfig

    config = read_config(run, StudyConfig)
    try:
        charges = (*_charges(run, read_json(ranked / RESULT)), *_of_judge(config))
    except (OSError, ValueError, KeyError, TypeError):  # damaged, or of another version
        charges = None
    if config.own is not None:  # on nobody knows how many images
        charges = None
    return Chosen(charges, _seeds(ranked, config))


def _of_judge(config: "StudyConfig") -> tuple[Charge, ...]:
    """The network that judged trials; none where trainings alone did, or what looks at no trained network."""
    if config.judging not in _WITH_NETWORK:
        return ()
    macs = None if config.plan is None else config.plan.preparing
    return (Charge(what=f"the network of the judge {config.judging}", macs=macs),)


def _seeds(ranked: Path, config: "StudyConfig") -> frozenset[int]:
    """Those of the trials, which count on from the study's own where widths are trained again, and of the ranking."""
    own = {config.seed + number for number in range(max(config.seeds, _STEP))}
    of_ranking = {
        int(one.parent.name) for one in ranked.glob(f"*/*/*/{RESULT}") if one.parent.name.isdecimal()
    }
    return frozenset(own | of_ranking)


def _charges(run: Path, numbers: dict[str, Any]) -> tuple[Charge, ...]:
    """All trials, the short trainings that ranked the best of them, and the searches behind the guideline."""
    from nas_prune.study import trial_record as record
    from nas_prune.study.location import StudyLocation, read_trials

    short = sum(len(one["short"]) for one in numbers["candidates"])
    ranking = f"{short} short trainings that ranked the best trials"
    try:
        trials = read_trials(StudyLocation(run)).trials[numbers["study"]]
    except (NasPruneError, KeyError):  # they are in a storage elsewhere
        trials = []
    done = [one.user_attrs for one in trials if record.TRAINING_MACS in one.user_attrs]
    lost = len(trials) - len(done)
    what = f"{len(done)} trials of the study" + f" ({lost} that did not end not counted)" * (lost > 0)
    trained = [one for one in done if one.get(record.EPOCHS)]
    each = next(  # MACs of an epoch for each MAC of the network: three times the training images
        (one[record.TRAINING_MACS] // (one[record.MACS] * one[record.EPOCHS]) for one in trained), None
    )
    macs = [len(one["short"]) * one["macs"] * numbers["short_epochs"] for one in numbers["candidates"]]
    path = run / "guideline.yaml"
    return (
        Charge(what=what, macs=record.training_macs(trials) if done else None),
        Charge(what=ranking, macs=None if each is None else each * sum(macs)),
        *(searches_behind(read_guideline(path)) if path.exists() else _search_alone(run)),
    )


def _search_alone(study: Path) -> tuple[Charge, ...]:
    """The search made for a study, where it found nothing that a guideline could be fitted to."""
    widths = sorted((search_beside(study) / "widths").glob("macs-*.json"))
    return tuple(search_behind(read_widths(path)) for path in widths[:1])
