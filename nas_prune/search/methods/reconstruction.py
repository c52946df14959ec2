"""Scores from how well the layers that read a group can do without a channel.

What a convolution or linear layer puts out at one place is a sum over the channels it reads. Entries of that output are
drawn at random, as ThiNet does (section 3.2.1), and each is split into what each channel of the group contributes. From
these, three papers choose channels, each in its own way. They then adapt the weights, which is not needed here.

Shape letters: N entries, C channels of a group, P channels that a layer reads (of all groups), K taps of a kernel.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from nas_prune.data import epoch_seed
from nas_prune.search.methods.contract import Evidence, WidthMethod
from nas_prune.search.methods.layer_channels import PLAIN_CONVS, LayerChannels, can_watch_readers, readers
from nas_prune.search.methods.samples import batches_of
from nas_prune.space.scores import Scores

_IMAGES = 512
_ENTRIES = 16  # drawn from each image: 8192 in all, many times as many as a group has channels, mostly
_MOST_NUMBERS = 2**25  # of one layer's contributions
_CHUNK = 256
_RIDGE = 1e-4
_SMALL = 1e-12
_STEPS = 10  # of a path, for each channel: each enters it once, and sometimes one leaves and enters again


def thinet(evidence: Evidence) -> Scores:
    """Channels are removed one by one, each time the one after which the least is missing (section 3.2.2).

    A score is the largest share of the output, in squares, that was missing until then.
    """

    def score(gram_CC: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = max(gram_CC.sum(), _SMALL)
        missing, removed = gram_CC.diagonal().copy(), np.zeros(len(gram_CC), dtype=bool)
        with_removed = np.zeros(len(gram_CC))
        total, worst = 0.0, 0.0
        scores = np.zeros(len(gram_CC))
        for _ in range(len(gram_CC)):
            after = np.where(removed, np.inf, total + 2 * with_removed + missing)
            channel = int(after.argmin())
            total, removed[channel] = float(after[channel]), True
            worst = max(float(np.nextafter(worst, np.inf)), total / whole)  # later is always larger
            scores[channel] = worst
            with_removed += gram_CC[channel]
        return scores

    return _of_grams(evidence, score)


def regression(evidence: Evidence) -> Scores:
    """The strength of an L1 penalty on a factor for each channel up to which the channel stays (equation 3, LASSO).

    As a share of the strength that removes all. The path over all strengths is exact (least angle regression).
    """
    from sklearn.linear_model import lars_path_gram

    def score(gram_CC: NDArray[np.float64]) -> NDArray[np.float64]:
        alive = gram_CC.diagonal() > _SMALL * gram_CC.diagonal().mean()
        scores = np.zeros(len(gram_CC))
        if alive.any():
            gram = gram_CC[np.ix_(alive, alive)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # channels that are sums of others end the path early
                strengths, _, factors = lars_path_gram(
                    gram.sum(1), gram, n_samples=1, method="lasso", max_iter=_STEPS * len(gram)
                )
            stays = factors[:, 1:] != 0  # between one strength and the next
            scores[alive] = (strengths[:-1] * stays).max(1, initial=0) / max(strengths.max(), _SMALL)
        return scores

    return _of_grams(evidence, score)


def surgeon(evidence: Evidence) -> Scores:
    """The error that a channel's removal adds, channels removed one by one, the others' factors made up each time.

    A channel carries a factor, 1 at first. The paper's saliency (equation 5) of removing it is f² / 2 [H⁻¹]_cc, H the
    second derivative of the squared error of the readers' outputs. The channel of the smallest goes, the other factors
    and H⁻¹ follow (equations 5 and 6, H⁻¹ by a downdate of rank one), and so on: of two channels that can stand in for
    each other only one goes cheaply. Scores never fall along the order of removal: one threshold on those of all groups
    removes what the paper would, always the cheapest next.
    """

    def score(gram_CC: NDArray[np.float64]) -> NDArray[np.float64]:
        count = len(gram_CC)
        ridge = max(gram_CC.diagonal().mean(), _SMALL) * _RIDGE
        inverse_CC = np.linalg.inv(gram_CC + ridge * np.eye(count))
        factors, left, scores = np.ones(count), np.ones(count, dtype=bool), np.zeros(count)
        worst = 0.0
        for _ in range(count):
            own = np.maximum(inverse_CC.diagonal(), np.finfo(float).tiny)
            saliency = np.where(left, factors**2 / (2 * own), np.inf)
            channel = int(saliency.argmin())
            worst = max(float(np.nextafter(worst, np.inf)), float(saliency[channel]))
            scores[channel], left[channel] = worst, False
            column = inverse_CC[channel].copy()
            factors -= column * (factors[channel] / own[channel])
            inverse_CC -= np.outer(column, column / own[channel])
            factors[channel] = 0.0
            inverse_CC[channel] = inverse_CC[:, channel] = 0.0
        return scores

    return _of_grams(evidence, score)


def _of_grams(evidence: Evidence, score: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Scores:
    """Scores from the mean products of what two channels contribute, C×C."""
    drawn = _draw(evidence)

    def of_column(column: int) -> NDArray[np.float64]:
        gram = np.zeros((evidence.space.base_G[column],) * 2)
        for place in readers(evidence.space, column):
            parts_NC = _by_channel(drawn[place.path], place, len(gram))
            strength = np.square(parts_NC.sum(1)).mean()  # a norm behind the reader would divide by its root
            gram += parts_NC.T @ parts_NC / (len(parts_NC) * max(strength, _SMALL))
        return score(gram)

    return evidence.for_each(of_column)


def _draw(evidence: Evidence) -> dict[str, Tensor]:
    """For every reader of searched groups N×P: what each input channel contributes to entries of its output."""
    model, space = evidence.model.eval(), evidence.space
    paths = {place.path for column in evidence.columns for place in readers(space, column)}
    generator = torch.Generator().manual_seed(epoch_seed(evidence.seed, 0, "entries to score on"))
    drawn: dict[str, list[Tensor]] = {path: [] for path in sorted(paths)}
    handles = [
        model.get_submodule(path).register_forward_pre_hook(_drawing(found, generator))
        for path, found in drawn.items()
    ]
    try:
        with torch.no_grad():
            for sample in batches_of(evidence, _IMAGES):
                sample.run(model)
    finally:
        for handle in handles:
            handle.remove()
    return {path: torch.cat(found) for path, found in drawn.items()}


def _drawing(
    found: list[Tensor], generator: torch.Generator
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def draw(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        windows, weight = _windows(module, inputs[0]), module.weight
        assert isinstance(weight, Tensor)
        spare = _MOST_NUMBERS // (_IMAGES * windows.shape[1])
        count = len(inputs[0]) * min(_ENTRIES, max(1, spare))
        sizes = (len(windows), *windows.shape[2 : 2 + weight.dim() - 2])
        places = [torch.randint(size, (count,), generator=generator).to(weight.device) for size in sizes]
        outputs = torch.randint(len(weight), (count,), generator=generator).to(weight.device)
        rows = windows.movedim(1, len(sizes))[tuple(places)].flatten(2)
        found.append(_parts(rows, weight.detach(), outputs).cpu())

    return draw


def _windows(module: nn.Module, image: Tensor) -> Tensor:
    """What a layer reads at each place, as a view: batch × P × places … × kernel …; of a linear layer rows × P × 1."""
    if isinstance(module, nn.Linear):
        return image.reshape(-1, image.shape[-1], 1)
    assert isinstance(module, PLAIN_CONVS)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    windows = pad(image, module._reversed_padding_repeated_twice, mode)  # noqa: SLF001  (knows of "same" as well)
    sizes = zip(module.kernel_size, module.stride, module.dilation, strict=True)
    for dim, (size, stride, apart) in enumerate(sizes, 2):
        windows = windows.unfold(dim, (size - 1) * apart + 1, stride)[..., ::apart]
    return windows


def _parts(inputs_NPK: Tensor, weight: Tensor, outputs_N: Tensor) -> Tensor:
    """N×P: what each input contributes to one entry of the output; nothing to those of another group's channels."""
    weight = weight.reshape(*weight.shape[:2], -1)
    count, width = weight.shape[1], inputs_NPK.shape[1]
    per_group = len(weight) // max(1, width // count)
    places = (outputs_N // per_group * count)[:, None] + torch.arange(count, device=outputs_N.device)
    result = inputs_NPK.new_zeros(inputs_NPK.shape[:2])
    for rows in torch.arange(len(outputs_N), device=outputs_N.device).split(_CHUNK):
        own = inputs_NPK[rows[:, None], places[rows]]
        result[rows] = result[rows].scatter(1, places[rows], (own * weight[outputs_N[rows]]).sum(-1))
    return result


def _by_channel(parts_NP: Tensor, place: LayerChannels, size: int) -> NDArray[np.float64]:
    """N×C: the parts of all inputs that hold one channel (several after flattening) added."""
    held = torch.from_numpy(np.flatnonzero(place.channels >= 0))
    channels = torch.from_numpy(place.channels)[held]
    parts_NC = torch.zeros(len(parts_NP), size, dtype=torch.float64)
    return parts_NC.index_add_(1, channels, parts_NP[:, held].double()).numpy()


_ASKS = "convolutions or linear layers that read the channels and are modules"
THINET = WidthMethod(
    name="thinet",
    summary="greedy: the channels that the next layer misses least, after training",
    scope="local",
    citation="Luo et al., ThiNet: A Filter Level Pruning Method, ICCV 2017",
    scores=thinet,
    can_score=can_watch_readers,
    asks=_ASKS,
)
REGRESSION = WidthMethod(
    name="regression",
    summary="LASSO: the channels that the next layer's output is best regressed on, after training",
    scope="local",
    citation="He et al., Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017",
    scores=regression,
    can_score=can_watch_readers,
    asks=_ASKS,
)
OBS = WidthMethod(
    name="obs",
    summary="what the next layer misses when a channel goes and the others make up for it, after training",
    scope="global",
    citation="Hassibi and Stork, Optimal Brain Surgeon, NIPS 1992",
    scores=surgeon,
    can_score=can_watch_readers,
    asks=_ASKS,
)
