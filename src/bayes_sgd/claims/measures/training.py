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
def loss_rise(tables: Tables, experiment: str, batch_size: Size, l2: float = 0.0, phase: Phase = "constant") -> Measured:
    """Test cross-entropy after the last update over that at its minimum, whose update the other seeds choose.

    In the phase `iterate_average` each number of updates is a run of its own, for the average is of its last iterates.
    """
    losses = _by_seed(tables, experiment, "test_loss", l2, batch_size, phase)
    values, seeds = losses.to_numpy(np.float64), np.arange(losses.shape[1])
    if len(seeds) < 2 or len(values) < 3:
        raise NotMeasuredError("a rise needs two seeds and three recorded updates")
    lowest = chosen_by_others(-values)

    def ratio(chosen: Places) -> float:
        sample = values[:, chosen]
        return float((sample[-1] / held_out(sample, -sample)).mean())

    detail = (
        f"test cross-entropy at the {batch_size} batch size, λ = {l2:g}{'' if phase == 'constant' else f', {phase}'}, after "
        f"{losses.index[-1]} updates over that after {losses.index[int(np.median(lowest))]}, where it is lowest"
    )
    return Measured.of(jackknife_interval(ratio, len(seeds), least=2), detail)


@measure
@in_units("ratio")
def gap_ratio(tables: Tables, experiment: str, l2: float, phase: Phase = "constant") -> Measured:
    """Gap in test accuracy between smallest and largest batch size with λ over that without; Fieller over paired seeds.

    Each gap is at the end of its own runs: λ acts within about N/(λε′) updates, which may be more than training takes.
    """
    small, large, words = _ends(tables, experiment, "test_accuracy", l2, phase)
    small_0, large_0, words_0 = _ends(tables, experiment, "test_accuracy", 0.0, phase)
    ratio = ratio_interval(small - large, small_0 - large_0)
    detail = (
        f"gap with λ over gap without, {words} ({100 * (small - large).mean():.2g} points) over {words_0} "
        f"({100 * (small_0 - large_0).mean():.2g} points){'' if phase == 'constant' else f', {phase}'}"
    )
    return Measured.of(ratio, detail)


@measure
@in_units("λ of the sum cost")
def halving_l2(tables: Tables, experiment: str, phase: Phase = "iterate_average") -> Measured:
    """The smallest λ at which half of the gap in test accuracy between smallest and largest batch size is gone.

    Interpolated in ln λ between the values of the grid, the first from above to below half of the gap at λ = 0, whose mean over
    seeds it is. Geometric, jackknife over seeds.
    """
    grid = sorted({float(value) for value in tables.experiment(experiment, phase)["rows"]["l2"]})
    if len(grid) < 4 or grid[0] != 0:
        raise NotMeasuredError(f"the experiment {experiment} needs λ = 0 and three others, {phase}")
    ends = [_ends(tables, experiment, "test_accuracy", l2, phase)[:2] for l2 in grid]
    gaps, log_l2 = np.array([small - large for small, large in ends]), np.log(grid[1:])

    def halving(seeds: Places) -> float:
        ratios = gaps[:, seeds].mean(axis=1)
        above = ratios[1:] / ratios[0] - 0.5
        crossings = np.flatnonzero((above[:-1] > 0) & (above[1:] <= 0))
        if not len(crossings):
            return np.nan
        k = crossings[0]
        return float(log_l2[k] + (log_l2[k + 1] - log_l2[k]) * above[k] / (above[k] - above[k + 1]))

    value, low, high, n = jackknife_interval(halving, gaps.shape[1])
    if np.isnan(value):
        if gaps[1].mean() <= gaps[0].mean() / 2:
            raise NotMeasuredError(f"at λ = {grid[1]:g}, the smallest, the gap is already below half of that at λ = 0")
        raise NotMeasuredError(f"between λ = {grid[1]:g} and {grid[-1]:g} the gap does not fall below half of that at λ = 0")
    shown = ", ".join(f"{100 * gap:.2g} at {l2:g}" for gap, l2 in zip(gaps.mean(axis=1), grid, strict=True))
    detail = f"λ of the sum cost that halves the gap in test accuracy, {phase}; the gaps, in points: {shown}"
    return Measured(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)), n, detail)


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
    columns = list(dict.fromkeys(["train_accuracy", column]))  # one that is asked for twice would count each seed twice
    grid = rows.pivot(index="batch_size", columns="seed", values=columns).dropna()
    if not len(grid) or grid["train_accuracy"].shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose a batch size for another")
    trained, values = grid["train_accuracy"].to_numpy(np.float64), grid[column].to_numpy(np.float64)
    size = np.median(grid.index.to_numpy(np.float64)[chosen_by_others(trained)])
    interval = jackknife_interval(lambda s: held_out(values[:, s], trained[:, s]).mean(), values.shape[1], least=2)
    detail = f"mean {column} on {labels} labels at B = {size:g} after {rows['updates'].max():g} updates"
    return Measured.of(interval, detail)
