"""A trained network from what a run left of it."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

from torch import nn

from nas_prune.coding.file import NAME, SUFFIX
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import NETWORK, RESULT, WIDTHS, seed_folders
from nas_prune.runs.kinds import refuse_missing, refuse_other
from nas_prune.runs.settings import command_of
from nas_prune.space.load import load_referenced
from nas_prune.space.widths import read_widths
from nas_prune.training.config import resume_command
from nas_prune.training.network_file import NetworkRecord, read_network, read_record, set_weights
from nas_prune.training.ranks import ALONE
from nas_prune.training.result import read_trained


def load_network(run: Path | str, *, seed: int | None = None, space: str | None = None) -> nn.Module:
    """The trained network of a run, in evaluation mode, on the CPU.

    Args:
        run: the directory of a training or a compression; of a search, for the whole network that it trained; or a file
            `network.safetensors` or `net.nasp`.
        seed: which of a training's networks; the one with the best validation accuracy if None.
        space: the network's name again, if it is one of your own, since no code that only a file names is imported.

    Raises:
        BadInputError: there is no such network, or it is of an earlier version that left none.
    """
    path = network_in(Path(run), seed)
    return network_at(path, record_at(path), space)


def record_at(path: Path) -> NetworkRecord:
    """What a network's file says of it.

    Raises:
        BadInputError: it is of an earlier version, and says nothing.
    """
    record = read_record(path)
    if record is None:
        raise BadInputError(
            f"a network must say of what widths and classes it is, got {path}, of an earlier version. Resume its run "
            "to write it again."
        )
    return record


def network_at(path: Path, record: NetworkRecord, space: str | None) -> nn.Module:
    """The network of a file, in evaluation mode, on the CPU."""
    network = load_referenced(record.widths.space, space, str(path)).build(record.widths, seed=0)
    set_weights(network, read_network(path, network))
    return network.eval()


def network_in(run: Path, seed: int | None = None) -> Path:
    """The file of a run's network.

    Args:
        run: its directory, or the file itself.
        seed: which of a training's networks; the one with the best validation accuracy if None.

    Raises:
        BadInputError: there is none.
    """
    wanted = "RUN must be the directory of a training or a search, a network.safetensors or a net.nasp"
    refuse_missing(run, wanted)
    if run.is_file():
        refuse_other(run, "weights", "compressed", wanted=wanted)
        return run
    if seed is None:
        beside = [run / NAME, run.parent / f"{run.name}{SUFFIX}"] if command_of(run) == "compress" else []
        there = [own for own in (run / NETWORK, *beside) if own.is_file()]
        if there:
            return there[0]
    folders = [folder for folder in seed_folders(run) if (folder / NETWORK).exists()]
    if seed is not None:
        folders = [folder for folder in folders if folder.name == f"seed-{seed}"]
    if not folders:
        raise _nothing_in(run, seed)
    return max(folders, key=_validated) / NETWORK


def _validated(folder: Path) -> float:
    trained = read_trained(folder / RESULT)
    return -inf if trained is None else trained.val_score


def _nothing_in(run: Path, seed: int | None) -> BadInputError:
    others: Sequence[Path] = sorted(run.rglob(NETWORK))[:3] if run.is_dir() else ()
    hint = f" There are: {', '.join(map(str, others))}." if others else ""
    is_earlier = (run / RESULT).exists() and (run / WIDTHS).exists()
    if is_earlier and not hint:
        again = resume_command("train", run, read_widths(run / WIDTHS).space.name, ALONE)
        hint = f" If it is of an earlier version, this writes it: {again}"
    which = "" if seed is None else f" with seed {seed}"
    return BadInputError(
        f"RUN must be a finished training or search that left a network{which}, got {run}, which holds none.{hint}"
    )
