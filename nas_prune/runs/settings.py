"""Settings: YAML in and out, what they were read from, and what takes part in a run."""

import os
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from nas_prune.errors import BadInputError
from nas_prune.runs.files import write_whole
from nas_prune.runs.kinds import RUNS, refuse_missing, refuse_other
from nas_prune.runs.problems import first_problem
from nas_prune.runs.reading import load_yaml, read_text

Config = TypeVar("Config", bound=BaseModel)


CONFIG = "config.yaml"
_EARLIER_COMMANDS = {"judge": "evaluate"}  # in runs from before a command was renamed


def write_config(run: Path, config: BaseModel) -> None:
    """Write `config.yaml`: every setting as it was resolved, and the machine if it is not known yet."""
    if getattr(config, "machine", None) == "":
        config = config.model_copy(update={"machine": machine_name()})
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_whole(run / CONFIG, text)


def machine_name() -> str:
    """This machine in a few words: processor, how many cores, and the GPU if PyTorch is in use and sees one."""
    described = Path("/proc/cpuinfo")
    text = described.read_text(encoding="utf-8") if described.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    processor = found.group(1).strip() if found else platform.processor() or platform.machine()
    cores = os.cpu_count() or 1
    words = f"{processor}, {cores} core{'s' * (cores > 1)}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        words += f", {torch.cuda.get_device_name()}"
    return words


def read_config(run: Path, kind: type[Config]) -> Config:
    """Read a run's `config.yaml`.

    Raises:
        BadInputError: there is none, or it is damaged or of another kind of run.
    """
    path = run / CONFIG
    try:
        content = _with_command(load_yaml(read_text(path)))
        _check_kind(content, kind, run)
        return kind.model_validate(content)
    except OSError:
        wanted = "a run must be a directory that nas-prune wrote"
        refuse_missing(run, wanted)
        refuse_other(run, *RUNS, wanted=wanted)
        raise BadInputError(f"a run directory must hold {CONFIG}, got {run}.") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadInputError(f"{path} must be whole YAML. Start the run again.") from None
    except ValidationError as error:
        raise BadInputError(f"{path} cannot be used here: {first_problem(error, kind)}.") from None


def command_of(run: Path) -> str | None:
    """The command of a run, by its `config.yaml`; None if there is none that can be read."""
    try:
        content = _with_command(load_yaml(read_text(run / CONFIG)))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    command = content.get("command") if isinstance(content, dict) else None
    return command if isinstance(command, str) else None


def _with_command(content: Any) -> Any:
    """A configuration, its command by the current name."""
    command = content.get("command") if isinstance(content, dict) else None
    if isinstance(command, str) and command in _EARLIER_COMMANDS:
        return {**content, "command": _EARLIER_COMMANDS[command]}
    return content


def _check_kind(content: Any, kind: type[BaseModel], run: Path) -> None:
    """Refuse a directory of another command."""
    field = kind.model_fields.get("command")
    asked = () if field is None else get_args(field.annotation)
    own = content.get("command") if isinstance(content, dict) else None
    if asked and isinstance(own, str) and own not in asked:
        raise BadInputError(
            f"{run} must be a run of nas-prune {' or '.join(asked)}, got one of nas-prune {own}."
        )


def library_versions(names: Iterable[str] = ("nas-prune", "torch", "torchvision", "numpy")) -> dict[str, str]:
    """The installed versions of the libraries that take part in a run; a file may name what is no library at all."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        found[name] = "not installed"
        with suppress(PackageNotFoundError, ValueError):
            found[name] = version(name)
    return found


def read_settings(path: Path, what: str, example: str) -> dict[str, Any]:
    """The settings in a YAML file, as they are written.

    Args:
        path: the file.
        what: what it is called in an error.
        example: a line such as it may have.

    Raises:
        BadInputError: it cannot be read, or is no YAML.
    """
    refuse_missing(path, f"a {what} must be a file")
    try:
        content: Any = load_yaml(read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"a {what} must be text that can be read, got {path} ({error}).") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise BadInputError(f"{what} {path} must be YAML, got: {said}.") from None
    if not isinstance(content, dict):
        raise BadInputError(f"{what} {path} must hold one setting a line, such as {example}.")
    return content
