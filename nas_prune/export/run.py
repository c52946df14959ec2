"""Exporting a trained network: written, loaded again, checked on real images, and only then kept.

Shape letters: N images, K classes.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas_prune.data.preprocessing import Preprocessing
from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.export.agreement import Agreement, agreement, checked_agreement
from nas_prune.export.card import accuracies_of, card, zeros_in
from nas_prune.export.config import ExportConfig
from nas_prune.export.deployed import Deployed
from nas_prune.export.facts import facts_of, takes
from nas_prune.export.images import CheckImages, check_images
from nas_prune.export.int8 import quantise
from nas_prune.export.latency import Speed, speed_of, timed
from nas_prune.export.model_source import source_of
from nas_prune.export.onnx_file import Session, check_installed, write_onnx
from nas_prune.export.plain_torch import run_plain, write_plain
from nas_prune.export.program import check_words, program_of
from nas_prune.export.pt2 import write_pt2
from nas_prune.export.quiet import said_by
from nas_prune.export.result import Exported
from nas_prune.runs.directory import RESULT, WIDTHS, check_out
from nas_prune.runs.files import alone_in, saying_why, sync, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.settings import command_of, machine_name
from nas_prune.space.widths import Widths
from nas_prune.training.compute import limited_threads
from nas_prune.training.evaluation import class_scores
from nas_prune.training.load_network import network_at, network_in, record_at
from nas_prune.training.network_file import NetworkRecord

_MOST_NUMBERS = 20_000_000  # of the images of one batch
_BEFORE = "PyTorch"


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """What is exported.

    Attributes:
        config: how.
        network: the trained network.
        file: its file.
        deployed: what of it is exported.
        program: likewise, as `torch.export` has it.
        folded: how many of how many norms, if that was asked for.
        widths, known: of the network, and of its images.
        checked: the images.
        ours_NK: the trained network's scores of them.
        progress: reports how far the work is.
    """

    config: ExportConfig
    network: nn.Module
    file: Path
    deployed: Deployed
    program: ExportedProgram
    folded: tuple[int, int] | None
    widths: Widths
    known: Preprocessing
    checked: CheckImages
    ours_NK: Tensor
    progress: Progress

    @property
    def facts(self) -> dict[str, str]:
        """What the file says of itself."""
        return facts_of(self.config, self.widths, self.known)

    @property
    def what(self) -> str:
        """The network in words."""
        at = f" at {self.widths.budget}" if self.widths.budget else ""
        return f"{self.widths.space.name}{at}: {self.widths.cost.params:,} parameters"

    def given(self, images: Tensor) -> Tensor:
        """What the file takes of images, uint8."""
        return images if self.config.with_preprocessing else self.known.batch(images)

    def scores(self, run: Callable[[Tensor], Tensor]) -> Tensor:
        """What an exported network says of all images that are checked, N×K.

        Raises:
            BadInputError: it does not run.
        """
        try:
            return _in_batches(lambda images: run(self.given(images)), self.checked.images)
        except NasPruneError:
            raise
        except Exception as error:
            raise BadInputError(
                f"the exported network must run, got {said_by(error)}. Nothing was written. Another form may do: --to."
            ) from error

    def agreed(self, theirs_NK: Tensor) -> Agreement:
        """The comparison with the trained network; refused where it is none."""
        return checked_agreement(theirs_NK, self.ours_NK, self.checked, self.known.classes)


_Made = tuple[Agreement, tuple[Speed, ...]]


def export_network(
    run: Path | str,
    config: ExportConfig | None = None,
    *,
    out: Path | str,
    seed: int | None = None,
    space: str | None = None,
    data: str | None = None,
    progress: Progress = SILENT,
) -> Exported:
    """Export the trained network of a run, checked on its images.

    Args:
        run: as `load_network` takes it.
        config: how; as ONNX if None.
        out: a new or an empty directory.
        seed: as `load_network` takes it.
        space: likewise.
        data: the run's images, if they were moved or no run says it.
        progress: reports how far the work is.

    Raises:
        NasPruneError: it cannot be exported, or says something else then. `out` is as it was.
    """
    config, out = config or ExportConfig(), Path(out)
    check_out(out)
    if config.to in ("onnx", "int8-onnx"):
        check_installed(config.to)
    file = network_in(Path(run), seed)
    if command_of(Path(run)) == "train" and not (Path(run) / RESULT).exists():
        progress.say(
            "The training has not ended; this is of the seeds that are done. To train the others: "
            f"nas-prune train --resume {quote(str(run))}"
        )
    record = record_at(file)
    checked = check_images(file, record.preprocessing, config.images, data, progress)
    with progress.waiting("exporting the network"), limited_threads(config.threads):
        work = _work(config, file, record, network_at(file, record, space), checked, progress)
        with _folder_for(out) as folder:
            elsewhere, kept = folder / "work", folder / "kept"
            elsewhere.mkdir()
            kept.mkdir()
            found, speeds = _WRITERS[config.to](work, kept, elsewhere)
            result = _finished(work, kept, out, found, speeds)
            _put_in_place(kept, out)
    return result


def _work(
    config: ExportConfig,
    file: Path,
    record: NetworkRecord,
    network: nn.Module,
    checked: CheckImages,
    progress: Progress,
) -> _Work:
    """What is exported, and what the trained network says of the images before anything is done to it."""
    known = record.preprocessing
    ours_NK = _in_batches(lambda images: class_scores(network, known.batch(images)), checked.images)
    deployed, program, folded = program_of(
        network, known, with_preprocessing=config.with_preprocessing, folds_norms=config.folds_norms
    )
    return _Work(
        config, network, file, deployed, program, folded, record.widths, known, checked, ours_NK, progress
    )


def _finished(work: _Work, kept: Path, out: Path, found: Agreement, speeds: tuple[Speed, ...]) -> Exported:
    """The result, after the files that go with every form are written."""
    files = (*sorted(one.name for one in kept.iterdir()), WIDTHS, "README.md")
    result = Exported(
        out, work.config, work.file, work.what, files, found, speeds, machine_name(), work.folded
    )
    work.widths.write(kept / WIDTHS)
    accuracies, zeros = accuracies_of(work.file), zeros_in(work.network)
    write_whole(kept / "README.md", card(result, work.widths, work.known, accuracies, zeros))
    return result


def _write_onnx(work: _Work, kept: Path, _: Path) -> _Made:
    path = kept / work.config.file
    write_onnx(work.program, path, work.facts)
    session = Session(path, work.config.threads)
    found = work.agreed(work.scores(session))
    return found, _speeds(work, {"ONNX Runtime": (session, path)})


def _write_int8(work: _Work, kept: Path, elsewhere: Path) -> _Made:
    """The float network is checked as ever; quantised, it may differ, and by how much is said."""
    before, path = elsewhere / "float.onnx", kept / work.config.file
    write_onnx(work.program, before, work.facts)
    float_session = Session(before, work.config.threads)
    work.agreed(work.scores(float_session))
    images = work.checked.for_calibration(work.config.calibration)
    with work.progress.waiting("quantising"):
        made = quantise(before, images, work.given, elsewhere)
    write_whole(path, made.read_bytes())
    session = Session(path, work.config.threads)
    theirs_NK = work.scores(session)
    found, _ = agreement(theirs_NK, work.ours_NK, work.checked)
    if not theirs_NK.isfinite().all():
        raise BadInputError(
            "the quantised network must give numbers, got none for some images. Use --to onnx."
        )
    runs = {"ONNX Runtime": (float_session, before), "ONNX Runtime, int8": (session, path)}
    return found, _speeds(work, runs)


def _write_pt2(work: _Work, kept: Path, _: Path) -> _Made:
    """Checked before it is saved: reading it back would run its pickles."""
    check_words(work.program)
    module = work.program.module()
    with torch.inference_mode():
        found = work.agreed(work.scores(module))
    path = kept / work.config.file
    write_pt2(work.program, path, work.facts)
    return found, _speeds(work, {"torch.export": (module, path)})


def _write_safetensors(work: _Work, kept: Path, elsewhere: Path) -> _Made:
    config = work.config
    source = source_of(work.program, work.deployed.network, work.known, work.what, takes(config, work.known))
    write_plain(kept, source, work.facts)
    ran = run_plain(
        kept,
        work.checked.images,
        elsewhere,
        threads=config.threads,
        runs=config.runs,
        batch=_at_a_time(work.checked.images),
    )
    found = work.agreed(ran.scores)
    size = (kept / config.file).stat().st_size
    return found, (*_speeds(work, {}), speed_of("model.py", size, ran.seconds))


_WRITERS: dict[str, Callable[[_Work, Path, Path], _Made]] = {
    "onnx": _write_onnx,
    "int8-onnx": _write_int8,
    "pt2": _write_pt2,
    "safetensors": _write_safetensors,
}


def _speeds(work: _Work, runs: Mapping[str, tuple[Callable[[Tensor], Tensor], Path]]) -> tuple[Speed, ...]:
    """Of the trained network as it is, and of what was made of it."""
    image, given = work.known.batch(work.checked.images[:1]), work.given(work.checked.images[:1])
    calls: dict[str, Callable[[], object]] = {_BEFORE: partial(work.network, image)}
    calls |= {what: partial(run, given) for what, (run, _) in runs.items()}
    sizes = {
        _BEFORE: work.file.stat().st_size,
        **{what: path.stat().st_size for what, (_, path) in runs.items()},
    }
    with torch.inference_mode(), work.progress.waiting("measuring latencies"):
        seconds = timed(calls, work.config.runs)
    return tuple(speed_of(what, sizes[what], own) for what, own in seconds.items())


def _at_a_time(images: Tensor) -> int:
    return max(1, min(100, _MOST_NUMBERS // max(1, images[0].numel())))


def _in_batches(run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([run(some).float() for some in images.split(_at_a_time(images))])


@contextmanager
def _folder_for(out: Path) -> Iterator[Path]:
    """A directory beside the one that is asked for; what a killed export has left in it is removed."""
    with saying_why(out):
        place = Path(
            os.path.realpath(out)
        )  # where a link leads: a file is not moved from one disk to another
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = place.parent / f".{place.name}.part"
        folder.mkdir(exist_ok=True)
        with alone_in(folder):
            try:
                _empty(folder)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def _put_in_place(kept: Path, out: Path) -> None:
    """Give the finished directory its name, where nothing has taken it in the meantime.

    An empty directory that has the name gives way; one that cannot is filled file by file.
    """
    check_out(out)
    with saying_why(out):
        if out.is_dir() and not _gives_way(out):
            for one in sorted(kept.iterdir()):
                shutil.move(one, out / one.name)
            sync(out)
            return
        kept.replace(out)
        sync(out.absolute().parent)


def _gives_way(out: Path) -> bool:
    """Take an empty directory away; False for a link, for the one that we are in, and where something is mounted."""
    if out.is_symlink() or out.samefile(Path.cwd()):
        return False
    try:
        out.rmdir()
    except OSError:
        return False
    return True
