"""Random small networks, written as people write them.

What Hypothesis draws is a list of block descriptions: frozen dataclasses, so that a failing example reads and shrinks
well, whose annotations say what is drawn. A description builds its module for whatever channels and positions the
blocks before it leave, with a 1×1 convolution in front where the channels do not fit. Most blocks read sizes off
`x.shape`; those of another `spelling` keep them as integers, in attributes or in closures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

Width: TypeAlias = Annotated[
    int, st.integers(2, 24) | st.sampled_from((8, 12, 16))
]  # some equal an image's size
Few: TypeAlias = Annotated[int, st.integers(1, 4)]
Groups: TypeAlias = Annotated[int, st.integers(2, 4)]

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(gcd(channels, 12) if channels > 4 else 1, channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "bare instance": nn.InstanceNorm2d,
}
ACTS: dict[str, Callable[[], nn.Module]] = {"none": nn.Identity, "relu": nn.ReLU, "silu": nn.SiLU}


class Place(NamedTuple):
    """How far a network has come: its channels, and the height and width of their maps."""

    channels: int
    size: int


@dataclass(frozen=True, slots=True)
class Style:
    """What follows a convolution."""

    norm: Annotated[str, st.sampled_from(tuple(NORMS))] = "none"
    act: Annotated[str, st.sampled_from(tuple(ACTS))] = "none"

    def conv(self, inner: int, outer: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
        has_bias = self.norm != "batch"
        conv = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=has_bias)
        return nn.Sequential(conv, *self.after(outer))

    def after(self, channels: int) -> tuple[nn.Module, nn.Module]:
        return NORMS[self.norm](channels), ACTS[self.act]()


def fitted(at: Place, divisor: int) -> tuple[nn.Module, int]:
    """What makes the number of channels a multiple, and that number."""
    if at.channels % divisor == 0:
        return nn.Identity(), at.channels
    channels = at.channels + divisor - at.channels % divisor
    return nn.Conv2d(at.channels, channels, 1), channels


class Does(nn.Module):
    """A function without layers, as a module; what sizes it knows are in its closure."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@dataclass(frozen=True, slots=True)
class Chain:
    width: Width
    size: Literal[1, 3]
    stride: Literal[1, 2]
    style: Style
    times: Literal[0, 1, 2] = 0  # how often the same layers come again, so that weights are shared

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        stride = self.stride if at.size >= 4 else 1
        first = self.style.conv(at.channels, self.width, self.size, stride)
        again = self.style.conv(self.width, self.width)
        size = (at.size - 1) // stride + 1
        return nn.Sequential(first, *[again] * self.times), Place(self.width, size)


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, between: int, style: Style) -> None:
        super().__init__()
        self.first = style.conv(inner, between)
        self.second = style.conv(between, outer)[:2]
        self.shortcut = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)
        self.act = ACTS[style.act]()

    def forward(self, x: Tensor) -> Any:
        return self.act(self.second(self.first(x)) + self.shortcut(x))


class _PreActivation(nn.Module):
    def __init__(self, inner: int, outer: int, between: int, style: Style) -> None:
        super().__init__()
        self.before = nn.Sequential(*style.after(inner))
        self.first = style.conv(inner, between)
        self.second = nn.Conv2d(between, outer, 3, padding=1)
        self.shortcut = None if inner == outer else nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor) -> Any:
        out = self.before(x)
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.second(self.first(out))
        out += shortcut
        return out


@dataclass(frozen=True, slots=True)
class Residual:
    width: Width | None  # as many channels as come in if None, so that the shortcut is the identity
    between: Width
    style: Style
    is_pre_activated: bool

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        kind = _PreActivation if self.is_pre_activated else _Residual
        width = self.width or at.channels
        return kind(at.channels, width, self.between, self.style), at._replace(channels=width)


class _Dense(nn.Module):
    def __init__(self, inner: int, growths: tuple[int, ...], style: Style) -> None:
        super().__init__()
        sums = [inner + sum(growths[:number]) for number in range(len(growths))]
        pairs = zip(sums, growths, strict=True)
        self.layers = nn.ModuleList(style.conv(before, growth) for before, growth in pairs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class _Branches(nn.Module):
    def __init__(self, inner: int, widths: tuple[int, ...], style: Style) -> None:
        super().__init__()
        sizes = (1, 3, 5)
        self.branches = nn.ModuleList(style.conv(inner, w, k) for w, k in zip(widths, sizes, strict=False))
        self.norm = NORMS[style.norm](sum(widths))

    def forward(self, x: Tensor) -> Any:
        return self.norm(torch.cat([branch(x) for branch in self.branches], dim=1))


@dataclass(frozen=True, slots=True)
class Concat:
    widths: Annotated[tuple[int, ...], st.lists(st.integers(2, 16), min_size=2, max_size=3).map(tuple)]
    style: Style
    is_dense: bool

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        kind = _Dense if self.is_dense else _Branches
        channels = sum(self.widths) + at.channels * self.is_dense
        return kind(at.channels, self.widths, self.style), at._replace(channels=channels)


class _Detour(nn.Module):
    """A step down and up again, beside the way past it: a U-net's smallest piece."""

    def __init__(self, inner: int, width: int, style: Style, mode: str) -> None:
        super().__init__()
        self.deep = style.conv(inner, width)
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        deep = self.deep(F.max_pool2d(x, 2))
        return torch.cat([F.interpolate(deep, size=x.shape[2:], mode=self.mode), x], 1)


@dataclass(frozen=True, slots=True)
class Detour:
    width: Width
    style: Style
    mode: Literal["nearest", "bilinear"]

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        if at.size < 4:
            return Chain(self.width, 1, 1, self.style).make(at)
        block = _Detour(at.channels, self.width, self.style, self.mode)
        return block, at._replace(channels=at.channels + self.width)


@dataclass(frozen=True, slots=True)
class Separable:
    width: Width
    multiplier: Literal[1, 2]
    stride: Literal[1, 2]
    style: Style

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        stride = self.stride if at.size >= 4 else 1
        many = at.channels * self.multiplier
        depthwise = self.style.conv(at.channels, many, 3, stride, groups=at.channels)
        block = nn.Sequential(depthwise, self.style.conv(many, self.width, 1))
        return block, Place(self.width, (at.size - 1) // stride + 1)


@dataclass(frozen=True, slots=True)
class Grouped:
    groups: Groups
    width: Few  # of each of them
    style: Style

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        entry, inner = fitted(at, self.groups)
        channels = self.groups * self.width
        block = nn.Sequential(entry, self.style.conv(inner, channels, groups=self.groups))
        return block, at._replace(channels=channels)


class _Shuffle(nn.Module):
    def __init__(self, groups: int, channels: int, spelling: str) -> None:
        super().__init__()
        self.groups, self.spelling = groups, spelling
        self.per_group = each = channels // groups
        self.cut: Callable[[Tensor], Tensor] = lambda x: x.unflatten(1, (groups, each))

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "torch":
            return F.channel_shuffle(x, self.groups)
        batch, channels, height, width = x.shape
        each = channels // self.groups if self.spelling == "shape" else self.per_group
        is_closed = self.spelling == "closure"
        x = self.cut(x) if is_closed else x.view(batch, self.groups, each, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)


@dataclass(frozen=True, slots=True)
class Shuffle:
    groups: Groups
    spelling: Literal["shape", "torch", "attribute", "closure"]

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        entry, channels = fitted(at, self.groups)
        block = nn.Sequential(entry, _Shuffle(self.groups, channels, self.spelling))
        return block, at._replace(channels=channels)


class _Halves(nn.Module):
    """Half of the channels go on as they are, as in ShuffleNet."""

    def __init__(self, channels: int, width: int, style: Style, spelling: str) -> None:
        super().__init__()
        left = channels // 2 if spelling in ("chunk", "slice") else max(1, channels // 3)
        self.branch = style.conv(channels - left, width)
        self.spelling = spelling
        self.split_sizes = [left, channels - left]
        self.pieces: Callable[[Tensor], tuple[Tensor, Tensor]] = lambda x: (x[:, :left], x[:, left:])

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "chunk":
            kept, changed = x.chunk(2, dim=1)
        elif self.spelling == "slice":
            half = x.shape[1] // 2
            kept, changed = x[:, :half], x[:, half:]
        elif self.spelling == "attribute":
            kept, changed = torch.split(x, self.split_sizes, 1)
        else:
            kept, changed = self.pieces(x)
        return torch.cat((kept, self.branch(changed)), dim=1)


@dataclass(frozen=True, slots=True)
class Halves:
    width: Width | None  # what comes out of the half that is changed; as many as went in if None
    style: Style
    spelling: Literal["chunk", "slice", "attribute", "closure"]

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        entry, channels = fitted(at, 2)
        left = channels // 2 if self.spelling in ("chunk", "slice") else max(1, channels // 3)
        width = self.width or channels - left
        block = _Halves(channels, width, self.style, self.spelling)
        return nn.Sequential(entry, block), at._replace(channels=left + width)


class _Excitation(nn.Module):
    def __init__(self, channels: int, width: int, spelling: str) -> None:
        super().__init__()
        self.channels, self.spelling = channels, spelling
        is_conv = spelling == "conv"
        self.down = nn.Conv2d(channels, width, 1) if is_conv else nn.Linear(channels, width)
        self.up = nn.Conv2d(width, channels, 1) if is_conv else nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Any:
        gate = F.adaptive_avg_pool2d(x, 1)
        if self.spelling == "conv":
            return x * torch.sigmoid(self.up(F.relu(self.down(gate))))
        channels = x.shape[1] if self.spelling == "shape" else self.channels
        gate = torch.sigmoid(self.up(F.relu(self.down(gate.view(-1, channels)))))
        return x * gate.view(-1, channels, 1, 1)


@dataclass(frozen=True, slots=True)
class Excitation:
    width: Width
    spelling: Literal["conv", "shape", "attribute"]

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        return _Excitation(at.channels, self.width, self.spelling), at


class Attention(nn.Module):
    def __init__(self, channels: int, heads: int, spelling: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.num_heads, self.head_dim, self.spelling = heads, channels // heads, spelling
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, image: Tensor) -> Any:
        x = self.norm(image.flatten(2).transpose(1, 2))
        batch, count, channels = x.shape
        size = self.head_dim if self.spelling == "attribute" else channels // self.num_heads
        heads = self.qkv(x).reshape(batch, count, 3, self.num_heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind(0)
        if self.spelling == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        mixed = self.proj(mixed.transpose(1, 2).reshape(batch, count, -1))
        return image + mixed.transpose(1, 2).reshape(image.shape)


@dataclass(frozen=True, slots=True)
class SelfAttention:
    heads: Few
    spelling: Literal["shape", "fused", "attribute"]

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        entry, channels = fitted(at, self.heads)
        block = nn.Sequential(entry, Attention(channels, self.heads, self.spelling))
        return block, at._replace(channels=channels)


class _ChannelsLast(nn.Module):
    """ConvNeXt's block: depthwise, a layer norm over channels, two linear layers, a learnt scale."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, width), nn.Linear(width, channels)
        self.scale = nn.Parameter(torch.empty(channels))
        nn.init.uniform_(self.scale, 0.5, 1.5)

    def forward(self, x: Tensor) -> Any:
        out = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        out = self.scale * self.down(F.gelu(self.up(out)))
        return x + out.permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class ChannelsLast:
    width: Width

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        return _ChannelsLast(at.channels, self.width), at


@dataclass(frozen=True, slots=True)
class Rescale:
    """Fewer or more positions."""

    kind: Literal["max", "average", "nearest", "bilinear", "transposed"]
    width: Few
    groups: Few

    def make(self, at: Place) -> tuple[nn.Module, Place]:
        if self.kind in ("max", "average"):
            pool = nn.MaxPool2d(2) if self.kind == "max" else nn.AvgPool2d(2)
            return (pool, at._replace(size=at.size // 2)) if at.size >= 4 else (nn.Identity(), at)
        if at.size > 6:
            return nn.Identity(), at
        if self.kind in ("nearest", "bilinear"):
            return nn.Upsample(scale_factor=2, mode=self.kind), at._replace(size=2 * at.size)
        entry, inner = fitted(at, self.groups)
        outer = self.width * self.groups
        transposed = nn.ConvTranspose2d(inner, outer, 2, stride=2, groups=self.groups)
        return nn.Sequential(entry, transposed), Place(outer, 2 * at.size)
