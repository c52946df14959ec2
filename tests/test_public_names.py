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


@pytest.mark.parametrize("first", ["import nas_prune.search.config", "nas_prune.Budget", "nas_prune.search"])
def test_search_is_a_function_whatever_was_loaded_before(first: str) -> None:
    code = (
        f"import nas_prune; {first}; from nas_prune.search.run import search; import inspect; "
        "assert inspect.signature(nas_prune.search) == inspect.signature(search), inspect.signature(nas_prune.search); "
        "nas_prune.search(None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "in search\n    config = resolve(config)" in done.stderr


def test_public_functions_say_what_they_take() -> None:
    for name in nas_prune.__all__:
        public = getattr(nas_prune, name)
        assert inspect.getdoc(public), name
