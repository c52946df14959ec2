"""What an export gave."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_prune.export.agreement import Agreement
from nas_prune.export.config import ExportConfig
from nas_prune.export.latency import Speed


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export gave.

    Attributes:
        out: the directory of its files.
        config: how it was exported.
        network: the trained network's file.
        what: the network, in words.
        files: their names.
        agreement: with the trained network; of int8 numbers it may differ.
        speeds: before, and after; latencies of single images.
        machine: on which they were measured.
        folded: how many of how many batch norms became part of convolutions; None where that was not asked for.
    """

    out: Path
    config: ExportConfig
    network: Path
    what: str
    files: tuple[str, ...]
    agreement: Agreement
    speeds: tuple[Speed, ...]
    machine: str
    folded: tuple[int, int] | None

    @property
    def path(self) -> Path:
        """The exported network."""
        return self.out / self.config.file


def summary(result: Exported) -> dict[str, Any]:
    """As plain JSON, for `--format json`."""
    return {
        "out": str(result.out),
        "files": list(result.files),
        "network": str(result.network),
        "settings": result.config.model_dump(mode="json"),
        "agreement": result.agreement.content(),
        "speeds": [asdict(one) for one in result.speeds],
        "threads": result.config.threads,
        "machine": result.machine,
        "folded_norms": None if result.folded is None else result.folded[0],
        "norms": None if result.folded is None else result.folded[1],
    }
