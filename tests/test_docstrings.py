"""Docstrings name what is there: every attribute and argument that one describes exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nas_prune

ROOT = Path(nas_prune.__file__).parent
NAMES = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", re.MULTILINE)


def described(doc: str, section: str) -> set[str]:
    """The names that a section of a docstring describes."""
    _, found, rest = f"\n{doc}".partition(f"\n{section}:\n")
    block = re.split(r"\n\S", rest, maxsplit=1)[0] if found else ""
    return {name.strip().lstrip("*") for names in NAMES.findall(block) for name in names.split(",")}


def has(node: ast.AST) -> set[str]:
    """The arguments of a function, or what a class sets or defines."""
    if isinstance(node, ast.FunctionDef):
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        return {one.arg for one in every if one is not None}
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    names |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    return names | {one.name for one in ast.walk(node) if isinstance(one, ast.FunctionDef)}


def stale(tree: ast.AST) -> Iterator[str]:
    """Names that docstrings describe and that are not there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            doc = ast.get_docstring(node) or ""
            section = "Args" if isinstance(node, ast.FunctionDef) else "Attributes"
            yield from (f"{node.name}: {name}" for name in sorted(described(doc, section) - has(node)))


def test_docstrings_describe_what_is_there() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.rglob("*.py"))
        for name in stale(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_a_name_that_is_not_there_is_found() -> None:
    code = 'def f(a, *, b):\n    """One.\n\n    Args:\n        a, b: two.\n        c: three.\n    """\n'
    assert list(stale(ast.parse(code))) == ["f: c"]
