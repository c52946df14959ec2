"""A result that somebody has changed is refused in one line, wherever it is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_prune.compression.account import Account, Form, LayerAccount
from nas_prune.compression.result import Accuracies, Compressed, read_compression, write_result
from nas_prune.compression.words import layer_rows, summed_row
from nas_prune.errors import DamagedError

LAYER = LayerAccount(
    name="fc.weight",
    kind="linear",
    weights=100,
    nonzeros=10,
    values=4,
    zeros="gaps",
    index_bits=20,
    position_bits=40,
    entropy_bits=58.5,
    value_bytes=8,
    table_bytes=0,
    total_bytes=16,
)
RESULT = Compressed(
    space="lenet300",
    source="trained",
    budget=None,
    data="digits",
    epochs=1,
    accuracies=(Accuracies(step="as trained", val=0.9, test=0.8),),
    account=Account(
        layers=(LAYER,), plain_bytes=10, header_bytes=100, file_bytes=126, bound_bytes=125.4, whole_bytes=400
    ),
    forms=(Form(name="32 bits", bytes=400, val=0.9, test=0.8),),
    file="net.nasp",
)

BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another schema": lambda own: own.update(schema="foo/1"),
    "a file elsewhere": lambda own: own.update(file="../../../etc/passwd"),
    "no accuracies": lambda own: own.update(accuracies=[]),
    "a form of no bytes": lambda own: own["forms"][0].update(bytes=0),
    "a layer of no weights": lambda own: own["account"]["layers"][0].update(weights=0),
    "a layer of no non-zeros": lambda own: own["account"]["layers"][0].update(nonzeros=0),
    "a layer of no values": lambda own: own["account"]["layers"][0].update(values=None),
    "another way to tell zeros": lambda own: own["account"]["layers"][0].update(zeros="foo"),
    "a size beyond all": lambda own: own["account"].update(file_bytes=10**400),
    "no bound": lambda own: own["account"].update(bound_bytes=0),
    "no number": lambda own: own["accuracies"][0].update(test="nan"),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_result(tmp_path, RESULT)
    found = read_compression(tmp_path)
    assert found is not None
    assert found.content() == RESULT.content()
    assert found.path == tmp_path / "net.nasp"
    assert read_compression(tmp_path / "elsewhere") is None
    assert layer_rows(found.layers) == [
        ["fc", "gaps", "100", "10 (10.0 %)", "4", "2.00", "4.00", "6.40", "2.56 %", "16", "1.280"]
    ]
    assert summed_row(found)[4:] == ["", "2.00", "4.00", "6.40", "2.56 %", "16", "1.280"]
    assert found.account.above_bound == pytest.approx(126 / 125.4 - 1)


@pytest.mark.parametrize("what", BROKEN)
def test_what_no_compression_writes_is_refused(what: str, tmp_path: Path) -> None:
    content = RESULT.content()
    BROKEN[what](content)
    (tmp_path / "result.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"must be a compression's"):
        read_compression(tmp_path)
