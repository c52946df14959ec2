"""Optimal Brain Surgeon: weights go one by one, and those that stay make up for them (Hassibi and Stork, 1992).

The whole matrix H of second derivatives would be needed; of a VGG-16 of half its width it has 10¹³ entries. So the
weights of a filter are split into blocks of up to 64 neighbouring ones, about seven input channels of a 3×3 kernel, and
what weights of different blocks have to do with each other is left out. What is lost: a weight is made up for by the
others of its block only, not by distant input channels, other filters or layers; and rises of the loss in different
blocks are added as if they did not depend on each other.

H of a block is α I plus the mean over images of g gᵀ, the paper's form with an error that is a cross entropy. It is
inverted directly, in float64: with gradients in few directions, float32 is up to 1 % off after 64 updates, and only
some blocks are held at a time anyway.

Shape letters: N images, M blocks, B weights of a block, R filters, F weights of a filter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from nas_prune.patterns.cut import Scores
from nas_prune.patterns.layers import WeightLayer
from nas_prune.patterns.methods.contract import Evidence, PatternMethod
from nas_prune.patterns.methods.obd import with_gone_last
from nas_prune.patterns.methods.sample_gradients import sample_gradients
from nas_prune.training.masks import Masks

_BLOCK = 64
_RIDGE = 1e-4
_MOST_WEIGHTS = 2**20  # whose H is held at a time: 512 MiB for blocks of 64
_AT_ONCE = 64  # blocks: their H, 2 MiB, stays in the processor's cache over all its updates
_TINY = torch.finfo(torch.float64).tiny


def rises(evidence: Evidence) -> Scores:
    """How much the loss rises when a weight goes, in the order in which its block loses weights.

    The next weight of a block is that of the smallest w² / 2 [H⁻¹]_qq. The others follow by −w_q / [H⁻¹]_qq · H⁻¹ e_q
    (equation 5), and H⁻¹ becomes that of the weights that are left. A score is the largest rise in the block until
    then, so that a threshold cuts every block's order at one place.
    """
    weights = evidence.weights()
    found = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}
    for part, second_MBB in _second_derivatives(evidence):
        weights_MB = part.blocks(weights[part.layer.name][None].double())[0]
        chunks = zip(weights_MB.split(_AT_ONCE), second_MBB.split(_AT_ONCE), strict=True)
        part.write(torch.cat([one_by_one(*chunk) for chunk in chunks]), found[part.layer.name])
    return with_gone_last(evidence, found)


def one_by_one(weights_MB: Tensor, second_MBB: Tensor) -> Tensor:
    """M×B: the rise of each weight at its turn, the largest one of its block until then.

    Later is always larger, if only by the last bit: equal scores would be cut by their place, not by their turn.

    Args:
        weights_MB: float64. One that no image's loss depends on (its H is 0) rises by 0, and α does not count.
        second_MBB: the mean of g gᵀ.
    """
    left_MB = weights_MB.masked_fill(second_MBB.diagonal(dim1=1, dim2=2) == 0, 0)
    inverse_MBB = torch.cholesky_inverse(torch.linalg.cholesky(_with_ridge(second_MBB)))
    is_left_MB = torch.ones_like(left_MB, dtype=torch.bool)
    found_MB, worst_M1 = torch.zeros_like(left_MB), left_MB.new_zeros(len(left_MB), 1)
    inf = torch.full_like(worst_M1, torch.inf)
    for _ in range(left_MB.shape[1]):
        own_MB = inverse_MBB.diagonal(dim1=1, dim2=2).clamp(min=_TINY)
        rise_M1, turn_M1 = (left_MB.square() / (2 * own_MB)).where(is_left_MB, inf).min(1, keepdim=True)
        worst_M1 = torch.maximum(torch.nextafter(worst_M1, inf), rise_M1)
        found_MB.scatter_(1, turn_M1, worst_M1)
        is_left_MB.scatter_(1, turn_M1, value=False)
        column_MB = inverse_MBB.gather(1, turn_M1[:, :, None].expand(-1, 1, left_MB.shape[1]))[:, 0]
        step_MB = column_MB / own_MB.gather(1, turn_M1)
        left_MB -= step_MB * left_MB.gather(1, turn_M1)
        inverse_MBB.addcmul_(column_MB[:, :, None], step_MB[:, None, :], value=-1)
    return found_MB


def settled(evidence: Evidence, masks: Masks) -> Mapping[str, Tensor]:
    """The weights that make up best for those that a pattern leaves out, for all layers; these are zero.

    A block's best δw is −H⁻¹[:, S] H⁻¹[S, S]⁻¹ w_S for the weights S that go. The same minimum is found here from those
    that stay: H[K, K] δw_K = H[K, S] w_S, a system of one size for all blocks. Weights that were zero belong to S.
    """
    weights = evidence.weights()
    found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for part, second_MBB in _second_derivatives(evidence):
        weight = weights[part.layer.name]
        stays = masks[part.layer.name].to(weight.device) & (weight != 0)
        weights_MB, stays_MB = part.blocks(weight[None].double())[0], part.blocks(stays[None])[0]
        chunks = zip(*(one.split(_AT_ONCE) for one in (weights_MB, second_MBB, stays_MB)), strict=True)
        part.write(torch.cat([made_up_for(*chunk) for chunk in chunks]), found[part.layer.name])
    return found


def made_up_for(weights_MB: Tensor, second_MBB: Tensor, stays_MB: Tensor) -> Tensor:
    """M×B: the weights that stay, moved to where the loss rises least; zero for the others."""
    whole_MBB = _with_ridge(second_MBB)
    goes_MB = ~stays_MB
    pull_MB1 = whole_MBB @ (weights_MB * goes_MB)[:, :, None]
    alone = goes_MB[:, :, None] | goes_MB[:, None, :]
    of_stays_MBB = whole_MBB.masked_fill(alone, 0) + torch.diag_embed(goes_MB.double())
    moves_MB1 = torch.cholesky_solve(pull_MB1 * stays_MB[:, :, None], torch.linalg.cholesky(of_stays_MBB))
    return (weights_MB + moves_MB1[:, :, 0]) * stays_MB


def _with_ridge(second_MBB: Tensor) -> Tensor:
    """H with α on its diagonal: 1e-4 of the mean of the diagonal's entries that are not 0.

    The paper has α from 1e-8 to 1e-4. Second derivatives differ by orders of magnitude from layer to layer, so that one
    α would be all of H in some blocks and lost by rounding in others: here it is relative. Among 1e-6, 1e-4 and 1e-2,
    after the cut and with what makes up for it: on a VGG-11 of a quarter of its width all three were alike, on a small
    network for digits 1e-4 was best at a fifth of the weights (losses 0.23, 0.19 and 0.70).
    """
    diagonal_MB = second_MBB.diagonal(dim1=1, dim2=2)
    mean_M = diagonal_MB.sum(1) / (diagonal_MB != 0).sum(1).clamp(min=1)
    ridge_M = torch.where(mean_M > 0, _RIDGE * mean_M, 1).clamp(min=_TINY)
    return second_MBB + torch.diag_embed(ridge_M[:, None].expand_as(diagonal_MB))


@dataclass(frozen=True, slots=True)
class _Part:
    """Some filters of a layer.

    Attributes:
        layer: the layer.
        start, stop: which filters.
    """

    layer: WeightLayer
    start: int
    stop: int

    @property
    def _width(self) -> int:
        return self.layer.size // self.layer.shape[self.layer.out_dim]

    @property
    def _block(self) -> int:
        """B: blocks of a filter are equally large, up to zeros behind the last weight."""
        return -(-self._width // -(-self._width // _BLOCK))

    def blocks(self, values: Tensor) -> Tensor:
        """N×M×B of values that are N × the weight's shape."""
        rows_NRF = values.movedim(1 + self.layer.out_dim, 1)[:, self.start : self.stop].flatten(2)
        return pad(rows_NRF, (0, -self._width % self._block)).reshape(len(values), -1, self._block)

    def write(self, blocks_MB: Tensor, into: Tensor) -> None:
        """Put blocks in their place in a tensor of the weight's shape."""
        rows = into.movedim(self.layer.out_dim, 0)[self.start : self.stop]
        rows.copy_(blocks_MB.reshape(len(rows), -1)[:, : self._width].reshape(rows.shape))


def _parts(layers: Sequence[WeightLayer]) -> Iterator[list[_Part]]:
    """All filters of all layers, so many at a time as `_MOST_WEIGHTS` allows, but one at least."""
    found: list[_Part] = []
    room = _MOST_WEIGHTS
    for layer in layers:
        filters, start = layer.shape[layer.out_dim], 0
        width = layer.size // filters
        while start < filters:
            if room < width and found:
                yield found
                found, room = [], _MOST_WEIGHTS
            stop = min(filters, start + max(1, room // width))
            found.append(_Part(layer, start, stop))
            room -= (stop - start) * width
            start = stop
    yield found


def _second_derivatives(evidence: Evidence) -> Iterator[tuple[_Part, Tensor]]:
    """The mean over images of g gᵀ, M×B×B in float64, of some filters at a time; the images pass again for the next."""
    for parts in _parts(evidence.costs.layers.layers):
        sums: list[Tensor] = []
        count = 0
        for gradients in sample_gradients(evidence, list(dict.fromkeys(part.layer.name for part in parts))):
            for number, part in enumerate(parts):
                blocks_MNB = part.blocks(gradients[part.layer.name]).movedim(1, 0).double()
                if not count:
                    sums.append(blocks_MNB.mT @ blocks_MNB)
                else:
                    sums[number].baddbmm_(blocks_MNB.mT, blocks_MNB)
            count += len(next(iter(gradients.values())))
        while parts:
            yield parts.pop(0), sums.pop(0).div_(count)


OBS = PatternMethod(
    name="obs",
    summary="rise of the loss without a weight that others make up for (Fisher information by blocks), after training",
    citation="Hassibi and Stork, Second Order Derivatives for Network Pruning: Optimal Brain Surgeon, NIPS 1992",
    scores=rises,
    settled=settled,
    scopes=("global", "local"),
    takes_iterations=True,
    needs_classes=True,
)
