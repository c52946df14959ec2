"""Latency tables measured for real, of small networks: whole, resumed, refused."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from nas_prune.errors import BadInputError, DamagedError
from nas_prune.hardware.aim import aim
from nas_prune.hardware.latency import latency_cost
from nas_prune.hardware.latency_design import networks
from nas_prune.hardware.latency_import import import_table
from nas_prune.hardware.latency_layers import timed_layers
from nas_prune.hardware.latency_passes import PASSES, Timed, begun
from nas_prune.hardware.latency_table import LATENCY, NETWORKS, csv_text, read_table
from nas_prune.hardware.measure import Plan, measure, measured_latency, resume_measure
from nas_prune.hardware.measured_table import _twice, write_measured
from nas_prune.hardware.runtimes import runtime_named
from nas_prune.hardware.target import TARGET_FILE, target_named
from nas_prune.hardware.timing import PartTiming, Timing
from nas_prune.runs.files import alone_in
from nas_prune.space.load import load_space
from tests.hardware.tables import in_steps, made_up, mixed, small

FEW = Plan(networks=6, checked=3, passes=2)
FEWER = Plan(networks=4, checked=1, passes=1)
ON = ("cpu-torch", "cpu-onnxruntime")


@pytest.fixture(scope="module", autouse=True)
def _in_short_bursts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas_prune.hardware.measure._BURST_NS", 1e6)
        yield


@pytest.fixture(scope="module", params=ON)
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "table"
    measure(mixed(), out, target=request.param, plan=FEW)
    return out


def test_the_layers_of_a_network_add_up_to_its_time(measured: Path) -> None:
    wholes = {int(line.split(",")[0]): int(line.split(",")[2]) for line in lines_of(measured / NETWORKS)[1:7]}
    sums = dict.fromkeys(wholes, 0)
    for row in read_table(measured).rows:
        sums[row.network] += row.latency_ns
    assert sums == wholes
    assert {row.layer for row in read_table(measured).rows} == {"stem.0", "each.0", "left", "right", "last"}


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_widths_of_concatenations_and_depthwise_layers_are_those_of_the_network(measured: Path) -> None:
    of = {(row.network, row.layer): (row.in_width, row.out_width) for row in read_table(measured).rows}
    assert of[0, "last"] == (20, 4)
    for network in range(6):
        stem, left, right = (of[network, path][1] for path in ("stem.0", "left", "right"))
        assert of[network, "each.0"] == (stem, stem)
        assert of[network, "last"] == (left + right, 4)


def test_a_table_is_for_its_target(measured: Path) -> None:
    content = yaml.safe_load((measured / TARGET_FILE).read_text(encoding="utf-8"))
    assert content["runtime"] in ON
    assert target_named(str(measured)).measured is not None
    assert content["latency"] == LATENCY
    assert content["measured"]["input_shape"] == [3, 8, 8]
    latency = latency_cost(mixed(), measured / LATENCY)
    assert 1000 < latency(mixed().base_G) < 10**9
    errors = read_table(measured).header.errors
    assert errors is not None
    assert errors.networks == 3


def test_a_finished_measurement_says_the_same_again(measured: Path) -> None:
    before = (measured / LATENCY).read_bytes()
    resume_measure(measured, mixed())
    assert (measured / LATENCY).read_bytes() == before
    with pytest.raises(BadInputError, match="by its own network, Mixed, got vgg11"):
        resume_measure(measured, small())


def test_a_stopped_measurement_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "table"
    measure(small(), out, target="cpu-torch", plan=FEW)
    whole = (out / LATENCY).read_bytes()
    lines = (out / PASSES).read_text(encoding="utf-8").splitlines(keepends=True)
    (out / PASSES).write_text("".join(lines[:12]) + lines[12][:30], encoding="utf-8")
    for name in (LATENCY, NETWORKS, TARGET_FILE):
        (out / name).unlink()
    resume_measure(out)
    again = (out / PASSES).read_text(encoding="utf-8").splitlines(keepends=True)
    assert again[:12] == lines[:12]
    assert sorted((one.turn, one.network) for one in begun(out) if one.network >= 0) == [
        (turn, network) for turn in range(2) for network in range(9)
    ]
    assert (out / LATENCY).read_bytes() != whole  # timed anew, all but what was there
    assert len(lines_of(out / LATENCY)) == len(whole.decode().splitlines())
    before = (out / LATENCY).read_bytes()
    resume_measure(out)
    assert (out / LATENCY).read_bytes() == before


def test_what_cannot_be_gone_on_with_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "table"
    measure(small(), out, target="cpu-torch", plan=FEWER)
    with pytest.raises(BadInputError, match="must be a new or an empty directory"):
        measure(small(), out, target="cpu-torch")
    config = (out / "config.yaml").read_text(encoding="utf-8")
    (out / "config.yaml").write_text(config.replace("machine: ", "machine: an abacus, "), encoding="utf-8")
    with pytest.raises(BadInputError, match="by the machine that began it, an abacus, "):
        resume_measure(out)
    (out / "config.yaml").write_text(config.replace("torch: ", "torch: 0."), encoding="utf-8")
    with pytest.raises(BadInputError, match=r"by the versions that began it, torch 0\."):
        resume_measure(out)
    (out / "config.yaml").write_text(config, encoding="utf-8")
    text = (out / PASSES).read_text(encoding="utf-8")
    (out / PASSES).write_text(re.sub(r'"whole": \[\d+', '"whole": [1.5', text, count=1), encoding="utf-8")
    with pytest.raises(DamagedError, match="must hold whole lines of JSON, got line 1"):
        resume_measure(out)


def test_a_measurement_goes_on_with_the_widths_that_it_was_begun_with(tmp_path: Path) -> None:
    out, aimed = tmp_path / "table", aim(small(), target_named("ethos-u"))
    measure(aimed, out, target="cpu-torch", plan=FEWER)
    for name in (LATENCY, NETWORKS, TARGET_FILE):
        (out / name).unlink()
    with pytest.raises(BadInputError, match="must be gone on with by the widths that it was begun with"):
        resume_measure(out)
    assert not (out / LATENCY).exists()
    resume_measure(out, aimed)
    assert (out / LATENCY).exists()


def test_a_measurement_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "table"
    measure(small(), out, target="cpu-torch", plan=FEWER)
    config = (out / "config.yaml").read_text(encoding="utf-8")
    (out / "config.yaml").write_text(re.sub(r"(?m)^planned: .*\n", "", config), encoding="utf-8")
    before = (out / LATENCY).read_bytes()
    resume_measure(out)
    assert (out / LATENCY).read_bytes() == before


def test_what_another_process_has_begun_meanwhile_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def late(folder: Path) -> Iterator[None]:
        (folder / "config.yaml").write_text("of another", encoding="utf-8")
        with alone_in(folder):
            yield

    file = tmp_path / "phone.csv"
    rows = made_up(small(), in_steps, 20).rows
    columns = ["layer", "in_width", "out_width", "latency_ms"]
    timed = [(row.layer, row.in_width, row.out_width, row.latency_ns / 1e6) for row in rows]
    file.write_text(csv_text(columns, timed), encoding="utf-8")
    begins: dict[str, Callable[[Path], object]] = {
        "measure": lambda out: measure(small(), out, target="cpu-torch", plan=FEWER),
        "latency_import": lambda out: import_table(small(), file, out, target=target_named("ncnn-arm")),
    }
    for module, begin in begins.items():
        out = tmp_path / module
        monkeypatch.setattr(f"nas_prune.hardware.{module}.alone_in", late)
        with pytest.raises(BadInputError, match="must be a new or an empty directory"):
            begin(out)
        assert [path.name for path in out.iterdir()] == ["config.yaml"]
        assert (out / "config.yaml").read_text(encoding="utf-8") == "of another"


def test_a_table_of_too_many_rows_is_refused_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_prune.hardware.measure.MOST_ROWS", 50)
    with pytest.raises(BadInputError, match=r"50 rows, got 6 networks of 9 layers\. Use --networks 5\."):
        measure(small(), tmp_path / "table", target="cpu-torch", plan=FEW)
    assert not (tmp_path / "table").exists()


def test_a_layer_that_no_time_was_left_of_has_a_nanosecond(tmp_path: Path) -> None:
    planned = networks(small(), 6, 2, 0)
    paths = [layer.path for layer in timed_layers(small())]
    layers = {
        path: PartTiming(0 if path == paths[0] else 1000 + number, 0) for number, path in enumerate(paths)
    }
    timed = [Timed(0, number, Timing(9000, 9000, 7), layers, 100) for number in range(len(planned))]
    write_measured(small(), tmp_path, planned, timed, {"target": "cpu-torch"})
    rows = read_table(tmp_path).rows
    assert {row.latency_ns for row in rows if row.layer == paths[0]} == {1}
    assert all(row.p95_ns >= row.latency_ns for row in rows)


def test_a_table_says_by_how_much_steady_passes_of_one_network_differ(tmp_path: Path) -> None:
    planned = networks(small(), 6, 2, 0)
    layers = {layer.path: PartTiming(1000, 1000) for layer in timed_layers(small())}

    def differ(reference_ns: int) -> float | None:
        timed = [
            Timed(turn, number, Timing(ns, ns, 7), layers, reference)
            for turn, ns, reference in ((0, 9000, reference_ns), (1, 6000, 100))
            for number in range(len(planned))
        ]
        header = write_measured(small(), tmp_path, planned, timed, {"target": "cpu-torch"}).table.header
        assert header.errors is not None
        return header.errors.twice_median

    assert differ(100) == 0.5
    assert differ(1000) is None  # threads were held up in every first pass


def test_a_second_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "table"
    measure(small(), out, target="cpu-torch", plan=FEWER)
    monkeypatch.setattr("nas_prune.runs.files._PATIENCE", 0.1)
    with alone_in(out), pytest.raises(BadInputError, match="written by one process at a time"):
        resume_measure(out)


def test_networks_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="measured on cpu-onnxruntime, cpu-torch, .*, got 'abacus'"):
        measured_latency(small(), small().base_G, "abacus")
    if not torch.cuda.is_available():
        for target in ("cuda-torch", "cuda-tensorrt"):
            with pytest.raises(BadInputError, match=f"--target {target} must have"):
                measure(small(), tmp_path / "table", target=target)
    assert not (tmp_path / "table").exists()


@pytest.mark.slow
@pytest.mark.parametrize("target", ON)
def test_one_network_is_timed_whole_and_threads_are_as_before(target: str) -> None:
    before = torch.get_num_threads()
    timing = measured_latency(small(), small().base_G, target, before + 1, bursts=1)
    assert torch.get_num_threads() == before
    assert 1000 < timing.median_ns <= timing.p95_ns
    assert timing.runs >= 7


class Tied(nn.Module):
    """A layer that is called twice, one that evaluation does not run, and two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 3, padding=1)
        self.aside = nn.Linear(8, 4)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.shared(self.first(x)).relu()).mean((2, 3))
        scores: Tensor = self.last(x)
        return scores + self.aside(x) if self.training else scores


@pytest.mark.slow
@pytest.mark.parametrize("target", ON)
def test_layers_that_are_called_twice_or_never_are_timed_as_they_run(tmp_path: Path, target: str) -> None:
    space = load_space(Tied, (3, 8, 8))
    found = measure(space, tmp_path / "table", target=target, plan=FEW)
    assert found.table.header.not_run == ("aside",)
    assert {row.layer for row in found.table.rows} == {"first", "shared", "last"}
    assert found.latency(space.base_G) > 0


class Pooled(nn.Module):
    """A network that only PyTorch's newer exporter can write: it pools to a size that does not divide."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.hidden = nn.Linear(8 * 25, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(self.first(x), 5).flatten(1)
        scores: Tensor = self.last(self.hidden(pooled).relu())
        return scores


class Lines(nn.Module):
    """Linear layers over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(6, 16), nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.hidden(self.first(x)).relu()).mean(1)
        return scores


@pytest.mark.slow
@pytest.mark.parametrize(("make", "shape"), [(Pooled, (3, 8, 8)), (Lines, (5, 6))])
def test_layers_are_known_by_the_names_that_fusions_give_them(
    make: type[nn.Module], shape: tuple[int, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    space = load_space(make, shape)
    with runtime_named("cpu-onnxruntime").loaded(space.build(seed=0), space.forward, 1) as network:
        assert set(network.parts(3, ("first", "hidden", "last")).ns) == {"first", "hidden", "last"}
    assert capfd.readouterr().out == ""


@pytest.mark.gpu
def test_a_gpu_is_timed_by_its_own_clock(tmp_path: Path) -> None:
    found = measure(small(), tmp_path / "table", target="cuda-torch", plan=FEW)
    assert found.latency(small().base_G) > 1000


@pytest.mark.slow
def test_a_measurement_that_is_killed_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "table"
    words = ["measure", "--space", "vgg11", "--image-size", "8", "--target", "cpu-torch", "--networks", "20"]
    run = subprocess.Popen(
        [sys.executable, "-m", "nas_prune", *words, "--out", str(out)], stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not (out / PASSES).exists():
        time.sleep(0.05)
    time.sleep(1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (out / LATENCY).exists()
    timed = begun(out)
    assert timed
    again = subprocess.run(
        [sys.executable, "-m", "nas_prune", "measure", "--resume", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Predictions of 20 networks" in again.stdout
    assert begun(out)[: len(timed)] == timed


def test_two_measurements_are_compared_network_by_network() -> None:
    def timed(turn: int, network: int, ns: int) -> Timed:
        return Timed(turn, network, Timing(ns, ns, 1), {}, 100)

    passes = {
        2: [timed(0, 2, 100), timed(1, 2, 150)],
        0: [timed(0, 0, 100)],
        1: [timed(0, 1, 200), timed(1, 1, 200)],
    }
    found = _twice(passes)
    assert found is not None
    assert found[1:].tolist() == [0, pytest.approx(1 / 3)]
    assert np.isnan(found[0])
    assert _twice({0: [timed(0, 0, 100)]}) is None
