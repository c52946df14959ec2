"""Run by torchrun in test_soft_filters.py: searches softly, and writes from each process what it has trained."""

import sys
from pathlib import Path

import torch

from nas_prune.runs.progress import SILENT
from nas_prune.search.config import resolve
from nas_prune.search.prepared import prepared_search
from nas_prune.training.checkpoint import write_checkpoint
from nas_prune.training.loop import fit
from nas_prune.training.ranks import joined
from tests.search.methods.test_soft_filters import CONFIG


def main(folder: Path) -> None:
    config = resolve(CONFIG)
    with joined(torch.device("cpu")) as ranks:
        stage = prepared_search(config, ranks, SILENT)
        state = stage.first_state()
        fit(state, stage.training())
        ranks.take_buffers(state.model)
        write_checkpoint(folder / f"rank{ranks.rank}", state)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
