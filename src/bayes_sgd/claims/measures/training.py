"""Measures of training itself: small batch against full batch, with and without L2, and random labels.

Takes the cells of an experiment; gives the value behind each claim on them (section 4, figures 3 and 8; Zhang et al. 2017).
Accuracies in [0, 1], cross-entropies in nats. Means over seeds have t-intervals; ratios of means have Fieller's.

Method: docs/method.md, Training.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import (
    Floats,
    Places,
    chosen_by_others,
    held_out,
    jackknife_interval,
    paired_difference,
    ratio_interval,
)
from bayes_sgd.claims.measures.base import OF_COLUMN, Labels, Measured, NotMeasuredError, Tables, in_units, measure, select

Phase = Literal["constant", "after_cooldown", "iterate_average"]
Size = Literal["smallest", "largest"]


def _by_seed(
    tables: Tables, experiment: str, column: str, l2: float, batch_size: Size, phase: Phase = "constant"
) -> pd.DataFrame:
    """A column of the runs at one λ and one end of the batch sizes: a row per recorded update, a column per seed."""
    rows = tables.experiment(experiment, phase)["rows"]
    rows = select(rows, np.isclose(np.asarray(rows["l2"], dtype=np.float64), l2))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {experiment} has no cell with λ = {l2:g}")
    size = {"smallest": rows["batch_size"].min(), "largest": rows["batch_size"].max()}[batch_size]
    return select(rows, np.asarray(rows["batch_size"] == size)).pivot(index="update", columns="seed", values=column)


def _ends(tables: Tables, experiment: str, column: str, l2: float, phase: Phase = "constant") -> tuple[Floats, Floats, str]:
    small, large = (_by_seed(tables, experiment, column, l2, size, phase) for size in ("smallest", "largest"))
    rows = tables.experiment(experiment, phase)["rows"]
    words = (
        f"B = {rows['batch_size'].min():g} minus B = {rows['batch_size'].max():g} after {small.index[-1]} updates, λ = {l2:g}"
    )
    return small.iloc[-1].to_numpy(np.float64), large.iloc[-1].to_numpy(np.float64), words


@measure
@in_units(OF_COLUMN)
def batch_gap(
    tables: Tables, experiment: str, l2: float = 0.0, column: str = "test_accuracy", phase: Phase = "constant"
) -> Measured:
    """A column at the last update, smallest batch size minus largest, over paired seeds."""
    small, large, words = _ends(tables, experiment, column, l2, phase)
    return Measured.of(paired_difference(small, large), f"{column}, {words}{'' if phase == 'constant' else f', {phase}'}")


@measure
@in_units("ratio")
def loss_rise(tables: Tables, experiment: str, batch_size: Size, l2: float = 0.0) -> Measured:
    """Test cross-entropy at the last update over that at its minimum, whose update the other seeds choose."""
    losses = _by_seed(tables, experiment, "test_loss", l2, batch_size)
    values, seeds = losses.to_numpy(np.float64), np.arange(losses.shape[1])
    if len(seeds) < 2 or len(values) < 3:
        raise NotMeasuredError("a rise needs two seeds and three recorded updates")
    lowest = chosen_by_others(-values)

    def ratio(chosen: Places) -> float:
        sample = values[:, chosen]
        return float((sample[-1] / held_out(sample, -sample)).mean())

    detail = (
        f"test cross-entropy at the {batch_size} batch size, λ = {l2:g}, after {losses.index[-1]} updates over that after "
        f"{losses.index[int(np.median(lowest))]}, where it is lowest"
    )
    return Measured.of(jackknife_interval(ratio, len(seeds), least=2), detail)


@measure
@in_units("ratio")
def gap_ratio(tables: Tables, experiment: str, l2: float) -> Measured:
    """Gap in test accuracy between smallest and largest batch size with λ over that without; Fieller over paired seeds."""
    small, large, words = _ends(tables, experiment, "test_accuracy", l2)
    small_0, large_0, _ = _ends(tables, experiment, "test_accuracy", 0.0)
    return Measured.of(ratio_interval(small - large, small_0 - large_0), f"gap with λ over gap without, {words}")


@measure
@in_units(OF_COLUMN)
def label_fit(tables: Tables, experiment: str, column: str, labels: Labels) -> Measured:
    """Mean of a column at the last update of runs on `labels`.

    Each seed counts at the batch size with the best training accuracy of the others.
    """
    rows = tables.experiment(experiment)["rows"]
    rows = select(rows, np.asarray((rows["labels"] == labels) & (rows["update"] == rows["updates"])))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {experiment} has no run on {labels} labels")
    grid = rows.pivot(index="batch_size", columns="seed", values=["train_accuracy", column]).dropna()
    if not len(grid) or grid["train_accuracy"].shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose a batch size for another")
    trained, values = grid["train_accuracy"].to_numpy(np.float64), grid[column].to_numpy(np.float64)
    size = np.median(grid.index.to_numpy(np.float64)[chosen_by_others(trained)])
    interval = jackknife_interval(lambda s: held_out(values[:, s], trained[:, s]).mean(), values.shape[1], least=2)
    detail = f"mean {column} on {labels} labels at B = {size:g} after {rows['updates'].max():g} updates"
    return Measured.of(interval, detail)
