"""What makes the values of trials say little: networks that guess, and networks that are all alike."""

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from nas_prune.data.guessing import about_equal, guesses
from nas_prune.study import trial_record as record
from nas_prune.study.config import SCRATCH, StudyConfig

_MANY = 0.5  # share of the trials


def doubts_about(trials: Sequence[FrozenTrial], config: StudyConfig) -> list[str]:
    """What to know before the trials of one Optuna study are believed, in words; nothing of trials of before.

    Args:
        trials: all of them.
        config: of the study.
    """
    if record.main_judge(trials) != SCRATCH:
        return []
    told = [one for one in record.of_main_judge(trials) if record.GUESS in one.user_attrs]
    accuracies = [float(one.values[0]) for one in told]
    guessing = [
        one
        for one, accuracy in zip(told, accuracies, strict=True)
        if guesses(accuracy, float(one.user_attrs[record.GUESS]))
    ]
    if told and len(guessing) >= _MANY * len(told):
        return [_of_guessing(len(guessing), len(told), config)]
    images = min((int(one.user_attrs[record.VAL_IMAGES]) for one in told), default=0)
    if images and about_equal(accuracies, images):
        low, high = 100 * min(accuracies), 100 * max(accuracies)
        said = (
            f"All {len(told)} trials are about equal ({low:.2f} to {high:.2f} %, no further apart than chance makes "
            f"accuracies over {images} validation images): which widths are best cannot be told from them. A smaller "
            "budget, or more validation images, tells them apart."
        )
        return [said]
    return []


def _of_guessing(count: int, total: int, config: StudyConfig) -> str:
    who = "Every trial is" if count == total else f"{count} of {total} trials are"
    epochs = config.length_words(config.epochs)
    return (
        f"{who} hardly better than guessing the largest class, after {epochs} each: what the study says of widths is "
        "mostly chance. Give trials more epochs (epochs in the study file, in a new study), or a larger budget."
    )
