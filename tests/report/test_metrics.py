"""The numbers that two versions of a run are compared by."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from project import ROOT

from bayes_sgd.analysis.tables import experiments
from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.measures.base import Tables
from bayes_sgd.claims.measures.optimum import exponent
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.feeds import feeds
from bayes_sgd.figures import fig5_to_fig7_batch_size as figures
from bayes_sgd.report import findings
from bayes_sgd.report.metrics import metrics

KEY = ["experiment", "treatment", "estimator", "phase", "budget_fraction"]
HEAD = ("momentum", "included", "cubic", "constant", 1.0)
# after the headline row, one for each way not to be it
OTHERS = [
    ("momentum", "excluded", "cubic", "constant", 1.0),
    ("momentum", "included", "argmax", "constant", 1.0),
    ("momentum", "included", "cubic", "iterate_average", 1.0),
    ("momentum", "included", "cubic", "after_cooldown", 1.0),
    ("momentum", "included", "cubic", "constant", 0.5),
]
CLAIMS = pd.DataFrame(
    {"claim": ["14", "16a", "18a"], "verdict": ["reproduced", "not tested", "reproduced"], "value": [1.05, np.nan, 1.0]}
)


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Optima and exponents; the rows that are not the headline have the larger numbers and come last."""
    rows = [("n", *HEAD[1:]), HEAD, *OTHERS]
    scaling = pd.DataFrame(rows, columns=KEY).assign(exponent=[np.nan, 1.1, *(1.2 + i / 10 for i in range(5))])
    optima = [("n", *HEAD[1:]), HEAD, HEAD, HEAD, *OTHERS]
    peaks = [0.7, np.nan, 0.9, 0.8, *(0.91 + i / 100 for i in range(5))]
    values = {"axis_value": [1.0, 0.99, 0.0, 0.9, *5 * [0.9]], "peak_accuracy": peaks}
    return pd.DataFrame(optima, columns=KEY).assign(**values), scaling


@pytest.mark.parametrize("order", [1, -1])
def test_headline_rows_count_and_what_was_not_measured_is_left_out(order: int):
    optimum, scaling = (table.iloc[::order] for table in tables())
    assert metrics(CLAIMS, optimum, scaling) == {
        "verdicts": {
            "reproduced": 2,
            "not_reproduced": 0,
            "inconclusive": 0,
            "not_tested": 1,
        },
        "exponents": {"momentum": 1.1},
        "accuracies": {"momentum": 0.9, "n": 0.7},
        "claims": {"14": 1.05, "18a": 1.0},
    }


def test_two_rows_for_one_number_and_tables_without_a_phase_are_refused():
    optimum, scaling = tables()
    twice = pd.concat([scaling, scaling.iloc[[1]].assign(exponent=1.3)])
    told = r"scaling: more than one row with experiment momentum, phase constant, .* estimator cubic; allowed: one$"
    with pytest.raises(UserError, match=told):
        metrics(CLAIMS, optimum, twice)
    with pytest.raises(UserError, match=r"optimum: more than one row with experiment momentum, axis_value 0\.9, "):
        metrics(CLAIMS, optimum.assign(axis_value=0.9), scaling)
    for column in ("phase", "budget_fraction"):
        with pytest.raises(UserError, match=f"optimum: the table has no column {column}"):
            metrics(CLAIMS, optimum.drop(columns=column), scaling)


@pytest.mark.parametrize("run", ["quick", "standard", "quick_first", "extended", "extended_first"])
def test_exponents_of_a_published_run_are_those_of_its_claims(run: str):
    folder = ROOT / "results" / "published" / run / "tables"
    found = metrics(*(read_csv(folder / f"{name}.csv") for name in ("claims", "optimum", "scaling")))
    fed = feeds(load_config(json.loads((folder.parent / "provenance.json").read_text(encoding="utf-8"))["config"]))
    compared = 0
    for claim in load_claims(ROOT / "config" / "claims.yaml"):
        if claim.quantity == "exponent" and set(claim.arguments) == {"experiment"} and claim.id in found["claims"]:
            assert found["exponents"][fed[claim.arguments["experiment"]]] == found["claims"][claim.id]
            compared += 1
    assert compared >= 2


def rows(tables: dict[str, Any], name: str) -> pd.DataFrame:
    return tables["experiments"][name]["rows"]


READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "metrics": lambda t: metrics(t["claims"], t["optimum"], t["scaling"]),
    "claims": lambda t: [
        exponent(Tables({"scaling": t["scaling"]}, t["experiments"]), x) for x in ("learning_rate", "momentum")
    ],
    "figure 5": lambda t: figures.fig5(rows(t, "learning_rate"), t["optimum"], t["scaling"]),
    "figure 6": lambda t: figures.fig6(rows(t, "training_set_size"), t["optimum"], t["scaling"]),
    "findings, exponents": lambda t: findings.SECTIONS["Exponents"][2](t),
    "findings, budgets": lambda t: findings.SECTIONS["The N law and the budget of updates"][2](t),
}


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    folder = ROOT / "results" / "published" / "quick"
    config = load_config(json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"])
    names = ("claims", "optimum", "scaling", "laws", "cells")
    found: dict[str, Any] = {name: read_csv(folder / "tables" / f"{name}.csv") for name in names}
    return found | {"experiments": experiments(config, found["cells"]), "feeds": feeds(config)}


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_of_optima_and_exponents_chooses_between_two_rows(reader: str, published: dict[str, Any]):
    READERS[reader](published)
    scaling = published["scaling"]
    twice = pd.concat([scaling, scaling.assign(exponent=scaling["exponent"] + 0.1)])
    with pytest.raises(UserError, match="scaling: more than one row with"):
        READERS[reader](published | {"scaling": twice})
