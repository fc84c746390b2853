"""Columns of a table: writers and readers keep to them, older tables get defaults, and a description is Markdown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from project import ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import ADVICE, GRADIENTS, NETWORK_EVIDENCE
from bayes_sgd.core.table import Column, Table, markdown

PUBLISHED = ROOT / "results" / "published"
OLD = Table("old", "", (Column("a", "1", ""), Column("b", "text", "", "7"), Column("c", "1", "", None)))


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


def test_a_column_without_a_default_is_wanted() -> None:
    with pytest.raises(UserError, match=r"some file: column a is missing; wanted: a, b, c"):
        OLD.completed(pd.DataFrame({"b": ["1"]}), "some file")


def test_a_bar_in_a_meaning_does_not_end_its_cell() -> None:
    described = markdown(Table("t", "A row.", (Column("a", "nats", "|ω|, a norm."),)))
    assert described == "### t.csv\n\nA row.\n\n| column | unit | meaning |\n|---|---|---|\n| `a` | nats | \\|ω\\|, a norm. |\n"
