"""How the optimum batch size and its left edge depend on N and on the number T of updates (Fig. 6b).

Takes the cells of experiments along N; gives an optimum for each N and recorded T, exponents in N at equal epochs, and the laws
B = B_e + c N/T and B = B_e + c N. Batch sizes in examples, accuracies in [0, 1], logarithms natural.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_sgd.analysis.censored import Censored, censored_fit, offset_law, power_law
from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, optima_of, replicate_means
from bayes_sgd.analysis.intervals import Floats, Interval, Places, Variance, bootstrap_variance, seed_counts, student_interval
from bayes_sgd.analysis.optimum import ResponseCurve, response_curves
from bayes_sgd.analysis.prediction import STEP

LAW_REPLICATES = 500
"""Of the bootstrap behind the laws in N and T, whose fits take longest."""
EDGE_DROP = 0.005
"""The left edge is where the mean accuracy is half a point below its top (our choice)."""


class BudgetOptima(NamedTuple):
    """Where accuracy peaks, and its left edge, for each value of an axis and each recorded number T of updates.

    Attributes:
        axis_values: (J,).
        n_train: N, (J,).
        updates: T, (J,).
        optimum: ln B of the best accuracy, (J, 1 + R): of the sample, then of bootstrap replicates over paired seeds.
        edge: ln B of the left edge, (J, 1 + R).
        seeds: how many there are.
    """

    axis_values: Floats
    n_train: Floats
    updates: Floats
    optimum: Censored
    edge: Censored
    seeds: int

    @property
    def ratio(self) -> Floats:
        """N/T, (J,): the epochs of training per batch size are its inverse."""
        return self.n_train / self.updates

    def at(self, places: Places | NDArray[np.bool_]) -> BudgetOptima:
        """Those at some places."""
        axis_values, n_train, updates = self.axis_values[places], self.n_train[places], self.updates[places]
        return BudgetOptima(axis_values, n_train, updates, self.optimum.at(places), self.edge.at(places), self.seeds)

    def last(self) -> BudgetOptima:
        """Those at the last update of each value of the axis."""
        latest = np.array([self.updates[self.axis_values == value].max() for value in self.axis_values])
        return self.at(self.updates == latest)


def budget_optima(
    rows: pd.DataFrame, axis: str = "n_train", *, failed_below: float = 0.5, n_replicates: int = LAW_REPLICATES, rng: int = 0
) -> BudgetOptima:
    """Optima (the headline estimator, failed runs included) and left edges, from the cells of experiments along one axis."""
    counts = seed_counts(len(set(rows["seed"])), n_replicates, rng)
    curves = [
        curve
        for update in sorted(set(rows["update"]) - {0})
        for curve in response_curves(pd.DataFrame(rows.loc[rows["update"] == update]), axis, failed_below=failed_below)
    ]
    curves = sorted(curves, key=lambda curve: (curve.axis_value, curve.updates))
    ends = np.log([[curve.batch_sizes[0], curve.batch_sizes[-1]] for curve in curves]).T
    log_b, drawn = optima_of(curves, TREATMENT, HEADLINE, counts)
    edges = np.array([edge_replicates(curve, counts) for curve in curves])
    values, updates = np.array([[curve.axis_value, curve.updates] for curve in curves], dtype=np.float64).T
    sizes = dict(zip(rows[axis], rows["n_train"], strict=True))
    n_train = np.array([sizes[value] for value in values], dtype=np.float64)
    optimum = Censored(np.hstack([log_b[:, None], drawn]), *ends)
    return BudgetOptima(values, n_train, updates, optimum, Censored(edges, *ends), counts.shape[0])


def edge_replicates(curve: ResponseCurve, counts: Floats) -> Floats:
    """Ln B of the left edge (1 + R,): of the sample itself, then of each replicate of `counts` (S, R)."""
    kept, mean, _ = replicate_means(curve, TREATMENT, counts)
    return left_edge(np.log(curve.batch_sizes[kept]), mean)


def left_edge(log_b: Floats, mean: Floats, drop: float = EDGE_DROP) -> Floats:
    """Ln B left of the top at which the mean accuracy is `drop` below it, interpolated in ln B; −inf if the grid ends above it.

    `log_b` (K,) ascending, `mean` (K, R) -> (R,).
    """
    level = mean.max(axis=0) - drop
    below = (np.arange(len(log_b))[:, None] < mean.argmax(axis=0)) & (mean < level)
    crossed, columns = below.any(axis=0), np.arange(mean.shape[1])
    k = np.where(crossed, len(log_b) - 1 - below[::-1].argmax(axis=0), 0)
    above = np.minimum(k + 1, len(log_b) - 1)
    rise = mean[above, columns] - mean[k, columns]
    share = np.divide(level - mean[k, columns], rise, out=np.zeros(len(rise)), where=rise > 0)
    return np.where(crossed, log_b[k] + share * (log_b[above] - log_b[k]), -np.inf)


def exponent_in(x: Floats, data: Censored, seeds: int) -> Interval:
    """Exponent of B in `x` (J,) by censored regression, with Student's interval.

    Its variance is that of the seeds, by the bootstrap of the whole chain, and that of the grid, which puts each point anywhere
    within a step. The estimand is the slope of the least-squares line through the true optima at these x, so their not lying
    on a line is no error of it (our choice: three optima leave one degree of freedom to a scatter). NaN where fewer than two
    optima lie inside the grid: bounds alone have no slope.
    """
    if np.isfinite(data.log_b[:, 0]).sum() < 2:
        return Interval(np.nan, np.nan, np.nan, seeds)
    slopes = censored_fit(data, power_law(x)).parameters[1]
    centred = np.log(x) - np.log(x).mean()
    grid = Variance(float(STEP**2 / 12 / (centred**2).sum()), np.inf)
    return Interval(float(slopes[0]), *student_interval(float(slopes[0]), bootstrap_variance(slopes[1:], seeds), grid), seeds)


def held_out_errors(x: Floats, optima: BudgetOptima) -> Floats:
    """Errors of ln B (J, R) of the law B_e + c x, `x` (J,), fitted without the optima of the same N."""
    errors = np.zeros(optima.optimum.log_b.shape)
    for n in np.unique(optima.n_train):
        out = optima.n_train == n
        offset, slope = censored_fit(optima.optimum.at(~out), offset_law(x[~out])).parameters
        errors[out] = optima.optimum.at(out).missed_by(np.log(offset + slope * x[out, None]))
    return errors
