"""The schema: every column of every table is described, and docs/tables.md is its text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT

from bayes_sgd.claims.verdicts import VERDICTS
from bayes_sgd.core.columns import CELL
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import CALIBRATION, CELLS, NETWORK_EVIDENCE, RUN, TABLES, text
from bayes_sgd.core.table import Table
from bayes_sgd.experiment.cell import Cell

PUBLISHED = ROOT / "results" / "published"
# beside a picture lies its data, which are no table
CSV = [
    *(path for path in PUBLISHED.glob("*.csv") if not path.with_suffix(".svg").exists()),
    *PUBLISHED.glob("*/tables/*.csv"),
    *PUBLISHED.glob("bench/*.csv"),
]


def test_the_page_of_the_tables_is_that_of_the_schema() -> None:
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == text(), "stale: run `make schema`"


@pytest.mark.parametrize("path", sorted(CSV), ids=lambda path: str(path.relative_to(PUBLISHED)))
def test_every_published_column_is_described_and_every_published_table_is_read(path: Path) -> None:
    table = TABLES[path.stem]
    assert {*pd.read_csv(path, nrows=0).columns} <= {*table.names}
    frame = read_csv(path, table)
    assert all(isinstance(value, str) for name in table.text if name in frame for value in frame[name].dropna().unique())


def test_every_field_of_a_cell_has_a_sentence() -> None:
    assert [column.name for column in CELL] == [field.name for field in fields(Cell)]
    assert {field.name for field in fields(Cell)} <= {*CELLS.names} & {*NETWORK_EVIDENCE.names}


def test_the_shares_of_verdicts_are_those_of_all_verdicts() -> None:
    assert CALIBRATION.names[-len(VERDICTS) :] == tuple(verdict.replace(" ", "_") for verdict in VERDICTS)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_columns_differ_and_each_has_a_unit_and_one_sentence(table: Table) -> None:
    assert max(Counter(table.names).values()) == 1
    assert {*table.joined} <= {*table.names}
    for column in table.columns:
        assert column.unit, column.name
        assert column.meaning.endswith("."), column.name
        assert ". " not in column.meaning, column.name


def test_the_page_on_results_lists_every_table_of_a_run_and_every_published_run() -> None:
    page = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    tables, runs = (re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) for part in page.split("| published run |"))
    assert sorted(tables) == sorted(RUN)
    assert sorted(runs) == sorted(path.parent.name for path in (ROOT / "results" / "published").glob("*/provenance.json"))
