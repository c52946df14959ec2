"""Going on with a run: trust, moved paths, changed versions and torn files, the same for every kind of run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_prune.comparison.config import CompareConfig
from nas_prune.comparison.evaluate import resume_evaluation
from nas_prune.comparison.evaluate_result import EvaluateConfig
from nas_prune.errors import BadInputError
from nas_prune.runs.files import alone_in
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import read_config, write_config
from nas_prune.runs.typed import Typed
from nas_prune.search.all_methods import resume_all
from nas_prune.search.config import SearchConfig
from nas_prune.study.config import StudyConfig
from nas_prune.training.config import RunConfig, TrainConfig
from nas_prune.training.run import resume_train

RUNS = Path(__file__).parents[1] / "earlier_runs"
KINDS: dict[str, type[RunConfig]] = {
    "search": SearchConfig,
    "search-all": SearchConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "study": StudyConfig,
    "compare": CompareConfig,
    "transfer": CompareConfig,
}


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run of each kind."""
    shutil.copytree(RUNS / request.param, tmp_path / "runs" / request.param)
    return tmp_path / "runs" / str(request.param)


def reopened(run: Path, *, trusted: str | None = None, progress: Progress = SILENT) -> RunConfig:
    return reopen(run, KINDS[run.name], trusted=trusted, data_name=None, progress=progress)


def name_own_network(run: Path) -> None:
    """Let the files of a run name code, as somebody else's might."""
    for path in (run / "config.yaml", *run.rglob("*.json")):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("space: resnet20", "space: evil:net").replace('"resnet20"', '"evil:net"')
        )


def test_no_code_that_only_a_file_names_is_imported(run: Path) -> None:
    name_own_network(run)
    with pytest.raises(BadInputError, match="--space evil:net must be given again, got none"):
        reopened(run)
    with pytest.raises(BadInputError, match="--space must be evil:net, .*, got other:net"):
        reopened(run, trusted="other:net")
    with pytest.raises(BadInputError, match="must be given again"):
        reopened(run, trusted="evil:net")  # a plain string may come from anywhere
    assert getattr(reopened(run, trusted=Typed("evil:net")), "space", "evil:net") == "evil:net"


def test_changed_versions_are_told_and_torn_files_removed(run: Path) -> None:
    config = read_config(run, KINDS[run.name])
    write_config(run, config.model_copy(update={"versions": {"torch": "1.0", "": "2", "../x": "3"}}))
    torn = run / ".config.yaml.x.part"
    torn.touch()
    said: list[str] = []
    reopened(run, progress=Progress(say=said.append))
    assert [text.partition(", ")[0] for text in said] == [
        "Last digits may differ from those of a run that was not stopped: torch 1.0 then"
    ]
    assert not torn.exists()


def test_the_files_of_a_process_that_is_writing_stay(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0.0)
    torn = run / ".images.part"
    torn.touch()
    with alone_in(run), pytest.raises(BadInputError, match="must be written by one process at a time"):
        reopened(run)
    assert torn.exists()
    reopened(run)
    assert not torn.exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "search-all"])
def test_a_run_is_held_while_it_is_worked_on(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0.0)
    run = tmp_path / command
    shutil.copytree(RUNS / command, run)
    seen: list[str] = []

    def look(*_: object) -> None:
        try:
            with alone_in(run):
                seen.append("free")
        except BadInputError:
            seen.append("held")
        raise KeyboardInterrupt

    for path in (*run.rglob("result.json"), *run.rglob("checkpoint*")):
        path.unlink()
    resumes: dict[str, Callable[..., object]] = {
        "train": resume_train,
        "evaluate": resume_evaluation,
        "search-all": resume_all,
    }
    with pytest.raises(KeyboardInterrupt):
        resumes[command](
            run, progress=Progress(update=lambda what, *_: look() if what != "tracing the network" else None)
        )
    assert seen == ["held"]


def test_paths_are_found_from_where_the_command_is_typed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def paths(config: RunConfig) -> list[Any]:
        return [config.data.name, *(getattr(config, name) for name in config.path_fields)]

    given = {"data": {"name": "folder:images"}, **dict.fromkeys(KINDS[run.name].path_fields, "other")}
    config = KINDS[run.name].model_validate({**read_config(run, KINDS[run.name]).model_dump(), **given})
    monkeypatch.chdir(run.parent)
    write_config(run, config.relative_to(run))
    assert paths(read_config(run, KINDS[run.name])) == ["folder:../images", *["../other"] * (len(given) - 1)]
    monkeypatch.chdir(run.parent.parent)
    assert paths(reopened(run)) == ["folder:runs/images", *["runs/other"] * (len(given) - 1)]
