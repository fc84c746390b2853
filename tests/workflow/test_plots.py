"""DVC's plots: what their templates let through is one line for each series."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import yaml
from project import ROOT

PLOTS = {name: plot for part in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for name, plot in part.items()}
TERM = re.compile(r"datum\.(\w+) (==|!=) (?:'([^']*)'|(\S+))")


def passed(template: dict, y: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows that pass a template's filters, each a conjunction of comparisons with a column; counts are not followed."""
    for step in template.get("transform", []):
        for term in step.get("filter", "").replace("<DVC_METRIC_Y>", y).split(" && "):
            if not term or "datum.points" in term:
                continue
            found = TERM.fullmatch(term)
            assert found, term
            column, sign, text, value = found.groups()
            # an empty field of the CSV is NaN here
            same = table[column].isna() if text == "" else table[column] == (float(value) if text is None else text)
            table = table.loc[same if sign == "==" else ~same]
    return table


def fields(template: object) -> set[str]:
    """The columns by which a template tells lines apart: colours, dashes and facets, without the version that DVC adds."""
    if isinstance(template, list):
        return set().union(*map(fields, template))
    if not isinstance(template, dict):
        return set()
    own = {part["field"] for name, part in template.items() if name in ("color", "column", "row") and "field" in part}
    return own.union(*map(fields, template.values()))


@pytest.mark.parametrize("run", ["quick", "extended"])
@pytest.mark.parametrize("name", PLOTS)
def test_a_line_has_one_point_at_each_place(name: str, run: str):
    plot = PLOTS[name]
    template = json.loads((ROOT / ".dvc" / "plots" / f"{plot['template']}.json").read_text())
    ((file, y),) = plot["y"].items()
    table = passed(template, y, pd.read_csv(ROOT / file.replace("${run}", f"published/{run}")))
    assert len(table)
    series = sorted(fields(template))
    assert series
    if '"aggregate": "mean"' in json.dumps(template):  # over seeds: then a seed has one
        series.append("seed")
    assert not table.duplicated([*series, plot["x"]]).any()
    assert set(table.get("phase", ["constant"])) == {"constant"}
    assert set(table.get("budget_fraction", [1.0])) == {1.0}
