"""Measures of how the optimum depends on N: exponents at equal epochs, and the law B_e + c N/T against one in N alone.

Takes the cells of the experiments at equal epochs; gives the value behind each claim on them. Intervals are Student's, by a
bootstrap over seeds and the grid's rounding.

Method: docs/statistics.md, Exponents.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.censored import censored_fit, offset_law
from bayes_sgd.analysis.exponent import PHASE, scaling_variable
from bayes_sgd.analysis.intervals import Interval, Variance, bootstrap_variance, student_interval
from bayes_sgd.analysis.n_law import LAW_REPLICATES, BudgetOptima, budget_optima, exponent_in, held_out_errors
from bayes_sgd.analysis.prediction import STEP
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select


def _optima(tables: Tables, experiments: list[str], n_replicates: int, updates_from: int) -> BudgetOptima:
    rows = pd.concat([tables.experiment(name)["rows"] for name in experiments], ignore_index=True)
    rows = select(rows, np.asarray(rows["update"]) >= updates_from)
    optima = budget_optima(rows, failed_below=tables.failed_below, n_replicates=n_replicates, rng=tables.rng)
    if len(set(optima.n_train)) < 3:
        raise NotMeasuredError(f"the experiments {', '.join(experiments)} have fewer than three training set sizes")
    return optima


@measure
@in_units("exponent")
def axis_exponent(tables: Tables, experiment: str, of: Literal["optimum", "left_edge"], phase: str = PHASE) -> Measured:
    """Exponent along the axis of the optimum or of the B left of it at half a point less accuracy, at the last update.

    In 1/(1 - m) where the axis is the momentum, else in the axis itself; widths are those of one hidden layer.
    """
    source = tables.experiment(experiment, phase)
    axis, rows = source["axis"], source["rows"]
    rows = rows.assign(**{axis: pd.to_numeric(rows[axis])})
    options = {"failed_below": tables.failed_below, "n_replicates": min(tables.n_replicates, LAW_REPLICATES), "rng": tables.rng}
    optima = budget_optima(rows, axis, **options).last()
    if len(optima.axis_values) < 3:
        raise NotMeasuredError(f"the experiment {experiment} has fewer than three values of {axis}")
    data = {"optimum": optima.optimum, "left_edge": optima.edge}[of]
    words = {"optimum": "the optimum", "left_edge": "the B left of the optimum at which the accuracy is half a point lower"}[of]
    sizes = ", ".join(
        f"{np.exp(b):.3g}" if np.isfinite(b) else f"above {np.exp(high):.3g}" if b > 0 else f"below {np.exp(low):.3g}"
        for b, low, high in zip(data.log_b[:, 0], data.low, data.high, strict=True)
    )
    values = ", ".join(f"{value:g}" for value in optima.axis_values)
    where = f", at N/T = {optima.ratio.mean():.3g}" if np.ptp(optima.ratio) <= 0.01 * optima.ratio.max() else ""
    variable = "1/(1 - momentum)" if axis == "momentum" else axis
    detail = f"exponent in {variable} of {words}{where}: B = {sizes} at {axis} {values}"
    exponent = exponent_in(scaling_variable(axis, optima.axis_values), data, optima.seeds)
    if np.isnan(exponent.value):
        raise NotMeasuredError(f"an exponent needs two optima inside the grid of batch sizes, not B = {sizes} at {values}")
    return Measured.of(exponent, detail)


@measure
@in_units("ratio")
def n_law_ratio(tables: Tables, experiments: list[str], offset: float, epochs: float, updates_from: int = 1) -> Measured:
    """Geometric mean of the measured optimum over `offset` + `epochs` N/T, over all N, and T from `updates_from` on."""
    optima = _optima(tables, experiments, LAW_REPLICATES, updates_from)
    predicted = np.log(offset + epochs * optima.ratio)[:, None]
    mean = optima.optimum.missed_by(predicted).mean(axis=0)
    sizes = len(set(optima.n_train))  # optima of one N may all be rounded to the grid the same way
    ends = student_interval(float(mean[0]), bootstrap_variance(mean[1:], optima.seeds), Variance(STEP**2 / 12 / sizes, np.inf))
    value, low, high = (float(np.exp(x)) for x in (mean[0], *ends))
    detail = f"measured optimum over {offset:g} + {epochs:g} N/T, geometric mean over {len(optima.n_train)} of N and T"
    return Measured(value, low, high, optima.seeds, detail)


@measure
@in_units("natural logarithm")
def n_law_scatter(tables: Tables, experiments: list[str], updates_from: int = 1) -> Measured:
    """Standard deviation of ln B_opt about B_e + c N/T, both constants fitted, over all N, and T from `updates_from` on."""
    optima = _optima(tables, experiments, LAW_REPLICATES, updates_from)
    fit = censored_fit(optima.optimum, offset_law(optima.ratio))
    ends = student_interval(float(fit.scatter[0]), bootstrap_variance(fit.scatter[1:], optima.seeds))
    offset, epochs = fit.parameters[:, 0]
    detail = f"standard deviation of ln B about {offset:.3g} + {epochs:.3g} N/T, over {len(optima.n_train)} of N and T"
    return Measured.of(Interval(float(fit.scatter[0]), *ends, optima.seeds), detail)


@measure
@in_units("ratio")
def n_law_held_out(tables: Tables, experiments: list[str], updates_from: int = 1) -> Measured:
    """Held-out error in ln B_opt (root mean square) of the law B_e + c N/T over that of a law B_e + c N in N alone.

    Each is fitted to the other training set sizes, and predicts all optima of the one left out.
    """
    optima = _optima(tables, experiments, 200, updates_from)
    by_ratio, by_size = (np.sqrt((held_out_errors(x, optima) ** 2).mean(axis=0)) for x in (optima.ratio, optima.n_train))
    ratio = np.log(by_ratio / by_size)
    ends = student_interval(float(ratio[0]), bootstrap_variance(ratio[1:], optima.seeds))
    value, low, high = (float(np.exp(x)) for x in (ratio[0], *ends))
    detail = f"held-out error of ln B by N/T, {by_ratio[0]:.3g}, over that by N alone, {by_size[0]:.3g}"
    return Measured(value, low, high, optima.seeds, detail)
