"""The export with numbers of 8 bits, to compare a compressed network with."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

from nas_prune.compression.account import Form
from nas_prune.compression.config import CompressConfig
from nas_prune.errors import NasPruneError
from nas_prune.export.config import ExportConfig
from nas_prune.export.run import export_network
from nas_prune.runs.progress import Progress

INT8 = "int8, ONNX"


def int8_form(
    trained: Path, config: CompressConfig, images: int, space: str | None, progress: Progress
) -> tuple[Form | None, str]:
    """The network as ONNX Runtime quantises it, measured on all test images; or why there is none.

    Args:
        trained: the network's file, in the directory of the compression.
        config: of this.
        images: how many test images there are.
        space: the network's name again, if it is one of the user's own.
        progress: reports how far the work is.
    """
    if find_spec("onnxruntime") is None:
        return None, "numbers of 8 bits need the extra: pip install 'nas-prune[onnx]'"
    wanted = ExportConfig(to="int8-onnx", images=images, runs=1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = export_network(
                trained,
                wanted,
                out=Path(folder) / "int8",
                space=space,
                data=config.data.name,
                progress=progress,
            )
        except NasPruneError as error:
            return None, f"the export with numbers of 8 bits failed: {error}"
        return Form(name=INT8, bytes=made.path.stat().st_size, test=made.agreement.value), ""
