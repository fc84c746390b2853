"""From cells to the tables of a run: which experiments have rows, and that tables without rows keep their columns."""

from __future__ import annotations

import pandas as pd
from synthetic import make_cells

from bayes_sgd.analysis.exponent import optimum_table, scaling_table
from bayes_sgd.analysis.tables import estimate, queries
from bayes_sgd.core.schema import OPTIMUM, SCALING
from bayes_sgd.experiment.config import load_config

CELL = {"hidden_sizes": [200], "n_train": 1000, "learning_rate": 0.1, "momentum": 0.9, "updates": 2000}


def run(experiments: dict) -> dict[str, pd.DataFrame]:
    cells = pd.concat([make_cells(values=(0.1,), grid=(10, 20), seeds=2).assign(l2=l2) for l2 in (0.0, 0.1)])
    config = {"run": "a", "seeds": 2, "cell": CELL, "experiments": experiments, "statistics": {"replicates": 100}}
    return estimate(load_config(config), cells)


def test_two_batch_sizes_have_no_optimum_between_them() -> None:
    sweep = {"axis": "learning_rate", "grid": [{"batch_size": [10, 20]}]}
    penalty = {"axis": "l2", "grid": [{"l2": [0.0, 0.1], "batch_size": [10, 20]}]}
    tables = run({"learning_rate": sweep, "l2": penalty})
    assert set(tables["optimum"]["experiment"]) == {"learning_rate", "l2"}
    assert tables["optimum"]["censored"].all()
    assert tables["scaling"]["exponent"].isna().all()


def test_a_run_without_a_sweep_has_tables_with_columns_and_no_rows() -> None:
    tables = run({"labels": {"axis": "labels", "grid": [{"labels": "real", "batch_size": [10, 20]}]}})
    assert {name: len(table) for name, table in tables.items()} == dict.fromkeys(tables, 0)
    assert list(tables["optimum"].columns) == list(OPTIMUM.names)
    assert list(tables["scaling"].columns) == list(SCALING.names)


def test_the_columns_of_the_tables_are_those_of_their_rows() -> None:
    tables = run({"learning_rate": {"axis": "learning_rate", "grid": [{"batch_size": [10, 20]}]}})
    assert tuple(tables["optimum"].columns) == OPTIMUM.names == tuple(optimum_table([]).columns)
    assert list(tables["scaling"].columns) == list(scaling_table([]).columns)


def test_advice_is_for_the_cell_of_the_run() -> None:
    asked = [{"learning_rate": 0.04}, {"n_train": 2000}]
    config = load_config({"run": "a", "cell": {"n_train": 500, "momentum": 0.5}, "advise": asked})
    assert queries(config) == [
        {"learning_rate": 0.04, "momentum": 0.5, "n_train": 500},
        {"learning_rate": 0.1, "momentum": 0.5, "n_train": 2000},
    ]
