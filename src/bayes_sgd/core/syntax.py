"""Syntax trees of Python as plain data, equal for code that does the same: for digests of code."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any


class Renamed(ast.NodeTransformer):
    """Numbers the local variables of functions in the order in which they are given values; parameters keep their names."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """Give the names in it their numbers."""
        inner = list(ast.walk(node))
        names = [part for part in inner if isinstance(part, ast.Name)]
        fixed = {part.arg for part in inner if isinstance(part, ast.arg)}
        for part in inner:
            if isinstance(part, ast.Global | ast.Nonlocal):
                fixed |= set(part.names)
            elif isinstance(part, ast.ClassDef):  # its attributes are looked up by name
                fixed |= {name.id for name in ast.walk(part) if isinstance(name, ast.Name)}
        stored = dict.fromkeys(name.id for name in names if isinstance(name.ctx, ast.Store) and name.id not in fixed)
        numbers = {name: str(number) for number, name in enumerate(stored)}
        for name in names:
            name.id = numbers.get(name.id, name.id)
        return node


def plain(node: Any) -> Any:
    """A syntax tree as plain data, the same in all versions of Python, whose trees differ in empty fields."""
    if isinstance(node, list):
        return [plain(part) for part in node]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["JoinedStr", *_joined(node.values)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, plain(getattr(node, name, None))) for name in node._fields if name not in ("ctx", "type_comment")]
    return [type(node).__name__, *([name, value] for name, value in fields if value not in (None, [], ["JoinedStr"]))]


def _joined(parts: Iterable[ast.expr]) -> Iterator[Any]:
    """The parts of an f-string; Pythons cut the text between its values differently."""
    text = ""
    for part in parts:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        if text:
            yield text
        text = ""
        yield plain(part)
    if text:
        yield text
