"""Compressing a trained network: values shared, tuned, coded, read again, and accounted for."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas_prune.coding.file import (
    content_of,
    header_bytes,
    is_compressed,
    read_compressed,
    read_header,
    same_bits,
)
from nas_prune.coding.tensor import Tensors
from nas_prune.compression.account import account_of, forms_before, measured, steps_of
from nas_prune.compression.centroids import Centroids
from nas_prune.compression.config import CompressConfig, check_budget, file_of
from nas_prune.compression.int8 import int8_form
from nas_prune.compression.place import new_place, write_beside
from nas_prune.compression.plan import (
    Weights,
    arrays_of,
    check_bits,
    planned,
    planned_within,
    rewritten,
    shared_layers,
    weights_of,
)
from nas_prune.compression.result import (
    PICTURE,
    Accuracies,
    Compressed,
    read_compression,
    write_result,
)
from nas_prune.compression.sensitivity import curvatures_of
from nas_prune.data import ImageData
from nas_prune.data.config import load_images
from nas_prune.data.metric import named_metric
from nas_prune.errors import BadInputError, DamagedError
from nas_prune.export.origin import TRAINED, check_classes, origin_of
from nas_prune.runs.directory import begun_whole, make_run, published
from nas_prune.runs.files import alone_in, is_there, write_whole
from nas_prune.runs.progress import SILENT, Progress
from nas_prune.runs.reading import read_bytes
from nas_prune.runs.reopen import reopen
from nas_prune.runs.settings import library_versions, machine_name, write_config
from nas_prune.runs.stopping import resume_hint
from nas_prune.training.compute import Compute, limited_threads, pick_device, pick_threads
from nas_prune.training.config import checked_images, resume_command
from nas_prune.training.evaluation import evaluate
from nas_prune.training.event_log import check_log, events_folder
from nas_prune.training.load_network import network_at, network_in, record_at
from nas_prune.training.loop import Training
from nas_prune.training.masks import hold
from nas_prune.training.network_file import NetworkRecord
from nas_prune.training.ranks import ALONE, refuse_several
from nas_prune.training.recipe import default_recipe
from nas_prune.training.resumable import drop_checkpoints, train_in
from nas_prune.training.state import start
from nas_prune.training.weights_file import as_tensors

TUNED = "fine-tuned"
_MOST_FILE = 2**34  # bytes of a network's file


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A compression that has been checked.

    Attributes:
        config: resolved.
        record: what is known of the network.
        network: as it was trained.
        weights: its tensors.
        plan: how each is written.
        data: the images.
        compute: on what the values are tuned.
        typed: the network's name again, if it is one of the user's own.
    """

    config: CompressConfig
    record: NetworkRecord
    network: nn.Module
    weights: Weights
    plan: Tensors
    data: ImageData
    compute: Compute
    threads: int
    typed: str | None

    @property
    def known(self) -> dict[str, Any]:
        """What the file says of the network; what decided its training stays in its run."""
        return self.record.model_copy(update={"facts": {}}).model_dump(mode="json")

    @property
    def whole_bytes(self) -> int:
        """Of the whole network's parameters in 32 bits."""
        return _whole_bytes(self.record)


def _whole_bytes(record: NetworkRecord) -> int:
    return 4 * record.widths.base_cost.params


def compress(
    run: Path | str,
    config: CompressConfig | None = None,
    *,
    out: Path | str | None = None,
    seed: int | None = None,
    space: str | None = None,
    data: str | None = None,
    progress: Progress = SILENT,
) -> Compressed:
    """Compress the trained network of a run.

    Args:
        run: as `load_network` takes it.
        config: how; its images and its recipe are those of the run, whatever it says.
        out: a new directory, in which the file is called `net.nasp`; or a new file `….nasp`, beside which a directory
            of its name is made. The next free `runs/SPACE-compress-DATA-NNN` if None.
        seed: as `load_network` takes it.
        space: likewise.
        data: the run's images, if they were moved or no run says it.
        progress: reports how far the work is.

    Raises:
        NasPruneError: it cannot be compressed so; nothing has been written then.
    """
    refuse_several("compress")
    config = config or CompressConfig()
    typed, config = config.model_fields_set, config.checked()
    check_budget(config.budget)
    check_log(config.log)
    folder, is_beside = new_place(None if out is None else Path(out))
    file = network_in(Path(run), seed)
    if is_compressed(file):
        raise BadInputError(f"RUN must hold a network that is not compressed yet, got {file}.")
    record = record_at(file)
    task = record.preprocessing.task
    origin = origin_of(file, data, "values are tuned and the file is tried", task=task)
    config = config.model_copy(
        update={
            "data": origin.data,
            "data_seed": origin.seed,
            "is_beside": is_beside,
            "source": published(f"folder:{Path(run)}").partition(":")[2],
            "recipe": origin.recipe
            or (config.recipe if "recipe" in typed else default_recipe(origin.data.name)),
        }
    )
    job = _prepared(config, file, record, progress, space)
    own = make_run(folder, record.widths.space.name, "compress", config.data.name)
    with begun_whole(own):
        write_whole(own / TRAINED, read_bytes(file, most=_MOST_FILE))
        write_config(own, job.config.relative_to(own))
    progress.say(f"Writing to {own}. If it is stopped: {_again(job, own)}")
    return _finish(job, own, progress)


def resume_compress(
    run: Path, *, data_name: str | None = None, space: str | None = None, progress: Progress = SILENT
) -> Compressed:
    """Go on with a compression; the file is as if it had never been stopped.

    Args:
        run: its directory.
        data_name: where the images are now, if they or the run were moved.
        space: the network again, if it is one of your own.
        progress: reports how far the work is.

    Raises:
        BadInputError: the directory is not that of a compression, or what it holds is damaged.
    """
    config = reopen(run, CompressConfig, trusted=space, data_name=data_name, progress=progress)
    done, path = read_compression(run), file_of(run, is_beside=config.is_beside)
    if done is not None and is_there(path):
        read_header(path)  # which must be whole
        return done
    file = run / TRAINED
    return _finish(_prepared(config, file, record_at(file), progress, space), run, progress)


def _prepared(
    config: CompressConfig, file: Path, record: NetworkRecord, progress: Progress, space: str | None
) -> _Job:
    with progress.waiting("loading the network"):
        network = network_at(file, record, space)
    known = record.preprocessing
    weights = weights_of(network)
    check_bits(config, weights)
    images = config.data.model_copy(update={"image_size": known.size})
    data = load_images(images, config.data_seed, progress, in_channels=known.channels)
    check_classes(data, known)
    device = pick_device(config.device)
    compute = config.compute(device, ALONE, network, record.widths.space.image)
    threads = pick_threads(config.threads, record.widths.cost.macs, config.recipe.batch_size)
    config = config.model_copy(
        update={
            "data": images,
            "device": device.type,
            "precision": compute.precision,
            "channels_last": compute.channels_last,
            "threads": threads,
            "versions": library_versions(),
            "machine": config.machine or machine_name(),
            "images": checked_images(config, data),
        }
    )
    data = data.to(device)
    job = _Job(config, record, network, weights, {}, data, compute, threads, space)
    with progress.waiting("finding shared values"), limited_threads(threads):
        return replace(job, plan=_plan(job))


def _plan(job: _Job) -> Tensors:
    """How each tensor is written: a function of the network, the images and the settings alone."""
    config, limit = job.config, job.config.limit(job.whole_bytes)
    if limit is None:
        return planned(job.weights, config.bits_for)
    return planned_within(
        job.weights,
        limit,
        lambda tensors: header_bytes(tensors, job.known),
        curvatures_of(job.network, job.record, job.data, list(job.weights.kinds), job.typed),
        str(config.budget),
    )


def _again(job: _Job, run: Path) -> str:
    return resume_command("compress", run, job.record.widths.space.name, ALONE, job.config.data)


def _finish(job: _Job, run: Path, progress: Progress) -> Compressed:
    """Do what is left, write the file and the results; no other process writes to the run meanwhile."""
    with limited_threads(job.threads), alone_in(run), resume_hint(_again(job, run)):
        trained = _scores(job, job.network)
        network = _with_arrays(job, job.plan)
        shared = _scores(job, network)
        tensors, epochs = job.plan, 0
        accuracies = {"as trained": trained, "with shared values": shared}
        recipe = job.config.tuning
        if recipe is not None:
            tensors, epochs = _tuned(job, network, run, progress), recipe.epochs
            accuracies[TUNED] = _scores(job, _with_arrays(job, tensors))
        path = _written(job, tensors, run)
        result = _accounted(job, tensors, epochs, accuracies, run, path, progress)
        # Here, because matplotlib takes half a second to load.
        from nas_prune.compression.figure import draw_account

        draw_account(result, run / PICTURE)
        write_result(run, result)
        if not job.config.keep_checkpoints:
            drop_checkpoints(run)
    return result


def _scores(job: _Job, network: nn.Module) -> tuple[float, float]:
    """The metric on the validation and the test part."""
    network = network.to(job.compute.device)
    return (
        evaluate(network, job.data.val, job.data)[1],
        evaluate(network, job.data.test, job.data)[1],
    )


def _with_arrays(job: _Job, tensors: Tensors) -> nn.Module:
    """A new network of these tensors."""
    network = deepcopy(job.network)
    network.load_state_dict(as_tensors(arrays_of(tensors)))
    return network


def _tuned(job: _Job, network: nn.Module, run: Path, progress: Progress) -> Tensors:
    """Tune the values, or what is left of that; the run's directory has the checkpoints."""
    recipe = job.config.tuning
    assert recipe is not None
    layers = shared_layers(job.plan)
    centroids = Centroids(layers, job.compute.device)
    # Where values are shared, too: a norm of gradients that is clipped must not count those of weights that are gone.
    there = {name: torch.from_numpy(job.weights.arrays[name] != 0) for name in job.weights.kinds}
    state = start(hold(network.to(job.compute.device), there, scales=False), recipe)
    training = Training(
        job.data,
        recipe,
        job.config.seed,
        job.compute,
        penalise=centroids.gather,
        after_step=centroids.settle,
        title="tuning shared values",
        settings={"shared": centroids.identity},
        log_to=None if job.config.log is None else events_folder(run, job.config.seed),
    )
    train_in(run, state, training, progress, is_held=True)
    return rewritten(job.plan, state.trained)


def _written(job: _Job, tensors: Tensors, run: Path) -> Path:
    """Write the file and its decoder; the file is read again, and must hold what was written to the bit."""
    path = file_of(run, is_beside=job.config.is_beside)
    content = content_of(tensors, job.known)
    limit = job.config.limit(job.whole_bytes)
    if limit is not None and len(content) > limit:
        raise BadInputError(
            f"the file must keep {job.config.budget}, and tuning has moved numbers out of what 16 bits can say. Start "
            "again with a smaller --learning-rate."
        )
    write_beside(path, content)
    found = read_compressed(path).arrays
    wanted = arrays_of(tensors)
    if found.keys() != wanted.keys() or not all(same_bits(wanted[name], found[name]) for name in wanted):
        raise DamagedError(f"{path} must hold what was written, got something else. Is the disk whole?")
    return path


def _accounted(
    job: _Job,
    tensors: Tensors,
    epochs: int,
    accuracies: Mapping[str, tuple[float, float]],
    run: Path,
    path: Path,
    progress: Progress,
) -> Compressed:
    metric = job.data.task.metric
    values = {step: (metric.score(val), metric.score(test)) for step, (val, test) in accuracies.items()}
    with progress.waiting("counting bytes"):
        account = account_of(tensors, job.weights, header_bytes(tensors, job.known), job.whole_bytes)
        before = forms_before(job.weights)
        steps = steps_of(job.weights, tensors, account)
    assert account.file_bytes == path.stat().st_size
    form, note = None, ""
    if job.config.with_int8:
        form, note = int8_form(run / TRAINED, job.config, len(job.data.test), job.typed, progress)
    as_trained, last = values["as trained"], values[next(reversed(values))]
    said = {form.name: as_trained for form in (*before, steps[0])}
    said |= {steps[1].name: last, steps[2].name: last}
    return Compressed(
        space=job.record.widths.space.name,
        source=job.config.source,
        budget=None if job.config.budget is None else str(job.config.budget),
        data=published(job.config.data.name),
        metric=named_metric(metric),
        epochs=epochs,
        accuracies=tuple(Accuracies(step=step, val=own[0], test=own[1]) for step, own in values.items()),
        account=account,
        forms=(*measured(before, said), *([] if form is None else [form]), *measured(steps, said)),
        note=note,
        file=f"../{path.name}" if job.config.is_beside else path.name,
        run=run,
    )
