"""Measures of training itself: small batch against full batch, with and without L2, and random labels.

Takes the cells of an experiment; gives the value behind each claim on them (section 4, figures 3 and 8; Zhang et al. 2017).
Accuracies in [0, 1], cross-entropies in nats. Means over seeds have t-intervals; ratios of means are bootstrapped over seeds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    chosen_by_others,
    mean_interval,
    paired_difference,
    percentile_interval,
    seed_counts,
)
from bayes_sgd.claims.measures.base import Labels, Measured, NotMeasuredError, Tables, measure, select

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
def batch_gap(
    tables: Tables, experiment: str, l2: float = 0.0, column: str = "test_accuracy", phase: Phase = "constant"
) -> Measured:
    """A column at the last update, smallest batch size minus largest, over paired seeds."""
    small, large, words = _ends(tables, experiment, column, l2, phase)
    return Measured.of(paired_difference(small, large), f"{column}, {words}{'' if phase == 'constant' else f', {phase}'}")


@measure
def loss_rise(tables: Tables, experiment: str, batch_size: Size, l2: float = 0.0) -> Measured:
    """Test cross-entropy at the last update over that at its minimum, whose update the other seeds choose."""
    losses = _by_seed(tables, experiment, "test_loss", l2, batch_size)
    values, seeds = losses.to_numpy(np.float64), np.arange(losses.shape[1])
    if len(seeds) < 2 or len(values) < 3:
        raise NotMeasuredError("a rise needs two seeds and three recorded updates")
    lowest = chosen_by_others(-values)
    ratio = values[-1] / values[lowest, seeds]
    detail = (
        f"test cross-entropy at the {batch_size} batch size, λ = {l2:g}, after {losses.index[-1]} updates over that after "
        f"{losses.index[int(np.median(lowest))]}, where it is lowest"
    )
    return Measured.of(mean_interval(ratio), detail)


@measure
def gap_ratio(tables: Tables, experiment: str, l2: float) -> Measured:
    """Gap in test accuracy between smallest and largest batch size with λ over that without; bootstrap over paired seeds."""
    small, large, words = _ends(tables, experiment, "test_accuracy", l2)
    small_0, large_0, _ = _ends(tables, experiment, "test_accuracy", 0.0)
    n = len(small)
    counts = np.hstack([np.ones((n, 1)), seed_counts(n, tables.n_replicates, tables.rng)])
    base = (small_0 - large_0) @ counts
    ratios = np.divide((small - large) @ counts, base, out=np.full(len(base), np.nan), where=base != 0)
    return Measured.of(
        Interval(float(ratios[0]), *percentile_interval(ratios[1:], n), n), f"gap with λ over gap without, {words}"
    )


@measure
def label_fit(tables: Tables, experiment: str, column: str, labels: Labels) -> Measured:
    """Mean of a column at the last update of runs on `labels`, at the batch size with the best training accuracy."""
    rows = tables.experiment(experiment)["rows"]
    rows = select(rows, np.asarray((rows["labels"] == labels) & (rows["update"] == rows["updates"])))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {experiment} has no run on {labels} labels")
    batch_size, updates, trained, values = (
        np.asarray(rows[name], dtype=np.float64) for name in ("batch_size", "updates", "train_accuracy", column)
    )
    best = max(np.unique(batch_size), key=lambda b: trained[batch_size == b].mean())
    detail = f"mean {column} on {labels} labels at B = {best:g} after {updates.max():g} updates"
    return Measured.of(mean_interval(values[batch_size == best]), detail)
