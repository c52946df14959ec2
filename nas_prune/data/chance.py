"""From where what is drawn in an epoch comes: functions of seed, epoch and place, and of nothing that ran before."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

import torch


def epoch_seed(seed: int, epoch: int, purpose: str = "") -> int:
    """A number that differs for every seed, epoch and purpose; neighbouring seeds share no epochs."""
    return int.from_bytes(blake2b(f"{seed}/{epoch}{purpose}".encode(), digest_size=4).digest(), "big")


@dataclass(frozen=True, slots=True)
class BatchChance:
    """What one batch draws from.

    Attributes:
        seed, epoch: of the training.
        number: the batch, from 0 in every epoch.
        places: those of its images in the epoch, whatever share of the batch this process has.
    """

    seed: int
    epoch: int
    number: int
    places: slice

    def of_images(self, purpose: str) -> list[int]:
        """A seed for each image."""
        places = range(self.places.start, self.places.stop)
        return [epoch_seed(self.seed, self.epoch, f"{purpose} {place}") for place in places]

    def of_batch(self, purpose: str) -> int:
        """A seed for all of its images, on every process."""
        return epoch_seed(self.seed, self.epoch, f"{purpose} {self.number}")


@contextmanager
def drawing_from(seed: int) -> Iterator[torch.Generator]:
    """Seed PyTorch's own generator, which torchvision draws from, and restore it: the network's draws go on."""
    generator: torch.Generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield generator
    finally:
        generator.set_state(before)
