"""The benchmark: every method makes the same updates, the tables have the promised columns, the floor lies below."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
import torch
from bench.common.problem import Problem, digits, shuffled
from bench.common.values import Value
from bench.engine import compare as engine
from bench.workflow import planning
from project import ROOT

from bayes_sgd.core.schema_bench import ENGINE

BENCH = ROOT / "bench"
HAS_JAX = importlib.util.find_spec("jax") is not None


@pytest.fixture(scope="module")
def data():
    return digits(2)


@pytest.mark.parametrize("hidden", [(7,), (6, 5)])
@pytest.mark.parametrize("networks", [1, 2])
def test_all_methods_make_the_same_updates(data, hidden, networks):
    problem = Problem(data, hidden, 5, networks, n_train=40)
    names = ["ours", "dataloader", "indexed", "vmap", *(["jax"] if HAS_JAX else [])]
    trials = [engine.start(name, problem) for name in names]
    engine.check(trials, problem, 50)
    losses = [trial.loss for trial in trials]
    assert all(trial.method is not None for trial in trials)
    assert losses == pytest.approx([losses[0]] * len(losses), rel=1e-5)
    assert losses[0] < 0.9 * engine.final_loss(engine.Ours(problem)), "it learned"


def test_another_update_is_refused(data):
    problem, other = Problem(data, (7,), 5, 1, n_train=40), Problem(data, (7,), 5, 1, n_train=40, rate=0.0101)
    trials = [engine.start("ours", problem), engine.start("indexed", other)]
    with pytest.raises(SystemExit, match="indexed ends with loss"):
        engine.check(trials, problem, 50)


def test_a_compiler_that_does_not_work_is_a_row_without_a_number(data, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", broken)
    rows = engine.compare(Problem(data, (7,), 5, 1, n_train=40), ["ours", "compile"], 1, 0.001)
    row = next(row for row in rows if row["method"] == "compile")
    assert np.isnan(row["ms_per_update"])
    assert row["note"] == "RuntimeError: no compiler"


def test_shuffled_batches_are_epochs():
    draws = shuffled(2, 7, 3)
    epoch = torch.cat([next(draws), next(draws)], 1)
    assert all(len(set(row.tolist())) == 6 for row in epoch)


def test_the_command_writes_table_and_figure(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    engine.main(["--quick", "--methods", "ours,dataloader,indexed,vmap", "--out", str(tmp_path)])
    assert torch.get_num_threads() == before
    table = pd.read_csv(tmp_path / "engine.csv")
    assert tuple(table.columns) == ENGINE.names
    assert set(table["method"]) == {"ours", "dataloader", "indexed", "vmap", "floor"}
    assert (table["ms_low"] <= table["ms_per_update"]).all()
    assert (table["ms_per_update"] <= table["ms_high"]).all()
    dense = table[table["method"] != "ours"]
    assert (dense["over_floor"] >= 1).all(), "no dense method is faster than the floor"
    ours = table[table["method"] == "ours"]
    assert (ours["ms_per_update"] >= ours["sparse_floor_ms"]).all(), "ours is not faster than its own"
    assert {"engine.csv", "engine.png", "engine.svg"} <= {path.name for path in tmp_path.iterdir()}


def test_values_are_medians_with_their_range():
    row = Value("w", "s", "ms", [3.0, 1.0, 2.0]).row()
    assert (row["value"], row["low"], row["high"], row["repeats"]) == (2.0, 1.0, 3.0, 3)


@pytest.mark.parametrize("cells", [1, 20, 100, 2000, 10_000])
def test_the_planning_configurations_have_so_many_jobs(cells):
    from bayes_sgd.experiment.config import load_config
    from bayes_sgd.experiment.packs import packs

    assert len(packs(load_config(planning.many(cells)))) == cells
