"""Code is imported for names that a person gave, and for no others."""

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import nas_prune
from nas_prune.errors import BadInputError
from nas_prune.runs.settings import read_config, write_config
from nas_prune.runs.typed import Typed
from nas_prune.search.config import SearchConfig
from nas_prune.space.load import load_space
from nas_prune.space.widths import SpaceReference

CANARY = """
from pathlib import Path
from typing import Any
from torch import nn

Path("canary").write_text("imported")


def net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture
def module(in_empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"canary_{in_empty_directory.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(CANARY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(in_empty_directory))
    return name


def test_a_plain_string_imports_nothing_and_a_call_from_python_does(module: str) -> None:
    reference = SpaceReference.model_validate(
        {"name": f"{module}:net", "input_shape": (3, 8, 8), "num_classes": 4}
    )
    for name in (f"{module}:net", reference.name):
        with pytest.raises(BadInputError, match="must be given by you"):
            load_space(name, (3, 8, 8))
    assert not Path("canary").exists()
    assert module not in sys.modules
    assert nas_prune.load_space(f"{module}:net", (3, 8, 8)).base_G == (8,)
    assert Path("canary").exists()


def test_what_was_typed_stays_so_in_memory_and_in_no_file(tmp_path: Path) -> None:
    config = SearchConfig(space=Typed("a.b:c"), budgets=("macs<=50%",))
    assert isinstance(config.space, Typed)
    for copy in (
        config.model_copy(),
        pickle.loads(pickle.dumps(config)),  # noqa: S301  (our own bytes)
        SearchConfig(**config.model_dump()),
    ):
        assert isinstance(copy.space, Typed)
    write_config(tmp_path, config)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["space"] == "a.b:c"
    assert not isinstance(read_config(tmp_path, SearchConfig).space, Typed)


def test_names_in_settings_count_as_typed_where_python_calls() -> None:
    seen: list[object] = []

    def takes(config: SearchConfig, *, space: str | None = None, spaces: tuple[str, ...] = ()) -> None:
        seen.extend((config.space, space, *spaces))

    from nas_prune.runs.typed import called_by_person

    called_by_person(takes)(SearchConfig(space="a:b"), space="c:d", spaces=("e:f",))
    assert seen == ["a:b", "c:d", "e:f"]
    assert all(isinstance(one, Typed) for one in seen)


def test_paths_may_be_text_and_a_network_must_be_a_name(in_empty_directory: Path) -> None:
    settings: dict[str, Any] = {
        "data": {"name": "digits", "max_images": 60},
        "epochs": 1,
        "budgets": ("macs<=50%",),
    }
    config = nas_prune.SearchConfig(space="resnet20", threads=1, **settings)
    nas_prune.search(config, "mine")  # type: ignore[arg-type]
    widths = nas_prune.read_widths("mine/widths/macs-50pct.json")
    guideline = nas_prune.fit_guideline(["mine/widths/macs-50pct.json"], with_guesses=True)  # type: ignore[list-item]
    guideline.write(Path("guideline.yaml"))
    assert nas_prune.read_guideline("guideline.yaml").sources
    space = load_space("resnet20", (1, 8, 8))
    with pytest.raises(BadInputError, match=r"space must be the network's name, got SearchSpace\."):
        nas_prune.train(nas_prune.TrainConfig(), widths, space=space)  # type: ignore[arg-type]
