"""Lower rooms never import higher ones."""

import ast
from pathlib import Path

import nas_prune

ORDER = (
    "errors", "files", "shipped", "watch", "graph", "budget", "widths", "cost", "blocks", "listening",
    "initialise", "resize", "repair", "selfcheck", "selections", "models", "networks", "space", "loading",
    "data", "rundir", "training", "methods", "cut", "guideline", "populations", "report", "setup", "stability",
    "search_config", "search_result", "searched", "prepared_search", "search_stage", "search_all", "teachers",
    "train_result", "scratch", "judge_result", "judge", "study", "comparison", "page", "cli",
)  # fmt: skip
WITHIN_GRAPH = (
    "selection", "axes", "table", "record", "call", "shape_rules", "layer_rules", "rules", "quick", "copies", "trace",
    "channels", "layout",
    "attributes",
)  # fmt: skip


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_rooms_import_only_from_lower_rooms() -> None:
    root = Path(nas_prune.__file__).parent
    files = [path for path in root.rglob("*.py") if path not in (root / "__init__.py", root / "__main__.py")]
    assert {path.relative_to(root).parts[0].removesuffix(".py") for path in files} == set(ORDER)
    for path in files:
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for module in imports(path):
            if module.startswith("nas_prune."):
                used = module.split(".")[1]
                assert ORDER.index(used) <= ORDER.index(room), f"{path.name} imports {module}"


def test_the_graph_room_has_an_order_too() -> None:
    root = Path(nas_prune.__file__).parent / "graph"
    for number, name in enumerate(WITHIN_GRAPH):
        higher = {f"nas_prune.graph.{other}" for other in WITHIN_GRAPH[number + 1 :]}
        assert not imports(root / f"{name}.py") & higher
