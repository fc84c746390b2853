"""The schema: every column of every table is described, writers and readers keep to it, docs/tables.md is its text."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT

from bayes_sgd.claims.verdicts import VERDICTS
from bayes_sgd.core.columns import CELL
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import ADVICE, CALIBRATION, CELLS, GRADIENTS, NETWORK_EVIDENCE, TABLES, text
from bayes_sgd.core.table import Column, Table
from bayes_sgd.experiment.cell import Cell

PUBLISHED = ROOT / "results" / "published"
CSV = [*PUBLISHED.glob("*.csv"), *PUBLISHED.glob("*/tables/*.csv"), *PUBLISHED.glob("bench/*.csv")]
OLD = Table("old", "", (Column("a", "1", ""), Column("b", "text", "", "7"), Column("c", "1", "", None)))


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


def test_a_writer_refuses_what_the_schema_does_not_have(tmp_path: Path) -> None:
    rows = pd.DataFrame({"gradient": [0.5], "batch_size": [1]})
    write_csv(tmp_path / "a.csv", rows, GRADIENTS)
    assert (tmp_path / "a.csv").read_text() == "batch_size,gradient\n1,0.5\n"
    faults = {"x is not in the schema": rows.assign(x=1), "batch_size is missing": rows.drop(columns="batch_size")}
    for fault, frame in faults.items():
        with pytest.raises(UserError, match=rf"b\.csv: column {fault}; the columns of gradients: batch_size, gradient"):
            write_csv(tmp_path / "b.csv", frame, GRADIENTS)
    assert not (tmp_path / "b.csv").exists()


def test_only_parts_lack_what_is_made_when_they_are_joined() -> None:
    part = pd.DataFrame([dict.fromkeys(NETWORK_EVIDENCE.without("main_series"), 0)])
    assert tuple(NETWORK_EVIDENCE.ordered(part, "part").columns) == NETWORK_EVIDENCE.without("main_series")
    with pytest.raises(UserError, match="column dampening is missing"):
        NETWORK_EVIDENCE.ordered(part.drop(columns="dampening"), "part")


def test_older_tables_get_defaults_where_the_schema_names_one(tmp_path: Path) -> None:
    write_csv(tmp_path / "old.csv", pd.DataFrame({"a": [1, 2]}))
    frame = read_csv(tmp_path / "old.csv", OLD)
    assert frame.to_dict("list") == {"a": [1, 2], "b": ["7", "7"]}
    evidence = read_csv(PUBLISHED / "quick" / "tables" / "network_evidence.csv", NETWORK_EVIDENCE)
    assert evidence["dampening"].unique().tolist() == [0.0]
    advice = read_csv(PUBLISHED / "quick" / "tables" / "advice.csv", ADVICE)
    write_csv(tmp_path / "advice.csv", advice.drop(columns="budget"))
    assert "budget" not in read_csv(tmp_path / "advice.csv", ADVICE)


def test_text_of_digits_is_read_as_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", pd.DataFrame({"a": [1, 2], "b": ["007", "1e400"], "c": [0, 0]}), OLD)
    assert read_csv(tmp_path / "a.csv", OLD)["b"].tolist() == ["007", "1e400"]
