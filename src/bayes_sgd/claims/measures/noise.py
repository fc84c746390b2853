"""Measures of the noise in the gradient: how Gaussian it is, and whether the noise scale alone fixes the accuracy.

Takes the table `gradient_noise`, or the cells of several experiments; gives the value behind each claim on them (section 5,
figure 9). The collapse is in units of test accuracy, [0, 1].

Method: docs/evidence.md, Gradient noise.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from bayes_sgd.analysis.exponent import HEADLINE, POLYNOMIALS
from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    jackknife_interval,
    mean_interval,
)
from bayes_sgd.analysis.optimum import aligned_accuracy, polynomial_optimum, response_curves
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select
from bayes_sgd.experiment.noise_scale import effective_learning_rate

POINTS = 201  # values of g at which curves are compared: so many that none at the end of a curve matters


@measure
@in_units("fraction")
def noise_scale_collapse(
    tables: Tables,
    experiments: list[str],
    side: Literal["up to the optimum", "beyond the optimum"],
    within: float = 4.0,
    rate_below: float = np.inf,
) -> Measured:
    """How far accuracies at equal noise scale g differ between cells of several experiments, beyond the noise of the seeds.

    Each series (experiment, axis value) is a curve over ln g, the same runs counted once, of the seeds that all experiments
    have. At `POINTS` values of g from the curves' median optimum to a factor `within` below or beyond it, each curve is read by
    linear interpolation where its networks train. The value is the standard deviation between curves, less what the seeds
    alone give. The interval is Student's by a jackknife over seeds of the variance, whose estimate may be negative.

    Args:
        tables: of the run.
        experiments: names of those that are compared.
        side: of the optimum. Beyond it networks soon fail to train.
        within: see above.
        rate_below: only curves whose effective learning rate is smaller count.
    """
    seeds = set.intersection(*(set(tables.experiment(name)["rows"]["seed"]) for name in experiments))
    curves = _distinct([curve for name in experiments for curve in _curves_over_noise(tables, name, rate_below, seeds)])
    if len(curves) < 3:
        raise NotMeasuredError("a collapse needs three curves that train")
    best = float(np.median([_best_noise(*curve) for curve in curves]))
    ends = (best - np.log(within), best) if side == "up to the optimum" else (best, best + np.log(within))
    detail = (
        f"standard deviation of test accuracy at equal noise scale between {len(curves)} curves of {', '.join(experiments)}, "
        f"g from {np.exp(ends[0]):.3g} to {np.exp(ends[1]):.3g}, {side}"
    )
    return Measured.of(spread_interval(_at_equal_noise(curves, np.linspace(*ends, POINTS))), detail)


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


def _curves_over_noise(tables: Tables, experiment: str, rate_below: float, seeds: set[int]) -> list[tuple[Floats, Floats]]:
    """For each axis value with three batch sizes at which every seed trains: ln g (K,), ascending, and accuracy (K, S)."""
    source = tables.experiment(experiment)
    axis, runs = source["axis"], select(source["rows"], source["rows"]["seed"].isin(sorted(seeds)).to_numpy())
    curves = []
    for curve in response_curves(runs, axis, failed_below=tables.failed_below):
        rows = select(runs, np.isclose(np.asarray(runs[axis], float), curve.axis_value))
        first = rows.iloc[0]
        if effective_learning_rate(first.learning_rate, first.momentum, first.dampening) >= rate_below:
            continue
        noise = rows.groupby("batch_size")["noise_scale"].first().to_numpy(np.float64)
        trains = (curve.failed.mean(axis=1) == 0) & (noise > 0)
        if trains.sum() >= 3:
            curves.append((np.log(noise[trains])[::-1], aligned_accuracy(curve)[trains][::-1]))
    return curves


def _at_equal_noise(curves: list[tuple[Floats, Floats]], grid: Floats) -> Floats:
    """Accuracy (curves, values of g, seeds) by interpolation, at those ln g that three curves reach; NaN beyond their ends."""
    seeds = min(accuracy.shape[1] for _, accuracy in curves)
    if seeds < 2:
        raise NotMeasuredError("one seed cannot tell noise from a difference")
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


@measure
@in_units("of a Gaussian, 0")
def noise_shape(tables: Tables, column: Literal["skewness", "excess_kurtosis"], batch_size: int) -> Measured:
    """Mean over weights of |skewness| or of excess kurtosis of the gradient of a batch at initialization; a Gaussian has 0.

    How they fall with B follows from the sampling alone, and is no claim.
    """
    table = tables.frame("gradient_noise")
    rows = select(table, np.asarray((table["sampling"] == "independent") & (table["batch_size"] == batch_size)))
    rows = select(rows, np.isfinite(np.asarray(rows[column], dtype=np.float64)))
    if rows.empty:
        raise NotMeasuredError(f"the run has no shape of the noise at B = {batch_size}")
    updates = sorted({int(update) for update in rows["update"]})
    at = {update: rows.loc[rows["update"] == update, column].to_numpy(np.float64) for update in updates}
    later = ", ".join(f"{at[update].mean():.3g} after {update} updates" for update in updates[1:])
    name = "|skewness|" if column == "skewness" else "excess kurtosis"
    detail = f"mean {name} of the gradient over weights at B = {batch_size}, initial weights{f' ({later})' if later else ''}"
    return Measured.of(mean_interval(at[updates[0]]), detail)
