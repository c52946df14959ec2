import pickle
from pathlib import Path
from typing import NoReturn
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.io import savemat
from sklearn.datasets import load_digits

from nas_prune.data import load_data
from nas_prune.errors import DataError

SCANS = load_digits()
IMAGES = np.rint(SCANS.images * (255 / 16)).astype(np.uint8)
LABELS = SCANS.target.astype(np.uint8)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_settings: object) -> NoReturn:
        raise URLError("no route\nto host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_digits_are_the_scans_of_scikit_learn() -> None:
    data = load_data("digits")
    sums = torch.cat([part.sample().sum((1, 2, 3)) for part in (data.train, data.val, data.test)])
    assert sorted(sums.tolist()) == sorted(IMAGES.sum((1, 2), dtype=np.int64).tolist())
    assert (len(data.test), data.image_size, data.in_channels, data.flip) == (359, 8, 1, False)
    assert data.train.sample().max() == 255


def test_mnist_is_read_from_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, some in (("train", slice(0, 100)), ("t10k", slice(100, 150))):
        images, labels = IMAGES[some], LABELS[some]
        header = np.array([0x803, len(images), 8, 8], dtype=">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = np.array([0x801, len(labels)], dtype=">i4").tobytes()
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    data = load_data("mnist", data_dir=tmp_path)
    assert np.array_equal(data.test.sample()[:, 0], IMAGES[100:150])
    assert data.test.labels.tolist() == LABELS[100:150].tolist()
    assert (len(data.train), len(data.val), data.class_names, data.flip) == (
        90,
        10,
        tuple("0123456789"),
        False,
    )
    assert not capsys.readouterr().out


def test_cifar_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rgb = np.stack([IMAGES, IMAGES // 2, 255 - IMAGES], 1).repeat(4, 2).repeat(4, 3)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for i, name in enumerate(names):
        some = slice(20 * i, 20 * i + 20)
        batch = {"data": rgb[some].reshape(20, -1), "labels": LABELS[some].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    data = load_data("cifar10", data_dir=tmp_path)
    assert np.array_equal(data.test.sample(), rgb[100:120])
    assert (len(data.train), data.class_names[2], data.flip) == (90, "c", True)


def test_svhn_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", lambda *_: True)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True, raising=False)
    rgb = np.stack([IMAGES, IMAGES // 2, 255 - IMAGES], 3)
    for name, some in (("train", slice(0, 100)), ("test", slice(100, 150))):
        labels = np.where(LABELS[some] == 0, 10, LABELS[some])[:, None]
        savemat(tmp_path / f"{name}_32x32.mat", {"X": rgb[some].transpose(1, 2, 3, 0), "y": labels})
    data = load_data("svhn", data_dir=tmp_path)
    assert np.array_equal(data.test.sample(), rgb[100:150].transpose(0, 3, 1, 2))
    assert data.test.labels.tolist() == LABELS[100:150].tolist()
    assert not data.flip


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion-mnist", "svhn"])
def test_a_failed_download_says_what_to_do_in_one_line(name: str, tmp_path: Path) -> None:
    expected = f"^--data {name} must be downloaded once, and that failed .*no route to host.*folder:PATH.*$"
    with pytest.raises(DataError, match=expected) as caught:
        load_data(name, data_dir=tmp_path)
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)
