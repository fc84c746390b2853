"""Numbers, intervals and tables as text, the same on every page; takes values and rows, gives strings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import write_text


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits; a dash for none."""
    return "-" if pd.isna(value) else f"{value:.{digits}g}"


def interval(row: Any, value: str = "value", low: str = "ci_low", high: str = "ci_high", scale: float = 1.0) -> str:
    """A value and its interval, both times `scale`: 1.02 [0.97, 1.08]. The other arguments name the columns of the row."""
    if pd.isna(row[value]):
        return "-"
    bounds = "" if pd.isna(row[low]) else f" [{number(scale * row[low])}, {number(scale * row[high])}]"
    return f"{number(scale * row[value])}{bounds}"


def markdown(rows: list[list[str]], header: list[str]) -> str:
    """A table of text; a bar inside a cell becomes a slash."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "/") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def replace_between(path: Path, name: str, content: str) -> bool:
    """Replace what stands between the marks `<!-- name: begin -->` and `<!-- name: end -->`; gives whether it changed.

    Raises:
        UserError: the marks are not there.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = path.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise UserError(f"{path}: no marks {begin} and {end}; put them where the text belongs")
    fresh = f"{before}{begin}\n{content}{end}{after}"
    if fresh != text:
        write_text(path, fresh)
    return fresh != text
