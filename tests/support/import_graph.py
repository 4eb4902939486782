"""What the modules of this repository import, read from their source text without executing it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT


def modules_of(package: str) -> list[str]:
    """The dotted names of all modules of a package, subpackages included."""
    return sorted(_name(path) for path in (ROOT / package.replace(".", "/")).rglob("*.py"))


def folder_of(module: str) -> str:
    """The package that contains a module of this repository; a package contains its own `__init__.py`."""
    return module if _path(module).name == "__init__.py" else module.rpartition(".")[0]


@cache
def imports_of(module: str, at_start: bool = False) -> frozenset[str]:
    """The modules that a module of this repository imports, by their dotted names.

    Args:
        at_start: only the imports that are executed when the module itself is imported: neither those inside functions nor those
            for the type checker.
    """
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in _nodes(tree, at_start):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = {member for member in members if is_own(member)}
            # `from package import submodule` alone does not use the content of the package.
            names |= submodules if submodules == members else submodules | {node.module}
    return frozenset(names)


def loads(module: str, library: str) -> bool:
    """Whether the import of a module of this repository also imports a library, directly or through other modules."""
    waiting, seen = [module], {module}
    while waiting:
        for name in imports_of(waiting.pop(), at_start=True):
            if name.partition(".")[0] == library:
                return True
            new = {parent for parent in _with_parents(name) if is_own(parent)} - seen
            waiting += new
            seen |= new
    return False


@cache
def is_own(name: str) -> bool:
    """Whether a dotted name is that of a module of this repository."""
    return _path(name).is_file()


def _nodes(parent: ast.AST, at_start: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(parent):
        if at_start and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_start and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node, at_start)


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
