"""One number for a whole study: where its training MACs go.

The unit is one training of the whole network in full.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """Where the training MACs of a study go.

    Attributes:
        whole: of one training of the whole network in full.
        total: that may be spent.
        judge: what is asked before anything is trained; `scratch` for nothing.
        preparing: that the judge's network takes.
        judged: trials that it is asked about, and `judging`: what that takes.
        trained: trials that are trained, and `one_training`: what one of them takes at most.
        finalists: for trainings of the best again, with new seeds.
        full_seeds: full trainings of the winner and of what needs no search, of these; none where that would take too
            much of it.
        studies: how many budgets share it; the numbers of trials are of each.
        workers: how many processes its hours were worked out for; None where there were none, or in studies of before.
    """

    whole: int
    total: int
    judge: str
    preparing: int
    judged: int
    judging: int
    trained: int
    one_training: int
    finalists: int
    full_seeds: int = 0
    studies: int = 1
    workers: int | None = None

    def times(self, macs: float) -> str:
        """MACs in trainings of the whole network."""
        return f"{macs / self.whole:.2f}x"

    @property
    def trials(self) -> int:
        """All trials of each budget."""
        return self.judged + self.trained

    @property
    def training(self) -> int:
        """MACs of all trials that are trained."""
        return self.studies * self.trained * self.one_training

    @property
    def lines(self) -> list[tuple[str, int]]:
        """What is paid for, and how much, in order."""
        each = "" if self.studies == 1 else " for each budget"
        found = []
        if self.preparing:
            found.append((f"network of the judge {self.judge}", self.preparing))
        if self.judged:
            found.append((f"{self.judged} trials judged by {self.judge}{each}", self.judging))
        found.append((f"{self.trained} trials trained from scratch{each}", self.training))
        verdict = ", and the winner and uniform widths in full" if self.full_seeds else ""
        found.append((f"race of the best, with new seeds{verdict}", self.finalists))
        return found

    @property
    def words(self) -> list[str]:
        """For people, before anything is trained."""
        head = f"Plan: {self.times(self.total)} training MACs, in trainings of the whole network in full:"
        return [head, *(f"  {self.times(macs):>7}  {what}" for what, macs in self.lines)]
