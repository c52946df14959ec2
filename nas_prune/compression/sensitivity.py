"""How much the loss depends on the weights of each layer: what a budget of bytes is shared out by."""

from statistics import median

from torch import nn

from nas_prune.data import ImageData
from nas_prune.patterns.costs import costs_of
from nas_prune.patterns.layers import weight_layers
from nas_prune.patterns.methods.contract import Evidence
from nas_prune.patterns.methods.obd import second_derivatives
from nas_prune.space.load import load_referenced
from nas_prune.training.network_file import NetworkRecord


def curvatures_of(
    network: nn.Module, record: NetworkRecord, data: ImageData, names: list[str], typed: str | None
) -> dict[str, float]:
    """The mean second derivative of the loss by the weights of a layer that are not zero, by name.

    The diagonal Fisher information, as Optimal Brain Damage has it, of 256 training images. Layers that it cannot be
    had of get the median of the others; of tasks without classes all are alike.

    Args:
        network: trained, in evaluation mode.
        record: what it is.
        data: the images.
        names: of the layers' weights.
        typed: the network's name again, if it is one of the user's own.
    """
    if data.task.kind != "class":
        return dict.fromkeys(names, 1.0)
    space = load_referenced(record.widths.space, typed)
    own = network.to(data.train.device)
    evidence = Evidence(own, space, costs_of(space, weight_layers(space)), data, 0, "global")
    weights = evidence.weights()
    found = {
        name: float(second[weights[name] != 0].mean())
        for name, second in second_derivatives(evidence).items()
    }
    otherwise = median(found.values())
    return {name: found.get(name) or otherwise or 1.0 for name in names}
