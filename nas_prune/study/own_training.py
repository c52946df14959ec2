"""Studies over trainings of somebody's own: their function trains, the study asks for widths and ranks them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeAlias

from optuna.trial import FrozenTrial
from pydantic import ValidationError
from threadpoolctl import threadpool_info

from nas_prune.data.metric import Metric
from nas_prune.errors import BadInputError
from nas_prune.hardware.use import aimed
from nas_prune.runs.directory import default_run
from nas_prune.runs.problems import first_problem
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.text import printable
from nas_prune.space.budget import Budget
from nas_prune.space.search_space import SearchSpace
from nas_prune.space.widths import Widths
from nas_prune.study import trial_record as record
from nas_prune.study.config import OWN, SCRATCH, StudyConfig
from nas_prune.study.context import StudyContext
from nas_prune.study.location import StudyLocation, StudyResult
from nas_prune.study.objective import artefact
from nas_prune.study.own_function import Function, asks_for
from nas_prune.study.own_settings import NOT_OWN
from nas_prune.study.own_trainer import OwnTrainer
from nas_prune.study.own_words import words_of
from nas_prune.study.rank import rank_study
from nas_prune.study.rank_result import FULL_SEEDS, SEEDS, TOP, Ranking
from nas_prune.study.run import How, begun, resolved
from nas_prune.study.storage import HEARTBEAT

Direction: TypeAlias = Literal["maximize", "minimize"]
_TRIALS = 30
_OURS = frozenset((*NOT_OWN, "command", "plan", "own", "space", "versions", "machine"))


@dataclass(frozen=True, slots=True)
class OwnStudyResult:
    """What a study over somebody's own trainings holds.

    Attributes:
        study: its trials, its rankings, and what all of them say together.
        context: what it is of.
    """

    study: StudyResult
    context: StudyContext

    @property
    def run(self) -> Path:
        """Its directory, as `nas-prune dashboard` and `nas-prune report` take it."""
        return self.study.location.run

    @property
    def trials(self) -> list[FrozenTrial]:
        """Optuna's own records; their values are scores, of which more is better."""
        return self.study.trials[self.context.config.name]

    @property
    def ranking(self) -> Ranking | None:
        """The best, trained again with seeds that no trial had; None where they have not been."""
        return next(iter(self.study.rankings), None)

    @property
    def widths(self) -> Widths:
        """The winner: of the ranking, or else what all trials together expect most of.

        Raises:
            BadInputError: no trial has a value.
        """
        if self.ranking is not None:
            return self.ranking.winner.widths
        config, known = self.context.config, self.study.known.get(self.context.config.name)
        best = record.best_first(self.trials)
        if not best:
            raise BadInputError(f"a study must have a trial that has finished, got none in {self.run}.")
        vector = known.expected[0].widths if known and known.expected else record.widths_of(best[0]) or ()
        return artefact(self.context, vector, config.budgets[0])

    def __str__(self) -> str:
        """What came out, in words."""
        return words_of(self.context.config, self.trials, self.ranking)

    def rank(
        self,
        *,
        top: int = TOP,
        seeds: int = SEEDS,
        full_seeds: int = FULL_SEEDS,
        say: Callable[[str], None] | None = None,
    ) -> "OwnStudyResult":
        """Train the best again with new seeds, as often as that takes, however long; what is trained is kept.

        Args:
            top: how many trials, besides uniform widths and a guideline's.
            seeds: short trainings of each, at most.
            full_seeds: full trainings of the winner and of what needs no search; 0 for none.
            say: is told what happens.

        Raises:
            NasPruneError: too few trials are complete, or no training comes to its end.
        """
        found = rank_study(
            self.study.location,
            top=top,
            seeds=seeds,
            full_seeds=full_seeds,
            loaded=self.context,
            progress=_progress(say),
        )
        return replace(self, study=replace(self.study, rankings=tuple(found)))


def study(  # noqa: PLR0913  (all but the first two by keyword)
    space: SearchSpace,
    train: Function,
    *,
    budget: str | Budget = "macs<=50%",
    out: str | Path | None = None,
    metric: str | Metric = "score",
    direction: Direction | None = None,
    epochs: int | None = None,
    full_epochs: int | None = None,
    judge: str | Function | None = None,
    rank: bool = True,
    storage: str | None = None,
    say: Callable[[str], None] | None = None,
    **settings: Any,
) -> OwnStudyResult:
    """Look for the best widths of a network by training networks with a function of your own.

    The same call with the same `out` goes on with what was stopped or killed, in as many processes at once as you like.

    Args:
        space: of `load_space`.
        train: takes a network (an `nn.Module` of random weights, on the CPU), trains it on whatever it likes and
            returns one number. If it has an argument `trial`, it is given a `Trial`, too.
        budget: a bound on costs; several joined by commas hold together.
        out: the study's directory; `runs/NAME` if None.
        metric: what the number is, by name, or a `Metric`, which also says whether it is read in percent.
        direction: `minimize` where less is better.
        epochs: of a trial, for `trial.epochs`.
        full_epochs: of a finalist's full training, likewise; as many as a trial's if None.
        judge: with `judged=N`, what says how good the first N trials are without training: `synflow`, `log-widths`, or
            a function that takes a network of random weights (and `widths`, if it asks for them).
        rank: whether the best are trained again with new seeds at the end, for half of what trials took.
        storage: where trials are, as `--storage`; the directory if None.
        say: is told what happens, a sentence at a time.
        settings: as in a study file: trials (30), budget_training, sampler, seeds, seed, stopping, guideline, groups,
            divisor, min_width, keep, target, timeout, max_failures, parameters, question, name.

    Raises:
        NasPruneError: something cannot be used (nothing has been written then), or too many trainings have failed.
        KeyboardInterrupt: it was stopped.

    Example:
        >>> result = study(space, train, budget="macs<=50%", trials=30, out="my-study")  # doctest: +SKIP
        >>> network = space.build(result.widths, seed=0)  # doctest: +SKIP
    """
    started = monotonic()
    trainer = _trainer(train, _metric(metric, direction), epochs, full_epochs, judge)
    named = OWN if trainer.judge is not None else judge
    content = {"budgets": (budget,), "epochs": epochs or 1, "judge": named, **settings}
    own = {
        "full_epochs": full_epochs,
        "ranks": rank,
        "metric": trainer.metric,
        "has_epochs": trainer.has_epochs,
    }
    context = _context(space, trainer, content, own, out)
    location = StudyLocation(context.run, storage, HEARTBEAT)
    found = begun(location, context, How(1, is_new=False, said="", started=started), _progress(say))
    return OwnStudyResult(found, replace(context, config=found.config))


def _context(
    space: SearchSpace,
    trainer: OwnTrainer,
    content: Mapping[str, Any],
    own: Mapping[str, Any],
    out: str | Path | None,
) -> StudyContext:
    """What every trial needs: settings, checked, and the network within their limits.

    Raises:
        NasPruneError: something cannot be used.
    """
    run, name = _place(out, space, content)
    config = _config({**content, "name": name}, space, own)
    _check(config, trainer)
    config, pattern = resolved(config, run, is_new=False)
    space = aimed(space.limited(config.limits), config.target)
    return StudyContext(run, config, space, trainer, pattern)


def _progress(say: Callable[[str], None] | None) -> Progress:
    return SILENT if say is None else Progress(say=say)


def _metric(metric: str | Metric, direction: Direction | None) -> Metric:
    """What the function returns.

    Raises:
        BadInputError: it is not said as it must be.
    """
    if direction not in (None, "maximize", "minimize"):
        raise BadInputError(f"direction must be maximize or minimize, got {printable(str(direction))!r}.")
    if isinstance(metric, Metric):
        if direction is not None and metric.is_greater_better != (direction == "maximize"):
            raise BadInputError(
                f"direction must be left out beside a Metric, which says it, got {direction}."
            )
        return metric
    try:
        return Metric(name=metric, is_greater_better=direction != "minimize")
    except ValidationError as error:
        raise BadInputError(f"metric cannot be used: {first_problem(error)}.") from None


def _trainer(
    train: Function,
    metric: Metric,
    epochs: int | None,
    full_epochs: int | None,
    judge: str | Function | None,
) -> OwnTrainer:
    """What trains.

    Raises:
        BadInputError: it cannot.
    """
    takes_trial = asks_for(train, "trial", "train")
    if epochs is None and full_epochs is not None:
        raise BadInputError(f"full_epochs must come with epochs, those of a trial, got {full_epochs} alone.")
    if epochs is not None and not takes_trial:
        raise BadInputError(
            f"epochs must come with a function that takes a trial, which says them, got {epochs}: "
            "def train(network, trial): … trial.epochs."
        )
    own = judge if callable(judge) else None
    if own is not None:
        asks_for(own, "widths", "judge")
    return OwnTrainer(train, takes_trial, metric, epochs is not None, own, _blas_threads())


def _blas_threads() -> int | None:
    """Threads of linear algebra in numpy, before a study leaves itself one."""
    counts = [int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(counts, default=None)


def _place(out: str | Path | None, space: SearchSpace, settings: Mapping[str, Any]) -> tuple[Path, str]:
    """The study's directory and its name."""
    if not isinstance(space, SearchSpace):
        raise BadInputError(f"space must be what load_space gives, got {type(space).__name__}.")
    if space.target is not None:
        raise BadInputError(
            f"target must be given to the study, got a space that is meant for {space.target}."
        )
    letters = (one if one.isalnum() or one in "-._" else "-" for one in space.reference.name)
    name = str(settings.get("name") or (Path(out).absolute().name if out is not None else "".join(letters)))
    return Path(out) if out is not None else default_run(name), name


def _config(content: Mapping[str, Any], space: SearchSpace, own: Mapping[str, Any]) -> StudyConfig:
    """The settings of a study.

    Raises:
        BadInputError: one cannot be used; the message names it.
    """
    refused = sorted(_OURS & content.keys())
    if refused:
        raise BadInputError(
            f"settings of the study must leave out {', '.join(refused)}: your function trains."
        )
    kept = {name: one for name, one in content.items() if one is not None}
    how_many = {} if "trials" in kept or "budget_training" in kept else {"trials": _TRIALS}
    groups = {"groups": "selections"} if space.reference.selections else {}
    facts = {"space": space.reference.name, "own": {**own, "network": _network(space)}}
    try:
        config = StudyConfig.model_validate({**groups, **how_many, **kept, **facts})
    except ValidationError as error:
        raise BadInputError(f"the study cannot be used: {first_problem(error, StudyConfig)}.") from None
    if len(config.budgets) > 1:
        raise BadInputError(
            f"budget must be one, got {len(config.budgets)}. Call study once for each, with another out."
        )
    return config


def _network(space: SearchSpace) -> str:
    """What tells a network from others, in words."""
    reference, cost = space.reference, space.cost_at(space.base_G)
    told = [reference.model_dump_json(), *(group.name for group in space.groups), str(space.base_G)]
    told += [str(space.floor), str(space.divisor), space.limits.model_dump_json()]
    digest = blake2b("\n".join(told).encode(), digest_size=4).hexdigest()
    shape = "×".join(map(str, reference.input_shape))
    return (
        f"{reference.name}, {shape}: {len(space.groups)} groups, {cost.macs:,} MACs, {cost.params:,} parameters "
        f"({digest})"
    )


def _check(config: StudyConfig, trainer: OwnTrainer) -> None:
    """Refuse settings that do not go with a function.

    Raises:
        BadInputError: they do not.
    """
    if config.stopping != "none" and not (trainer.has_epochs and trainer.takes_trial):
        raise BadInputError(
            f"stopping must come with epochs, and with a function that takes a trial and reports to it, got "
            f"{config.stopping} without."
        )
    if config.judging != SCRATCH and config.judged is None and config.budget_training is None:
        raise BadInputError(
            f"judge must come with judged=N, how many of the {config.trials} trials it is asked about (the others are "
            f"trained), or with budget_training, got {config.judging} alone."
        )
