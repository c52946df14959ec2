"""Small networks, one for each rule: what may be narrowed in them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """A network of named layers and one function of them."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self._forward(self, x)
        return result


def conv(inner: int, outer: int, size: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, size, padding=size // 2, groups=groups)


def swap(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(torch.cat([x[:, 3:], x[:, :3]], 1))


def shuffle(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    count, channels, height, width = x.shape
    return n.b(x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape))


def halves(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    middle = x.shape[1] // 2
    return n.b(x[:, :middle]) + n.c(x[:, middle:])


def in_turns(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(n.c(x[:, ::2]) * n.d(x[:, 1::2]))


def bilinear(n: Any, x: Tensor) -> Any:
    return n.c(n.b(n.a(x).mean((2, 3)), n.d(x).mean((2, 3))))


def excite(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(x * torch.sigmoid(n.up(F.relu(n.down(x.mean((2, 3), keepdim=True))))))


def tokens(n: Any, x: Tensor) -> Any:
    return n.b(F.gelu(n.a(x).flatten(2).transpose(1, 2)) @ torch.eye(8, device=x.device, dtype=x.dtype)).mean(
        1
    )


def batch_in_the_middle(n: Any, x: Tensor) -> Any:
    return n.b(torch.stack([n.a(x), n.a(x)]).mean(0))


CASES: dict[str, tuple[nn.Module, set[str]]] = {
    "chain": (nn.Sequential(conv(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4)), {"0"}),
    "residual": (Net(lambda n, x: n.c(n.a(x) + n.b(n.a(x))), a=conv(3, 8), b=conv(8, 8, 3), c=conv(8, 4)), {"a"}),
    "concat": (
        Net(
            lambda n, x: n.c(F.relu(n.bn(torch.cat([n.a(x), n.b(x)], 1)))),
            a=conv(3, 5), b=conv(3, 6), bn=nn.BatchNorm2d(11), c=conv(11, 4),
        ),
        {"a", "b"},
    ),
    "depthwise": (nn.Sequential(conv(3, 8), conv(8, 8, 3, groups=8), conv(8, 4)), {"0"}),
    "depthwise with a multiplier": (nn.Sequential(conv(3, 8), conv(8, 16, 3, groups=8), conv(16, 4)), {"0", "1"}),
    "flatten": (nn.Sequential(conv(3, 6), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 5)), {"0"}),
    "a layer used twice": (
        Net(lambda n, x: n.b(F.relu(n.c(F.relu(n.c(n.a(x)))))), a=conv(3, 8), c=conv(8, 8), b=conv(8, 4)), {"a"}
    ),
    "tied weights": (
        Net(lambda n, x: n.b(F.conv2d(n.a(x), n.c.weight) + n.c(n.a(x))), a=conv(3, 8), c=conv(8, 6), b=conv(6, 4)),
        {"a", "c"},
    ),
    "squeeze and excitation": (Net(excite, a=conv(3, 8), down=conv(8, 6), up=conv(6, 8), b=conv(8, 4)), {"a", "down"}),
    "in place": (Net(lambda n, x: n.b(n.a(x).relu_().add_(n.c(x))), a=conv(3, 8), c=conv(3, 8), b=conv(8, 4)), {"a"}),
    "a fixed slice": (
        Net(lambda n, x: n.b(n.a(x)[:, 2:7]), a=conv(3, 9), b=conv(5, 4)), {"a[2]"}
    ),
    "channels in another order": (Net(swap, a=conv(3, 8), b=conv(8, 4)), {"a[1]"}),
    "a mean over channels": (Net(lambda n, x: n.b(n.a(x).mean(1, keepdim=True)), a=conv(3, 8), b=conv(1, 4)), {"a"}),
    "a stretched channel": (Net(lambda n, x: n.b(n.a(x) * n.c(x)), a=conv(3, 8), c=conv(3, 1), b=conv(8, 4)), {"a"}),
    "a transposed convolution": (
        nn.Sequential(conv(3, 8), conv(8, 8), nn.ConvTranspose2d(8, 6, 2), conv(6, 4)), {"0", "1", "2"}
    ),
    "a step": (Net(lambda n, x: n.b(n.c(n.a(x)[:, ::2])), a=conv(3, 8), c=conv(4, 6), b=conv(6, 4)), {"a", "c"}),
    "two in turns": (Net(in_turns, a=conv(3, 8), c=conv(4, 6), d=conv(4, 6), b=conv(6, 4)), {"a", "c"}),
    "a step that leaves one over": (
        Net(lambda n, x: n.b(n.c(n.a(x)[:, ::3])), a=conv(3, 8), c=conv(3, 6), b=conv(6, 4)), {"c"}
    ),
    "equal halves": (Net(halves, a=conv(3, 8), b=conv(4, 6), c=conv(4, 6)), {"a"}),
    "a shuffle": (Net(shuffle, a=conv(3, 8), b=conv(8, 4)), {"a[1]"}),
    "channels that become rows": (
        Net(lambda n, x: n.b(n.c(n.a(x).transpose(1, 2))), a=conv(3, 8), c=conv(8, 6, 3), b=conv(6, 4)), {"c"}
    ),
    "a stack": (Net(batch_in_the_middle, a=conv(3, 8), b=conv(8, 4)), {"a"}),
}  # fmt: skip


class Attention(nn.Module):
    """Self-attention over the positions, as vision transformers write it."""

    def __init__(self, dim: int, heads: int, *, fused: bool = True) -> None:
        super().__init__()
        self.num_heads, self.fused = heads, fused
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.bias = nn.Parameter(torch.zeros(5, heads))
        self.register_buffer("index", torch.arange(64 * 64).view(64, 64) % 5)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, dim = x.shape
        if self.fused:
            q, k, v = self.qkv(x).view(batch, count, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            parts = self.qkv(x).chunk(3, -1)
            q, k, v = (part.view(batch, count, self.num_heads, -1).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(-2, -1) * (dim // self.num_heads) ** -0.5
        scores = scores + self.bias[self.get_buffer("index")].permute(2, 0, 1)
        result: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, count, dim))
        return result


def tokens_of(n: Any, x: Tensor) -> Tensor:
    result: Tensor = n.a(x).flatten(2).transpose(1, 2)
    return result


def attended(n: Any, x: Tensor) -> Any:
    x = tokens_of(n, x)
    return n.b(n.norm(x + n.attention(x)).mean(1))


def torch_attended(n: Any, x: Tensor) -> Any:
    x = tokens_of(n, x)
    return n.b((x + n.attention(x, x, x, need_weights=False)[0]).mean(1))


def class_token(n: Any, x: Tensor) -> Any:
    x = torch.cat([n.token.expand(len(x), -1, -1), tokens_of(n, x)], 1)
    return n.b((x + n.places)[:, 0])


def with_parameters(net: Net, **parameters: Tensor) -> Net:
    for name, values in parameters.items():
        net.register_parameter(name, nn.Parameter(values))
    return net


def weighted(n: Any, x: Tensor) -> Any:
    return n.b(F.softmax(n.a(x), 1))


def normalized(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(x / x.norm(dim=1, keepdim=True))


def standardized(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b((x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1))


def padded(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(F.pad(x, (0, 0, 0, 0, 2, 3)))


def zeros_beside(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(torch.cat([x, x.new_zeros(x.shape)], 1))


def beside_nothing(*order: int) -> Callable[[Any, Tensor], Any]:
    """Channels (1) and an empty tensor (0), one after the other, as decoders put them that miss a map."""

    def forward(n: Any, x: Tensor) -> Any:
        parts = torch.zeros(len(x), 0, *x.shape[2:], device=x.device), n.a(x)
        return n.b(torch.cat([parts[one] for one in order], 1))

    return forward


def picked(n: Any, x: Tensor) -> Any:
    return n.b(n.c(x) * n.a(x)[:, 1:2].select(1, 0).unsqueeze(1))


def in_bags(n: Any, x: Tensor) -> Any:
    return n.b(n.a(x) + n.table(x.mean((2, 3)).argsort(1))[:, :, None, None])


def looked_up(n: Any, x: Tensor) -> Any:
    return n.b(n.a(x) + n.table(torch.arange(1, device=x.device)).view(1, -1, 1, 1))


def rows_of_a_table(n: Any, x: Tensor) -> Any:
    rows = torch.index_select(n.table, 0, torch.arange(1, device=x.device))
    return n.b(n.a(x) * rows.view(1, -1, 1, 1))


def turned(n: Any, x: Tensor) -> Any:
    return n.b(n.a(x).roll(1, 2).flip(3) + n.c(x).flip(1))


def copied(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(torch.empty_like(x).copy_(x))


def overlapping(n: Any, x: Tensor) -> Any:
    return n.b(n.a(x).unfold(2, 2, 2).mean(-1))


def in_patches(n: Any, x: Tensor) -> Any:
    return n.b(F.unfold(n.a(x), 2, stride=2).transpose(1, 2)).mean(1)


def repeated(n: Any, x: Tensor) -> Any:
    return n.b(n.a(x).repeat(1, 2, 1, 1))


def stacked_products(n: Any, x: Tensor) -> Any:
    left, right = (layer(x).flatten(2) for layer in (n.a, n.c))
    return n.b((left @ right.transpose(1, 2) @ right).view(len(x), -1, 8, 8))


def added_products(n: Any, x: Tensor) -> Any:
    left, right = (layer(x).flatten(2) for layer in (n.a, n.c))
    return n.b(torch.baddbmm(left, left @ right.transpose(1, 2), right).view(len(x), -1, 8, 8))


def numbered(n: Any, x: Tensor) -> Any:
    x = n.a(x)
    return n.b(n.c(x + torch.arange(x.shape[1], device=x.device).view(1, -1, 1, 1)))


def per_place(n: Any, x: Tensor) -> Any:
    a, b = n.a(x), n.c(x)
    return n.b(torch.stack([a, b], 2).sum(2))


CASES |= {
    "a layer norm": (
        Net(lambda n, x: n.b(n.norm(tokens_of(n, x)).mean(1)), a=conv(3, 8), norm=nn.LayerNorm(8), b=nn.Linear(8, 4)),
        {"a"},
    ),
    "a layer norm without parameters": (
        Net(
            lambda n, x: n.b(n.norm(tokens_of(n, x)).mean(1)),
            a=conv(3, 8), norm=nn.LayerNorm(8, elementwise_affine=False), b=nn.Linear(8, 4),
        ),
        {"a"},
    ),
    "a group norm": (nn.Sequential(conv(3, 12), nn.GroupNorm(3, 12), conv(12, 4)), {"0[0]", "0[1]"}),
    "an instance norm": (nn.Sequential(conv(3, 8), nn.InstanceNorm2d(8, affine=True), conv(8, 4)), {"0"}),
    "fused attention": (
        Net(attended, a=conv(3, 12), attention=Attention(12, 3), norm=nn.LayerNorm(12), b=nn.Linear(12, 4)),
        {"a[0]", "a[1]"},
    ),
    "attention in chunks": (
        Net(
            attended,
            a=conv(3, 12), attention=Attention(12, 3, fused=False), norm=nn.LayerNorm(12), b=nn.Linear(12, 4),
        ),
        {"a[0]", "a[1]"},
    ),
    "attention of torch.nn": (
        Net(
            torch_attended,
            a=conv(3, 12), attention=nn.MultiheadAttention(12, 3, batch_first=True), b=nn.Linear(12, 4),
        ),
        {"a[0]", "a[1]"},
    ),
    "a class token": (
        with_parameters(
            Net(class_token, a=conv(3, 8), b=nn.Linear(8, 4)), token=torch.ones(1, 1, 8), places=torch.ones(1, 65, 8)
        ),
        {"a"},
    ),
    "a softmax over channels": (Net(weighted, a=conv(3, 8), b=conv(8, 4)), {"a"}),
    "a norm over channels": (Net(normalized, a=conv(3, 8), b=conv(8, 4)), {"a"}),
    "a variance over channels": (Net(standardized, a=conv(3, 8), b=conv(8, 4)), {"a"}),
    "padded channels": (Net(padded, a=conv(3, 8), b=conv(13, 4)), {"a"}),
    "zeros beside channels": (Net(zeros_beside, a=conv(3, 8), b=conv(16, 4)), {"a"}),
    "one channel picked": (Net(picked, a=conv(3, 8), c=conv(3, 6), b=conv(6, 4)), {"a", "c"}),
    "bags of an embedding": (Net(in_bags, a=conv(3, 8), table=nn.EmbeddingBag(5, 8), b=conv(8, 4)), {"a"}),
    "rows of an embedding": (Net(looked_up, a=conv(3, 8), table=nn.Embedding(5, 8), b=conv(8, 4)), {"a"}),
    "rows of a table": (
        with_parameters(Net(rows_of_a_table, a=conv(3, 8), b=conv(8, 4)), table=torch.ones(5, 8)), {"a"}
    ),
    "places turned around": (
        Net(turned, a=nn.Sequential(conv(3, 6), conv(6, 8)), c=conv(3, 8), b=conv(8, 4)), {"a.0"}
    ),
    "a copy": (Net(copied, a=conv(3, 8), b=conv(8, 4)), {"a"}),
    "windows of positions": (Net(overlapping, a=conv(3, 8), b=conv(8, 4)), {"a"}),
    "patches": (Net(in_patches, a=conv(3, 8), b=nn.Linear(32, 4)), {"a"}),
    "repeated channels": (Net(repeated, a=conv(3, 8), b=conv(16, 4)), {"a"}),
    "products of channels": (Net(stacked_products, a=conv(3, 8), c=conv(3, 6), b=conv(8, 4)), {"a", "c"}),
    "added products of channels": (Net(added_products, a=conv(3, 8), c=conv(3, 6), b=conv(8, 4)), {"a", "c"}),
    "a number for each channel": (Net(numbered, a=conv(3, 8), c=conv(8, 6), b=conv(6, 4)), {"c"}),
    "two in a stack": (Net(per_place, a=conv(3, 8), c=conv(3, 8), b=conv(8, 4)), {"a"}),
    "a shuffle by torch": (nn.Sequential(conv(3, 8), nn.ChannelShuffle(2), conv(8, 4)), {"0[1]"}),
    "pixels from channels": (nn.Sequential(conv(3, 8), nn.PixelShuffle(2), conv(2, 4)), {"0"}),
    "channels from pixels": (nn.Sequential(conv(3, 8), nn.PixelUnshuffle(2), conv(32, 4)), {"0"}),
    "a slope for each channel": (nn.Sequential(conv(3, 8), nn.PReLU(8), conv(8, 4)), {"0"}),
    "an upsampling": (nn.Sequential(conv(3, 8), nn.Upsample(scale_factor=2), conv(8, 4)), {"0"}),
    "gated halves": (nn.Sequential(conv(3, 16), nn.GLU(1), conv(8, 4)), {"0"}),
    "a grouped convolution": (nn.Sequential(conv(3, 12), conv(12, 6, 3, groups=3), conv(6, 4)), {"0[0]", "0[1]", "1"}),
    "a grouped transposed convolution": (
        nn.Sequential(conv(3, 12), nn.ConvTranspose2d(12, 6, 2, groups=3), conv(6, 4)), {"0[0]", "0[1]", "1"}
    ),
    "two vectors": (
        Net(bilinear, a=conv(3, 8), d=conv(3, 6), b=nn.Bilinear(8, 6, 7), c=nn.Linear(7, 4)), {"a", "d", "b"}
    ),
    **{
        f"an empty tensor {where} others": (Net(beside_nothing(*order), a=conv(3, 8), b=conv(8, 4)), {"a"})
        for where, order in {"before": (0, 1), "behind": (1, 0), "around": (0, 1, 0)}.items()
    },
    "channels last": (
        nn.Sequential(conv(3, 8).to(memory_format=torch.channels_last), nn.AdaptiveAvgPool2d(1), conv(8, 4)), {"0"}
    ),
}  # fmt: skip
