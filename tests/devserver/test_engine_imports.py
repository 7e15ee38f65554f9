"""The engine's imports point one way, those for types and inside of functions included."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import mssql_async.devserver.engine as engine

PACKAGE = Path(engine.__file__).parent
ROOT = PACKAGE.parents[2]


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def imported(path: Path, modules: set[str]) -> set[str]:
    """The modules of the engine that one of them imports."""
    parts = module_name(path).split(".")
    package = parts if path.name == "__init__.py" else parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                found.add(whole if whole in modules else source)
    return (found & modules) - {module_name(path)}


def test_no_module_of_the_engine_imports_what_imports_it() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    modules = {module_name(path) for path in paths}
    graph = {module_name(path): imported(path, modules) for path in paths}
    assert len(graph) > 50
    assert any(graph.values())
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names them


def test_its_modules_are_small() -> None:
    long = {
        path.name: length
        for path in PACKAGE.rglob("*.py")
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > 500
    }
    assert long == {}
