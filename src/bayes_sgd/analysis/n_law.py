"""How the optimum batch size depends on N and on the number T of updates: exponents at equal epochs, and laws (Fig. 6b).

Takes optima ln B with their replicates, some of them beyond the grid; gives a slope, or the constants of a law, by censored
regression (Tobin 1958). An optimum beyond the grid is a bound and not left out: what is left out is largest or smallest, and a
slope through the rest is biased towards 0. Batch sizes in examples, accuracies in [0, 1], logarithms natural.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, optima_of, replicate_means
from bayes_sgd.analysis.intervals import Floats, Interval, Places, Variance, bootstrap_variance, seed_counts, student_interval
from bayes_sgd.analysis.optimum import response_curves
from bayes_sgd.analysis.prediction import STEP

EDGE_DROP = 0.005  # the left edge: mean accuracy half a point below its top (our choice)
_LEAST_SCATTER = STEP / np.sqrt(12)  # an optimum is not known to better than where the grid puts it
_STEPS = 200
_CONVERGED = 1e-6  # in ln B

Model = Callable[[Floats], tuple[Floats, Floats]]
"""From complete ln B (J, R), NaN where there is none, to the least-squares fit (J, R) and its parameters (R, P)."""


class Censored(NamedTuple):
    """Optima of which some lie beyond their grid.

    Attributes:
        log_b: ln B, (J, R): a column for the sample or for a replicate; ±inf beyond that end of the grid, NaN unknown.
        low: ln of the smallest batch size sampled, (J,).
        high: ln of the largest, (J,).
    """

    log_b: Floats
    low: Floats
    high: Floats


class LogFit(NamedTuple):
    """A fit of ln B: `fitted` (J, R), `scatter` (R,) its standard deviation, `parameters` (R, P), `log_likelihood` (R,)."""

    fitted: Floats
    scatter: Floats
    parameters: Floats
    log_likelihood: Floats


class BudgetOptima(NamedTuple):
    """Where accuracy peaks, and its left edge, for each N and each recorded number T of updates.

    Attributes:
        n_train: N, (J,).
        updates: T, (J,).
        optimum: ln B of the best accuracy, (J, 1 + R): of the sample, then of bootstrap replicates over paired seeds.
        edge: ln B of the left edge, (J, 1 + R).
        seeds: how many there are.
    """

    n_train: Floats
    updates: Floats
    optimum: Censored
    edge: Censored
    seeds: int

    def at(self, places: Places | NDArray[np.bool_]) -> BudgetOptima:
        """Those at some places."""
        optimum, edge = (Censored(*(values[places] for values in part)) for part in (self.optimum, self.edge))
        return BudgetOptima(self.n_train[places], self.updates[places], optimum, edge, self.seeds)

    def last(self) -> BudgetOptima:
        """Those at the last update of each N."""
        latest = [self.updates[self.n_train == n].max() for n in self.n_train]
        return self.at(self.updates == np.array(latest))


def budget_optima(rows: pd.DataFrame, *, failed_below: float = 0.5, n_replicates: int = 500, rng: int = 0) -> BudgetOptima:
    """Optima (the headline estimator, failed runs included) and left edges, from the cells of an experiment along N."""
    counts = seed_counts(len(set(rows["seed"])), n_replicates, rng)
    curves = [
        curve
        for update in sorted(set(rows["update"]) - {0})
        for curve in response_curves(pd.DataFrame(rows.loc[rows["update"] == update]), "n_train", failed_below=failed_below)
    ]
    curves = sorted(curves, key=lambda curve: (curve.axis_value, curve.updates))
    ends = np.log([[curve.batch_sizes[0], curve.batch_sizes[-1]] for curve in curves]).T
    optimum = np.hstack([part.reshape(len(curves), -1) for part in optima_of(curves, TREATMENT, HEADLINE, counts)])
    edges = []
    for curve in curves:
        kept, mean, _ = replicate_means(curve, TREATMENT, counts)
        edges.append(left_edge(np.log(curve.batch_sizes[kept]), mean))
    n_train, updates = np.array([[curve.axis_value, curve.updates] for curve in curves], dtype=np.float64).T
    return BudgetOptima(n_train, updates, Censored(optimum, *ends), Censored(np.array(edges), *ends), counts.shape[0])


def exponent_in(x: Floats, data: Censored, seeds: int) -> Interval:
    """Exponent of B in `x` (J,) by censored regression, with Student's interval.

    Its variance is that of the seeds, by the bootstrap of the whole chain, and that of the grid, which puts each point anywhere
    within a step. The estimand is the slope of the least-squares line through the true optima at these x, so their not lying
    on a line is no error of it (our choice: three optima leave one degree of freedom to a scatter).
    """
    slopes = censored_fit(data, power_law(x)).parameters[:, 1]
    centred = np.log(x) - np.log(x).mean()
    grid = Variance(float(STEP**2 / 12 / (centred**2).sum()), np.inf)
    return Interval(float(slopes[0]), *student_interval(float(slopes[0]), bootstrap_variance(slopes[1:], seeds), grid), seeds)


def left_edge(log_b: Floats, mean: Floats, drop: float = EDGE_DROP) -> Floats:
    """Ln B left of the top at which the mean accuracy is `drop` below it, interpolated in ln B; −inf if the grid ends above it.

    `log_b` (K,) ascending, `mean` (K, R) -> (R,).
    """
    top = mean.argmax(axis=0)
    level = mean.max(axis=0) - drop
    left = np.arange(len(log_b))[:, None] < top
    below = left & (mean < level)
    k = len(log_b) - 1 - below[::-1].argmax(axis=0)
    found, columns = below.any(axis=0), np.arange(mean.shape[1])
    k = np.where(found, k, 0)
    a, b = mean[k, columns], mean[np.minimum(k + 1, len(log_b) - 1), columns]
    share = np.divide(level - a, b - a, out=np.zeros(len(a)), where=b > a)
    edge = log_b[k] + share * (log_b[np.minimum(k + 1, len(log_b) - 1)] - log_b[k])
    return np.where(found, edge, -np.inf)


def censored_fit(data: Censored, model: Model) -> LogFit:
    """Maximum likelihood of a normal model of ln B with censored values, by expectation and maximization (Dempster 1977).

    Without censored values this is least squares. The scatter is at least that of a grid of ratio √2, step/√12: three
    optima, one of them censored, would have none.
    """
    y = data.log_b
    side = np.where(np.isinf(y), np.sign(y), 0.0)
    bound = np.where(side > 0, data.high[:, None], data.low[:, None])
    known, beyond = np.isfinite(y), side != 0
    n = np.maximum((known | beyond).sum(axis=0), 1)
    complete, variance = np.where(beyond, bound, y), np.zeros(y.shape)
    fitted, parameters = model(complete)
    scatter, z = np.ones(y.shape[1]), np.zeros(y.shape)
    for _ in range(_STEPS):
        fitted, parameters = model(complete)
        squares = np.where(known | beyond, (complete - fitted) ** 2 + variance, 0.0).sum(axis=0)
        scatter = np.maximum(np.sqrt(squares / n), _LEAST_SCATTER)
        z = np.where(beyond, side * (bound - fitted) / scatter, 0.0)
        # the mean of a standard normal beyond z
        mills = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-z))
        before = complete
        complete = np.where(beyond, fitted + side * scatter * mills, y)
        variance = np.where(beyond, scatter**2 * np.maximum(1 + z * mills - mills**2, 0.0), 0.0)
        if np.nanmax(np.abs(complete - before), initial=0.0) < _CONVERGED:
            break
    density = -0.5 * ((np.where(known, y, fitted) - fitted) / scatter) ** 2 - np.log(scatter) - 0.5 * np.log(2 * np.pi)
    likelihood = np.where(known, density, np.where(beyond, log_ndtr(-z), 0.0)).sum(axis=0)
    return LogFit(fitted, scatter, parameters, likelihood)


def power_law(x: Floats) -> Model:
    """The model ln B = a + b ln x, `x` (J,): parameters a, b."""
    log_x = np.log(x)[:, None]

    def model(y: Floats) -> tuple[Floats, Floats]:
        used = np.isfinite(y)
        n = np.maximum(used.sum(axis=0), 1)
        filled = np.where(used, y, 0.0)
        middle = (used * log_x).sum(axis=0) / n
        centred = np.where(used, log_x - middle, 0.0)
        spread = (centred**2).sum(axis=0)
        slope = np.divide((centred * filled).sum(axis=0), spread, out=np.full(len(n), np.nan), where=spread > 0)
        intercept = filled.sum(axis=0) / n - slope * middle
        return intercept + slope * log_x, np.stack([intercept, slope], axis=1)

    return model


def offset_law(x: Floats) -> Model:
    """The model B = B_e + c x, `x` (J,), fitted to ln B: parameters B_e, c. A constant and B ∝ x are limits of it."""
    ratios = np.geomspace(1e-3 / x.max(), 1e3 / x.min(), 200)
    shapes = np.log1p(ratios[:, None] * x)[:, :, None]

    def model(y: Floats) -> tuple[Floats, Floats]:
        used = np.isfinite(y)
        n = np.maximum(used.sum(axis=0), 1)
        filled = np.where(used, y, 0.0)
        best, squares, shape = np.zeros(y.shape[1]), np.full(y.shape[1], np.inf), np.zeros(y.shape)
        level = np.zeros(y.shape[1])
        for ratio, one in zip(ratios, shapes, strict=True):
            offset = np.where(used, filled - one, 0.0).sum(axis=0) / n
            error = np.where(used, (filled - one - offset) ** 2, 0.0).sum(axis=0)
            better = error < squares
            best, squares, level = (np.where(better, *pair) for pair in ((ratio, best), (error, squares), (offset, level)))
            shape = np.where(better, one, shape)
        return level + shape, np.stack([np.exp(level), np.exp(level) * best], axis=1)

    return model


def distance(data: Censored, predicted: Floats) -> Floats:
    """Measured minus predicted ln B, (J, R); of a censored optimum how far the prediction lies inside the grid, else 0."""
    inside = np.where(data.log_b == np.inf, np.maximum(data.high[:, None] - predicted, 0.0), 0.0)
    inside = np.where(data.log_b == -np.inf, np.minimum(data.low[:, None] - predicted, 0.0), inside)
    return np.where(np.isfinite(data.log_b), data.log_b - predicted, np.where(np.isnan(data.log_b), np.nan, inside))


def held_out_errors(x: Floats, found: BudgetOptima) -> Floats:
    """Errors of ln B (J, R) of the law B_e + c x, `x` (J,), fitted without the optima of the same N."""
    errors = np.zeros(found.optimum.log_b.shape)
    for n in np.unique(found.n_train):
        out = found.n_train == n
        fit = censored_fit(found.at(~out).optimum, offset_law(x[~out]))
        predicted = np.log(fit.parameters[:, 0] + fit.parameters[:, 1] * x[out, None])
        errors[out] = distance(found.at(out).optimum, predicted)
    return errors


def akaike(log_likelihood: Floats, parameters: int, n: int) -> Floats:
    """AIC corrected for few data (Hurvich and Tsai 1989); `parameters` counts the scatter too."""
    return 2 * parameters - 2 * log_likelihood + 2 * parameters * (parameters + 1) / max(n - parameters - 1, 1)
