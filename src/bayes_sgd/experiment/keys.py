"""The tables of config/README.md that follow from the models: the keys of a cell, and what an experiment can feed.

`python -m bayes_sgd.experiment.keys config/README.md` writes them between their marks; `make schema` calls it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bayes_sgd.experiment.cell import CellDefaults
from bayes_sgd.experiment.feeds import FEEDS


def cell_table() -> str:
    """A row for each key of a cell: its default and what it means."""
    rows = [(name, field.default, field.description) for name, field in CellDefaults.model_fields.items()]
    return "| key | default | meaning |\n|---|---|---|\n" + "".join(
        f"| `{name}` | `{default}` | {' '.join((words or '').split())} |\n" for name, default, words in rows
    )


def feeds_table() -> str:
    """A row for each key of `FEEDS`: the axis it follows and what it is."""
    return "| `feeds` | axis | what is made from it |\n|---|---|---|\n" + "".join(
        f"| `{key}` | {f'`{axis}`' if axis else 'any'} | {words} |\n" for key, (axis, words) in FEEDS.items()
    )


def with_tables(text: str) -> str:
    """The text with both tables, each between `<!-- NAME -->` and `<!-- end -->`."""
    for name, table in (("cell", cell_table()), ("feeds", feeds_table())):
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: m[1] + t + m[2], text, count=1, flags=re.S)
    return text


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")
