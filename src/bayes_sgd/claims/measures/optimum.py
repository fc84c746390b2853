"""Takes the tables of a run; gives the measured quantity behind each claim of the paper, with its 95 % interval.

Sections 3 (linear model, Figs. 1-2) and 5 (network, Figs. 4-7). Accuracies in [0, 1], cross-entropies and evidence in
nats, λ as in C = H + λ‖ω‖²/2. Means over a few seeds have t-intervals; what is skewed or ranked is bootstrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, fit_optima, headline, scaling_exponent
from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    chosen_by_others,
    mean_interval,
    percentile_interval,
    proportion_interval,
    seed_counts,
    spearman,
)
from bayes_sgd.analysis.optimum import Bools, ResponseCurve, SweepRows, interior_optimum, response_curves

Labels = Literal["real", "random"]


class NotMeasuredError(Exception):
    """Why a quantity has no value in this run."""


class Measured(NamedTuple):
    """A value with its interval, the seeds behind it, and what it is, in words."""

    value: float
    low: float
    high: float
    seeds: int
    detail: str


@dataclass(frozen=True)
class Tables:
    """What a run has measured; None or absent where it has not. See `claims.claims_table`."""

    linear: pd.DataFrame | None
    scaling: pd.DataFrame | None
    experiments: Mapping[str, SweepRows]
    failed_below: float = 0.5
    n_replicates: int = 2000
    rng: int = 0
    phases: Mapping[str, Mapping[str, SweepRows]] = field(default_factory=dict)
    noise: pd.DataFrame | None = None
    evidence: pd.DataFrame | None = None
    invariance: pd.DataFrame | None = None
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def named(self, name: str) -> pd.DataFrame:
        """Any table of the run by its name; NotMeasuredError if it is not there or empty."""
        if name not in self.frames or self.frames[name].empty:
            raise NotMeasuredError(f"the run has no table {name}")
        return self.frames[name]


def where(frame: pd.DataFrame, mask: Bools) -> pd.DataFrame:
    """The rows of a table that a mask names."""
    return pd.DataFrame(frame.loc[mask])


def measured_as(interval: Interval, detail: str) -> Measured:
    """An interval and what it is of."""
    return Measured(*interval, detail)


# --- linear model ----------------------------------------------------------------------------------------------------


def _linear_grid(tables: Tables, labels: Labels, *columns: str) -> tuple[Floats, list[Floats]]:
    """λ (L,) ascending and each column (L, S), over the seeds that have a finite value everywhere."""
    if tables.linear is None or tables.linear.empty:
        raise NotMeasuredError("the run has no linear model")
    rows = where(tables.linear, np.asarray(tables.linear["labels"] == labels))
    grids = [rows.pivot(index="l2", columns="seed", values=column) for column in columns]
    if not len(rows):
        raise NotMeasuredError(f"the linear model was not fitted to {labels} labels")
    finite = np.all([np.isfinite(grid.to_numpy(dtype=np.float64)).all(axis=0) for grid in grids], axis=0)
    if not finite.any():
        raise NotMeasuredError(f"no seed of the linear model was fitted at every λ to {labels} labels")
    return np.asarray(grids[0].index, dtype=np.float64), [grid.to_numpy(dtype=np.float64)[:, finite] for grid in grids]


def linear_mean(tables: Tables, column: str, labels: Labels, l2: Literal["weakest", "strongest"]) -> Measured:
    """Mean of a column of the linear table at the `weakest` or the `strongest` λ."""
    grid, (values,) = _linear_grid(tables, labels, column)
    at = {"weakest": 0, "strongest": -1}[l2]
    detail = f"mean {column} of the linear model on {labels} labels at λ = {grid[at]:.3g}"
    return measured_as(mean_interval(values[at]), detail)


def linear_accuracy_gain(tables: Tables, labels: Labels) -> Measured:
    """Test accuracy at the best λ minus that at the weakest; for each seed the best is the other seeds' choice.

    So the best of many λ's does not win by luck. Ties choose the weakest λ.
    """
    grid, (accuracy,) = _linear_grid(tables, labels, "test_accuracy")
    seeds = np.arange(accuracy.shape[1])
    if len(seeds) < 2:
        raise NotMeasuredError("one seed cannot choose λ for another")
    best = chosen_by_others(accuracy)
    detail = (
        f"gain in test accuracy of the best λ, {np.median(grid[best]):.3g} in the median as other seeds choose it, "
        f"over λ = {grid[0]:.3g}"
    )
    return measured_as(mean_interval(accuracy[best, seeds] - accuracy[0]), detail)


def linear_margin_trend(tables: Tables, labels: Labels) -> Measured:
    """Rank correlation of the mean margin with λ; bootstrap over seeds."""
    grid, (margin,) = _linear_grid(tables, labels, "margin")
    rho = spearman(np.broadcast_to(grid[:, None], margin.shape), margin, tables.n_replicates, tables.rng)
    detail = f"rank correlation of mean margin and λ on {labels} labels over λ = {grid[0]:.3g} to {grid[-1]:.3g}"
    return measured_as(rho, detail)


def linear_margin_ratio(tables: Tables) -> Measured:
    """Mean margin with real labels over that with random labels at the weakest λ, seed by seed."""
    grid, (real,) = _linear_grid(tables, "real", "margin")
    other, (random,) = _linear_grid(tables, "random", "margin")
    if real.shape[1] != random.shape[1] or grid[0] != other[0]:
        raise NotMeasuredError("real and random labels were not fitted at the same λ and seeds")
    detail = f"margin with real labels over margin with random labels at λ = {grid[0]:.3g}"
    return measured_as(mean_interval(real[0] / random[0]), detail)


def linear_lowest_evidence(tables: Tables, labels: Labels) -> Measured:
    """Lowest log evidence ratio E over λ, mean over seeds: above 0 the null model is preferred at every λ."""
    _, (evidence,) = _linear_grid(tables, labels, "log_evidence_ratio")
    lowest = evidence.min(axis=0)
    detail = (
        f"lowest E in nats over λ on {labels} labels, mean over seeds, with {lowest.min():.3g} in the lowest seed and "
        f"E < 0 in {int((evidence < 0).sum())} of {evidence.size} fits"
    )
    return measured_as(mean_interval(lowest), detail)


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
    return measured_as(mean_interval(decades), f"decades of λ with E below {below:g} nats on {labels} labels")


def linear_minima_distance(tables: Tables, labels: Labels) -> Measured:
    """Log10 λ at the minimum of E minus log10 λ at the minimum of the test cross-entropy.

    The minima are of the curves averaged over seeds, as Fig. 2b draws them; bootstrap over seeds. (The minimum of one seed's
    cross-entropy is that of a few hard test images.)
    """
    grid, curves = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    seeds = curves[0].shape[1]
    draws = np.hstack([np.ones((seeds, 1)), seed_counts(seeds, tables.n_replicates, tables.rng)])
    evidence, loss = (np.log10(grid)[(curve @ draws).argmin(axis=0)] for curve in curves)
    apart = evidence - loss
    detail = f"decades of λ from the minimum of the test cross-entropy to the minimum of E on {labels} labels"
    return measured_as(Interval(float(apart[0]), *percentile_interval(apart[1:], seeds), seeds), detail)


def linear_evidence_rank(tables: Tables, labels: Labels) -> Measured:
    """Rank correlation over λ of E and the test cross-entropy, both averaged over seeds; bootstrap over seeds."""
    grid, (evidence, loss) = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    detail = f"rank correlation of E and test cross-entropy over {len(grid)} values of λ on {labels} labels"
    return measured_as(spearman(evidence, loss, tables.n_replicates, tables.rng), detail)


# --- network ---------------------------------------------------------------------------------------------------------


def experiment_of(tables: Tables, name: str, phase: str = "constant") -> SweepRows:
    """The experiment of that name, in one phase of training; NotMeasuredError if the run has none."""
    experiment = (tables.experiments if phase == "constant" else tables.phases.get(phase, {})).get(name)
    if experiment is None or experiment["rows"].empty:
        raise NotMeasuredError(f"the run has no experiment {name}{'' if phase == 'constant' else f', {phase}'}")
    return experiment


def _curve(tables: Tables, name: str, at: float) -> tuple[ResponseCurve, pd.DataFrame]:
    """The curve of an experiment at one axis value, and its rows."""
    experiment = experiment_of(tables, name)
    rows = experiment["rows"]
    rows = where(rows, np.isclose(np.asarray(rows[experiment["axis"]], dtype=np.float64), at))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {name} has no cell at {experiment['axis']} = {at:g}")
    return response_curves(rows, experiment["axis"], failed_below=tables.failed_below)[0], rows


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
    return measured_as(gain, detail)


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
    return measured_as(proportion_interval(int(curve.failed[k].sum()), int(runs.sum())), detail)


def exponent(tables: Tables, experiment: str, axis_from: float | None = None, axis_below: float | None = None) -> Measured:
    """Exponent of B_opt (failed runs included, the headline estimator), on part of the axis if told so; bootstrap over seeds.

    Needs three uncensored optima. The whole axis comes from the scaling table, a part is fitted here in the same way.
    """
    source = experiment_of(tables, experiment)
    if axis_from is None and axis_below is None:
        return _exponent_of_table(tables, experiment)
    values = np.asarray(source["rows"][source["axis"]], dtype=np.float64)
    part = np.ones(len(values), dtype=bool)
    part &= True if axis_from is None else values >= axis_from
    part &= True if axis_below is None else values < axis_below
    words = " and ".join(
        ([] if axis_from is None else [f"{source['axis']} ≥ {axis_from:g}"])
        + ([] if axis_below is None else [f"{source['axis']} < {axis_below:g}"])
    )
    if not part.any():
        raise NotMeasuredError(f"the experiment {experiment} has no cell with {words}")
    (optima,) = fit_optima(
        {experiment: {"axis": source["axis"], "rows": where(source["rows"], part)}},
        treatments=[TREATMENT],
        estimators=[HEADLINE],
        failed_below=tables.failed_below,
        n_replicates=tables.n_replicates,
        rng=tables.rng,
    )
    interval, used, _ = scaling_exponent(optima)
    if np.isnan(interval.value):
        raise NotMeasuredError(f"{used.sum()} of {len(used)} optima with {words} lie inside the grid; an exponent needs 3")
    sampled = [curve.axis_value for curve in optima.curves]
    detail = f"exponent of B_opt from {used.sum()} optima with {source['axis']} from {min(sampled):g} to {max(sampled):g}"
    return measured_as(interval, detail)


def _exponent_of_table(tables: Tables, experiment: str) -> Measured:
    scaling = tables.scaling
    own = pd.DataFrame() if scaling is None or scaling.empty else scaling.loc[scaling["experiment"] == experiment]
    if own.empty:
        raise NotMeasuredError(f"the scaling table has no row for {experiment}")
    own = headline(own, treatment=None, estimator=None)
    by_method = {(row["treatment"], row["estimator"]): row for row in own.to_dict("records")}
    row = by_method.pop((TREATMENT, HEADLINE), None)
    if row is None or np.isnan(row["exponent"]):
        found = 0 if row is None else row["n_points"]
        raise NotMeasuredError(f"{found} optima of {experiment} lie inside the grid; an exponent needs 3")
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


def label_fit(tables: Tables, experiment: str, column: str, labels: Labels) -> Measured:
    """Mean of a column at the last update of runs on `labels`, at the batch size with the best training accuracy."""
    rows = experiment_of(tables, experiment)["rows"]
    rows = where(rows, np.asarray((rows["labels"] == labels) & (rows["update"] == rows["updates"])))
    if rows.empty:
        raise NotMeasuredError(f"the experiment {experiment} has no run on {labels} labels")
    batch_size, updates, trained, values = (
        np.asarray(rows[name], dtype=np.float64) for name in ("batch_size", "updates", "train_accuracy", column)
    )
    best = max(np.unique(batch_size), key=lambda b: trained[batch_size == b].mean())
    detail = f"mean {column} on {labels} labels at B = {best:g} after {updates.max():g} updates"
    return measured_as(mean_interval(values[batch_size == best]), detail)


Quantity = Callable[..., Measured]

QUANTITIES: dict[str, Quantity] = {
    function.__name__: function
    for function in (
        linear_mean,
        linear_accuracy_gain,
        linear_margin_trend,
        linear_margin_ratio,
        linear_lowest_evidence,
        linear_evidence_decades,
        linear_minima_distance,
        linear_evidence_rank,
        interior_gain,
        failure_share,
        exponent,
        label_fit,
    )
}
