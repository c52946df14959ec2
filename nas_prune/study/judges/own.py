"""Judging where a function of somebody's own trains: by another of theirs, or by what looks at no image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nas_prune.space.search_space import SearchSpace
from nas_prune.study.judges.contract import Judge, Judgement
from nas_prune.study.own_trainer import OwnTrainer


@dataclass(frozen=True, slots=True)
class OwnJudge:
    """What a function says of networks of random weights; any number, of which more is better.

    Attributes:
        trainer: has the function.
        space: makes the networks.
        seed: of their weights, the same for all.
    """

    trainer: OwnTrainer
    space: SearchSpace
    seed: int

    def judged(self, vector_G: Sequence[int]) -> Judgement:
        """As `Judge`."""
        return self.trainer.judged(self.space, self.seed, vector_G)


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A judge that costs nothing beside trainings on nobody knows how many images.

    Attributes:
        judge: what says how good widths are.
    """

    judge: Judge

    def judged(self, vector_G: Sequence[int]) -> Judgement:
        """As the judge."""
        return replace(self.judge.judged(vector_G), macs=0)
