"""Patches of scikit-learn's two photographs with what is to be learned of them: masks, numbers, several classes."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

LEVELS = (80, 150)  # of brightness, between dark, middle and bright
SIDE = 24


def patches(count: int, *, side: int = SIDE, seed: int = 0) -> list[np.ndarray]:
    """So many square patches, of one photograph and the other in turn: uint8, side×side×3."""
    rng, photographs = np.random.default_rng(seed), load_sample_images().images
    found = []
    for number in range(count):
        photograph = photographs[number % 2]
        top, left = (int(rng.integers(0, size - side)) for size in photograph.shape[:2])
        found.append(photograph[top : top + side, left : left + side])
    return found


def write_masked(folder: Path, parts: dict[str, int], *, names: str = "dark\nmiddle\nbright\n") -> Path:
    """A folder of patches and masks of three levels of brightness."""
    for seed, (part, count) in enumerate(parts.items()):
        for number, patch in enumerate(patches(count, seed=seed)):
            for name in ("images", "masks"):
                (folder / part / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(patch).save(folder / part / "images" / f"{number}.png")
            mask = np.digitize(patch.mean(axis=2), LEVELS).astype(np.uint8)
            Image.fromarray(mask).save(folder / part / "masks" / f"{number}.png")
    (folder / "classes.txt").write_text(names, encoding="utf-8")
    return folder


def write_table(folder: Path, count: int) -> Path:
    """A CSV file of patches with their mean and spread of brightness, and which of three things they are."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, patch in enumerate(patches(count)):
        Image.fromarray(patch).save(folder / f"{number}.png")
        red, _, blue = patch.reshape(-1, 3).mean(axis=0)
        is_so = {"bright": patch.mean() > 110, "red": red > blue, "rough": patch.std() > 45}
        tags = "|".join(name for name, holds in is_so.items() if holds)
        rows.append(
            [f"{number}.png", float(patch.mean()), float(patch.std()), tags, *map(int, is_so.values())]
        )
    path = folder / "all.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "mean", "spread", "tags", "bright", "red", "rough"])
        writer.writerows(rows)
    return path


class Segmenter(nn.Module):
    """A few convolutions and maps of class scores, of half as many pixels a side as the image has."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Conv2d(16, num_classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps by name, as torchvision's networks give them."""
        return {"out": self.head(self.second(self.first(images)))}
