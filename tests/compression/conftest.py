"""A network that is pruned to a fifth and trained on, on real digits: its training's directory."""

from pathlib import Path

import pytest

from nas_prune.patterns.config import SparsifyConfig
from nas_prune.patterns.run import sparsify
from nas_prune.patterns.training import train_pattern
from nas_prune.training.config import TrainConfig


@pytest.fixture(scope="package")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pruned")
    sparsify(
        SparsifyConfig(
            space="vgg11", width_multiplier=0.0625, data="digits", epochs=3, budgets="nonzero<=20%"
        ),
        home / "search",
    )
    train_pattern(TrainConfig(data="digits", schedule="rewind", epochs=3), home / "search", home / "trained")
    return home / "trained"
