"""Lower rooms never import higher ones, no two files import each other, and no file lies outside the rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

import nas_prune

ROOT = Path(nas_prune.__file__).parent
ORDER = (
    "errors", "runs", "coding", "graph", "data", "space", "hardware", "training",
    "guideline", "search", "patterns", "study", "comparison", "export", "compression", "report", "cli",
)  # fmt: skip
LOOSE = {"__init__.py", "__main__.py", "errors.py"}
WITHIN_GRAPH = (
    "selection", "spectral", "known", "axes", "table", "record", "call", "shape_rules", "place_rules",
    "layer_rules", "rules", "quick", "copies", "inputs", "examples", "tensors", "trace", "channels", "layout",
    "attributes", "fans", "resize", "slices", "repair", "trial_widths", "check",
)  # fmt: skip


def module_of(path: Path, root: Path = ROOT) -> str:
    """The dotted name of a file below the package."""
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"relative {node.module or ''}"
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def misplaced(root: Path) -> list[str]:
    """What lies outside the rooms, or imports a higher one."""
    found = [path.name for path in root.glob("*.py") if path.name not in LOOSE]
    rooms = {path.name for path in root.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    found += sorted(rooms - set(ORDER))
    for path in root.rglob("*.py"):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for name in imports(path) if room in ORDER else ():
            used = name.split(".")[1] if name.startswith(f"{root.name}.") else room
            is_relative = name.startswith("relative ")  # which would say nothing of its room
            if is_relative or (used in ORDER and ORDER.index(used) > ORDER.index(room)):
                found.append(f"{module_of(path, root)} imports {name}")
    return found


def circles(root: Path) -> list[list[str]]:
    """Files that import each other, by whatever way round."""
    modules = {module_of(path, root): path for path in root.rglob("*.py") if path.parent != root}
    arrows = [
        (name, used)
        for name, path in modules.items()
        for used in imports(path)
        if used in modules and used != name
    ]
    return [sorted(part) for part in nx.strongly_connected_components(nx.DiGraph(arrows)) if len(part) > 1]


def test_rooms_import_only_from_lower_rooms_and_nothing_lies_outside_them() -> None:
    assert misplaced(ROOT) == []
    assert {path.name for path in ROOT.iterdir() if path.name in ORDER} == set(ORDER) - {"errors"}


def floors(root: Path) -> int:
    """How many rooms stand above each other at most."""
    arrows: nx.DiGraph[str] = nx.DiGraph()
    for path in root.rglob("*.py"):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        used = {name.split(".")[1] for name in imports(path) if name.startswith(f"{root.name}.")}
        arrows.add_edges_from((room, other) for other in used & set(ORDER) if room in ORDER and other != room)
    return len(nx.dag_longest_path(arrows))


def test_there_are_eleven_floors_at_most() -> None:
    """One for each step of the data's way: a compression is of what is exported, and is reported."""
    assert 5 < floors(ROOT) <= 11


def test_no_files_import_each_other() -> None:
    assert circles(ROOT) == []


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("loose.py", "", ["loose.py"]),
        ("parlour/one.py", "", ["parlour"]),
        ("graph/one.py", "from ..space import cost", ["rooms.graph.one imports relative space"]),
        ("graph/one.py", "from rooms.space import cost", ["rooms.graph.one imports rooms.space"]),
    ],
)
def test_what_is_misplaced_is_found(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    path = tmp_path / "rooms" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert misplaced(tmp_path / "rooms")[: len(expected)] == expected


def test_a_circle_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "rooms" / "graph"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text("def late():\n    from rooms.graph.two import x\n")
    (folder / "two.py").write_text("import rooms.graph.one\n")
    assert circles(tmp_path / "rooms") == [["rooms.graph.one", "rooms.graph.two"]]


def test_the_graph_room_has_an_order_too() -> None:
    assert {path.stem for path in (ROOT / "graph").glob("*.py")} == {"__init__", *WITHIN_GRAPH}
    for number, name in enumerate(WITHIN_GRAPH):
        higher = {f"nas_prune.graph.{other}" for other in WITHIN_GRAPH[number + 1 :]}
        assert not set(imports(ROOT / "graph" / f"{name}.py")) & higher
