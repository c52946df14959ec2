"""Targets: shipped ones, a user's own, and files that are none."""

import re
from pathlib import Path

import pytest

from nas_prune.errors import BadInputError
from nas_prune.hardware.target import Target, known_targets, target_named


@pytest.mark.parametrize("name", known_targets())
def test_every_shipped_target_can_be_read_and_names_its_sources(name: str) -> None:
    found = target_named(name)
    assert found.name == name
    assert found.sources
    assert all(source.where.startswith("https://") for source in found.sources)
    assert found.table is None


def test_the_shipped_targets_are_those_of_which_something_is_published() -> None:
    assert known_targets() == (
        "artpec-9", "cpu-onnxruntime", "cpu-torch", "cuda-torch", "ethos-u", "hexagon-htp", "ncnn-arm",
        "tensorrt-fp16", "tensorrt-int8", "ti-tinpu",
    )  # fmt: skip
    assert target_named("ti-tinpu").least["linear"].read == 16
    assert target_named("cpu-torch").alignment == {}
    bytes_of = {name: target_named(name).bytes_per_weight for name in known_targets()}
    assert (bytes_of["cpu-onnxruntime"], bytes_of["tensorrt-fp16"], bytes_of["ethos-u"]) == (4, 2, 1)


def test_a_file_and_a_directory_are_targets_too(tmp_path: Path) -> None:
    measured = Target(
        description="a board",
        runtime="cpu-torch",
        precision="int8",
        activation_bytes=2,
        latency="latency.csv",
    )
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "target.yaml").write_text(measured.as_yaml(), encoding="utf-8")
    found = target_named(str(folder))
    assert (found.name, found.costs) == ("board", ("memory", "size", "latency"))
    assert found.table == folder / "latency.csv"
    assert (found.bytes_per_weight, found.bytes_per_activation) == (1, 2)
    assert found.model_copy(update={"name": "target", "folder": None}) == measured
    alone = target_named(str(folder / "target.yaml"))
    assert (alone.name, alone.table) == ("target", folder / "latency.csv")


@pytest.mark.parametrize("name", known_targets())
def test_a_target_written_is_the_target_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "copy.yaml"
    path.write_text(target_named(name).as_yaml(), encoding="utf-8")
    update = {"folder": target_named(name).folder}
    assert target_named(str(path)).model_copy(update=update) == target_named(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("etos-u", "--target must be one of artpec-9, .* got 'etos-u'. Did you mean ethos-u?"),
        ("tensorrt", "Did you mean tensorrt-fp16 or tensorrt-int8?"),
        ("", "--target must be one of"),
        ("a\x1b[31mb", r"got 'a\\\\x1b\[31mb'"),
        ("x" * 5000, "--target must be one of"),
        ("nul\0", "--target must be one of"),
        ("missing.yaml", "--target missing.yaml must be a YAML file that can be read, got: No such file"),
        ("nul\0.yaml", "must be a YAML file that can be read, got: embedded null"),
    ],
)
def test_what_is_no_target_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(BadInputError) as caught:
        target_named(text)
    assert re.search(said, str(caught.value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must hold settings, each a name and a value, got none"),
        ("[1, 2]", "must hold settings"),
        ("description: [", "must be a YAML file that can be read"),
        ("!!python/object/apply:os.system [ls]", "is no plain value"),
        ("precision: int8", "description: it must be given"),
        (
            "{description: a, precision: int4}",
            "precision: it must be one of float32, float16, int8, got 'int4'",
        ),
        ("{description: a, alignmet: {}}", "alignmet: there is no such setting .is alignment meant?"),
        ("{description: a, folder: b}", "folder: there is no such setting"),
        ("{description: a, alignment: {conv: {out: 0}}}", "alignment.conv.out: it must be at least 1, got 0"),
        ("{description: a, alignment: {conv: {out: 1.5}}}", "must be a whole number, got 1.5"),
        ("{description: a, alignment: {conv: {out: 99999}}}", "must be at most 1,024"),
        ("{description: a, alignment: {pool: {out: 8}}}", "conv, depthwise, grouped, linear"),
        ("{description: a, latency: ../other.csv}", "latency"),
        ("{description: a, latency: /etc/passwd}", "latency"),
        ("{description: a, runtime: tpu}", "runtime: it must be one of cpu-onnxruntime"),
        ("{description: a, weight_bytes: 0}", "weight_bytes: it must be at least 1"),
        ("{1: 2, description: a}", "1: Keys should be strings"),
    ],
)
def test_a_file_that_is_no_target_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInputError, match=said) as caught:
        target_named(str(path))
    assert "\n" not in str(caught.value)


def test_a_directory_without_a_target_and_what_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInputError, match="target.yaml must be a YAML file that can be read, got: No such file"
    ):
        target_named(str(tmp_path))
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInputError, match="must be a YAML file that can be read"):
        target_named(str(tmp_path / "own.yaml"))
