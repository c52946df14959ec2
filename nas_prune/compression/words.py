"""The account of a compression in words and rows, for the terminal and the report."""

from collections.abc import Sequence

from nas_prune.compression.account import LayerAccount
from nas_prune.compression.result import Compressed

HEADINGS = (
    "layer",
    "zeros told",
    "weights",
    "non-zeros",
    "values",
    "bits a non-zero:\nwhich value",
    "where",
    "values,\ntables",
    "above the\nentropy",
    "bytes",
    "bits\na weight",
)
SUMS = "Zeros told: by gaps between non-zeros, as one more value among the indices, or none are there."
_TOLD = {"gaps": "gaps", "indices": "value", "none": "–"}


def kib(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1024:,.1f} KiB"


def layer_rows(layers: Sequence[LayerAccount]) -> list[list[str]]:
    """A row for each layer."""
    return [
        [one.name.removesuffix(".weight"), _TOLD[one.zeros], f"{one.weights:,}", *_shares(one), f"{one.values:,}",
         *_bits([one]), f"{one.total_bytes:,}", f"{8 * one.total_bytes / one.weights:.3f}"]
        for one in layers
    ]  # fmt: skip


def _shares(layer: LayerAccount) -> list[str]:
    return [f"{layer.nonzeros:,} ({100 * layer.nonzeros / layer.weights:.1f} %)"]


def _bits(layers: Sequence[LayerAccount]) -> list[str]:
    """Bits for each non-zero: for its value, its place, and the values themselves; and how far above the entropy."""
    nonzeros = sum(one.nonzeros for one in layers)
    index, where = (sum(getattr(one, name) for one in layers) for name in ("index_bits", "position_bits"))
    tables = 8 * sum(one.value_bytes + one.table_bytes for one in layers)
    entropy = sum(one.entropy_bits for one in layers)
    above = f"{100 * ((index + where) / entropy - 1):.2f} %" if entropy else "–"
    return [f"{index / nonzeros:.2f}", f"{where / nonzeros:.2f}", f"{tables / nonzeros:.2f}", above]


def summed_row(result: Compressed) -> list[str]:
    """The layers together."""
    layers = result.layers
    weights, nonzeros = (sum(getattr(one, name) for one in layers) for name in ("weights", "nonzeros"))
    bits = _bits(layers) if nonzeros else ["–"] * 4
    share = f"{nonzeros:,} ({100 * nonzeros / weights:.1f} %)" if weights else "0"
    size = sum(one.total_bytes for one in layers)
    return ["all", "", f"{weights:,}", share, "", *bits, f"{size:,}", f"{8 * size / max(1, weights):.3f}"]
