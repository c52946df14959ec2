"""What an artefact says of the images and the recipe behind it."""

from typing import Any

from nas_prune.data import ImageData
from nas_prune.data.config import DataConfig
from nas_prune.runs.directory import published
from nas_prune.space.widths import DataRecord
from nas_prune.training.recipe import Recipe


def behind(images: DataConfig, data: ImageData, recipe: Recipe, **more: Any) -> dict[str, Any]:
    """The fields of an artefact that say what it was found on; keyword arguments are more of them.

    Args:
        images: as the settings name them.
        data: as they were loaded.
        recipe: of the whole network.
        more: seed, epochs, versions.
    """
    return {
        "data": DataRecord(
            name=published(images.name),
            num_train=len(data.train),
            num_val=len(data.val),
            max_images=images.max_images,
            val_fraction=images.val_fraction,
            task=str(images.task),
        ),
        "recipe": recipe.model_dump(mode="json"),
        **more,
    }
