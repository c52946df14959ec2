"""What `import nas_prune` offers: one list for programs, one for editors, both the same."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import nas_prune


def test_editors_see_the_names_that_programs_get() -> None:
    tree = ast.parse(Path(nas_prune.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    shown = {
        alias.asname: f"{node.module}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == {name: f"nas_prune.{home}" for name, home in nas_prune._HOMES.items()}
    assert all(getattr(nas_prune, name) is not None for name in nas_prune.__all__)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "home", "call", "said"),
    [
        ("search", "run", "after(None)", "in search\n    config = resolve(config)"),
        ("study", "own_training", "after(None, 3)", "train must be a function that takes a network, got 3"),
    ],
)
def test_a_function_can_be_called_and_pickled_before_and_after_its_room_is_loaded(
    name: str, home: str, call: str, said: str
) -> None:
    code = (
        f"import inspect, pickle, sys, nas_prune; assert 'nas_prune.{name}' not in sys.modules; "
        f"before = nas_prune.{name}; "
        f"after = nas_prune.{name}; from nas_prune.{name}.{home} import {name}; "
        "assert inspect.isfunction(before) and inspect.ismodule(after); "
        f"assert inspect.signature(after) == inspect.signature(before) == inspect.signature({name}); "
        f"assert pickle.loads(pickle.dumps(after)) is {name}; {call}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said in done.stderr


def test_public_functions_say_what_they_take() -> None:
    for name in nas_prune.__all__:
        public = getattr(nas_prune, name)
        assert inspect.getdoc(public), name
