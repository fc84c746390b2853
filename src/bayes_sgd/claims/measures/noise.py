"""Measures of the noise in the gradient: its covariance, its shape, and whether the noise scale alone fixes the accuracy.

Takes the table `gradient_noise`, or the cells of several experiments; gives the value behind each claim on them (section 5,
figure 9). The collapse is in units of test accuracy, [0, 1].

Method: docs/evidence.md, Gradient noise.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import HEADLINE, POLYNOMIALS
from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Places,
    jackknife_interval,
    mean_interval,
)
from bayes_sgd.analysis.optimum import aligned_accuracy, polynomial_optimum, response_curves
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select
from bayes_sgd.experiment.noise_scale import effective_learning_rate

POINTS = 201  # values of g at which curves are compared: so many that none at the end of a curve matters


@measure
@in_units("fraction")
def noise_scale_collapse(tables: Tables, experiments: list[str], within: float = 4.0, rate_below: float = np.inf) -> Measured:
    """How far accuracies at equal noise scale g differ between cells of several experiments, beyond the noise of the seeds.

    Each series (experiment, axis value) is a curve over ln g, the same runs counted once. At `POINTS` values of g within a
    factor `within` of the curves' median optimum, each curve is read by linear interpolation where its networks train. The
    value is the standard deviation between curves, less what the seeds alone give. The interval is Student's by a jackknife
    over seeds of the variance, whose estimate may be negative.

    Args:
        tables: of the run.
        experiments: names of those that are compared.
        within: see above.
        rate_below: only curves whose effective learning rate is smaller count.
    """
    curves = _distinct([curve for name in experiments for curve in _curves_over_noise(tables, name, rate_below)])
    if len(curves) < 3:
        raise NotMeasuredError("a collapse needs three curves that train")
    detail = (
        f"standard deviation of test accuracy at equal noise scale between {len(curves)} curves of {', '.join(experiments)}"
    )
    return Measured.of(spread_interval(_at_equal_noise(curves, within)), detail)


def spread_interval(accuracy: Floats) -> Interval:
    """Standard deviation between curves beyond the seeds' noise, of accuracies (curves, values of g, S) that may be NaN."""
    variance = jackknife_interval(lambda seeds: _variance_between(accuracy[..., seeds]), accuracy.shape[2], least=2)
    value, low, high = (float(np.sqrt(np.maximum(0.0, v))) for v in variance[:3])
    return Interval(value, low, high, variance.n)


def _distinct(curves: list[tuple[Floats, Floats]]) -> list[tuple[Floats, Floats]]:
    """The curves without those that repeat the runs of an earlier one."""
    distinct: list[tuple[Floats, Floats]] = []
    for g, accuracy in curves:
        if not any(np.array_equal(g, other) and np.allclose(accuracy, values) for other, values in distinct):
            distinct.append((g, accuracy))
    return distinct


def _curves_over_noise(tables: Tables, experiment: str, rate_below: float) -> list[tuple[Floats, Floats]]:
    """For each axis value with three batch sizes at which every seed trains: ln g (K,), ascending, and accuracy (K, S)."""
    source = tables.experiment(experiment)
    curves = []
    for curve in response_curves(source["rows"], source["axis"], failed_below=tables.failed_below):
        values = np.asarray(source["rows"][source["axis"]], float)
        rows = select(source["rows"], np.isclose(values, curve.axis_value))
        first = rows.iloc[0]
        if effective_learning_rate(first.learning_rate, first.momentum, first.dampening) >= rate_below:
            continue
        noise = rows.groupby("batch_size")["noise_scale"].first().to_numpy(np.float64)
        trains = (curve.failed.mean(axis=1) == 0) & (noise > 0)
        if trains.sum() >= 3:
            curves.append((np.log(noise[trains])[::-1], aligned_accuracy(curve)[trains][::-1]))
    return curves


def _at_equal_noise(curves: list[tuple[Floats, Floats]], within: float) -> Floats:
    """Accuracy (curves, values of g, seeds) by interpolation, at those g that three curves reach; NaN beyond a curve's ends."""
    seeds = min(accuracy.shape[1] for _, accuracy in curves)
    if seeds < 2:
        raise NotMeasuredError("one seed cannot tell noise from a difference")
    best = np.median([_best_noise(*curve) for curve in curves])
    grid = np.linspace(best - np.log(within), best + np.log(within), POINTS)
    read = np.full((len(curves), len(grid), seeds), np.nan)
    for number, (g, accuracy) in enumerate(curves):
        for s in range(seeds):
            read[number, :, s] = np.interp(grid, g, accuracy[:, s], left=np.nan, right=np.nan)
    shared = np.isfinite(read[..., 0]).sum(axis=0) >= 3
    if not shared.any():
        raise NotMeasuredError("the curves share no range of the noise scale")
    return read[:, shared]


def _best_noise(g: Floats, accuracy: Floats) -> float:
    """The optimum of a curve, ln g, by the headline estimator; at the end of the curve, where it lies beyond."""
    mean = accuracy.mean(axis=1, keepdims=True)
    error = accuracy.std(axis=1, ddof=1, keepdims=True) / np.sqrt(accuracy.shape[1])
    return float(np.clip(polynomial_optimum(g, mean, error, *POLYNOMIALS[HEADLINE])[0], g[0], g[-1]))


def _variance_between(accuracy: Floats) -> float:
    """Variance between curves of their means over seeds, less what the seeds give it; mean over the values of g."""
    between = np.nanvar(accuracy.mean(axis=2), axis=0, ddof=1)
    within = np.nanmean(accuracy.var(axis=2, ddof=1), axis=0) / accuracy.shape[2]
    return float((between - within).mean())


def _noise(tables: Tables, sampling: str = "independent") -> pd.DataFrame:
    table = tables.frame("gradient_noise")
    first = table["update"] == table["update"].min()
    return select(table, np.asarray(first & (table["sampling"] == sampling)))


@measure
@in_units("ratio")
def covariance_ratio(tables: Tables, sampling: Literal["independent", "replacement", "shuffle"] = "independent") -> Measured:
    """Measured over predicted trace of the noise covariance at initialization, at the batch size farthest from 1.

    For each seed that batch size is the other seeds' choice.
    """
    rows = _noise(tables, sampling)
    ratios = rows.pivot(index="batch_size", columns="seed", values="ratio").dropna()
    values = ratios.to_numpy(np.float64)
    n = values.shape[1]
    if not len(values) or n < 2:
        raise NotMeasuredError("a ratio at the worst batch size needs two seeds, of which others choose it")

    def farthest(seeds: Places) -> Places:
        means = [np.delete(values[:, seeds], s, axis=1).mean(axis=1) for s in range(len(seeds))]
        return np.abs(np.array(means) - 1).argmax(axis=1)

    interval = jackknife_interval(lambda seeds: float(values[farthest(seeds), seeds].mean()), n, least=2)
    sizes = ratios.index.to_numpy(np.float64)
    at = np.median(sizes[farthest(np.arange(n))])
    detail = (
        f"measured over predicted trace, batches {sampling}, at B = {at:g} in the median, the farthest "
        f"from 1 of {len(sizes)} batch sizes by the other seeds"
    )
    return Measured.of(interval, detail)


@measure
@in_units("exponent")
def noise_shape_slope(tables: Tables, column: Literal["skewness", "excess_kurtosis"]) -> Measured:
    """Slope of ln(column) over ln B at initialization for B up to N/10, seed by seed."""
    rows = _noise(tables)
    rows = select(rows, np.asarray(rows["batch_size"] <= rows["n_train"] / 10))
    values = rows.pivot(index="batch_size", columns="seed", values=column)
    if len(values) < 3:
        raise NotMeasuredError("a slope needs three batch sizes")
    x = np.log(values.index.to_numpy(np.float64))
    slopes = (x - x.mean()) @ np.log(values.to_numpy(np.float64)) / ((x - x.mean()) ** 2).sum()
    at_30 = rows.loc[rows["batch_size"] == 30, column]
    detail = f"slope of ln {column} over ln B at initialization ({at_30.mean():.3g} at B = 30)"
    return Measured.of(mean_interval(slopes), detail)
