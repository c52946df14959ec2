"""What a person should know before a training starts, of its images and its recipe."""

from nas_prune.data import ImageData
from nas_prune.data.balance import class_counts, is_uneven
from nas_prune.data.config import where_images_are
from nas_prune.errors import BadInputError
from nas_prune.runs.text import printable
from nas_prune.training.recipe import Recipe


def before_training(data: ImageData, recipe: Recipe) -> str:
    """Where the images are and what is to be known of them, a line each; last, that classes are uneven."""
    uneven = of_uneven_classes(data, recipe)
    return "\n".join([where_images_are(data), *([] if uneven is None else [uneven])])


def of_uneven_classes(data: ImageData, recipe: Recipe) -> str | None:
    """That some classes have many more training images than others and nothing is done about it; None otherwise."""
    is_even = not data.task.is_classification or not is_uneven(data.train.labels, data.num_classes)
    if recipe.balance != "none" or is_even:
        return None
    counts_K = class_counts(data.train.labels, data.num_classes)
    most, least = int(counts_K.argmax()), int(counts_K.masked_fill(counts_K == 0, len(data.train)).argmin())
    named = [f"{printable(data.class_names[label])} has {int(counts_K[label]):,}" for label in (most, least)]
    return (
        f"Classes are uneven: {named[0]} training images, {named[1]}. --balance weights lets rare classes count more, "
        "--balance sampling shows all classes equally often."
    )


def of_last_epoch(recipe: Recipe) -> str | None:
    """That a search trains to the end, where its recipe says otherwise; None where it does not."""
    if recipe.keep == "last":
        return None
    what = "keep: best" if recipe.patience is None else "keep: best and the patience"
    return (
        f"The recipe's {what} hold{'s' if recipe.patience is None else ''} for trainings of the widths found; "
        "the search takes these from its last epoch."
    )


def check_validation(data: ImageData, recipe: Recipe) -> None:
    """Refuse a recipe that chooses by validation where no image is left for it.

    Raises:
        BadInputError: the validation part is empty.
    """
    if recipe.keep == "best" and not len(data.val):
        raise BadInputError(
            "keep: best and patience must have images for validation, got none. Add val/, or take keep: last."
        )
