"""All methods in one directory, sharing a trained network where they can."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas_prune.data.config import DataConfig
from nas_prune.errors import BadInputError, BudgetError
from nas_prune.runs.directory import NETWORK, RESULT
from nas_prune.runs.progress import SILENT
from nas_prune.runs.settings import read_config, write_config
from nas_prune.runs.typed import Typed
from nas_prune.search.all_methods import _AllSearches, resume_all, search_all, settings_of
from nas_prune.search.config import SearchConfig, resolve
from nas_prune.search.methods.registry import METHODS
from nas_prune.search.prepared import LoadedInputs
from nas_prune.search.run import search, trains_as_usual

SPACE = Typed("tests.search.methods.contract:DepthwiseAndGrouped")


def config(**changed: object) -> SearchConfig:
    given: dict[str, object] = {
        "space": SPACE,
        "method": "all",
        "data": DataConfig(name="digits", max_images=200, image_size=8),
        "budgets": ("macs<=60%",),
        "epochs": 1,
        "threads": 1,
    }
    return SearchConfig.model_validate(given | changed)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_gets_the_settings_that_it_takes(name: str) -> None:
    asked = config(keep_checkpoints=True, log="tensorboard", weights="mine.pth")
    found = resolve(settings_of(asked, METHODS[name]))
    assert found.keep_checkpoints is METHODS[name].trains
    assert (found.log is not None) is METHODS[name].trains


@pytest.mark.slow
def test_each_method_finds_what_it_finds_alone_and_one_that_was_stopped_is_made_up(tmp_path: Path) -> None:
    result = search_all(config(), tmp_path / "all")
    assert set(result.left_out) == {"sss-blocks"}
    assert "must find residual blocks" in result.left_out["sss-blocks"]
    assert set(result.found) == set(METHODS) - {"sss-blocks"}
    assert set(result.seconds) == set(result.found)

    shared = [name for name in result.found if trains_as_usual(config(method=name))]
    assert {"taylor", "obd", "thinet"} <= set(shared)
    one, *others = (load_file(tmp_path / "all" / name / NETWORK) for name in sorted(shared))
    assert all(torch.equal(one[key], other[key]) for other in others for key in one)
    alone = search(config(method="obd"), tmp_path / "obd")
    written = (tmp_path / "all" / "obd" / RESULT).read_bytes()
    assert (alone.run / RESULT).read_bytes() == written

    (tmp_path / "all" / "obd" / RESULT).unlink()
    (tmp_path / "all" / "sss" / RESULT).unlink()
    sss = (tmp_path / "all" / "sss" / "widths" / "macs-60pct.json").read_bytes()
    again = resume_all(tmp_path / "all", space=SPACE)
    assert again.found == result.found
    assert (tmp_path / "all" / "obd" / RESULT).read_bytes() == written
    assert (tmp_path / "all" / "sss" / "widths" / "macs-60pct.json").read_bytes() == sss
    known = read_config(tmp_path / "all", SearchConfig)
    write_config(tmp_path / "all", known.model_copy(update={"data": DataConfig(max_images=110)}))
    with pytest.raises(BadInputError, match="must name the images that the run was begun with"):
        resume_all(tmp_path / "all", space=SPACE)


def test_what_is_wrong_for_all_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="macs<=0.01% must be one that"):
        search_all(config(budgets=("macs<=0.01%",)), tmp_path / "all")
    with pytest.raises(BadInputError, match="--budget own must come with one method .* Those do: sss, "):
        search_all(config(budgets=("own",)), tmp_path / "all")
    with pytest.raises(BadInputError, match="--sparsity must come with one method"):
        search_all(config(sparsity=0.1), tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_directory_that_was_there_stays_when_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "mine", None):
        with pytest.raises(BadInputError, match="nope"):
            search_all(config(space="nope"), out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_network_trained_otherwise_is_not_taken(tmp_path: Path) -> None:
    donor = search(config(method="taylor", seed=1), tmp_path / "donor")
    with pytest.raises(BadInputError, match="seed"):
        search(config(method="obd"), tmp_path / "run", trained=donor.run)


def test_a_search_that_was_killed_before_its_settings_were_written_is_made_up(tmp_path: Path) -> None:
    settings = config(method="uniform", epochs=None)
    (tmp_path / "all" / "uniform" / "target").mkdir(parents=True)
    (tmp_path / "all" / "uniform" / ".beginning").touch()
    searches = _AllSearches(tmp_path / "all", config(), SILENT, LoadedInputs())
    result = searches._search(settings, tmp_path / "all" / "uniform")
    assert sorted(path.name for path in result.run.iterdir()) == [
        "config.yaml",
        "result.json",
        "widths",
        "widths.png",
    ]


def test_the_result_is_plain_json(tmp_path: Path) -> None:
    search(config(method="uniform", epochs=None), tmp_path / "run")
    content = json.loads((tmp_path / "run" / RESULT).read_text(encoding="utf-8"))
    assert content["budgets"][0]["removed_blocks"] == []
