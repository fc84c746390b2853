"""Measures of the optimum batch size: its gain, its exponents, and the accuracy there (section 5, figures 4 to 7).

Takes the cells of an experiment, or the table `scaling`; gives the value behind each claim on them. Accuracies in [0, 1], batch
sizes in examples. Intervals are Student's over seeds: by a bootstrap for exponents, by a jackknife where seeds choose for each
other.

Method: docs/statistics.md, The optimum batch size; docs/statistics.md, Exponents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, fit_optima, headline, scaling_exponent
from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Places,
    Variance,
    chosen_by_others,
    held_out,
    jackknife_interval,
    proportion_interval,
    rounding_variance,
    student_interval,
)
from bayes_sgd.analysis.optimum import ResponseCurve, SweepRows, interior_optimum, response_curves
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select


def _curve(tables: Tables, name: str, at: float) -> tuple[ResponseCurve, pd.DataFrame]:
    """The curve of an experiment at one axis value, and its rows."""
    experiment = tables.experiment(name)
    rows = experiment["rows"]
    rows = select(rows, np.isclose(np.asarray(rows[experiment["axis"]], dtype=np.float64), at))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {name} has no cell at {experiment['axis']} = {at:g}")
    return response_curves(rows, experiment["axis"], failed_below=tables.failed_below)[0], rows


@measure
@in_units("fraction")
def interior_gain(tables: Tables, experiment: str, at: float, over: Literal["largest", "smallest_fitting"]) -> Measured:
    """Gain of the best batch size over the `largest` or the `smallest_fitting` one, on held-out seeds."""
    curve, _ = _curve(tables, experiment, at)
    result = interior_optimum(curve)
    gain, ends = {
        "largest": (result.over_largest, curve.batch_sizes[-1:]),
        "smallest_fitting": (result.over_smallest_fitting, result.fitting),
    }[over]
    if np.isnan(gain.value):
        raise NotMeasuredError(
            "an interior optimum needs two seeds, three batch sizes, and some that fit the training set and some that do not"
        )
    detail = (
        f"test accuracy after {curve.updates} updates at the best B, {np.median(result.chosen):g} in the median as the "
        f"other seeds choose it, minus that at B = {np.median(ends):.4g}"
    )
    return Measured.of(gain, detail)


@measure
@in_units("fraction")
def failure_share(tables: Tables, experiment: str, at: float, batch_size: Literal["smallest", "largest"]) -> Measured:
    """Share of seeds that fail to train at the `smallest` or `largest` batch size sampled (Clopper-Pearson)."""
    curve, rows = _curve(tables, experiment, at)
    k = {"smallest": 0, "largest": -1}[batch_size]
    runs = np.isfinite(curve.accuracy[k])
    noise = float(np.asarray(rows.loc[rows["batch_size"] == curve.batch_sizes[k], "noise_scale"], dtype=np.float64)[0])
    detail = (
        f"share of runs that fail at the {batch_size} batch size, B = {curve.batch_sizes[k]:g} with noise scale "
        f"g = {noise:.3g}, of {len(curve.batch_sizes)} sampled"
    )
    return Measured.of(proportion_interval(int(curve.failed[k].sum()), int(runs.sum())), detail)


@measure
@in_units("exponent")
def exponent(tables: Tables, experiment: str, axis_from: float | None = None, axis_below: float | None = None) -> Measured:
    """Exponent of B_opt (failed runs included, the headline estimator); bootstrap over seeds.

    Needs three uncensored optima. That of the whole axis comes from the scaling table. Between `axis_from` and `axis_below` the
    cells are fitted here, in the same way.
    """
    source = tables.experiment(experiment)
    if axis_from is None and axis_below is None:
        return _exponent_of_table(tables, experiment)
    values = np.asarray(source["rows"][source["axis"]], dtype=np.float64)
    part, words = np.ones(len(values), dtype=bool), []
    if axis_from is not None:
        part &= values >= axis_from
        words.append(f"{source['axis']} ≥ {axis_from:g}")
    if axis_below is not None:
        part &= values < axis_below
        words.append(f"{source['axis']} < {axis_below:g}")
    if not part.any():
        raise NotMeasuredError(f"the experiment {experiment} has no cell with {' and '.join(words)}")
    return _exponent_of_cells(tables, experiment, {"axis": source["axis"], "rows": select(source["rows"], part)}, words)


def _exponent_of_cells(tables: Tables, experiment: str, rows: SweepRows, words: list[str]) -> Measured:
    (optima,) = fit_optima(
        {experiment: rows},
        treatments=[TREATMENT],
        estimators=[HEADLINE],
        failed_below=tables.failed_below,
        n_replicates=tables.n_replicates,
        rng=tables.rng,
    )
    interval, used, _, _ = scaling_exponent(optima)
    if np.isnan(interval.value):
        raise NotMeasuredError(
            f"{used.sum()} of {len(used)} optima with {' and '.join(words)} lie inside the grid; an exponent needs 3"
        )
    values = [curve.axis_value for curve in optima.curves]
    detail = f"exponent of B_opt from {used.sum()} optima with {rows['axis']} from {min(values):g} to {max(values):g}"
    return Measured.of(interval, detail)


def _exponent_of_table(tables: Tables, experiment: str) -> Measured:
    scaling = tables.frame("scaling")
    rows = scaling.loc[scaling["experiment"] == experiment]
    if rows.empty:
        raise NotMeasuredError(f"the scaling table has no row for {experiment}")
    rows = headline(rows, treatment=None, estimator=None)
    by_method = {(row["treatment"], row["estimator"]): row for row in rows.to_dict("records")}
    row = by_method.pop((TREATMENT, HEADLINE), None)
    if row is None or np.isnan(row["exponent"]):
        n_points = 0 if row is None else row["n_points"]
        raise NotMeasuredError(f"{n_points} optima of {experiment} lie inside the grid; an exponent needs 3")
    others = ", ".join(
        f"{' '.join(method)} {other['exponent']:.2f} [{other['ci_low']:.2f}, {other['ci_high']:.2f}]"
        for method, other in by_method.items()
    )
    detail = f"exponent of B_opt from {row['n_points']} optima over a factor of {row['ratio']:.3g}"
    return Measured(
        row["exponent"],
        row["ci_low"],
        row["ci_high"],
        row["seeds"],
        f"{detail} (also {others})" if others else detail,
    )


def _curves(tables: Tables, experiment: str) -> list[ResponseCurve]:
    source = tables.experiment(experiment)
    return response_curves(source["rows"], source["axis"], failed_below=tables.failed_below)


def _chosen(curve: ResponseCurve) -> Floats:
    """For each seed the batch size that the other seeds choose as the best."""
    if curve.accuracy.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose a batch size for another")
    return curve.batch_sizes[chosen_by_others(curve.accuracy)]


def _at(curves: list[ResponseCurve], value: float, experiment: str) -> ResponseCurve:
    for curve in curves:
        if np.isclose(curve.axis_value, value):
            return curve
    raise NotMeasuredError(f"the experiment {experiment} has no cell at {value:g}")


@measure
@in_units("fraction")
def peak_change(tables: Tables, experiment: str, start: float, end: float) -> Measured:
    """Peak test accuracy at axis value `end` minus that at `start`, each seed at the batch sizes that the others choose."""
    curves = _curves(tables, experiment)
    first, last = (_at(curves, value, experiment) for value in (start, end))
    axis = tables.experiment(experiment)["axis"]
    detail = (
        f"peak test accuracy at {axis} {end:g} (B = {np.median(_chosen(last)):g}) minus that at {start:g} "
        f"(B = {np.median(_chosen(first)):g})"
    )
    return Measured.of(peak_change_interval(first.accuracy, last.accuracy), detail)


def peak_change_interval(first: Floats, last: Floats) -> Interval:
    """Held-out peak of accuracies `last` (K, S) minus that of `first` (K', S), seeds paired."""

    def change(seeds: Places) -> float:
        a, b = first[:, seeds], last[:, seeds]
        return float((held_out(b, b) - held_out(a, a)).mean())

    return jackknife_interval(change, first.shape[1], least=2)


@measure
@in_units("fraction per decade")
def peak_slope(tables: Tables, experiment: str, start: float, end: float) -> Measured:
    """Slope of the peak test accuracy over log₁₀ of the axis from `start` to `end`; seeds choose batch sizes for each other."""
    curves = [
        curve
        for curve in _curves(tables, experiment)
        if start * (1 - 1e-9) <= curve.axis_value <= end * (1 + 1e-9) and len(curve.seeds) > 1
    ]
    if len(curves) < 3:
        raise NotMeasuredError(f"a slope of the peak needs three axis values between {start:g} and {end:g}, and two seeds")
    detail = (
        f"slope of the peak test accuracy over log₁₀ {tables.experiment(experiment)['axis']}, {len(curves)} values from "
        f"{curves[0].axis_value:g} to {curves[-1].axis_value:g}"
    )
    return Measured.of(peak_slope_interval(curves), detail)


def peak_slope_interval(curves: Sequence[ResponseCurve]) -> Interval:
    """Slope of the curves' held-out peaks over log₁₀ of the axis, seeds paired."""
    log_axis = np.log10([curve.axis_value for curve in curves])

    def slope(seeds: Places) -> float:
        peaks = [held_out(curve.accuracy[:, seeds], curve.accuracy[:, seeds]).mean() for curve in curves]
        return float(np.polyfit(log_axis, peaks, 1)[0])

    return jackknife_interval(slope, len(curves[0].seeds), least=2)


@measure
@in_units("fraction per factor e")
def gap_trend(tables: Tables, experiment: str, factor: float) -> Measured:
    """Slope over ln(axis) of the gap between the best batch size and one `factor` times as large, as a share of the errors.

    Both batch sizes are as the other seeds choose, and the larger one is the nearest that was sampled. Every axis value must
    have one within a quarter of the logarithm of the factor, or the trend would compare different ratios.
    """
    curves = _curves(tables, experiment)
    if len(curves) < 3:
        raise NotMeasuredError("a trend of the gap needs three axis values")
    for curve in curves:
        if _relative_gap(curve, factor, np.arange(len(curve.seeds))) is None:
            raise NotMeasuredError(
                f"at {tables.experiment(experiment)['axis']} = {curve.axis_value:g} no batch size is {factor:g} times the best"
            )
    x = np.log([curve.axis_value for curve in curves])

    def slope(seeds: Places) -> float:
        gaps = np.array([_relative_gap(curve, factor, seeds) for curve in curves], dtype=np.float64)  # None is NaN
        used = np.isfinite(gaps)
        return float(np.polyfit(x[used], gaps[used], 1)[0]) if used.sum() > 1 else np.nan

    every = np.arange(curves[0].accuracy.shape[1])
    gaps = ", ".join(f"{_relative_gap(curve, factor, every):.3f}" for curve in curves)
    detail = (
        f"slope over ln {tables.experiment(experiment)['axis']} of the gap in test accuracy between the best B and one "
        f"{factor:g} times as large, as a share of the errors at the best; the gaps are {gaps} from {np.exp(x[0]):g} to "
        f"{np.exp(x[-1]):g}"
    )
    return Measured.of(jackknife_interval(slope, len(every), least=2), detail)


def _relative_gap(curve: ResponseCurve, factor: float, seeds: Places) -> float | None:
    """The gap over some seeds that choose for one another, over their errors; None where one has no larger batch size."""
    part = replace(curve, accuracy=curve.accuracy[:, seeds], failed=curve.failed[:, seeds], seeds=curve.seeds[seeds])
    log_b, log_best = np.log(curve.batch_sizes), np.log(_chosen(part))
    larger = np.abs(log_b[:, None] - log_best - np.log(factor)).argmin(axis=0)
    if (np.abs(log_b[larger] - log_best - np.log(factor)) > np.log(factor) / 4).any():
        return None
    best, every = np.abs(log_b[:, None] - log_best).argmin(axis=0), np.arange(len(seeds))
    top = part.accuracy[best, every].mean()
    return float((top - part.accuracy[larger, every].mean()) / (1 - top)) if top < 1 else None


@measure
@in_units("examples")
def failure_threshold(tables: Tables, experiment: str, at: float) -> Measured:
    """The batch size up to which training fails, within seeds, geometric mean over seeds.

    Of a seed that fails at k batch sizes the threshold lies midway between the k-th and the next (Spearman and Kärber: failures
    need not be in order). Student's t over seeds; the grid's rounding, alike in all seeds, adds to the variance.
    """
    curve = _at(_curves(tables, experiment), at, experiment)
    return Measured.of(threshold_interval(curve), f"batch size up to which training fails, {experiment} = {at:g}")


def threshold_interval(curve: ResponseCurve) -> Interval:
    """See `failure_threshold`; NotMeasuredError if no seed fails, or one fails everywhere."""
    fails, log_b = curve.failed.sum(axis=0), np.log(curve.batch_sizes)
    if not fails.any():
        raise NotMeasuredError(f"every seed trains at every batch size, from {curve.batch_sizes[0]:g} on")
    if (fails == len(log_b)).any():
        raise NotMeasuredError(f"a seed fails at every batch size, up to {curve.batch_sizes[-1]:g}")
    step = float(np.median(np.diff(log_b)))
    edges = np.concatenate([[log_b[0] - step], log_b])
    middle = (edges[fails] + edges[fails + 1]) / 2
    n = len(middle)
    if n < 2:
        return Interval(float(np.exp(middle[0])), np.nan, np.nan, n)
    ends = student_interval(float(middle.mean()), Variance(float(middle.var(ddof=1)) / n, n - 1), rounding_variance(step))
    value, low, high = (float(np.exp(x)) for x in (middle.mean(), *ends))
    return Interval(value, low, high, n)
