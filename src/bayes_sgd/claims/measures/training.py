"""Takes the tables of a run; gives the measured quantity behind each claim about training itself, with its 95 % interval.

Sections 4 and 5 of the paper and its appendices B and C (figures 3, 5a, 6a, 8, 9). Accuracies in [0, 1], cross-entropies in
nats.
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
from bayes_sgd.analysis.optimum import ResponseCurve, aligned_accuracy, response_curves
from bayes_sgd.claims.measures.optimum import Measured, NotMeasuredError, Tables, experiment_of, measured_as, where
from bayes_sgd.experiment.noise_scale import effective_learning_rate

Phase = Literal["constant", "after_cooldown", "iterate_average"]
Size = Literal["smallest", "largest"]


# --- figures 3 and 8: small batch and full batch, with and without L2 --------------------------------------------------------


def _by_seed(
    tables: Tables, experiment: str, column: str, l2: float, batch_size: Size, phase: Phase = "constant"
) -> pd.DataFrame:
    """A column of the runs at one λ and one end of the batch sizes: a row per recorded update, a column per seed."""
    rows = experiment_of(tables, experiment, phase)["rows"]
    rows = where(rows, np.isclose(np.asarray(rows["l2"], dtype=np.float64), l2))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {experiment} has no cell with λ = {l2:g}")
    size = {"smallest": rows["batch_size"].min(), "largest": rows["batch_size"].max()}[batch_size]
    return where(rows, np.asarray(rows["batch_size"] == size)).pivot(index="update", columns="seed", values=column)


def _ends(tables: Tables, experiment: str, column: str, l2: float, phase: Phase = "constant") -> tuple[Floats, Floats, str]:
    small, large = (_by_seed(tables, experiment, column, l2, size, phase) for size in ("smallest", "largest"))
    rows = experiment_of(tables, experiment, phase)["rows"]
    words = (
        f"B = {rows['batch_size'].min():g} minus B = {rows['batch_size'].max():g} after {small.index[-1]} updates, λ = {l2:g}"
    )
    return small.iloc[-1].to_numpy(np.float64), large.iloc[-1].to_numpy(np.float64), words


def batch_gap(
    tables: Tables, experiment: str, l2: float = 0.0, column: str = "test_accuracy", phase: Phase = "constant"
) -> Measured:
    """A column at the last update, smallest batch size minus largest, over paired seeds."""
    small, large, words = _ends(tables, experiment, column, l2, phase)
    return measured_as(paired_difference(small, large), f"{column}, {words}{'' if phase == 'constant' else f', {phase}'}")


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
    return measured_as(mean_interval(ratio), detail)


def gap_ratio(tables: Tables, experiment: str, l2: float) -> Measured:
    """Gap in test accuracy between smallest and largest batch size with λ over that without; bootstrap over paired seeds."""
    small, large, words = _ends(tables, experiment, "test_accuracy", l2)
    small_0, large_0, _ = _ends(tables, experiment, "test_accuracy", 0.0)
    n = len(small)
    counts = np.hstack([np.ones((n, 1)), seed_counts(n, tables.n_replicates, tables.rng)])
    base = (small_0 - large_0) @ counts
    ratios = np.divide((small - large) @ counts, base, out=np.full(len(base), np.nan), where=base != 0)
    return measured_as(
        Interval(float(ratios[0]), *percentile_interval(ratios[1:], n), n), f"gap with λ over gap without, {words}"
    )


# --- figures 5a and 6a: heights of the peaks ---------------------------------------------------------------------------------


def _curves(tables: Tables, experiment: str) -> list[ResponseCurve]:
    source = experiment_of(tables, experiment)
    return response_curves(source["rows"], source["axis"], failed_below=tables.failed_below)


def _held_out_peak(curve: ResponseCurve) -> tuple[Floats, Floats]:
    """For each seed its accuracy at the batch size that the other seeds choose, and that batch size."""
    accuracy, seeds = curve.accuracy, np.arange(curve.accuracy.shape[1])
    if len(seeds) < 2:
        raise NotMeasuredError("one seed cannot choose a batch size for another")
    best = chosen_by_others(accuracy)
    return accuracy[best, seeds], curve.batch_sizes[best]


def _at(curves: list[ResponseCurve], value: float, experiment: str) -> ResponseCurve:
    for curve in curves:
        if np.isclose(curve.axis_value, value):
            return curve
    raise NotMeasuredError(f"the experiment {experiment} has no cell at {value:g}")


def peak_change(tables: Tables, experiment: str, start: float, end: float) -> Measured:
    """Peak test accuracy at axis value `end` minus that at `start`, each seed at the batch sizes that the others choose."""
    curves = _curves(tables, experiment)
    (first, at), (last, to) = (_held_out_peak(_at(curves, value, experiment)) for value in (start, end))
    axis = experiment_of(tables, experiment)["axis"]
    detail = f"peak test accuracy at {axis} {end:g} (B = {np.median(to):g}) minus that at {start:g} (B = {np.median(at):g})"
    return measured_as(paired_difference(last, first), detail)


def gap_trend(tables: Tables, experiment: str, factor: float) -> Measured:
    """Slope over ln(axis) of the gap between the best batch size and one `factor` times as large; per seed, then t.

    The larger one is the nearest that was sampled; axis values without one of at least half the factor are left out.
    """
    x, gaps = [], []
    for curve in _curves(tables, experiment):
        peak, chosen = _held_out_peak(curve)
        at = np.abs(np.log(curve.batch_sizes) - np.log(factor * np.median(chosen))).argmin()
        if curve.batch_sizes[at] >= factor / 2 * np.median(chosen):
            x.append(np.log(curve.axis_value))
            gaps.append(peak - curve.accuracy[at])
    if len(x) < 3:
        raise NotMeasuredError("a trend of the gap needs three axis values")
    centred = np.array(x) - np.mean(x)
    slopes = centred @ np.array(gaps) / (centred**2).sum()
    detail = (
        f"slope over ln {experiment_of(tables, experiment)['axis']} of the gap in test accuracy between the best B and "
        f"{factor:g} times as large a one, {np.mean(gaps[0]):.4f} at {np.exp(x[0]):g} and {np.mean(gaps[-1]):.4f} at "
        f"{np.exp(x[-1]):g}"
    )
    return measured_as(mean_interval(slopes), detail)


def failure_threshold(tables: Tables, experiment: str, at: float) -> Measured:
    """The largest batch size at which more than half of the seeds fail to train; bootstrap over seeds."""
    curve = _at(_curves(tables, experiment), at, experiment)
    n = curve.failed.shape[1]
    counts = np.hstack([np.ones((n, 1)), seed_counts(n, tables.n_replicates, tables.rng)]) / n
    fails = curve.failed @ counts > 0.5
    last = len(fails) - 1 - fails[::-1].argmax(axis=0)
    largest = np.where(fails.any(axis=0), curve.batch_sizes[last], np.nan)
    if np.isnan(largest[0]):
        raise NotMeasuredError(f"more than half of the seeds train at every batch size, from {curve.batch_sizes[0]:g} on")
    detail = f"largest batch size at which most seeds fail, {experiment} = {at:g}"
    return measured_as(Interval(float(largest[0]), *percentile_interval(largest[1:], n), n), detail)


def noise_scale_collapse(tables: Tables, experiments: list[str], within: float = 4.0, rate_below: float = np.inf) -> Measured:
    """How far accuracies at equal noise scale g differ between cells of several experiments, beyond the noise of the seeds.

    Each series (experiment, axis value) is a curve over ln g; at 9 values of g within a factor `within` of the one with the
    best mean accuracy, each curve is read by linear interpolation where its networks train. The value is the standard
    deviation between curves, less what the seeds alone give; bootstrap over seeds. In accuracy, [0, 1]. `rate_below`: only
    curves whose effective learning rate is smaller.
    """
    curves = []
    for name in experiments:
        source = experiment_of(tables, name)
        for curve in response_curves(source["rows"], source["axis"], failed_below=tables.failed_below):
            rows = where(source["rows"], np.isclose(np.asarray(source["rows"][source["axis"]], float), curve.axis_value))
            first = rows.iloc[0]
            if effective_learning_rate(first.learning_rate, first.momentum, first.dampening) >= rate_below:
                continue
            noise = rows.groupby("batch_size")["noise_scale"].first().to_numpy(np.float64)
            trains = (curve.failed.mean(axis=1) == 0) & (noise > 0)
            if trains.sum() >= 3:
                curves.append((np.log(noise[trains])[::-1], aligned_accuracy(curve)[trains][::-1]))
    if len(curves) < 3:
        raise NotMeasuredError("a collapse needs three curves that train")
    seeds = min(accuracy.shape[1] for _, accuracy in curves)
    if seeds < 2:
        raise NotMeasuredError("one seed cannot tell noise from a difference")
    best = np.median([g[accuracy.mean(axis=1).argmax()] for g, accuracy in curves])
    grid = np.linspace(best - np.log(within), best + np.log(within), 9)
    read = np.full((len(curves), len(grid), seeds), np.nan)
    for number, (g, accuracy) in enumerate(curves):
        for s in range(seeds):
            read[number, :, s] = np.interp(grid, g, accuracy[:, s], left=np.nan, right=np.nan)
    shared = np.isfinite(read[..., 0]).sum(axis=0) >= 3
    if not shared.any():
        raise NotMeasuredError("the curves share no range of the noise scale")
    read = read[:, shared]

    there = np.isfinite(read[..., 0])
    error = float((read.var(axis=2, ddof=1) / seeds)[there].mean())

    def spread(counts: Floats) -> float:
        between = np.nanvar(read @ counts / counts.sum(), axis=0, ddof=1)
        return float(np.sqrt(max(0.0, between.mean() - error)))

    value = spread(np.ones(seeds))
    draws = np.array([spread(count) for count in seed_counts(seeds, min(tables.n_replicates, 500), tables.rng).T])
    detail = (
        f"standard deviation of test accuracy at equal noise scale between {len(curves)} curves of {', '.join(experiments)}"
    )
    return measured_as(Interval(value, *percentile_interval(draws, seeds), seeds), detail)


# --- section 5 and figure 9: the noise itself --------------------------------------------------------------------------------


def _noise(tables: Tables, sampling: str = "independent") -> pd.DataFrame:
    if tables.noise is None or tables.noise.empty:
        raise NotMeasuredError("the run has not measured the gradient's noise")
    first = tables.noise["update"] == tables.noise["update"].min()
    return where(tables.noise, np.asarray(first & (tables.noise["sampling"] == sampling)))


def covariance_ratio(tables: Tables, sampling: Literal["independent", "replacement", "shuffle"] = "independent") -> Measured:
    """Measured over predicted trace of the noise covariance at initialization, at the batch size farthest from 1."""
    rows = _noise(tables, sampling)
    rows = where(rows, np.isfinite(np.asarray(rows["ratio"], float)))
    found = {size: mean_interval(group["ratio"].to_numpy(float)) for size, group in rows.groupby("batch_size")}
    worst = max(found, key=lambda size: max(abs(found[size].low - 1), abs(found[size].high - 1)))
    detail = (
        f"measured over predicted trace, batches {sampling}, at B = {worst}, the farthest from 1 of {len(found)} batch sizes"
    )
    return measured_as(found[worst], detail)


def noise_shape_slope(tables: Tables, column: Literal["skewness", "excess_kurtosis"]) -> Measured:
    """Slope of ln(column) over ln B at initialization for B up to N/10, seed by seed."""
    rows = _noise(tables)
    rows = where(rows, np.asarray(rows["batch_size"] <= rows["n_train"] / 10))
    values = rows.pivot(index="batch_size", columns="seed", values=column)
    if len(values) < 3:
        raise NotMeasuredError("a slope needs three batch sizes")
    x = np.log(values.index.to_numpy(np.float64))
    slopes = (x - x.mean()) @ np.log(values.to_numpy(np.float64)) / ((x - x.mean()) ** 2).sum()
    at = rows.loc[rows["batch_size"] == 30, column]
    return measured_as(mean_interval(slopes), f"slope of ln {column} over ln B at initialization ({at.mean():.3g} at B = 30)")


NETWORK_QUANTITIES = {
    function.__name__: function
    for function in (
        batch_gap,
        loss_rise,
        gap_ratio,
        peak_change,
        gap_trend,
        failure_threshold,
        noise_scale_collapse,
        covariance_ratio,
        noise_shape_slope,
    )
}
