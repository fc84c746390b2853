"""Where a number comes from: digests of data, of configuration and of the code that made it, and what it ran on.

`code_digest` is of syntax trees: a real edit changes it. Comments, docstrings, line breaks, annotations of functions, names of
local variables, names and places of modules, the order of imports and the version of Python do not. Nothing here imports more
than Python itself: the workflow calls it while it plans.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bayes_sgd.core.cache import cache_folder
from bayes_sgd.core.syntax import Renamed, plain

_PACKAGE = Path(__file__).parents[__name__.count(".") - 1]
# Modules that make no number, by their path inside the package: to edit them re-runs nothing. What they decide reaches a rule
# as a parameter, or is checked where it is used.
NO_NUMBERS = {
    "__init__.py": "names what `import bayes_sgd` offers",
    "experiment/config.py": "checks the configuration; its values are parameters of the rules",
    "core/errors.py": "words of messages",
    "experiment/metadata.py": "says what made a table",
    "training/progress.py": "says how far a run is",
    "core/provenance.py": "makes these digests",
    "core/syntax.py": "likewise",
    "core/strict_yaml.py": "reads the claims and refuses some; their limits are judged as they are written",
    "core/columns.py": "says what columns mean",
    "core/schema.py": "likewise",
    "core/schema_bench.py": "likewise",
    "core/schema_evidence.py": "likewise",
    "core/schema_n_law.py": "likewise",
    "core/schema_replication.py": "likewise",
    "core/schema_predictors.py": "likewise",
    "core/table.py": "puts columns in order",
    "core/io.py": "writes tables and reads them back equal, which their checksums verify",
    "core/validation.py": "words of messages",
    "core/tensors.py": "likewise, weights and arrays",
}
_WITH_VERSION = (
    "bayes-sgd",
    "snakemake",
    "dvc",
    "torch",
    "numba",
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


def code_digest(*files: str | Path) -> str:
    """SHA-256 of the code of Python files and of all library modules that they import, at once or through others.

    It is the digest of a set of digests, one a file, so that files may get other names and places. It is kept in the cache
    folder, for a second is spent on the digests of all rules, and each start of the workflow asks for them.

    Args:
        files: scripts, or modules of the library, by `__file__` or by name inside the package, as "store".

    Raises:
        FileNotFoundError: there is no such file or module.
    """
    modules = _files(*files)
    names = [file.relative_to(_PACKAGE).as_posix() if file.is_relative_to(_PACKAGE) else file.name for file in modules]
    made_of = digest([_library(), sorted(NO_NUMBERS), [file_digest(file) for file in modules]])
    place = cache_folder("code") / f"{digest(names)}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["made_of"] == made_of:
            return kept["digest"]
    made = digest(sorted({_content(file) for file in reached(*modules) if _parsed(file).code != "[]"}))
    with suppress(OSError):
        place.write_text(json.dumps({"made_of": made_of, "digest": made}), encoding="utf-8")
    return made


def _library() -> str:
    """A digest of all files of the library, as they are written."""
    return _written(tuple((file, file.stat().st_mtime_ns) for file in sorted(_PACKAGE.rglob("*.py"))))


@cache
def _written(files: tuple[tuple[Path, int], ...]) -> str:
    """`files`: each with the time of its last change, which is a part of the cache's key."""
    return digest([[file.relative_to(_PACKAGE).as_posix(), file_digest(file)] for file, _ in files])


def _files(*files: str | Path) -> list[Path]:
    """Scripts, or modules of the library, as files."""
    modules = [_find(f"{_PACKAGE.name}.{file}") for file in files]
    return [
        module[0] if module and not module[1] else Path(file).resolve() for file, module in zip(files, modules, strict=True)
    ]


def reached(*files: str | Path) -> set[Path]:
    """The files, and the library's files that they import, at once or through others, but for those that make no number."""
    reached_files: set[Path] = set()
    waiting = _files(*files)
    while waiting:
        file = waiting.pop()
        if file not in reached_files and not _makes_no_number(file):
            reached_files.add(file)
            waiting.extend(_parsed(file).imports)
    return reached_files


def _makes_no_number(file: Path) -> bool:
    return file.is_relative_to(_PACKAGE) and file.relative_to(_PACKAGE).as_posix() in NO_NUMBERS


@dataclass(frozen=True)
class _Parsed:
    """A file without its imports.

    Attributes:
        code: the syntax tree as text, equal for equal code.
        names: the names in it.
        outside: local name -> the full name of what is imported from other packages.
        inside: local name -> the library's file that it is imported from, and its name there ("" for the module itself).
    """

    code: str
    names: frozenset[str]
    outside: dict[str, str]
    inside: dict[str, tuple[Path, str]]

    @property
    def imports(self) -> set[Path]:
        """The library's files that are imported, with the packages that they lie in."""
        files = {file for file, _ in self.inside.values()}
        parents = {folder / "__init__.py" for file in files for folder in file.parents if folder.is_relative_to(_PACKAGE)}
        return files | {file for file in parents if file.exists()}


def _parsed(file: Path) -> _Parsed:
    return _parse(file, file.stat().st_mtime_ns, _PACKAGE)


@cache
def _parse(file: Path, changed: int, package: Path) -> _Parsed:
    """`changed`, the time of the last change, and `package`, where imports are looked for, are parts of the cache's key."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    canonical = _Canonical(file)
    tree = canonical.visit(tree)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    code = json.dumps(plain(Renamed().visit(tree).body))
    return _Parsed(code, names, canonical.outside, canonical.inside)


def _content(file: Path) -> str:
    """A digest of one file: its code, and where the names in it are imported from, whatever that file is called."""
    parsed = _parsed(file)
    outside = {name: source for name, source in parsed.outside.items() if name in parsed.names}
    inside = {}
    for name, (source, definition) in parsed.inside.items():
        if name in parsed.names:
            source, definition = _definition(source, definition)
            inside[name] = [definition, "" if _makes_no_number(source) else digest(_parsed(source).code)]
    return digest([parsed.code, outside, inside])


def _definition(file: Path, name: str) -> tuple[Path, str]:
    """Where a name that may only pass through a package's `__init__` is defined."""
    visited = {file}
    while (target := _parsed(file).inside.get(name)) and target[0] not in visited:
        file, name = target
        visited.add(file)
    return file, name


class _Canonical(ast.NodeTransformer):
    """Takes out of a tree what changes no number, and imports, which it remembers.

    What is reached through a module of the library (`style.points`) becomes the bare name (`points`), as if it were imported.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.outside: dict[str, str] = {}
        self.inside: dict[str, tuple[Path, str]] = {}
        self._in_class = False

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Docstrings, and other texts that stand alone, do nothing."""
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        """Imports for annotations alone reach nothing."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(part) for part in node.orelse]
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            target = _find(alias.name)
            if target:
                self.inside[alias.asname or alias.name] = target
            else:
                self.outside[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else ""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            inside = self.file.parents[node.level - 1].relative_to(_PACKAGE)
            source = ".".join([_PACKAGE.name, *inside.parts, *([source] if source else [])])
        for alias in node.names:
            target = _find(f"{source}.{alias.name}")
            if target:
                self.inside[alias.asname or alias.name] = target
            else:
                self.outside[alias.asname or alias.name] = f"{source}.{alias.name}"

    def visit_Assign(self, node: ast.Assign) -> Any:
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        outer, self._in_class = self._in_class, True
        self.generic_visit(node)
        self._in_class = outer
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        outer, self._in_class = self._in_class, False
        node.returns = None
        self.generic_visit(node)
        self._in_class = outer
        return node

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if self._in_class:  # a field, whose type may convert its values
            return self.generic_visit(node)
        return self.visit(ast.Assign([node.target], node.value)) if node.value else None

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        module = self.inside.get(_dotted(node.value))
        if module and not module[1]:
            self.inside[node.attr] = (module[0], node.attr)
            return ast.Name(node.attr, node.ctx)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        module = self.inside.get(node.id)
        if module and not module[1]:
            self.inside["module"] = module
            return ast.Name("module", node.ctx)
        return node


def _find(name: str) -> tuple[Path, str] | None:
    """The file of the library that defines a full name, and the name in it ("" for a module); None if it is not ours."""
    first, *parts = name.split(".")
    if first != _PACKAGE.name:
        return None
    folder = _PACKAGE
    while parts and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    if parts and (folder / f"{parts[0]}.py").exists():
        return folder / f"{parts[0]}.py", ".".join(parts[1:])
    return (folder / "__init__.py", ".".join(parts)) if (folder / "__init__.py").exists() else None


def _dotted(node: ast.expr) -> str:
    """The text of a name or of names joined by dots, else ""."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


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
