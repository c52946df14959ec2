"""Operations one by one, each between two convolutions, so that none in the table of rules goes untried."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def _put_rows(x: Tensor) -> Tensor:
    rows = x.permute(0, 2, 3, 1).flatten(0, 2).clone()
    numbers = torch.arange(8, device=x.device)
    rows[numbers] = rows[numbers + 8] * 2
    images: Tensor = rows.unflatten(0, (len(x), 8, 8)).permute(0, 3, 1, 2)
    return images


def _by_distances(x: Tensor) -> Tensor:
    rows = x.flatten(2).transpose(1, 2)
    return x * torch.cdist(rows, rows).mean(2).view(-1, 1, 8, 8)


# From N×8×8×8 to N×8×any×any, channel by channel.
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "_adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 4),
    "_adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x.unsqueeze(2), (1, 4, 4)).squeeze(2),
    "_log_softmax": lambda x: F.log_softmax(x, 1),
    "_to_copy": lambda x: x.double().to(x.dtype),
    "_upsample_bicubic2d_aa": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", antialias=True),
    "_upsample_bilinear2d_aa": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", antialias=True),
    "_upsample_nearest_exact2d": lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 4),
    "adaptive_max_pool3d": lambda x: F.adaptive_max_pool3d(x.unsqueeze(2), (1, 4, 4)).squeeze(2),
    "alias": torch.ops.aten.alias,
    "amax": lambda x: x - x.amax((2, 3), keepdim=True),
    "amin": lambda x: x - x.amin((2, 3), keepdim=True),
    "argmax": lambda x: x + x.flatten(2).argmax(2)[:, :, None, None],
    "argmin": lambda x: x + x.flatten(2).argmin(2)[:, :, None, None],
    "as_strided_": lambda x: F.adaptive_avg_pool2d(x.contiguous(memory_format=torch.channels_last), 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "avg_pool3d": lambda x: F.avg_pool3d(x.unsqueeze(2), (1, 2, 2)).squeeze(2),
    "bernoulli": lambda x: x + 0 * torch.bernoulli(torch.zeros_like(x)),
    "bernoulli_": lambda x: x + 0 * x.new_empty(x.shape).bernoulli_(0.5),
    "div_": lambda x: (x + 0).div_(2.0),
    "mul_": lambda x: (x + 0).mul_(0.5),
    "empty": lambda x: x + torch.empty(x.shape, device=x.device, dtype=x.dtype).zero_(),
    "fill_": lambda x: x * torch.empty_like(x).fill_(2.0),
    "flip": lambda x: x.flip(3),
    "full": lambda x: x * torch.full(x.shape, 2.0, device=x.device, dtype=x.dtype),
    "full_like": lambda x: x * torch.full_like(x, 2.0),
    "hardswish": F.hardswish,
    "hardswish_": lambda x: F.hardswish(x, inplace=True),
    "linalg_vector_norm": lambda x: x - x.norm(dim=(2, 3), keepdim=True),
    "linspace": lambda x: x + torch.linspace(0, 1, 8, device=x.device, dtype=x.dtype),
    "logsumexp": lambda x: x - x.logsumexp((2, 3), keepdim=True),
    "unsafe_split": lambda x: torch.cat(x.unsafe_split(4, 2), 2),
    "max": lambda x: x - x.max(3, keepdim=True).values,
    "max_pool3d_with_indices": lambda x: F.max_pool3d(x.unsqueeze(2), (1, 2, 2)).squeeze(2),
    "min": lambda x: x - x.min(3, keepdim=True).values,
    "native_dropout": lambda x: torch.native_dropout(x, 0.0, True)[0],
    "new_empty": lambda x: x + x.new_empty(x.shape).zero_(),
    "new_full": lambda x: x * x.new_full(x.shape, 2.0),
    "new_ones": lambda x: x * x.new_ones(x.shape),
    "normal_": lambda x: x + 0 * torch.empty_like(x).normal_(),
    "ones": lambda x: x * torch.ones(x.shape, device=x.device, dtype=x.dtype),
    "ones_like": lambda x: x * torch.ones_like(x),
    "rand": lambda x: x + 0 * torch.rand(x.shape, device=x.device, dtype=x.dtype),
    "rand_like": lambda x: x + 0 * torch.rand_like(x),
    "randn": lambda x: x + 0 * torch.randn(x.shape, device=x.device, dtype=x.dtype),
    "randn_like": lambda x: x + 0 * torch.randn_like(x),
    "_conj": lambda x: torch.fft.fft2(x).conj().abs() + 0,
    "complex": lambda x: torch.complex(x, 2 * x).abs(),
    "_fft_c2c": lambda x: torch.fft.fft2(x).abs(),
    "_fft_r2c": lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 2),
    "view_as_complex": lambda x: torch.view_as_complex(torch.stack([x, x], -1)).real,
    "cummax": lambda x: x.cummax(2).values,
    "cummin": lambda x: x.cummin(2).values,
    "cumprod": lambda x: x.cumprod(2),
    "cumsum": lambda x: x.cumsum(3),
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "gather": lambda x: x.gather(2, x.argsort(2)[:, :, :3]),
    "scatter": lambda x: x.scatter(2, x.argsort(2)[:, :, :1], 2.0),
    "scatter_": lambda x: (x + 0).scatter_(2, x.argsort(2)[:, :, :3], x[:, :, 2:5]),
    "scatter_add": lambda x: x.scatter_add(3, x.argsort(3), x),
    "scatter_add_": lambda x: torch.zeros_like(x).scatter_add_(2, x.argsort(2), x),
    "scatter_reduce": lambda x: x.scatter_reduce(2, x.argsort(2), x * 2, "amax"),
    "index_add": lambda x: x.index_add(2, torch.arange(3, device=x.device), x[:, :, 5:]),
    "index_add_": lambda x: (x + 0).index_add_(3, torch.arange(3, device=x.device), x[..., :3]),
    "index_copy": lambda x: x.index_copy(2, torch.arange(3, device=x.device), x[:, :, 5:]),
    "index_copy_": lambda x: (x + 0).index_copy_(3, torch.arange(3, device=x.device), x[..., :3]),
    "index_put": lambda x: x.index_put((x > 1,), torch.zeros((), device=x.device, dtype=x.dtype)),
    "index_put_": _put_rows,
    "_euclidean_dist": _by_distances,
    "_cdist_forward": lambda x: x + torch.cdist(x.flatten(2), x.flatten(2), p=1).mean(2)[:, :, None, None],
    "norm": lambda x: x - torch.ops.aten.norm.ScalarOpt_dim(x, 2, [2, 3], True),
    "grid_sampler_2d": lambda x: F.grid_sample(x, torch.stack([x.mean(1)] * 2, -1), align_corners=False),
    "grid_sampler_3d": lambda x: F.grid_sample(
        x.unsqueeze(2), x.new_zeros(len(x), 1, 4, 4, 3), align_corners=False
    ).squeeze(2),
    "max_unpool2d": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), (2, 2)),
    "sort": lambda x: x.sort(3, descending=True).values + torch.sort(x, dim=2, stable=True)[0],
    "topk": lambda x: x.topk(3, dim=2).values + x.topk(3, 3).values.transpose(2, 3),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(1),
    "reflection_pad3d": lambda x: F.pad(x.unsqueeze(2), (1, 1, 1, 1, 0, 0), mode="reflect").squeeze(2),
    "replication_pad1d": lambda x: F.pad(x.flatten(2), (1, 1), mode="replicate")[..., 1:65].view(x.shape),
    "replication_pad3d": lambda x: F.pad(x.unsqueeze(2), (1, 1, 1, 1, 0, 0), mode="replicate").squeeze(2),
    "reflection_pad1d": lambda x: F.pad(x.flatten(2), (1, 1), mode="reflect")[..., 1:65].view(x.shape),
    "reflection_pad2d": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "replication_pad2d": lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"),
    "roll": lambda x: x.roll(1, 2),
    "split_with_sizes": lambda x: torch.split(x, [2, 2, 4], 2)[1],
    "squeeze_": lambda x: x.unsqueeze(2).squeeze_(2),
    "transpose_": lambda x: x.clone().transpose_(2, 3),
    "unsqueeze_": lambda x: x.clone().unsqueeze_(2).squeeze(2),
    "std": lambda x: x - x.std((2, 3), keepdim=True),
    "std_mean": lambda x: x - torch.std_mean(x, (2, 3), keepdim=True)[1],
    "uniform_": lambda x: x + 0 * torch.empty_like(x).uniform_(),
    "upsample_bicubic2d": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "upsample_bilinear2d": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "upsample_linear1d": lambda x: F.interpolate(x.flatten(2), scale_factor=2, mode="linear").unflatten(
        2, (8, 16)
    ),
    "upsample_nearest1d": lambda x: F.interpolate(x.flatten(2), scale_factor=2).unflatten(2, (8, 16)),
    "upsample_nearest3d": lambda x: F.interpolate(x.unsqueeze(2), scale_factor=(1, 2, 2)).squeeze(2),
    "upsample_trilinear3d": lambda x: F.interpolate(
        x.unsqueeze(2), scale_factor=(1, 2, 2), mode="trilinear"
    ).squeeze(2),
    "var": lambda x: x - x.var((2, 3), keepdim=True),
    "var_mean": lambda x: x - torch.var_mean(x, (2, 3), keepdim=True)[0],
    "zero_": lambda x: x + torch.empty_like(x).zero_(),
    "zeros": lambda x: x + torch.zeros(x.shape, device=x.device, dtype=x.dtype),
    "zeros_like": lambda x: x + torch.zeros_like(x),
}
