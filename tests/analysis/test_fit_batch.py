"""The smallest batch size that fits: on curves where it is known, and on the published cells that the law was found on."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from arms import GRID, arm_cells, of_axis
from project import ROOT

from bayes_sgd.analysis.fit_batch import Arm, arms, fit_batch_table, halves, normal_variance
from bayes_sgd.analysis.intervals import Variance, student_interval
from bayes_sgd.analysis.optimum import fitting_batch
from bayes_sgd.analysis.tables import experiments
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import CELLS, FIT_BATCH
from bayes_sgd.experiment.config import load_config

FIT, OPT = np.log(15.0), np.log(30.0)


def one(*parts: pd.DataFrame, axis: str = "learning_rate", **more: int) -> list[Arm]:
    return arms({"a": of_axis(axis, *parts)}, n_replicates=200, **more)


def test_the_fitting_batch_size_lies_on_the_line_between_two_means() -> None:
    log_b = np.log([8.0, 16.0, 32.0])
    trained = np.array([[0.5, 0.95, 0.995, 0.2], [0.98, 0.985, 0.999, 0.995], [1.0, 0.98, 1.0, 0.5]])
    found = fitting_batch(log_b, trained)
    assert found[0] == pytest.approx(np.log(16 * np.sqrt(2)))
    assert found.tolist()[1:] == [np.inf, -np.inf, np.inf]
    assert fitting_batch(log_b, trained[:, :1], 0.5).tolist() == [-np.inf]


@pytest.mark.parametrize(("seeds", "columns"), [(1, 0), (2, 2), (5, 20), (6, 20), (12, 252)])
def test_halves_come_with_the_other_half(seeds: int, columns: int) -> None:
    chosen = halves(seeds)
    assert chosen.shape == (seeds, columns)
    as_sets = [tuple(column) for column in chosen.T]
    assert sorted(as_sets) == sorted(tuple(1 - column) for column in chosen.T)
    assert set(chosen.sum(axis=0)) <= {seeds // 2, seeds - seeds // 2}


def test_both_batch_sizes_are_found() -> None:
    (arm,) = one(arm_cells(FIT, OPT))
    assert arm.log_b == pytest.approx(np.full(1 + 20 + 200, OPT), abs=1e-6)
    assert arm.log_fit[0.99] == pytest.approx(np.full(221, FIT))
    assert arm.log_fit[0.98] == pytest.approx(np.full(221, FIT - 0.5))
    table = fit_batch_table([arm])
    assert tuple(table.columns) == FIT_BATCH.names
    row = table.set_index("threshold").loc[0.99]
    assert row[["b_opt", "b_fit", "ratio"]].astype(float).tolist() == pytest.approx([30, 15, 2])


def test_half_of_the_seeds_gives_the_optimum_and_the_others_the_fitting_batch_size() -> None:
    parts = [arm_cells(FIT + 0.1 * seed, OPT + 0.05 * seed, seeds=1).assign(seed=seed) for seed in range(4)]
    (arm,) = one(*parts)
    half = halves(4)
    seeds = np.arange(4)
    assert arm.log_b[arm.split] == pytest.approx(OPT + 0.05 * (seeds @ half) / 2, abs=1e-6)
    assert arm.log_fit[0.99][arm.split] == pytest.approx(FIT + 0.1 * (seeds @ (1 - half)) / 2)


def test_an_arm_counts_once_and_each_recorded_update_is_one() -> None:
    later = arm_cells(FIT, OPT)
    earlier = arm_cells(FIT + 0.1, OPT + 0.1).assign(update=2000)
    found = arms({"a": of_axis("n_train", later), "b": of_axis("l2", later.assign(updates=8000), earlier)}, n_replicates=200)
    assert [(arm.experiment, arm.curve.updates) for arm in found] == [("a", 4000), ("b", 2000)]


def test_axes_of_text_and_missing_runs_are_no_hindrance() -> None:
    wide = arm_cells(FIT, OPT, hidden_sizes="200x200", activation="relu")
    gone = arm_cells(FIT, OPT, activation="softplus")
    gone = gone[~((gone["batch_size"] == 8) & (gone["seed"] == 0))]
    table = fit_batch_table(one(wide, gone, axis="hidden_sizes"))
    assert table["axis_value"].unique().tolist() == ["200", "200x200"]
    assert table["activation"].unique().tolist() == ["softplus", "relu"]
    assert table.loc[np.isclose(table["threshold"], 0.99), "ratio"].tolist() == pytest.approx([2, 2], rel=1e-4)


@pytest.mark.parametrize(
    ("fit", "opt", "sides"), [(2.0, OPT, ["", "below"]), (5.0, OPT, ["", "above"]), (FIT, 6.0, ["above", ""])]
)
def test_what_lies_outside_the_grid_has_no_number(fit: float, opt: float, sides: list[str]) -> None:
    table = fit_batch_table(one(arm_cells(fit, opt)))
    row = table[table["threshold"] == 0.99].iloc[0]
    assert [row["b_opt_side"], row["b_fit_side"]] == sides
    assert np.isnan(row["ratio"])
    assert GRID[0] > np.exp(2.0)
    assert GRID[-1] < np.exp(5.0)


def test_a_variance_is_read_back_from_its_interval() -> None:
    low, high = np.exp(student_interval(0.3, Variance(0.04, 5)))
    assert normal_variance(float(low), float(high), 6) == pytest.approx(0.04)
    assert normal_variance(0.0, 1.0, 6) == np.inf


@pytest.mark.parametrize(("run", "count", "ratio", "sd"), [("extended_first", 31, 1.85, 0.20), ("quick_first", 16, 1.66, 0.09)])
def test_the_published_cells_hold_the_law_that_was_found_on_them(run: str, count: int, ratio: float, sd: float) -> None:
    folder = ROOT / "results" / "published" / run
    config = load_config(json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"])
    rows = experiments(config, read_csv(folder / "tables" / "cells.csv", CELLS))
    names = ("learning_rate", "training_set_size", "momentum", "momentum_updates")
    table = fit_batch_table(arms({name: rows[name] for name in names}, n_replicates=100))
    logs = np.log(table.loc[np.isclose(table["threshold"], 0.99), "ratio"].dropna())
    assert len(logs) == count
    assert float(np.exp(logs.mean())) == pytest.approx(ratio, abs=0.01)
    assert float(logs.std()) == pytest.approx(sd, abs=0.01)
