"""Measures of the linear model (section 3, figures 1 and 2).

Takes the table `linear`; gives the value behind each claim on it. Accuracies in [0, 1], cross-entropies and evidence in nats,
λ as in C = H + λ‖ω‖²/2. Means over seeds have t-intervals; of ranks and minima, by a jackknife over seeds.

Method: docs/method.md, The linear model.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Places,
    chosen_by_others,
    held_out,
    jackknife_interval,
    mean_interval,
    spearman,
)
from bayes_sgd.claims.measures.base import OF_COLUMN, Labels, Measured, NotMeasuredError, Tables, in_units, measure, select

NEAR = 0.5  # decades of λ on either side of a curve's lowest point through which its vertex is found (our choice)


def _linear_grid(tables: Tables, labels: Labels, *columns: str) -> tuple[Floats, list[Floats]]:
    """λ (L,) ascending and each column (L, S), over the seeds that have a finite value everywhere."""
    table = tables.frame("linear")
    rows = select(table, np.asarray(table["labels"] == labels))
    grids = [rows.pivot(index="l2", columns="seed", values=column) for column in columns]
    if not len(rows):
        raise NotMeasuredError(f"the linear model was not fitted to {labels} labels")
    finite = np.all([np.isfinite(grid.to_numpy(dtype=np.float64)).all(axis=0) for grid in grids], axis=0)
    if not finite.any():
        raise NotMeasuredError(f"no seed of the linear model was fitted at every λ to {labels} labels")
    return np.asarray(grids[0].index, dtype=np.float64), [grid.to_numpy(dtype=np.float64)[:, finite] for grid in grids]


@measure
@in_units(OF_COLUMN)
def linear_mean(tables: Tables, column: str, labels: Labels, l2: Literal["weakest", "strongest"]) -> Measured:
    """Mean of a column of the linear table at the `weakest` or the `strongest` λ."""
    grid, (values,) = _linear_grid(tables, labels, column)
    row = {"weakest": 0, "strongest": -1}[l2]
    detail = f"mean {column} of the linear model on {labels} labels at λ = {grid[row]:.3g}"
    return Measured.of(mean_interval(values[row]), detail)


@measure
@in_units("fraction")
def linear_accuracy_gain(tables: Tables, labels: Labels) -> Measured:
    """Test accuracy at the best λ minus that at the weakest; for each seed the best is the other seeds' choice.

    So the best of many λ's does not win by luck. Ties choose the weakest λ.
    """
    grid, (accuracy,) = _linear_grid(tables, labels, "test_accuracy")
    if accuracy.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose λ for another")

    chosen = np.median(grid[chosen_by_others(accuracy)])

    def gain(seeds: Places) -> float:
        sample = accuracy[:, seeds]
        return float((held_out(sample, sample) - sample[0]).mean())

    detail = f"gain in test accuracy of the best λ, {chosen:.3g} in the median as other seeds choose it, over λ = {grid[0]:.3g}"
    return Measured.of(jackknife_interval(gain, accuracy.shape[1], least=2), detail)


@measure
@in_units("rank correlation")
def linear_margin_trend(tables: Tables, labels: Labels) -> Measured:
    """Rank correlation of the mean margin with λ; jackknife over seeds."""
    grid, (margin,) = _linear_grid(tables, labels, "margin")
    rho = spearman(np.broadcast_to(grid[:, None], margin.shape), margin)
    detail = f"rank correlation of mean margin and λ on {labels} labels over λ = {grid[0]:.3g} to {grid[-1]:.3g}"
    return Measured.of(rho, detail)


@measure
@in_units("ratio")
def linear_margin_ratio(tables: Tables) -> Measured:
    """Mean margin with real labels over that with random labels at the weakest λ, seed by seed."""
    grid, (real,) = _linear_grid(tables, "real", "margin")
    other, (random,) = _linear_grid(tables, "random", "margin")
    if real.shape[1] != random.shape[1] or grid[0] != other[0]:
        raise NotMeasuredError("real and random labels were not fitted at the same λ and seeds")
    detail = f"margin with real labels over margin with random labels at λ = {grid[0]:.3g}"
    return Measured.of(mean_interval(real[0] / random[0]), detail)


@measure
@in_units("nats")
def linear_lowest_evidence(tables: Tables, labels: Labels) -> Measured:
    """Lowest log evidence ratio E over λ, mean over seeds: above 0 the null model is preferred at every λ."""
    _, (evidence,) = _linear_grid(tables, labels, "log_evidence_ratio")
    lowest = evidence.min(axis=0)
    detail = (
        f"lowest E in nats over λ on {labels} labels, mean over seeds, with {lowest.min():.3g} in the lowest seed and "
        f"E < 0 in {int((evidence < 0).sum())} of {evidence.size} fits"
    )
    return Measured.of(mean_interval(lowest), detail)


@measure
@in_units("decades of λ")
def linear_evidence_decades(tables: Tables, labels: Labels, below: float) -> Measured:
    """Decades of λ, without a break, over which E lies below `below`; mean over seeds."""
    grid, (evidence,) = _linear_grid(tables, labels, "log_evidence_ratio")
    decades = np.zeros(evidence.shape[1])
    for s in range(evidence.shape[1]):
        start = None
        for i, low in enumerate(evidence[:, s] < below):
            start = (i if start is None else start) if low else None
            if start is not None:
                decades[s] = max(decades[s], np.log10(grid[i] / grid[start]))
    return Measured.of(mean_interval(decades), f"decades of λ with E below {below:g} nats on {labels} labels")


@measure
@in_units("decades of λ")
def linear_minima_distance(tables: Tables, labels: Labels) -> Measured:
    """Log10 λ at the minimum of E minus log10 λ at the minimum of the test cross-entropy.

    The minima are of the curves averaged over seeds, as Fig. 2b draws them; jackknife over seeds. (The minimum of one seed's
    cross-entropy is that of a few hard test images.)
    """
    grid, (evidence, loss) = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    interval = minima_distance(np.log10(grid), evidence, loss)
    return Measured.of(
        interval, f"decades of λ from the minimum of the test cross-entropy to the minimum of E on {labels} labels"
    )


def minima_distance(log_l2: Floats, evidence: Floats, loss: Floats) -> Interval:
    """Lowest point of the mean of `evidence` minus that of `loss`, both (L, S), in units of `log_l2` (L,)."""

    def distance(seeds: Places) -> float:
        return _lowest(log_l2, evidence[:, seeds].mean(axis=1)) - _lowest(log_l2, loss[:, seeds].mean(axis=1))

    return jackknife_interval(distance, loss.shape[1])


def _lowest(log_l2: Floats, curve: Floats) -> float:
    """Where a curve (L,) is lowest: the vertex of a parabola within `NEAR` decades of the lowest point.

    A point of the grid would not move with the curve but jump. No vertex there: the lowest point itself.
    """
    lowest = int(curve.argmin())
    near = np.abs(log_l2 - log_l2[lowest]) <= NEAR + 1e-9
    x = log_l2[near] - log_l2[lowest]
    bend, slope, _ = np.polyfit(x, curve[near], 2) if near.sum() > 2 else (0.0, 0.0, 0.0)
    vertex = -slope / (2 * bend) if bend > 0 else 0.0
    return float(log_l2[lowest] + (vertex if x.min() <= vertex <= x.max() else 0.0))


@measure
@in_units("rank correlation")
def linear_evidence_rank(tables: Tables, labels: Labels) -> Measured:
    """Rank correlation over λ of E and the test cross-entropy, both averaged over seeds; jackknife over seeds."""
    grid, (evidence, loss) = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    detail = f"rank correlation of E and test cross-entropy over {len(grid)} values of λ on {labels} labels"
    return Measured.of(spearman(evidence, loss), detail)
