"""A search and its comparison in one file: the same command starts and resumes it."""

import shutil
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from nas_prune.comparison.arms import ARMS, SEEDS_OF_A_SEARCH, chosen_arms, equal_arms
from nas_prune.comparison.choosing import Wanted
from nas_prune.comparison.config import MOST_SEARCHES, CompareConfig
from nas_prune.comparison.parents import search_in
from nas_prune.comparison.result import COMPARED, FILE, CompareResult
from nas_prune.comparison.run import compare, resume_compare
from nas_prune.comparison.statistics import TestName, check_test
from nas_prune.data.config import DataConfig, placed
from nas_prune.errors import BadInputError
from nas_prune.hardware.use import identity_of_target, target_beside, target_or_kept
from nas_prune.runs.directory import RESULT, DirectoryName, default_run, published
from nas_prune.runs.files import alone_in, refuse_links, remove_partial_files, saying_why, write_whole
from nas_prune.runs.kinds import naming_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import load_yaml, read_text
from nas_prune.runs.settings import CONFIG, read_config, read_settings
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.config import MOST_STEPS, SearchConfig, resolve
from nas_prune.search.methods.contract import Scope
from nas_prune.search.methods.registry import method_named
from nas_prune.search.run import resume_search, search
from nas_prune.space.budget import BudgetSetting
from nas_prune.space.names import check_trusted
from nas_prune.space.network_settings import NetworkSettings
from nas_prune.space.widths import read_widths
from nas_prune.study.config import with_recipe_beside
from nas_prune.training.config import with_short_forms
from nas_prune.training.recipe import Recipe, as_written_now, changed

_SEARCH = "search"


class CompareFile(NetworkSettings):
    """What a comparison file holds.

    Attributes:
        name: of its directory; the file's own name by default.
        question: what it is to answer, in words.
        method, scope, sparsity, iterations, budget, seed, stop: of the search.
        data, recipe: of the search and all trainings; `epochs` in the file changes the recipe's.
        seeds, searches, arms, cap, equal_training: of the comparison.
        test: likewise; None for `moderated`, or for what the comparison was begun with.
    """

    name: DirectoryName
    question: str = ""
    method: str = "slimming"
    scope: Scope | None = None
    sparsity: float | None = Field(default=None, ge=0)
    iterations: int = Field(default=1, ge=1, le=MOST_STEPS)
    budget: BudgetSetting
    seed: int = Field(default=0, ge=0, lt=2**31)
    stop: bool | None = None
    data: DataConfig = DataConfig()
    recipe: Recipe
    seeds: int = Field(default=5, ge=1, le=SEEDS_OF_A_SEARCH)
    searches: int = Field(default=1, ge=1, le=MOST_SEARCHES)
    arms: tuple[str, ...] = ()
    cap: float | None = Field(default=None, ge=1)
    equal_training: float | None = Field(default=None, gt=0, le=10_000)
    test: TestName | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, content: Any) -> Any:
        """Names stand for data sets and recipes; `epochs` changes the recipe's."""
        if not isinstance(content, dict):
            return content
        content = with_short_forms(content)
        if "epochs" in content and isinstance(content.get("recipe"), Recipe):
            content["recipe"] = changed(content["recipe"], epochs=content.pop("epochs"))
        return content

    def search(self, machine: dict[str, Any]) -> SearchConfig:
        """The settings of the search."""
        return resolve(
            SearchConfig(
                **machine,
                data=self.data,
                **self.network_settings(),
                **self.model_dump(include={"method", "scope", "sparsity", "iterations", "seed", "stop"}),
                budgets=(self.budget,),
                recipe=self.recipe,
            )
        )

    def comparison(self, machine: dict[str, Any]) -> CompareConfig:
        """The settings of the comparison."""
        own = {"seeds", "searches", "cap", "equal_training", "test"}
        chosen = self.model_dump(include=own, exclude_none=True)
        return CompareConfig(**machine, data=self.data, recipe=self.recipe, data_seed=self.seed, **chosen)


def read_compare_file(path: Path, **changes: Any) -> CompareFile:
    """A comparison file.

    Args:
        path: the file.
        changes: settings that replace the file's, where not None: `data_name`, `max_images`, `image_size`, `epochs`,
            `seeds`, `searches`.

    Raises:
        BadInputError: it cannot be read, or something in it cannot be used; the message names the setting.
    """
    with naming_other(path, "comparison file", wanted="a comparison file must be one"):
        return _read_file(path, changes)


def _read_file(path: Path, changes: dict[str, Any]) -> CompareFile:
    content = with_recipe_beside(read_settings(path, "comparison file", "seeds: 5"), path)
    data_name = changes.pop("data_name", None)
    images = {key: changes.pop(key, None) for key in ("max_images", "image_size")}
    content = {"name": path.stem, **content, **{key: one for key, one in changes.items() if one is not None}}
    try:
        file = CompareFile.model_validate(content)
    except ValidationError as error:
        raise BadInputError(
            f"comparison file {path} cannot be used: {first_problem(error, CompareFile)}."
        ) from None
    data = placed(file.data, path.parent, data_name)
    data = data.model_copy(update={key: one for key, one in images.items() if one is not None})
    return file.model_copy(update={"data": data, "target": target_beside(file.target, path.parent)})


def run_file(
    file: CompareFile,
    out: Path | None = None,
    *,
    machine: dict[str, Any] | None = None,
    weights: str | None = None,
    space: str | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> CompareResult:
    """Search, then compare; what is already done is kept.

    Args:
        file: what the comparison file holds.
        out: the directory, new or its own; `runs/NAME` if None. The search is in `search/`, the comparison in
            `compare/`.
        machine: settings of `RunConfig` except the images.
        weights: what the search starts from, as `SearchConfig` has it; one that has begun has them already.
        space: the network's name, if it is one of your own.
        workers: how many trainings at once.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings cannot be used, or differs from what the directory was started with.
    """
    file = file.model_copy(update={"space": check_trusted(file.space, space, "the comparison file")})
    run = out or default_run(file.name)
    settings = {} if machine is None else machine
    wanted, config = file.search({**settings, "weights": weights}), file.comparison(settings)
    _check(file)
    _claim(run, file)
    with alone_in(run), resume_hint("the same command"):
        remove_partial_files(run)
        _clear(run / COMPARED)
        found = _searched(run / _SEARCH, file, wanted, space, progress)
        own = run / COMPARED
        if (own / CONFIG).exists():
            there = read_config(own, CompareConfig)
            return resume_compare(
                own,
                seeds=max(file.seeds, there.seeds),
                searches=max(file.searches, there.searches),
                wanted=Wanted(file.arms),
                data_name=file.data.name,
                space=space,
                workers=workers,
                progress=progress,
            )
        source = search_in(run / _SEARCH)
        return compare(
            config.model_copy(update={"images": source.images, "target": source.target}),
            read_widths(found),
            own,
            search=source,
            wanted=Wanted(file.arms),
            space=space,
            workers=workers,
            progress=progress,
        )


def _searched(
    folder: Path, file: CompareFile, wanted: SearchConfig, space: str | None, progress: Progress
) -> Path:
    """The widths that the file's search finds, or found before."""
    if not (folder / CONFIG).exists():
        search(wanted, folder, progress=progress)
    elif not (folder / RESULT).exists():
        resume_search(folder, data_name=file.data.name, space=space, progress=progress)
    path = next((one for one in (folder / "widths").glob("*.json") if one.stem != "whole"), None)
    if path is None:
        raise BadInputError(
            f"a finished search must hold its widths, got {folder} without. Give another --out."
        )
    return path


def _check(file: CompareFile) -> None:
    """Refuse what the comparison would refuse, before time is spent on the search."""
    known = ARMS if file.equal_training is None else equal_arms()
    chosen = [known[name] for name in chosen_arms(file.arms, (), known)]
    planned = sum(arm.beside is not None for arm in chosen)
    check_test(file.test or "moderated", file.seeds, planned, file.searches)
    inheriting = [arm.name for arm in chosen if arm.inherits and arm.name in file.arms]
    if inheriting and not method_named(file.method).trains:
        raise BadInputError(
            f"arms that inherit ({', '.join(inheriting)}) must come with a method that trains a network, got "
            f"{file.method}."
        )


# Settings that files of before lack, as they were then.
_LATER: dict[str, Any] = {
    "iterations": 1,
    "divisor": None,
    "min_width": None,
    "keep": [],
    "target": None,
    "equal_training": None,
}


def _claimed(path: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    """What a directory was claimed with; None if it was not, or if the file there is not ours."""
    if not path.is_file():
        return None
    try:
        then = load_yaml(read_text(path))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    if not isinstance(then, dict):
        return None
    then = {**_LATER, **then}
    return then if then.keys() == content.keys() else None


def _clear(folder: Path) -> None:
    """Remove the widths of a comparison that was killed before it started; a directory with other files is kept."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} == {"widths"}:
        shutil.rmtree(folder / "widths")


def _images_noted(folder: Path) -> bool:
    """Whether a run records which images it was started with."""
    kind = SearchConfig if folder.name == _SEARCH else CompareConfig
    return bool(read_config(folder, kind).images)


def _is_foreign(path: Path) -> bool:
    """Whether a file is not the partial file of a process that was killed while it claimed the directory."""
    return not path.name.startswith(f".{FILE}.")


def _claim(run: Path, file: CompareFile) -> None:
    """Make the directory, or check that it is this file's; until the search starts, the file may still be changed."""
    refuse_links(run)
    path = run / FILE
    content = file.model_dump(mode="json", exclude={"seeds", "searches", "arms", "question"})
    content["data"]["name"] = published(file.data.name)
    content["target"] = identity_of_target(target_or_kept(file.target, run / _SEARCH))
    then = _claimed(path, content)
    begun = [folder for folder in (run / _SEARCH, run / COMPARED) if (folder / CONFIG).exists()]
    if then is not None and begun:
        if all(_images_noted(folder) for folder in begun):  # then the folder may be moved
            then["data"] = {**then["data"], "name": content["data"]["name"]}
        then["recipe"] = as_written_now(then["recipe"])
        differing = [key for key in content if then[key] != content[key]]
        if file.test is None and "test" in differing:  # the comparison's own, as of before there was another
            differing.remove("test")
        if differing:
            raise BadInputError(
                f"the comparison in {run} must keep to the settings it was begun with, got other "
                f"{', '.join(differing)}. "
                "Give another --out for another comparison."
            )
        return
    if then is None and run.exists() and (not run.is_dir() or any(map(_is_foreign, run.iterdir()))):
        raise BadInputError(f"--out must be a new or an empty directory, got {run}. Choose another name.")
    with saying_why(run):
        run.mkdir(parents=True, exist_ok=True)
    write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
