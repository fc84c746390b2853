"""Measures of the optimum batch size: its gain, its exponents, and the accuracy there (section 5, figures 4 to 7).

Takes the cells of an experiment, or the table `scaling`; gives the value behind each claim on them. Accuracies in [0, 1], batch
sizes in examples. Means over seeds have t-intervals; exponents and skewed differences are bootstrapped over seeds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, fit_optima, headline, scaling_exponent
from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    chosen_by_others,
    mean_interval,
    paired_difference,
    percentile_interval,
    proportion_interval,
    seed_counts,
)
from bayes_sgd.analysis.optimum import ResponseCurve, SweepRows, interior_optimum, response_curves
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, measure, select


def _curve(tables: Tables, name: str, at: float) -> tuple[ResponseCurve, pd.DataFrame]:
    """The curve of an experiment at one axis value, and its rows."""
    experiment = tables.experiment(name)
    rows = experiment["rows"]
    rows = select(rows, np.isclose(np.asarray(rows[experiment["axis"]], dtype=np.float64), at))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {name} has no cell at {experiment['axis']} = {at:g}")
    return response_curves(rows, experiment["axis"], failed_below=tables.failed_below)[0], rows


@measure
def interior_gain(tables: Tables, experiment: str, at: float, over: Literal["largest", "smallest_stable"]) -> Measured:
    """Gain of the best batch size over the `largest` or the `smallest_stable` one, on held-out seeds."""
    curve, _ = _curve(tables, experiment, at)
    result = interior_optimum(curve, tables.rng)
    gain = {"largest": result.over_largest, "smallest_stable": result.over_smallest_stable}[over]
    if np.isnan(gain.value):
        raise NotMeasuredError("an interior optimum needs two seeds and three batch sizes")
    end = curve.batch_sizes[-1] if over == "largest" else np.median(result.stable)
    detail = (
        f"test accuracy after {curve.updates} updates at the best B, {np.median(result.chosen):g} in the median as the "
        f"other seeds choose it, minus that at B = {end:g}"
    )
    return Measured.of(gain, detail)


@measure
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
    interval, used, _ = scaling_exponent(optima)
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


@measure
def peak_change(tables: Tables, experiment: str, start: float, end: float) -> Measured:
    """Peak test accuracy at axis value `end` minus that at `start`, each seed at the batch sizes that the others choose."""
    curves = _curves(tables, experiment)
    (first, b_start), (last, b_end) = (_held_out_peak(_at(curves, value, experiment)) for value in (start, end))
    axis = tables.experiment(experiment)["axis"]
    detail = (
        f"peak test accuracy at {axis} {end:g} (B = {np.median(b_end):g}) minus that at {start:g} (B = {np.median(b_start):g})"
    )
    return Measured.of(paired_difference(last, first), detail)


@measure
def gap_trend(tables: Tables, experiment: str, factor: float) -> Measured:
    """Slope over ln(axis) of the gap between the best batch size and one `factor` times as large; per seed, then t.

    The larger one is the nearest that was sampled; axis values without one of at least half the factor are left out.
    """
    x, gaps = [], []
    for curve in _curves(tables, experiment):
        peak, chosen = _held_out_peak(curve)
        larger = np.abs(np.log(curve.batch_sizes) - np.log(factor * np.median(chosen))).argmin()
        if curve.batch_sizes[larger] >= factor / 2 * np.median(chosen):
            x.append(np.log(curve.axis_value))
            gaps.append(peak - curve.accuracy[larger])
    if len(x) < 3:
        raise NotMeasuredError("a trend of the gap needs three axis values")
    centred = np.array(x) - np.mean(x)
    slopes = centred @ np.array(gaps) / (centred**2).sum()
    detail = (
        f"slope over ln {tables.experiment(experiment)['axis']} of the gap in test accuracy between the best B and "
        f"{factor:g} times as large a one, {np.mean(gaps[0]):.4f} at {np.exp(x[0]):g} and {np.mean(gaps[-1]):.4f} at "
        f"{np.exp(x[-1]):g}"
    )
    return Measured.of(mean_interval(slopes), detail)


@measure
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
    return Measured.of(Interval(float(largest[0]), *percentile_interval(largest[1:], n), n), detail)
