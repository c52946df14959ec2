"""What Hugging Face's `datasets` has saved is read as files are: the same pixels, and nothing in a directory is run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas_prune.data import ImageData, load_data
from nas_prune.data.identity import identity_of
from nas_prune.data.sources import labelled_pictures
from nas_prune.data.streamed import StreamedSet
from nas_prune.errors import BadInputError, DataError, NasPruneError
from tests.conftest import WriteDigits

datasets = pytest.importorskip("datasets", reason="writes what is read here")
pa = pytest.importorskip("pyarrow")
datasets.disable_progress_bars()

CLASSES = ["3", "5"]


@pytest.fixture
def root(write_digits: WriteDigits) -> Path:
    """Images in a train and a test folder."""
    write_digits("train", {"3": 20, "5": 20}, size=12)
    return write_digits("test", {"3": 5, "5": 5}, size=12, suffix=".jpg")


def table(root: Path, part: str, label: Any = None, **more: list[Any]) -> Any:
    """A part as `datasets` has it."""
    files = sorted((root / part).glob("*/*"))
    kind = label or datasets.ClassLabel(names=CLASSES)
    is_number = kind == datasets.ClassLabel(names=CLASSES)
    labels = [CLASSES.index(file.parent.name) if is_number else file.parent.name for file in files]
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    made = datasets.Dataset.from_dict({"image": list(map(str, files)), "label": labels}, features=features)
    for name, column in more.items():
        made = made.add_column(name, column)
    return made


def saved(root: Path, **shards: int) -> Path:
    made = datasets.DatasetDict(train=table(root, "train"), test=table(root, "test"))
    made.save_to_disk(str(root / "saved"), num_shards=shards or None)
    return root / "saved"


def same(ours: ImageData, theirs: ImageData) -> bool:
    parts = ("train", "val", "test")
    pairs = [(getattr(ours, part), getattr(theirs, part)) for part in parts]
    return all(one.sample().equal(two.sample()) and one.labels.equal(two.labels) for one, two in pairs) and (
        ours.mean,
        ours.class_names,
    ) == (theirs.mean, theirs.class_names)


@pytest.mark.parametrize("stream", [False, True])
def test_a_saved_data_set_gives_the_very_images_of_its_files(stream: bool, root: Path) -> None:
    name = f"hf:{saved(root, train=3, test=2)}"
    ours, theirs = load_data(name, seed=2, stream=stream), load_data(f"folder:{root}", seed=2)
    assert same(ours, theirs)
    assert isinstance(ours.train, StreamedSet) == stream
    assert stream or identity_of(ours) == identity_of(theirs)
    assert ours.notes == tuple(note for note in theirs.notes if "Left out" not in note)  # the saved one


def test_streamed_batches_come_from_other_processes(root: Path) -> None:
    data = load_data(f"hf:{saved(root)}", stream=True)
    (batch,) = data.train.batches([data.train.labels.new_tensor([3, 1, 2])])
    assert batch.equal(data.train.sample()[[3, 1, 2]])


def test_rows_that_were_chosen_and_shuffled_are_those_that_are_saved(root: Path) -> None:
    chosen = table(root, "train").shuffle(seed=1).select(range(5, 35))
    chosen.save_to_disk(str(root / "saved"))
    found, names, is_test = labelled_pictures(f"hf:{root / 'saved'}")
    assert (len(found.pictures), names, is_test) == (30, ("3", "5"), False)
    assert found.labels.tolist() == chosen["label"][:]
    assert str(found.pictures[7]) == f"{root / 'saved'}[7]"


def test_one_part_alone_keeps_a_fifth_for_testing(root: Path) -> None:
    table(root, "train").save_to_disk(str(root / "saved"))
    data = load_data(f"hf:{root / 'saved'}")
    assert (len(data.train) + len(data.val), len(data.test)) == (32, 8)


def test_labels_may_be_text_or_numbers(root: Path) -> None:
    table(root, "train", datasets.Value("string")).save_to_disk(str(root / "text"))
    assert load_data(f"hf:{root / 'text'}").class_names == ("3", "5")
    numbers = table(root, "train").remove_columns("label").add_column("label", [10] * 20 + [9] * 20)
    numbers.save_to_disk(str(root / "numbers"))
    assert load_data(f"hf:{root / 'numbers'}").class_names == ("9", "10")


def test_columns_are_chosen_where_several_could_be_meant(root: Path) -> None:
    made = table(root, "train").rename_column("label", "fine_label")
    coarse = made.add_column("coarse_label", [i % 2 for i in range(40)])
    coarse = coarse.cast_column("coarse_label", datasets.ClassLabel(names=["even", "odd"]))
    coarse.add_column("image_id", list(range(40))).save_to_disk(str(root / "saved"))
    name = f"hf:{root / 'saved'}"
    with pytest.raises(
        DataError,
        match=f"column for the label, got fine_label, coarse_label. Say which: --data {name},label=",
    ):
        load_data(name)
    assert load_data(f"{name},label=coarse_label").class_names == ("even", "odd")
    assert load_data(f"{name},image=image,label=fine_label").class_names == ("3", "5")
    with pytest.raises(DataError, match="the column image of .* must be one of image, got 'image_id'"):
        load_data(f"{name},image=image_id,label=fine_label")


def test_a_column_of_classes_is_the_label_unless_another_is_called_so(root: Path) -> None:
    species = table(root, "train").rename_column("label", "species")
    species.add_column("id", list(range(40))).save_to_disk(str(root / "species"))
    assert load_data(f"hf:{root / 'species'}").class_names == ("3", "5")
    species.add_column("label", ["a", "b"] * 20).save_to_disk(str(root / "both"))
    with pytest.raises(DataError, match="one column for the label, got species, label. Say which"):
        load_data(f"hf:{root / 'both'}")
    table(root, "train").add_column("category", ["a", "b"] * 20).save_to_disk(str(root / "class"))
    assert load_data(f"hf:{root / 'class'}").class_names == ("3", "5")


def test_parts_have_their_usual_names_and_others_are_left_out_and_named(root: Path) -> None:
    parts = {"train": table(root, "train"), "validation": table(root, "test"), "extra": table(root, "test")}
    datasets.DatasetDict(parts).save_to_disk(str(root / "saved"))
    data = load_data(f"hf:{root / 'saved'}")
    assert (len(data.test), data.notes[0]) == (10, "Left out: the splits extra.")
    parts = {"train": table(root, "train"), "validation": table(root, "test"), "dev": table(root, "test")}
    datasets.DatasetDict(parts).save_to_disk(str(root / "both"))
    with pytest.raises(DataError, match="must have one split for each part, got validation and dev"):
        load_data(f"hf:{root / 'both'}")


def test_a_part_without_labels_is_left_out_and_classes_without_images_too(root: Path) -> None:
    kind = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["0", "3", "5"])})
    train = table(root, "train").map(lambda row: {"label": row["label"] + 1}, features=kind)
    test = table(root, "test").map(lambda row: {"label": -1}, features=kind)
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(root / "saved"))
    data = load_data(f"hf:{root / 'saved'}")
    assert data.notes[:2] == (
        "Left out: the part test, whose 10 images have no labels.",
        "Left out: 1 classes without images.",
    )
    assert (data.class_names, len(data.test)) == (("3", "5"), 8)
    some = table(root, "train").map(
        lambda row, i: {"label": -1 if i == 7 else row["label"]}, with_indices=True
    )
    some.save_to_disk(str(root / "some"))
    with pytest.raises(DataError, match=r"must have a label, got 1 without one, first .*some\[7\]"):
        load_data(f"hf:{root / 'some'}")


def test_an_image_that_cannot_be_read_is_named_by_its_row(root: Path) -> None:
    rows = table(root, "train").cast_column("image", datasets.Image(decode=False)).to_dict()
    rows["image"] = [{"bytes": Path(row["path"]).read_bytes(), "path": None} for row in rows["image"]]
    rows["image"][3]["bytes"] = b"no picture"
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=features)).save_to_disk(
        str(root / "saved")
    )
    with pytest.raises(DataError, match=r"1 of 40 are not: train\[3\] \(not an image\)"):
        load_data(f"hf:{root / 'saved'}")


def test_a_file_that_changes_under_a_stream_is_named(root: Path) -> None:
    folder = saved(root)
    data = load_data(f"hf:{folder}", stream=True)
    (file,) = (folder / "train").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"got train\[\d+\] \(changed since it was listed\)"):
        list(data.train.batches([data.train.labels.new_tensor([30])]))


def test_a_tiff_in_a_larger_file_is_the_tiff_alone(root: Path) -> None:
    images = [Image.new("RGB", (9, 9), (i, 2 * i, 3 * i)) for i in range(40)]
    for i, image in enumerate(images):
        image.save(root / f"{i}.tif", compression="tiff_lzw")
    files = [str(root / f"{i}.tif") for i in range(40)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    made = datasets.Dataset.from_dict(
        {"image": files, "label": [i % 2 for i in range(40)]}, features=features
    )
    made.save_to_disk(str(root / "saved"))
    data = load_data(f"hf:{root / 'saved'}", val_fraction=0.1)
    found = {tuple(image.flatten(1).unique(dim=1).flatten().tolist()) for image in data.train.sample()}
    assert found <= {(i, 2 * i, 3 * i) for i in range(40)}
    assert len(found) == len(data.train)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def outside(folder: Path) -> None:
    edit(folder / "dataset_dict.json", lambda _: {"splits": ["../saved/train"]})


def network(folder: Path) -> None:
    edit(folder / "dataset_dict.json", lambda _: {"splits": ["train::http://127.0.0.1:9/x"]})


def file_outside(folder: Path) -> None:
    edit(folder / "train/state.json", lambda state: {**state, "_data_files": [{"filename": "/etc/passwd"}]})


def no_files(folder: Path) -> None:
    edit(folder / "train/state.json", lambda state: {**state, "_data_files": None})


def chosen_rows(folder: Path) -> None:
    edit(folder / "train/state.json", lambda state: {**state, "_indices_data_files": [{"filename": "x"}]})


def other_columns(folder: Path) -> None:
    feature = {"dtype": "int64", "_type": "Value"}
    edit(
        folder / "train/dataset_info.json", lambda info: {"features": {**info["features"], "label": feature}}
    )


def fewer_classes(folder: Path) -> None:
    for part in ("train", "test"):
        edit(
            folder / part / "dataset_info.json",
            lambda info: {
                **info,
                "features": {**info["features"], "label": {"_type": "ClassLabel", "names": ["3"]}},
            },
        )


def no_image(folder: Path) -> None:
    edit(
        folder / "train/dataset_info.json",
        lambda info: {**info, "features": {"label": info["features"]["label"]}},
    )


def damaged_json(folder: Path) -> None:
    (folder / "train/state.json").write_text("{")


def arrow(folder: Path) -> Path:
    (file,) = (folder / "train").glob("*.arrow")
    return file


def cut(folder: Path) -> None:
    arrow(folder).write_bytes(arrow(folder).read_bytes()[:5000])


def emptied(folder: Path) -> None:
    arrow(folder).write_bytes(b"")


def gone(folder: Path) -> None:
    arrow(folder).unlink()


def compressed(folder: Path) -> None:
    rewritten(folder, lambda made: made, compression="lz4")


def paths_alone(folder: Path) -> None:
    def change(made: Any) -> Any:
        kind = made.schema.field("image").type
        rows = [{"bytes": None, "path": f"https://127.0.0.1:9/{i}.png"} for i in range(len(made))]
        return made.set_column(made.schema.get_field_index("image"), "image", pa.array(rows, kind))

    rewritten(folder, change)


def dictionary(folder: Path) -> None:
    rewritten(folder, lambda made: made.set_column(1, "label", made["label"].dictionary_encode()))


def labels_of_lists(folder: Path) -> None:
    rewritten(folder, lambda made: made.set_column(1, "label", pa.array([[1]] * len(made))))


def wild_offsets(folder: Path) -> None:
    """The end of one picture, as a number in the file, far behind the file."""
    raw = bytearray(arrow(folder).read_bytes())
    made = pa.ipc.open_stream(bytes(raw)).read_all()
    offsets = made["image"].chunk(0).field("bytes").buffers()[1].to_pybytes()
    place = bytes(raw).index(offsets)
    raw[place + 40 : place + 44] = (2**31 - 1).to_bytes(4, "little")
    arrow(folder).write_bytes(raw)


def rewritten(folder: Path, change: Callable[[Any], Any], compression: str | None = None) -> None:
    made = change(pa.ipc.open_stream(arrow(folder).read_bytes()).read_all())
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(str(arrow(folder)), made.schema, options=options) as writer:
        writer.write_table(made)


WRONG: dict[Callable[[Path], None], str] = {
    outside: "a name must be one of a directory, without slashes or a dot in front",
    network: "a name must be one of a directory, without slashes",
    file_outside: "train/state.json .* without slashes or a dot in front, got '/etc/passwd'",
    no_files: "train/state.json .* no list of _data_files",
    chosen_rows: "no list of _data_files, or one of rows chosen from them",
    other_columns: "classes of .* must be the same in every part",
    fewer_classes: r"train must be from 0 to 0, got 1 in .*train\[20\]",
    no_image: "must have a column for the image, such as image or img, got the columns label",
    damaged_json: "train/state.json must be as save_to_disk writes it, got: Expecting",
    cut: "train/data-.*arrow must be a whole Arrow file as save_to_disk writes it, got: ",
    emptied: "must be a whole Arrow file as save_to_disk writes it, got: cannot mmap an empty file",
    gone: "must be a whole Arrow file as save_to_disk writes it, got: No such file or directory",
    compressed: "got: a compressed batch",
    paths_alone: r"got 40 without their bytes, first .*train\[0\]. Open it with datasets and save it again",
    dictionary: "got: a dictionary",
    labels_of_lists: "got: labels as list",
    wild_offsets: "must be a whole Arrow file as save_to_disk writes it, got: .*In column 0",
}


@pytest.mark.parametrize(("change", "said"), WRONG.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_a_directory_says_is_checked_and_said_in_one_line(
    change: Callable[[Path], None], said: str, root: Path
) -> None:
    folder = saved(root)
    load_data(f"hf:{folder}")
    change(folder)
    with pytest.raises(NasPruneError, match=said) as caught:
        load_data(f"hf:{folder}")
    assert "\n" not in str(caught.value)


def test_a_name_of_the_hub_is_no_place(root: Path) -> None:
    with pytest.raises(
        DataError, match=r"got ylecun/mnist, which does not exist. Nothing is downloaded: in Python"
    ):
        load_data("hf:ylecun/mnist")
    with pytest.raises(BadInputError, match=f"Type --data folder:{root}"):
        load_data(f"hf:{root}")


@pytest.mark.slow
def test_the_library_that_saved_it_is_not_loaded_and_a_missing_pyarrow_is_named(root: Path) -> None:
    code = (
        "import sys\n"
        "from nas_prune.data import load_data\n"
        "assert 'pyarrow' not in sys.modules\n"
        "load_data(sys.argv[1])\n"
        "assert 'pyarrow' in sys.modules and 'datasets' not in sys.modules\n"
        "sys.modules['pyarrow'] = None\n"
        "load_data(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"hf:{saved(root)}"], capture_output=True, text=True, check=False
    )
    assert (
        "BadInputError: --data hf:DIR must have pyarrow installed, got none. pip install 'nas-prune[hf]'"
        in done.stderr
    )
