"""Shared by all tests: one thread, since small operations are faster so, and an empty directory."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def in_empty_directory(tmp_path: Path) -> Iterator[Path]:
    """Run the test in a directory of its own."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
