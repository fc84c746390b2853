"""Where a number comes from: digests of data, of configuration and of the code that made it, and what it ran on.

`code_digest` is of syntax trees, so that a real edit of a library module changes it and an edited comment, docstring or line
break does not; it follows imports inside the library. Nothing here imports torch: the workflow calls it while it plans.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
# modules that check, write and report, and make no number: to edit them re-runs nothing
_NO_NUMBERS = frozenset({"config", "errors", "provenance", "tables"})
_WITH_VERSION = (
    "bayes-sgd",
    "snakemake",
    "dvc",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "safetensors",
)


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of plain data (mappings, lists, numbers, text), whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256, in hexadecimal, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_digest(*modules: str) -> str:
    """SHA-256 of the syntax trees of library modules and of the library modules that they import, without docstrings.

    Modules that make no number (configuration, errors, files) are left out: what they decide reaches a rule as a parameter.

    Args:
        modules: names inside the package, as "training".
    """
    return digest({name: _tree(name)[0] for name in sorted(_reach(modules))})


def _reach(modules: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen | _NO_NUMBERS:
            seen.add(name)
            waiting.extend(_tree(name)[1])
    return seen


@cache
def _tree(name: str) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse((_PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bayes_sgd"):
            inside = node.module.removeprefix("bayes_sgd").removeprefix(".")
            imports.update([inside.split(".")[0]] if inside else [alias.name for alias in node.names])
    return ast.dump(tree), tuple(sorted(imports))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def environment() -> dict[str, Any]:
    """Versions of what a run depends on, the processor, its cores, and the date in UTC."""
    return {
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "versions": {name: _version(name) for name in _WITH_VERSION},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
