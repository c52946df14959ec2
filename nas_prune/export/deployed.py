"""The network as it is exported: one input, one output, norms folded if that is asked for."""

import copy

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.training.evaluation import class_scores

NETWORK = "network"  # where it lies in what is exported
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Deployed(nn.Module):
    """A network in evaluation mode that gives its main output: scores, N×classes, or what its task asks for.

    Attributes:
        network: with contiguous parameters.
        normalises: whether it takes uint8 images; it takes normalised ones otherwise.
    """

    preprocessing_mean: Tensor
    preprocessing_std: Tensor

    def __init__(self, network: nn.Module, known: Preprocessing | None) -> None:
        super().__init__()
        self.network = network
        self.normalises = known is not None
        if known is not None:
            mean, std = (
                torch.tensor([255 * value for value in values]).view(-1, 1, 1)
                for values in (known.mean, known.std)
            )
            self.register_buffer("preprocessing_mean", mean)
            self.register_buffer("preprocessing_std", std)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Scores of uint8 or normalised images, N×C×H×W."""
        if self.normalises:
            images = (images.float() - self.preprocessing_mean) / self.preprocessing_std
        return class_scores(self.network, images)


def contiguous(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode, on the CPU, whose parameters and buffers lie in memory in the order of their axes."""
    own = copy.deepcopy(network).cpu().eval().requires_grad_(requires_grad=False)
    for tensor in (*own.parameters(), *own.buffers()):
        tensor.data = tensor.data.contiguous()
    return own


def foldable(program: ExportedProgram, network: nn.Module) -> tuple[list[tuple[str, str]], int]:
    """Which batch norms can become part of a convolution, and how many there are.

    Those that alone read what a convolution puts out, where neither runs twice or shares its weights.

    Args:
        program: what `Deployed(network, …)` does.
        network: the network.

    Returns:
        Paths of convolutions and of their norms; and the number of all norms that run.
    """
    signature = program.graph_signature
    paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    nodes = [one for one in program.graph.nodes if one.op == "call_function"]
    norms = [one for one in nodes if one.target is torch.ops.aten.batch_norm.default]
    pairs = []
    for norm in norms:
        convolution = norm.args[0]
        if convolution.op != "call_function" or len(convolution.users) != 1:
            continue
        names = [_owner(paths, one) for one in (convolution, norm)]
        if all(names) and _are_plain(network, *map(str, names)):
            pairs.append((str(names[0]), str(names[1])))
    return pairs, len(norms)


def _owner(paths: dict[str, str], node: torch.fx.Node) -> str | None:
    """The path of the module whose tensors an operation reads, if nothing else reads them."""
    read = [one for one in node.args if isinstance(one, torch.fx.Node) and one.name in paths]
    owners = {paths[one.name].removeprefix(f"{NETWORK}.").rpartition(".")[0] for one in read}
    is_alone = all(len(one.users) == 1 for one in read)
    return owners.pop() if len(owners) == 1 and is_alone else None


def _are_plain(network: nn.Module, convolution: str, norm: str) -> bool:
    """Whether a norm can be part of a convolution: one without statistics of its own takes those of each batch."""
    normalises = network.get_submodule(norm)
    return (
        type(network.get_submodule(convolution)) in _CONVOLUTIONS
        and type(normalises) in _NORMS
        and getattr(normalises, "running_mean", None) is not None
    )


def folded(network: nn.Module, pairs: list[tuple[str, str]]) -> nn.Module:
    """A copy whose norms are part of convolutions; its scores are the same but for rounding.

    Args:
        network: in evaluation mode.
        pairs: paths of convolutions and of their norms.
    """
    own = copy.deepcopy(network)
    for place, norm_place in pairs:
        convolution, norm = own.get_submodule(place), own.get_submodule(norm_place)
        assert isinstance(convolution, _CONVOLUTIONS)
        assert isinstance(norm, _NORMS)
        weight, bias = _folded(convolution, norm)
        convolution.weight = nn.Parameter(weight, requires_grad=False)
        convolution.bias = nn.Parameter(bias, requires_grad=False)
        above, _, name = norm_place.rpartition(".")
        setattr(own.get_submodule(above), name, nn.Identity())
    return own.eval()


def _folded(
    convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
) -> tuple[Tensor, Tensor]:
    """Weight and bias of both as one; worked out in double precision."""
    weight, kind = convolution.weight.detach().double(), convolution.weight.dtype
    zero, one = weight.new_zeros(len(weight)), weight.new_ones(len(weight))
    mean, variance = (
        (zero, one)
        if norm.running_mean is None or norm.running_var is None
        else (norm.running_mean.double(), norm.running_var.double())
    )
    gain = one if norm.weight is None else norm.weight.detach().double()
    shift = zero if norm.bias is None else norm.bias.detach().double()
    offset = zero if convolution.bias is None else convolution.bias.detach().double()
    scale = gain / (variance + norm.eps).sqrt()
    bias = (offset - mean) * scale + shift
    return (weight * scale.view(-1, *[1] * (weight.dim() - 1))).to(kind), bias.to(kind)
