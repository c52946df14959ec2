"""The same search by every width method, in one directory; methods that train as usual share one trained network."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_prune.data.identity import identity_of
from nas_prune.errors import BadInputError, DamagedError, FileError, NasPruneError, NothingToSearchError
from nas_prune.hardware.use import keep_target
from nas_prune.runs.directory import RESULT, begun_whole, check_out, make_run
from nas_prune.runs.files import alone_in, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import read_json
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import CONFIG, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.search.config import SearchConfig
from nas_prune.search.methods.contract import WidthMethod
from nas_prune.search.methods.registry import HOW, METHODS, REGISTRY, known_methods
from nas_prune.search.prepared import LoadedInputs, weights_for
from nas_prune.search.result import SearchResult, warnings_of
from nas_prune.search.run import check_search, resume_search, search, trains_as_usual
from nas_prune.training.config import checked_images, resume_command
from nas_prune.training.given_weights import START, write_start
from nas_prune.training.ranks import ALONE
from nas_prune.training.resumable import drop_checkpoints

ALL = "all"
_FIRST = "uniform"  # needs no training: what is wrong for all methods shows at once
_SECONDS = "seconds.json"


@dataclass(frozen=True, slots=True)
class AllResult:
    """What all methods found.

    Attributes:
        run: the directory; each method's search is a directory in it.
        found: of each method the result of its search, as `result.json` has it.
        seconds: what each search took, without the training that others share.
        left_out: why other methods found nothing.
        config: the settings; `method` is `all`.
    """

    run: Path
    found: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]
    config: SearchConfig


def search_all(config: SearchConfig, out: Path | None = None, *, progress: Progress = SILENT) -> AllResult:
    """Search by every method that can judge the network.

    Args:
        config: every setting; `method` is `all`. Settings that only some methods take go to those.
        out: the directory, new or empty; the next free `runs/SPACE-all-DATA-NNN` if None.
        progress: reports how far the work is.

    Raises:
        NasPruneError: something in the settings can be used by no method; nothing has been written then.
    """
    config = config.checked()
    if config.sparsity is not None:
        raise BadInputError(
            "--sparsity must come with one method, got all of them. Each has a scale of its own."
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadInputError(
            "--method all must run in one process, got torchrun. Start one search for each method."
        )
    if any(budget.is_own for budget in config.budgets):
        names = ", ".join(name for name, method in known_methods().items() if method.zero is not None)
        raise BadInputError(
            "--budget own must come with one method that lets channels go by itself, got all of them. "
            f"Those do: {names}."
        )
    loaded = LoadedInputs()
    check_out(out)
    check_search(settings_of(config, METHODS[_FIRST]), loaded, progress)
    data = loaded.data(config, progress)
    config = config.model_copy(update={"images": identity_of(data)})
    given = weights_for(config, loaded.space(config, data), data)
    run = make_run(out, config.space, ALL, config.data.name)
    if given is not None:
        progress.say(given.words)
    with begun_whole(run):
        if given is not None:
            write_start(run, given)
            config = config.model_copy(update={"weights": given.name})
        keep_target(config.target, run)
        write_config(run, config.relative_to(run))
    first = search(settings_of(config, METHODS[_FIRST]), run / _FIRST, loaded=loaded)
    again = resume_command("search", run, config.space, ALONE, config.data)
    progress.say(f"Writing to {run}. If it is stopped: {again}")
    searches = _AllSearches(run, config, progress, loaded)
    searches.note(_FIRST, first.seconds)
    return searches.finish()


def resume_all(
    run: Path, *, data_name: str | None = None, space: str | None = None, progress: Progress = SILENT
) -> AllResult:
    """Resume a search by all methods; finished searches are kept.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own.
        progress: reports how far the work is.
    """
    config = reopen(run, SearchConfig, trusted=space, data_name=data_name, progress=progress)
    loaded = LoadedInputs()
    checked_images(config, loaded.data(config, progress))
    return _AllSearches(run, config, progress, loaded, space).finish()


@dataclass(slots=True)
class _AllSearches:
    """Searches by all methods, some of them done before.

    Attributes:
        loaded: the images and the network, which all share.
        trained: the search whose trained network others share.
    """

    run: Path
    config: SearchConfig
    progress: Progress
    loaded: LoadedInputs
    space: str | None = None
    trained: Path | None = None

    def finish(self) -> AllResult:
        found: dict[str, Mapping[str, Any]] = {}
        left_out: dict[str, str] = {}
        command = resume_command("search", self.run, self.config.space, ALONE, self.config.data)
        with alone_in(self.run), resume_hint(command):
            for name, method in known_methods().items():
                settings, folder = self._settings(method), self.run / name
                try:
                    if not (folder / RESULT).exists():
                        result = self._search(settings, folder)
                        self.note(name, result.seconds)
                        for text in warnings_of(result):
                            self.progress.say(f"{name}: {text}")
                except NothingToSearchError as error:
                    left_out[name] = error.problem
                    continue
                except FileError:  # no other method could write either
                    raise
                except NasPruneError as error:
                    left_out[name] = str(error)
                    continue
                found[name] = self._result(name)
                if not settings.keep_checkpoints:  # of one that was killed between its results and this
                    drop_checkpoints(folder)
                if self.trained is None and trains_as_usual(settings):
                    self.trained = folder
        for name in sorted((self._begun() | REGISTRY.failed.keys()) - {*found, *left_out}):
            if (self.run / name / RESULT).exists():
                found[name] = self._result(name)
            else:
                left_out[name] = REGISTRY.failed.get(name, f"It is not known here. First {HOW}.")
        return AllResult(self.run, found, self._seconds(), left_out, self.config)

    def _settings(self, method: WidthMethod) -> SearchConfig:
        """The settings of one method; given weights are in the directory of all."""
        settings = settings_of(self.config, method)
        if settings.weights is None:
            return settings
        return settings.model_copy(update={"weights": str(self.run / START)})

    def _begun(self) -> set[str]:
        """The methods that have a directory, whether they are known here or not."""
        return {path.parent.name for path in self.run.glob(f"*/{CONFIG}")}

    def _result(self, name: str) -> Mapping[str, Any]:
        path = self.run / name / RESULT
        try:
            content: Mapping[str, Any] = dict(read_json(path))
        except (OSError, ValueError, TypeError) as error:
            raise DamagedError(f"{path} must be whole JSON, got: {error}.") from None
        return content

    def _search(self, settings: SearchConfig, folder: Path) -> SearchResult:
        def update(what: str, done: int, total: int) -> None:
            self.progress.update(f"{settings.method}: {what}", done, total)

        progress = Progress(update=update)
        if (folder / CONFIG).exists():
            return resume_search(
                folder, data_name=settings.data.name, space=self.space, loaded=self.loaded, progress=progress
            )
        trained = self.trained if trains_as_usual(settings) else None
        return search(settings, folder, trained=trained, loaded=self.loaded, progress=progress)

    def _seconds(self) -> dict[str, float]:
        path = self.run / _SECONDS
        with suppress(OSError, ValueError, TypeError):
            return {str(name): float(seconds) for name, seconds in dict(read_json(path)).items()}
        return {}

    def note(self, name: str, seconds: float) -> None:
        """Write how long a search took, at once: the next one may be stopped."""
        write_whole(self.run / _SECONDS, json.dumps({**self._seconds(), name: seconds}, indent=1) + "\n")


def settings_of(config: SearchConfig, method: WidthMethod) -> SearchConfig:
    """The settings of one method: those that it takes."""
    changed: dict[str, object] = {"method": method.name}
    if not method.takes_scope:
        changed["scope"] = None
    if not method.is_driven:
        changed["cost"] = None
    if method.of == "blocks":
        changed["groups"] = "inner"
    if not method.trains:
        changed |= {"epochs": None, "weights": None, "keep_checkpoints": False, "log": None}
    if not method.shows_widths(config.scope):
        changed["stop"] = None
    if not method.scores_as_usual:
        changed["iterations"] = 1
    return config.model_copy(update=changed)
