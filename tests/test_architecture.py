"""The library's packages import in one order; modules and functions stay short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from project import ROOT

LIBRARY = ROOT / "src" / "bayes_sgd"
ORDER = ("core", "experiment", "data", "training", "curvature", "evidence", "analysis", "claims", "figures", "report", "api")
MODULES = sorted(LIBRARY.glob("*/**/*.py"))
OTHERS = sorted(
    path for folder in ("bench", "workflow") for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".smk")
)
LONGEST_MODULE, LONGEST_FUNCTION = 350, 60  # lines


def package(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0]


def imported_packages(tree: ast.AST) -> set[str]:
    """The packages of bayes_sgd from which a module imports, at its head or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("bayes_sgd.")}


def test_every_package_has_a_place_in_the_order():
    assert {package(path) for path in MODULES} == set(ORDER)
    assert {path.name for path in LIBRARY.iterdir() if path.is_file()} == {"__init__.py", "py.typed"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_a_module_imports_from_its_own_or_an_earlier_package(path):
    allowed = set(ORDER[: ORDER.index(package(path)) + 1])
    assert imported_packages(ast.parse(path.read_text(encoding="utf-8"))) <= allowed


def too_long(path: Path) -> set[str]:
    """The module, and "module: function", where they are longer than they may be."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    tree = ast.parse(text if path.suffix == ".py" else "")
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f"{name}: {node.name}" for node in functions if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION}
    return long | ({name} if text.count("\n") > LONGEST_MODULE else set())


def test_modules_and_functions_are_short():
    assert set().union(*map(too_long, [*MODULES, *OTHERS])) == set()


def test_rules_and_scripts_have_no_mathematics_and_no_test_imports_another():
    for path in (ROOT / "workflow" / "scripts").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 25, path.name
    for path in (ROOT / "tests").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not [name for name in names if name.split(".")[-1].startswith(("test_", "conftest"))], path.name


def test_nothing_imports_all_of_scipy_stats():
    """It takes half a second, in every job; scipy.special has what we need of it."""
    for path in MODULES:
        names = {
            f"{getattr(node, 'module', '')}.{alias.name}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not [name for name in names if "scipy.stats" in name], path.name
