"""Resuming a run: its settings as they were written, with every path as it can be opened from here."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict

from nas_prune.runs.files import alone_in, refuse_links, remove_partial_files
from nas_prune.runs.progress import SILENT, Progress, is_main_process
from nas_prune.runs.settings import library_versions, read_config


class RunSettings(BaseModel, ABC):
    """What the `config.yaml` of every kind of run can do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def vouched(self, run: Path, typed: str | None) -> Self:
        """The same settings, whose network may be loaded: code that only a file of the run names is not imported.

        Args:
            run: the run's directory.
            typed: the network that the user has named; None for none.

        Raises:
            BadInputError: the run's network is code of the user's own, and is not the one named.
        """

    @abstractmethod
    def resolved_from(self, run: Path, data_name: str | None) -> Self:
        """The settings with every path as it can be opened from here, and the images under the name given, if any."""

    @abstractmethod
    def versions_at_start(self) -> Mapping[str, str]:
        """The versions of the libraries that the run was started with."""


Settings = TypeVar("Settings", bound=RunSettings)


def reopen(
    run: Path,
    kind: type[Settings],
    *,
    trusted: str | None,
    data_name: str | None,
    progress: Progress,
    cleans: bool = True,
) -> Settings:
    """The settings of a run that is resumed.

    Args:
        run: its directory.
        kind: of its settings.
        trusted: the network that the user has named; None for none. No code that only a file names is imported.
        data_name: where the images are now, if they or the run were moved.
        progress: reports which libraries have changed.
        cleans: whether to remove the partial files of killed writes; not while others may be writing.

    Raises:
        BadInputError: there is no such run there, another process is writing to it, or its network must be named again.
    """
    if not is_main_process():  # of several that train together one reports and cleans
        progress, cleans = SILENT, False
    config = read_config(run, kind)
    refuse_links(run)
    config = config.vouched(run, trusted)
    now = library_versions(config.versions_at_start())
    changed = [
        f"{name} {then} then, {now[name]} now"
        for name, then in config.versions_at_start().items()
        if now[name] != then
    ]
    if changed:  # the same bits are promised for the same versions only
        progress.say(
            f"Last digits may differ from those of a run that was not stopped: {'; '.join(changed)}."
        )
    if cleans:
        with alone_in(run):  # or the files that are being written would be removed
            remove_partial_files(run)
    return config.resolved_from(run, data_name)
