"""Measures of the simple noise scale at a fixed training loss against N, and of the optimum beside it (docs/disputes.md).

Takes the table `simple_noise` and the cells of its experiments along N; gives the value behind each claim on them. A noise
scale is the mean of tr Σ over the mean of |G|², both over seeds. Intervals are Student's, by a bootstrap over seeds; that of
the optimum has the grid's rounding too.

Method: docs/disputes.md, How they are judged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayes_sgd.analysis.censored import censored_fit, power_law
from bayes_sgd.analysis.intervals import Floats, Interval, Variance, bootstrap_variance, seed_counts, student_interval
from bayes_sgd.analysis.n_law import LAW_REPLICATES, budget_optima
from bayes_sgd.analysis.prediction import STEP
from bayes_sgd.claims.measures.base import Measured, NotMeasuredError, Tables, in_units, measure, select


class NoiseScales(NamedTuple):
    """Simple noise scales at one loss.

    Attributes:
        n_train: N, (J,), ascending.
        seeds: (S,), ascending.
        log_b: ln B_simple, (J, 1 + R): of all seeds, then of bootstrap replicates; NaN where the mean of |G|² is not above 0.
    """

    n_train: Floats
    seeds: list[int]
    log_b: Floats

    def slopes(self) -> Floats:
        """Slope of ln B_simple in ln N by least squares, (1 + R,)."""
        x = np.log(self.n_train) - np.log(self.n_train).mean()
        return x @ self.log_b / (x @ x)


def noise_scales(tables: Tables, experiment: str, loss: float) -> NoiseScales:
    """B_simple of an experiment's networks where their training loss first is at or below `loss`.

    Raises:
        NotMeasuredError: fewer than three N or seeds, a network that does not come so low, or no mean beyond the noise.
    """
    frame = tables.frame("simple_noise")
    rows = select(frame, np.asarray((frame["experiment"] == experiment) & np.isclose(frame["loss"].to_numpy(np.float64), loss)))
    grids = [rows.pivot(index="n_train", columns="seed", values=name).sort_index() for name in ("trace", "mean_square")]
    trace, square = (grid.to_numpy(np.float64) for grid in grids)
    if min(trace.shape) < 3:
        raise NotMeasuredError(f"fewer than three N or seeds of {experiment} have a simple noise scale at a loss of {loss:g}")
    if np.isnan(trace).any():
        raise NotMeasuredError(f"not every network of {experiment} comes to a training loss of {loss:g}")
    seeds = trace.shape[1]
    counts = seed_counts(seeds, min(tables.n_replicates, LAW_REPLICATES), tables.rng)
    weights = np.hstack([np.ones((seeds, 1)), counts])
    traces, squares = trace @ weights, square @ weights
    log_b = np.log(traces, out=np.full(traces.shape, np.nan), where=squares > 0)
    log_b -= np.log(squares, out=np.full(squares.shape, np.nan), where=squares > 0)
    if np.isnan(log_b[:, 0]).any():
        raise NotMeasuredError(f"the gradients of {experiment} show no mean beyond their noise at a loss of {loss:g}")
    return NoiseScales(grids[0].index.to_numpy(np.float64), [int(seed) for seed in grids[0].columns], log_b)


def _listed(log_b: Floats, n_train: Floats) -> str:
    return f"{', '.join(f'{b:.3g}' for b in np.exp(log_b))} at N = {', '.join(f'{n:g}' for n in n_train)}"


@measure
@in_units("exponent")
def simple_noise_exponent(tables: Tables, experiment: str, loss: float) -> Measured:
    """Exponent of the simple noise scale in N, where the training loss first is at or below `loss`."""
    found = noise_scales(tables, experiment, loss)
    slopes, seeds = found.slopes(), len(found.seeds)
    ends = student_interval(float(slopes[0]), bootstrap_variance(slopes[1:], seeds))
    detail = f"exponent in n_train of B_simple at a training loss of {loss:g}: {_listed(found.log_b[:, 0], found.n_train)}"
    return Measured.of(Interval(float(slopes[0]), *ends, seeds), detail)


@measure
@in_units("exponent")
def simple_noise_gap(tables: Tables, experiment: str, loss: float) -> Measured:
    """Exponent of the optimum in N minus that of the simple noise scale at a fixed training loss; seeds paired."""
    found = noise_scales(tables, experiment, loss)
    rows = tables.experiment(experiment)["rows"]
    seeds = len(found.seeds)
    if sorted(set(rows["seed"])) != found.seeds:
        raise NotMeasuredError(f"cells and simple noise scales of {experiment} have different seeds")
    options = {"failed_below": tables.failed_below, "n_replicates": min(tables.n_replicates, LAW_REPLICATES), "rng": tables.rng}
    optima = budget_optima(rows, "n_train", **options).last()
    if not np.array_equal(optima.n_train, found.n_train) or np.isfinite(optima.optimum.log_b[:, 0]).sum() < 2:
        raise NotMeasuredError(f"optima and simple noise scales of {experiment} are not of the same N, or optima are censored")
    slopes = censored_fit(optima.optimum, power_law(optima.n_train)).parameters[1] - found.slopes()
    centred = np.log(optima.n_train) - np.log(optima.n_train).mean()
    grid = Variance(float(STEP**2 / 12 / (centred**2).sum()), np.inf)
    ends = student_interval(float(slopes[0]), bootstrap_variance(slopes[1:], seeds), grid)
    sizes = _listed(optima.optimum.log_b[:, 0], optima.n_train)
    detail = f"exponent in n_train of the optimum, B = {sizes}, minus that of B_simple at a training loss of {loss:g}"
    detail += f", {_listed(found.log_b[:, 0], found.n_train)}"
    return Measured.of(Interval(float(slopes[0]), *ends, seeds), detail)
