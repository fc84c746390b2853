"""Takes the cells of paired seeds; gives B_opt per axis value and its scaling exponent, with intervals (Figs. 5-7).

The law under test is B_opt ∝ εN/(1−m). `fit_optima` redoes the chain in each bootstrap replicate over seeds;
`optimum_table` and `scaling_table` turn its result into tables. Batch sizes in examples, accuracies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Variance,
    bootstrap_variance,
    optimum_interval,
    p_value,
    seed_counts,
    student_interval,
    with_holm,
)
from bayes_sgd.analysis.optimum import (
    Bools,
    ResponseCurve,
    SweepRows,
    aligned_accuracy,
    argmax_optimum,
    counted_runs,
    plateau_optimum,
    polynomial_optimum,
    response_curves,
    side_of_grid,
)
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import OPTIMUM, SCALING

SWEPT = ("learning_rate", "momentum", "n_train")  # the axes along which the paper follows the optimum
# What verdicts, predictions, advice and metrics rest on: failed runs count, ε constant, the whole budget of updates
TREATMENT = "included"
PHASE = "constant"
BUDGET = 1.0
HEADLINE = "cubic"  # and this estimator; see `claims.coverage_study`
TREATMENTS = (TREATMENT, "excluded")
ESTIMATORS = (HEADLINE, "argmax", "quadratic", "plateau")
# Degree and window of the polynomials in ln B; see `polynomial_optimum`.
POLYNOMIALS = {"quadratic": (2, 3.0), "cubic": (3, 4.0)}


@dataclass(frozen=True)
class Optima:
    """Optima along one axis with their replicates; natural logarithms of B, ±inf where censored, NaN without data.

    `log_b` (J,), `replicates` (J, R), J axis values; replicate r is the same draw of seeds at every axis value.
    """

    experiment: str
    axis: str
    treatment: str
    estimator: str
    fraction: float
    curves: list[ResponseCurve]
    log_b: Floats
    replicates: Floats
    phase: str = PHASE

    @property
    def is_headline(self) -> bool:
        """Whether `headline` would choose the rows of these optima."""
        return (self.phase, self.fraction, self.treatment, self.estimator) == (PHASE, BUDGET, TREATMENT, HEADLINE)


def scaling_variable(axis: str, values: Floats) -> Floats:
    """What B_opt is proportional to along `axis`: 1/(1−m) for momentum (paper App. D), else the value itself."""
    return 1 / (1 - values) if axis == "momentum" else values


def replicate_means(curve: ResponseCurve, treatment: str, counts: Floats) -> tuple[Bools, Floats, Floats]:
    """Means of a curve in the sample itself and in each replicate of `counts` (S, R).

    Gives which batch sizes count, (K,), and for these the means and their standard errors, (K', 1 + R); −inf where no drawn run
    counts, NaN throughout a replicate without any.
    """
    runs, rows = counted_runs(curve, treatment)
    draws = np.hstack([np.ones((len(curve.seeds), 1)), counts])
    runs = runs[rows]
    n = runs @ draws
    drawn = n.any(axis=0)
    accuracy = np.where(runs, aligned_accuracy(curve)[rows], 0.0)
    mean = np.divide(accuracy @ draws, n, out=np.where(n > 0, 0.0, np.where(drawn, -np.inf, np.nan)), where=n > 0)
    deviation = np.where(n > 0, mean, 0.0)
    variance = np.divide(accuracy**2 @ draws, n, out=np.zeros(n.shape), where=n > 0) - deviation**2
    return rows, mean, np.sqrt(np.maximum(variance, 0.0) / np.maximum(n - 1, 1))


def _optimum_replicates(curve: ResponseCurve, treatment: str, estimator: str, counts: Floats) -> Floats:
    """The optimum (1 + R,): first of the sample itself, then of each replicate of `counts` (S, R)."""
    # Where no batch size trains, the best of accuracies at chance is no optimum, failed runs included or not.
    if not counted_runs(curve, "excluded")[1].any():
        return np.full(counts.shape[1] + 1, np.nan)
    rows, mean, error = replicate_means(curve, treatment, counts)
    log_b, drawn = np.log(curve.batch_sizes[rows]), ~np.isnan(mean).any(axis=0)
    mean = np.where(drawn, mean, 0.0)
    if estimator == "argmax":
        optimum = argmax_optimum(log_b, mean)
    elif estimator == "plateau":
        optimum = plateau_optimum(log_b, mean, error)
    else:
        # Weights are those of the sample: a replicate's own, from some four distinct seeds, would make its fit noisier than the
        # estimate is, and the intervals too wide (`claims.coverage_study`).
        optimum = polynomial_optimum(log_b, mean, error[:, :1], *POLYNOMIALS[estimator])
    return np.where(drawn, optimum, np.nan)


def log_slope(x: Floats, log_b: Floats, min_points: int = 3) -> Floats:
    """Least-squares slope of `log_b` (J, R) on ln `x`, `x` (J,) -> (R,); each column leaves out what is not finite.

    NaN with fewer than `min_points`. Unweighted (our choice): what moves a point (grid, shape of the curve) is common
    to all, and weights from a few seeds, whose argmax often has no spread, are noisier than what they would mend.
    """
    used = np.isfinite(log_b)
    n = used.sum(axis=0)
    count = np.maximum(n, 1)
    y = np.where(used, log_b, 0.0)
    dx = np.where(used, np.log(x)[:, None] - (used * np.log(x)[:, None]).sum(axis=0) / count, 0.0)
    spread = (dx**2).sum(axis=0)
    return np.divide((dx * y).sum(axis=0), spread, out=np.full(n.shape, np.nan), where=(n >= min_points) & (spread > 0))


def fit_optima(
    experiments: Mapping[str, SweepRows],
    *,
    treatments: Sequence[str] = TREATMENTS,
    estimators: Sequence[str] = ESTIMATORS,
    fraction: float = 1.0,
    failed_below: float = 0.5,
    n_replicates: int = 2000,
    rng: int = 0,
    phase: str = "constant",
) -> list[Optima]:
    """Optimum and bootstrap replicates for each experiment, treatment of failed runs, and estimator.

    Treatments: see `counted_runs`. Seeds are drawn once for all batch sizes and axis values, for they are paired.
    Experiments without rows, or along an axis without numbers (labels), have no optimum to follow and are left out.
    """
    optima = []
    for name, experiment in experiments.items():
        rows, axis = experiment["rows"], experiment["axis"]
        if rows.empty or not pd.api.types.is_numeric_dtype(rows[axis]):
            continue
        curves = response_curves(rows, axis, fraction, failed_below)
        counts = seed_counts(len(curves[0].seeds), n_replicates, rng)
        for treatment in treatments:
            for estimator in estimators:
                log_b, drawn = optima_of(curves, treatment, estimator, counts)
                optima.append(Optima(name, axis, treatment, estimator, fraction, curves, log_b, drawn, phase))
    return optima


def optima_of(curves: Sequence[ResponseCurve], treatment: str, estimator: str, counts: Floats) -> tuple[Floats, Floats]:
    """Optima ln B of each curve (J,), and in each replicate of `counts` (S, R), (J, R); see `Optima`."""
    drawn = np.array([_optimum_replicates(curve, treatment, estimator, counts) for curve in curves])
    return drawn[:, 0], drawn[:, 1:]


def optimum_table(optima: Sequence[Optima]) -> pd.DataFrame:
    """One row per experiment, axis value, treatment and estimator.

    A censored optimum has no number: `b_opt` and its interval are NaN, `censored_side` says where it lies (`below`,
    `above`) and `argmax` the best batch size sampled. `grid_low`, `grid_high`: the batch sizes sampled next to the best
    (the paper's error bar), NaN where there is none. An end of 0 or inf: the grid does not bound the optimum there.
    `censored_fraction`: share of replicates that are censored. `failure_fraction`: share of failed runs at `argmax`;
    `failures`: the same for each batch size, as text. `peak_accuracy`: the mean accuracy at `argmax`.
    """
    rows = []
    for o in optima:
        for j, curve in enumerate(o.curves):
            runs, enough = counted_runs(curve, o.treatment)
            accuracy = np.where(runs, aligned_accuracy(curve), 0.0)
            mean = np.where(enough, accuracy.sum(axis=1) / np.maximum(runs.sum(axis=1), 1), -np.inf)
            top = int(mean.argmax())
            peak = curve.accuracy[top][runs[top]]
            failed = curve.failed.sum(axis=1) / np.maximum(np.isfinite(curve.accuracy).sum(axis=1), 1)
            inside = bool(np.isfinite(o.log_b[j]))
            low, high = optimum_interval(o.log_b[j], o.replicates[j], len(curve.seeds)) if inside else (np.nan, np.nan)
            b = curve.batch_sizes
            rows.append(
                {
                    "experiment": o.experiment,
                    "axis": o.axis,
                    "axis_value": curve.axis_value,
                    "updates": curve.updates,
                    "treatment": o.treatment,
                    "estimator": o.estimator,
                    "b_opt": float(np.exp(o.log_b[j])) if inside else np.nan,
                    "ci_low": low,
                    "ci_high": high,
                    "censored": not inside,
                    "peak_accuracy": mean[top] if enough.any() else np.nan,
                    "peak_accuracy_se": float(peak.std(ddof=1) / np.sqrt(len(peak))) if len(peak) > 1 else np.nan,
                    "argmax": b[top],
                    "grid_low": b[top - 1] if top > 0 else np.nan,
                    "grid_high": b[top + 1] if top < len(b) - 1 else np.nan,
                    "censored_side": side_of_grid(o.log_b[j]),
                    "censored_fraction": float((~np.isfinite(o.replicates[j])).mean()),
                    "failure_fraction": failed[top],
                    "failures": " ".join(f"{size:g}:{share:.2f}" for size, share in zip(b, failed, strict=True)),
                    "seeds": len(curve.seeds),
                    "scaling_variable": float(scaling_variable(o.axis, np.array([curve.axis_value]))[0]),
                    "budget_fraction": o.fraction,
                    "phase": o.phase,
                }
            )
    return pd.DataFrame(rows, columns=list(OPTIMUM.names))


def headline(
    table: pd.DataFrame,
    *,
    phase: str | None = PHASE,
    budget: float | None = BUDGET,
    treatment: str | None = TREATMENT,
    estimator: str | None = HEADLINE,
) -> pd.DataFrame:
    """The rows of the table `optimum` or `scaling` that results rest on: one for each experiment (and axis value).

    Args:
        table: as `optimum_table` or `scaling_table` gives it, read back or not.
        phase: of the training; `None` here and below takes all of them, each with a row of its own.
        budget: share of the budget of updates.
        treatment: of failed runs.
        estimator: of the optimum.

    Raises:
        UserError: a column is missing, or two rows have the same experiment, axis value and choice.
    """
    name = "optimum" if "axis_value" in table else "scaling"
    choice = {"phase": phase, "budget_fraction": budget, "treatment": treatment, "estimator": estimator}
    key = ["experiment", *(["axis_value"] if "axis_value" in table else []), *choice]
    for column in key:
        if column not in table:
            raise UserError(f"{name}: the table has no column {column}")
    for column, value in choice.items():
        if value is not None:
            table = table.loc[table[column] == value]
    repeated = table.loc[table.duplicated(key)]
    if len(repeated):
        row = ", ".join(f"{column} {value}" for column, value in repeated.iloc[0][key].items())
        raise UserError(f"{name}: more than one row with {row}; allowed: one")
    return table


def slope_variances(x: Floats, log_b: Floats, replicates: Floats, seeds: int, min_points: int = 3) -> tuple[Variance, Variance]:
    """Variances of the slope: by the seeds, from its bootstrap replicates (J, R), and by the scatter of the points off a line.

    Paired seeds move all points together and say nothing of where the grid of batch sizes and the shape of each curve put a
    point; the residuals, with J − 2 degrees of freedom, say nothing of what moves the whole line. What seeds scatter from point
    to point is in both. Half of it is taken out of the second, down to 0: by simulated studies, intervals cover too often with
    none taken out, and too seldom with all of it (`claims.coverage_study`).
    """
    by_seeds = bootstrap_variance(log_slope(x, replicates, min_points), seeds)
    if len(x) < 3:
        return by_seeds, Variance(0.0, 0)
    centred = np.log(x) - np.log(x).mean()
    residuals = log_b - log_b.mean() - float(log_slope(x, log_b[:, None], min_points)[0]) * centred
    by_point = [bootstrap_variance(row, seeds).value for row in replicates] if seeds > 1 else [0.0]
    scatter = (residuals**2).sum() / (len(x) - 2) - np.nanmean(by_point) / 2
    return by_seeds, Variance(float(max(0.0, scatter) / (centred**2).sum()), len(x) - 2)


def scaling_exponent(o: Optima, keep: Bools | None = None, min_points: int = 3) -> tuple[Interval, Bools, float, float]:
    """Exponent with its interval, the axis values used (J,), the share of replicates with one of these censored, p of 1.

    `keep` (J,) restricts the axis values. A point that the sample itself censors is out; one that only a replicate
    censors is out of that replicate. Interval and p are Student's, from `slope_variances`.
    """
    x = scaling_variable(o.axis, np.array([c.axis_value for c in o.curves]))
    used = np.isfinite(o.log_b) & (x > 0) & (True if keep is None else keep)
    x = x[used]
    value = float(log_slope(x, o.log_b[used, None], min_points)[0])
    seeds = len(o.curves[0].seeds)
    if np.isnan(value):
        return Interval(np.nan, np.nan, np.nan, seeds), used, np.nan, np.nan
    draws = o.replicates[used]
    variances = slope_variances(x, o.log_b[used], draws, seeds, min_points)
    interval = Interval(value, *student_interval(value, *variances), seeds)
    return interval, used, float((~np.isfinite(draws)).any(axis=0).mean()), p_value(value, 1.0, *variances)


def scaling_table(optima: Sequence[Optima], min_points: int = 3) -> pd.DataFrame:
    """One row per experiment, treatment and estimator: exponent of B_opt in the scaling variable (`1/(1−m)` for momentum).

    `updates`: the largest budget along the axis; `budget`: the budget in words (fixed, or in proportion to 1/(scaling
    variable)). `n_points`, `ratio`: uncensored axis values, largest over smallest of their scaling variables.
    `censored_fraction`: share of replicates in which at least one of these was censored and left out. `p_proportional`: of the
    exponent 1, from Student's t as the interval is; `p_holm`: the same, corrected (Holm 1979) for the
    experiments that test the same law along ε, N and m, by treatment, estimator, phase and share of the budget.
    """
    rows = []
    for o in optima:
        interval, used, censored, p = scaling_exponent(o, min_points=min_points)
        x = scaling_variable(o.axis, np.array([c.axis_value for c in o.curves]))[used]
        ratio = float(x.max() / x.min()) if used.any() else np.nan
        rows.append(scaling_row(o, o.estimator, interval, int(used.sum()), ratio, p, censored))
    return with_holm(pd.DataFrame(rows, columns=list(SCALING.without("p_holm"))), SWEPT)


def budget_words(o: Optima) -> str:
    """The rule of the updates along an axis: a number, what stays constant when multiplied with them, or their range."""
    x = scaling_variable(o.axis, np.array([c.axis_value for c in o.curves]))
    updates = np.array([c.updates for c in o.curves])
    if len(set(updates.tolist())) == 1:
        return f"{updates[0]} updates"
    if np.ptp(x * updates) <= 0.02 * (x * updates).max():
        name = "1/(1-momentum)" if o.axis == "momentum" else o.axis
        return f"{name} x updates = {float((x * updates).max()):g}"
    return f"{updates.min()} to {updates.max()} updates"


def scaling_row(
    o: Optima, estimator: str, interval: Interval, n_points: int, ratio: float, p: float, censored: float = 0.0
) -> dict[str, Any]:
    """One row of the scaling table, from an exponent with its interval, the axis values behind it and the p of exponent 1."""
    x = scaling_variable(o.axis, np.array([c.axis_value for c in o.curves]))
    return {
        "experiment": o.experiment,
        "axis": o.axis,
        "updates": max(c.updates for c in o.curves),
        "treatment": o.treatment,
        "estimator": estimator,
        "exponent": interval.value,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "n_points": n_points,
        "ratio": ratio,
        "width": interval.high - interval.low,
        "n_censored": len(x) - n_points,
        "censored_fraction": censored,
        "seeds": interval.n,
        "budget": budget_words(o),
        "budget_fraction": o.fraction,
        "phase": o.phase,
        "p_proportional": p,
    }
