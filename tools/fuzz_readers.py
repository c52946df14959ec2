"""What reads files that others may have written, each with files to change."""

import json
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from PIL import Image

RUNS = Path(__file__).parents[1] / "tests" / "earlier_runs"


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader, and an input that it takes.

    Attributes:
        prepare: puts files into an empty directory.
        files: patterns of those that are changed.
        read: reads them; it may raise `NasPruneError` and nothing else.
    """

    prepare: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path], object]


def _copied(*names: str) -> Callable[[Path], None]:
    """Runs and files of before, under their own names."""

    def prepare(case: Path) -> None:
        for name in names:
            source = RUNS / name
            if source.is_dir():
                shutil.copytree(source, case / name)
            else:
                (case / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, case / name)

    return prepare


def _images(case: Path) -> None:
    for number, (name, kind) in enumerate(
        (("a/1.png", "RGB"), ("a/2.jpg", "RGB"), ("b/1.png", "P"), ("b/2.tif", "L"))
    ):
        path = case / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.linear_gradient("L").resize((20, 16 + number)).convert(kind)
        picture.save(path)


def _table(case: Path) -> None:
    _images(case)
    rows = [f'"images/{name}",{name[0]},{part}\n' for name, part in _PICTURES]
    (case / "all.csv").write_text("path,label,split\n" + "".join(rows))


_PICTURES = (("a/1.png", "train"), ("a/2.jpg", "test"), ("b/1.png", "train"), ("b/2.tif", "test"))


def _saved(case: Path) -> None:
    """As `datasets` saves it, written by hand: the tests read what it has saved itself."""
    import pyarrow as pa

    _images(case)
    (case / "saved").mkdir()
    (case / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for split in ("train", "test"):
        folder = case / "saved" / split
        folder.mkdir()
        names = [name for name, part in _PICTURES if part == split] * 2
        pictures = [{"bytes": (case / "images" / name).read_bytes(), "path": name} for name in names]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table(
            {"image": pa.array(pictures, kind), "label": [int(name[0] == "b") for name in names]}
        )
        with pa.ipc.new_stream(str(folder / "data.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=1)
        (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}], "_split": null}')
        (folder / "dataset_info.json").write_text(
            '{"features": {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}}'
        )
    shutil.rmtree(case / "images")


def _recipe(case: Path) -> None:
    (case / "recipe.yaml").write_text(
        "epochs: 60\nbatch_size: 64\nlearning_rate: 0.1\nschedule: steps\nwarmup_epochs: 1\nclip_norm: 1.0\n"
    )


def _read_widths(case: Path) -> object:
    from nas_prune.space.widths import read_widths

    return read_widths(case / "train" / "widths.json")


def _read_guideline(case: Path) -> object:
    from nas_prune.guideline.artefact import read_guideline

    return read_guideline(case / "guideline.yaml")


def _read_recipe(case: Path) -> object:
    from nas_prune.training.recipe import recipe_named

    return recipe_named(str(case / "recipe.yaml"))


def _read_study_file(case: Path) -> object:
    from nas_prune.study.config import read_study

    return read_study(case / "study.yaml")


def _read_compare_file(case: Path) -> object:
    from nas_prune.comparison.file import read_compare_file

    return read_compare_file(case / "compare.yaml")


def _reopen(case: Path) -> object:
    from nas_prune.comparison.config import CompareConfig
    from nas_prune.comparison.evaluate_result import EvaluateConfig
    from nas_prune.runs.progress import SILENT
    from nas_prune.runs.reopen import reopen
    from nas_prune.search.config import SearchConfig
    from nas_prune.study.config import StudyConfig
    from nas_prune.training.config import RunConfig, TrainConfig

    kinds: Mapping[str, type[RunConfig]] = {
        "search": SearchConfig,
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "study": StudyConfig,
        "compare": CompareConfig,
    }
    last: Any = None
    for name in _KINDS:
        last = _tried(
            lambda kind=kinds[name], run=case / name: reopen(
                run, kind, trusted=None, data_name=None, progress=SILENT
            )
        )  # type: ignore[misc]
    return last


_KINDS = ("search", "train", "evaluate", "study", "compare")


def _tried(read: Callable[[], object]) -> object:
    """Read one of several: what it refuses must not keep the others from being read."""
    from nas_prune.errors import NasPruneError

    try:
        return read()
    except NasPruneError as error:
        return error


def _read_checkpoint(case: Path) -> object:
    from torch import nn

    from nas_prune.training.checkpoint import read_weights
    from nas_prune.training.network_file import read_network, read_record
    from nas_prune.training.result import read_trained

    path = case / "search" / "checkpoint.safetensors"
    _tried(lambda: read_weights(path))
    _tried(lambda: read_record(path))
    _tried(lambda: read_network(path, nn.Linear(100, 100)))
    return read_trained(case / "compare/arms/scratch-b/seed-0/result.json")


def _read_metrics(case: Path) -> object:
    from nas_prune.runs.directory import keep_metrics, read_metrics

    _tried(lambda: read_metrics(case / "search"))
    return keep_metrics(case / "search", 2)


def _read_kept(case: Path) -> object:
    from nas_prune.training.starts import inherited, read_kept

    _tried(lambda: read_kept(case / "search"))
    from nas_prune.space.widths import read_widths

    return inherited(case / "search", read_widths(RUNS / "train" / "widths.json"))


def _report(case: Path) -> object:
    from nas_prune.report.read import read_parts
    from nas_prune.report.render import as_json, as_markdown

    (run,) = case.iterdir()
    parts = read_parts([run])
    return as_markdown(parts, title="x") + as_json(parts, title="x")


def _read_journal(case: Path) -> object:
    from nas_prune.study.location import StudyLocation, read_trials, recover_study
    from nas_prune.study.trial_record import widths_of

    location = StudyLocation(case / "study")
    found = _tried(lambda: read_trials(location))
    for trials in getattr(found, "trials", {}).values():
        for trial in trials:
            _tried(lambda trial=trial: widths_of(trial))  # type: ignore[misc]
    return recover_study(location)


def _read_images(case: Path) -> object:
    from nas_prune.data import load_data

    return load_data(f"folder:{case / 'images'}", image_size=8)


def _read_table(case: Path) -> object:
    return _read_both_ways(f"csv:{case / 'all.csv'}")


def _read_saved(case: Path) -> object:
    return _read_both_ways(f"hf:{case / 'saved'}")


def _read_both_ways(name: str) -> object:
    from nas_prune.data import load_data
    from nas_prune.data.sources import labelled_pictures

    _tried(lambda: load_data(name, image_size=8, stream=True))
    _tried(lambda: labelled_pictures(name))
    return load_data(name, image_size=8)


def _read_comparison(case: Path) -> object:
    from nas_prune.comparison.result import read_comparison

    return read_comparison(case / "compare")


def _compressed(case: Path) -> None:
    """A small network's file, and its parts: what is changed in these gets a digest that is right."""
    import numpy as np

    from nas_prune.coding.decode import parts
    from nas_prune.coding.file import content_of
    from nas_prune.coding.sharing import shared
    from nas_prune.coding.tensor import coded, plain

    rng = np.random.default_rng(0)
    own = rng.normal(size=(30, 40)).astype(np.float32)
    layers = [coded(shared(own * (rng.random(own.shape) < density), 8)) for density in (0.1, 0.9, 1.0)]
    tensors = {f"layer{number}": layer for number, layer in enumerate(layers)}
    content = content_of({**tensors, "bias": plain(own[0]), "tied": "layer1"}, {"classes": 2})
    (case / "net.nasp").write_bytes(content)
    header, payload = parts(content)
    (case / "header.json").write_text(json.dumps(header))
    (case / "payload.bin").write_bytes(payload)


def _read_compressed(case: Path) -> object:
    from nas_prune.coding.decode import DIGEST, HEAD, MAGIC, VERSION
    from nas_prune.coding.file import read_compressed

    _tried(lambda: read_compressed(case / "net.nasp"))
    packed = zlib.compress((case / "header.json").read_bytes()) if (case / "header.json").is_file() else b""
    payload = (case / "payload.bin").read_bytes() if (case / "payload.bin").is_file() else b""
    before = HEAD.pack(MAGIC, VERSION, len(packed)) + packed + payload
    signed = case / "signed.nasp"
    signed.write_bytes(before + blake2b(before, digest_size=DIGEST).digest())
    try:
        return read_compressed(signed, most=100_000)
    finally:
        signed.unlink()


READERS: dict[str, Reader] = {
    "widths": Reader(_copied("train/widths.json"), ("train/widths.json",), _read_widths),
    "guideline": Reader(_copied("guideline.yaml"), ("guideline.yaml",), _read_guideline),
    "recipe": Reader(_recipe, ("recipe.yaml",), _read_recipe),
    "study file": Reader(_copied("study.yaml"), ("study.yaml",), _read_study_file),
    "comparison file": Reader(_copied("compare.yaml"), ("compare.yaml",), _read_compare_file),
    "settings": Reader(_copied(*_KINDS), ("*/config.yaml", "train/widths.json"), _reopen),
    "checkpoint": Reader(
        _copied("search/checkpoint.safetensors", "compare/arms/scratch-b/seed-0/result.json"),
        ("search/checkpoint.safetensors", "compare/arms/scratch-b/seed-0/result.json"),
        _read_checkpoint,
    ),
    "metrics": Reader(_copied("search/metrics.jsonl"), ("search/metrics.jsonl",), _read_metrics),
    "kept channels": Reader(
        _copied("search/kept.json", "search/widths"), ("search/kept.json", "search/widths/*.json"), _read_kept
    ),
    "compressed network": Reader(_compressed, ("net.nasp", "header.json", "payload.bin"), _read_compressed),
    "journal": Reader(_copied("study"), ("study/journal.log", "study/workers/*"), _read_journal),
    "images": Reader(_images, ("images/*/*",), _read_images),
    "CSV file": Reader(_table, ("all.csv",), _read_table),
    "saved data set": Reader(_saved, ("saved/*.json", "saved/*/*"), _read_saved),
    "comparison": Reader(_copied("compare"), ("compare/**/*.json", "compare/config.yaml"), _read_comparison),
    **{
        f"report of {name}": Reader(
            _copied(name), (f"{name}/**/*.json*", f"{name}/**/*.yaml", f"{name}/**/*.log"), _report
        )
        for name in (*_KINDS, "transfer")
    },
}
