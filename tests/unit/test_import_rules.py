"""Imports point one way: no folder imports another in a circle, imports within functions counted.

The package's front (`adcvsr/__init__.py`, which names what is public, and `__main__.py`) stands
above everything: nothing of the package imports it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ("train", "export", "calibration", "runtime")
FRONT = ("adcvsr", "adcvsr.__main__")

ABOVE = {
    "train": (),
    "runtime": (),
    "calibration": ("runtime",),
    "export": ("calibration", "runtime"),
}
"""Which other stages a stage may import; all import shared code, which imports none of them."""

Graph = Mapping[str, set[str]]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else ("adcvsr", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    folders = [ROOT / "src", *(ROOT / stage for stage in STAGES)]
    return {module_of(path): path for folder in folders for path in folder.rglob("*.py")}


def imported(module: str, path: Path, tree: ast.AST) -> Iterator[str]:
    """Every module a file imports, wherever in the file, as far as names can tell."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: package.count(".") + 2 - node.level]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{name.name}" for name in node.names)


@cache
def names_imported(module: str) -> frozenset[str]:
    path = sources()[module]
    return frozenset(imported(module, path, ast.parse(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def imports() -> Graph:
    """Modules of ours by who imports them; `from a.b import c` is a.b.c where that is a module."""
    files = sources()
    found: dict[str, set[str]] = {}
    for module in files:
        names = names_imported(module)
        near = (name if name in files else name.rpartition(".")[0] for name in names)
        found[module] = {name for name in near if name in files} - {module}
    return found


def folder_of(module: str) -> str:
    """The folder a module lies in; the front is a room of its own."""
    if module in FRONT:
        return "the front"
    path = sources()[module]
    return str(path.parent.relative_to(ROOT))


def circles(graph: Graph) -> list[list[str]]:
    """Sets of more than one node that reach each other (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        open_nodes.append(node)
        for other in graph.get(node, ()):
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in open_nodes:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            start = open_nodes.index(node)
            circle = open_nodes[start:]
            del open_nodes[start:]
            if len(circle) > 1:
                found.append(sorted(circle))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_another_in_a_circle(imports: Graph) -> None:
    assert len(imports) > 300
    assert circles(imports) == []


def test_no_folder_imports_another_in_a_circle(imports: Graph) -> None:
    folders: dict[str, set[str]] = defaultdict(set)
    for module, others in imports.items():
        folders[folder_of(module)] |= {folder_of(other) for other in others}
    assert len(folders) > 20
    assert circles(folders) == []


def test_nothing_imports_the_front(imports: Graph) -> None:
    users = {module for module, others in imports.items() if others & set(FRONT)}
    assert users == set()


def stage_of(module: str) -> str:
    part = [*module.split("."), ""][1]
    return part if part in (*STAGES, "cli") else "shared"


def test_stages_import_only_those_below_them(imports: Graph) -> None:
    wrong = [
        (module, other)
        for module, others in imports.items()
        for other in others
        if module not in FRONT
        and stage_of(module) != "cli"
        and stage_of(other) not in ("shared", stage_of(module), *ABOVE.get(stage_of(module), ()))
    ]
    assert wrong == []


def test_the_runtime_and_what_it_imports_need_no_torch(imports: Graph) -> None:
    reached, waiting = set(), [m for m in imports if stage_of(m) == "runtime"]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imports[module]
    with_torch = {
        module
        for module in reached
        if any(name.split(".")[0] == "torch" for name in names_imported(module))
    }
    assert with_torch == set()
