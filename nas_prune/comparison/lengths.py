"""How long the trainings of a study are, where a small total is to pay for all of them."""

from math import ceil, floor

_TRIALS, _TRIALS_SHARE, _JUDGE_SHARE = 8, 0.4, 0.25  # trained trials at least; of a study's plan, at most


def lengths(total: float, share: float, epochs: int) -> dict[str, int]:
    """How long a study's trials and its judge's network are trained, so that a small total pays for both.

    Args:
        total: what it may take, in trainings of the whole network.
        share: MACs of the widths over those of the whole network.
        epochs: of a training in full.

    Example:
        >>> lengths(1.5, 0.4, 30)
        {'epochs': 5, 'judge_epochs': 11}
        >>> lengths(10, 0.4, 30)
        {'epochs': 15, 'judge_epochs': 30}
    """
    trial = _TRIALS_SHARE * total * epochs / (_TRIALS * share)
    judge = _JUDGE_SHARE * total * epochs
    return {
        "epochs": max(1, min(ceil(epochs / 2), floor(trial))),
        "judge_epochs": max(1, min(epochs, floor(judge))),
    }
