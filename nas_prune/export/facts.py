"""What an exported file says of itself: how its images must be, and what its scores are of."""

import json
from importlib.metadata import version

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.export.config import ExportConfig
from nas_prune.space.widths import Widths

RESIZE = "the centred square, resized bilinearly with antialiasing (Pillow), upright by EXIF"


def facts_of(config: ExportConfig, widths: Widths, known: Preprocessing) -> dict[str, str]:
    """Words by name; lists are JSON.

    Args:
        config: how it was exported.
        widths: of the network.
        known: of its images.
    """
    return {
        "network": widths.space.name,
        "budget": widths.budget or "",
        "classes": json.dumps(known.classes),
        "channels": str(known.channels),
        "image_size": str(known.size),
        "resize": RESIZE,
        "mean": json.dumps(known.mean),
        "std": json.dumps(known.std),
        "input": takes(config, known),
        "output": f"scores: float32, N×{len(known.classes)}, of the classes, before softmax",
        "made_by": f"nas-prune {version('nas-prune')}",
    }


def takes(config: ExportConfig, known: Preprocessing) -> str:
    """What the exported network takes."""
    shape = f"N×{known.channels}×{known.size}×{known.size}"
    if config.with_preprocessing:
        return f"images: uint8, {shape}, 0 to 255"
    return f"images: float32, {shape}, (pixels / 255 - mean) / std"
