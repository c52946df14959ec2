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
        "task": known.task,
        "output": gives(known),
        **_scale(known),
        "made_by": f"nas-prune {version('nas-prune')}",
    }


def _scale(known: Preprocessing) -> dict[str, str]:
    """What leads from numbers that come out to those in their own units; nothing of other tasks."""
    if known.scale is None:
        return {}
    return {"scale_mean": json.dumps(known.scale.mean), "scale_std": json.dumps(known.scale.std)}


def gives(known: Preprocessing) -> str:
    """What the exported network puts out."""
    shape = f"float32, N×{len(known.classes)}"
    match known.kind:
        case "classes":
            return f"scores: {shape}, of the classes, each before a sigmoid of its own"
        case "numbers":
            return f"numbers: {shape}; each times its scale_std, plus its scale_mean, is in its own units"
        case "mask":
            return f"scores: {shape}×H×W, of the classes of each pixel, before softmax"
    return f"scores: {shape}, of the classes, before softmax"


def takes(config: ExportConfig, known: Preprocessing) -> str:
    """What the exported network takes."""
    shape = f"N×{known.channels}×{known.size}×{known.size}"
    if config.with_preprocessing:
        return f"images: uint8, {shape}, 0 to 255"
    return f"images: float32, {shape}, (pixels / 255 - mean) / std"
