"""The generated tables of config/README.md."""

from __future__ import annotations

from pathlib import Path

from bayes_sgd.experiment.cell import CELL_FIELDS
from bayes_sgd.experiment.feeds import FEEDS
from bayes_sgd.experiment.keys import with_tables

README = Path(__file__).parents[2] / "config" / "README.md"


def test_the_tables_are_those_of_the_models() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_tables(text) == text, "stale: run `make schema`"
    assert all(f"| `{name}` | " in text for name in (*CELL_FIELDS, *FEEDS))
