"""The last training of a repetition, the only one that sees test images, once, at its end; and which it got right."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas_prune.data import ImageData
from nas_prune.data.batches import eval_batches
from nas_prune.data.config import load_images
from nas_prune.runs.directory import NETWORK
from nas_prune.runs.progress import SILENT
from nas_prune.space.widths import Widths
from nas_prune.training.compute import limited_threads
from nas_prune.training.config import TrainConfig
from nas_prune.training.evaluation import class_scores
from nas_prune.training.job import Inputs
from nas_prune.training.network_file import read_network, set_weights
from nas_prune.training.result import Trained, read_trained
from nas_prune.training.run import train_member
from tools.shootout_plan import Unit

_BATCH = 500


def trained_last(unit: Unit, widths: Widths, epochs: int, inputs: Inputs) -> tuple[Trained, str]:
    """Train what was found for what is left.

    Returns:
        What came out, and which test images were right, as `packed` writes it.
    """
    recipe = unit.recipe.with_epochs(epochs)
    if unit.how.start == "fine-tuned":  # as the paper's code: a constant hundredth of the rate
        slow = {"learning_rate": recipe.learning_rate / 100, "schedule": "constant", "warmup_epochs": 0.0}
        recipe = recipe.model_copy(update=slow)
    config = TrainConfig(
        data=unit.images(unit.last_images),
        recipe=recipe,
        schedule="scratch-e" if inputs.begin is None else "rewind",
        seeds=(unit.last_seed,),
        data_seed=unit.number,
        threads=1,
        precision=unit.plan.precision,
    )
    result = unit.folder / "last" / "result.json"
    data = load_images(config.data, config.data_seed, SILENT)
    trained = read_trained(result)
    if trained is None:
        own = Inputs(data, inputs.network, inputs.begin)
        trained = train_member(config, widths, result.parent, own, result=result, keeps_network=True)
    assert inputs.network is not None
    network = inputs.network.build(widths, seed=0)
    path = result.parent / f"seed-{unit.last_seed}" / NETWORK
    set_weights(network, read_network(path, network))
    with limited_threads(1):
        return trained, packed(right_of(network, data))


@torch.no_grad()
def right_of(network: nn.Module, data: ImageData) -> NDArray[np.bool_]:
    """Which test images a network gets right, in the order of the test part."""
    network.eval()
    batches = eval_batches(data.test, batch_size=_BATCH, mean=data.mean, std=data.std)
    right = [class_scores(network, images).argmax(1) == labels for images, labels in batches]
    return torch.cat(right).numpy()


def packed(right_I: NDArray[np.bool_]) -> str:
    """A bit for each image, in hexadecimal digits.

    Example:
        >>> packed(np.array([True, False, False, True, True]))
        '98'
    """
    return np.packbits(right_I).tobytes().hex()


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """The reverse of `packed`.

    Example:
        >>> unpacked("98", 5).tolist()
        [True, False, False, True, True]
    """
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)
