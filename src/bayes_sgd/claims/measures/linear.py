"""Measures of the linear model (section 3, figures 1 and 2).

Takes the table `linear`; gives the value behind each claim on it. Accuracies in [0, 1], cross-entropies and evidence in nats,
λ as in C = H + λ‖ω‖²/2. Means over seeds have t-intervals; of ranks and minima, by a jackknife over seeds.

Method: docs/method.md, The linear model.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Places,
    chosen_by_others,
    held_out,
    jackknife_interval,
    mean_interval,
    spearman,
)
from bayes_sgd.claims.measures.base import OF_COLUMN, Labels, Measured, NotMeasuredError, Tables, in_units, measure, select

NEAR = 0.5  # decades of λ on either side of a curve's lowest point through which its vertex is found (our choice)
# A few test images that are sure and wrong shape the mean cross-entropy of few seeds; left out or not, a seed then changes
# neither ranks nor minima, and a jackknife sees no error (our choice).
FEWEST_SEEDS = 8


def _linear_grid(tables: Tables, labels: Labels, *columns: str) -> tuple[Floats, list[Floats]]:
    """λ (L,) ascending and each column (L, S), over the seeds that have a finite value everywhere."""
    table = tables.frame("linear")
    rows = select(table, np.asarray(table["labels"] == labels))
    grids = [rows.pivot(index="l2", columns="seed", values=column) for column in columns]
    if not len(rows):
        raise NotMeasuredError(f"the linear model was not fitted to {labels} labels")
    finite = np.all([np.isfinite(grid.to_numpy(dtype=np.float64)).all(axis=0) for grid in grids], axis=0)
    if not finite.any():
        raise NotMeasuredError(f"no seed of the linear model was fitted at every λ to {labels} labels")
    return np.asarray(grids[0].index, dtype=np.float64), [grid.to_numpy(dtype=np.float64)[:, finite] for grid in grids]


@measure
@in_units(OF_COLUMN)
def linear_mean(tables: Tables, column: str, labels: Labels, l2: Literal["weakest", "strongest"]) -> Measured:
    """Mean of a column of the linear table at the `weakest` or the `strongest` λ."""
    grid, (values,) = _linear_grid(tables, labels, column)
    row = {"weakest": 0, "strongest": -1}[l2]
    detail = f"mean {column} of the linear model on {labels} labels at λ = {grid[row]:.3g}"
    return Measured.of(mean_interval(values[row]), detail)


@measure
@in_units("fraction")
def linear_error_reduction(tables: Tables, labels: Labels) -> Measured:
    """Share of the test errors at the weakest λ that the best λ removes; for each seed the best is the other seeds' choice.

    So the best of many λ's does not win by luck. Ties choose the weakest λ. Every seed needs an error.
    """
    grid, (accuracy, loss) = _linear_grid(tables, labels, "test_accuracy", "test_loss")
    if accuracy.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose λ for another")
    if (accuracy[0] == 1).any():
        raise NotMeasuredError("a seed makes no test error at the weakest λ; a share of the errors needs more test images")

    def reduction(seeds: Places) -> float:
        sample = accuracy[:, seeds]
        return float(1 - (1 - held_out(sample, sample)).mean() / (1 - sample[0]).mean())

    chosen = np.median(grid[chosen_by_others(accuracy)])
    saved = 1 - held_out(loss, -loss).mean() / loss[0].mean()
    detail = (
        f"share of the test errors that the best λ, {chosen:.3g} in the median as other seeds choose it, removes from those at "
        f"λ = {grid[0]:.3g}, {100 * (1 - accuracy[0]).mean():.3g} % (of the test cross-entropy it removes {saved:.0%})"
    )
    return Measured.of(jackknife_interval(reduction, accuracy.shape[1], least=2), detail)


@measure
@in_units("rank correlation")
def linear_margin_trend(tables: Tables, labels: Labels) -> Measured:
    """Rank correlation of the mean margin with λ; jackknife over seeds."""
    grid, (margin,) = _linear_grid(tables, labels, "margin")
    rho = spearman(np.broadcast_to(grid[:, None], margin.shape), margin)
    detail = f"rank correlation of mean margin and λ on {labels} labels over λ = {grid[0]:.3g} to {grid[-1]:.3g}"
    return Measured.of(rho, detail)


@measure
@in_units("ratio")
def linear_margin_ratio(tables: Tables) -> Measured:
    """Mean margin with real labels over that with random labels at the weakest λ, seed by seed."""
    grid, (real,) = _linear_grid(tables, "real", "margin")
    other, (random,) = _linear_grid(tables, "random", "margin")
    if real.shape[1] != random.shape[1] or grid[0] != other[0]:
        raise NotMeasuredError("real and random labels were not fitted at the same λ and seeds")
    detail = f"margin with real labels over margin with random labels at λ = {grid[0]:.3g}"
    return Measured.of(mean_interval(real[0] / random[0]), detail)


@measure
@in_units("nats")
def linear_lowest_evidence(tables: Tables, labels: Labels, up_to: float = np.inf) -> Measured:
    """Lowest log evidence ratio E over λ up to a bound, mean over seeds: above 0 the null model is preferred at each λ."""
    grid, (evidence,) = _linear_grid(tables, labels, "log_evidence_ratio")
    evidence = evidence[grid <= up_to * (1 + 1e-9)]
    if not len(evidence):
        raise NotMeasuredError(f"the linear model was fitted at no λ up to {up_to:g}")
    lowest = evidence.min(axis=0)
    detail = (
        f"lowest E in nats over λ{'' if np.isinf(up_to) else f' up to {up_to:g}'} on {labels} labels, mean over seeds, with "
        f"{lowest.min():.3g} in the lowest seed and E < 0 in {int((evidence < 0).sum())} of {evidence.size} fits"
    )
    return Measured.of(mean_interval(lowest), detail)


@measure
@in_units("ratio")
def linear_evidence_chance(tables: Tables) -> Measured:
    """Largest over λ of the mean of e^−E over seeds, with random labels; each seed at the λ that the other seeds find largest.

    Over all labellings the mean of an exact e^−E is 1 at any λ, for the evidence sums to 1 over the labels. A mean above 1 says
    that E is too low.
    """
    grid, (evidence,) = _linear_grid(tables, "random", "log_evidence_ratio")
    if evidence.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose λ for another")
    ratio = np.exp(-evidence)
    at = np.median(grid[chosen_by_others(ratio)])
    interval = jackknife_interval(lambda seeds: held_out(ratio[:, seeds], ratio[:, seeds]).mean(), ratio.shape[1], least=2)
    detail = f"mean of e^−E on random labels at λ = {at:.3g} in the median, where the other seeds find it largest (exact: 1)"
    return Measured.of(interval, detail)


@measure
@in_units("decades of λ")
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
    return Measured.of(mean_interval(decades), f"decades of λ with E below {below:g} nats on {labels} labels")


@measure
@in_units("fraction")
def linear_evidence_regret(tables: Tables, labels: Labels) -> Measured:
    """Share of test cross-entropy lost at each data set's λ of the largest evidence, over the best λ by the other seeds.

    Ratio of the means over seeds, minus 1; jackknife over seeds, choices included.
    """
    grid, (evidence, loss) = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    if loss.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose λ for another")
    chosen = evidence.argmin(axis=0)

    def regret(seeds: Places) -> float:
        return float(loss[chosen[seeds], seeds].mean() / held_out(loss[:, seeds], -loss[:, seeds]).mean() - 1)

    weakest = loss[0].mean() / held_out(loss, -loss).mean() - 1
    detail = (
        f"test cross-entropy at the λ of the largest evidence ({np.median(grid[chosen]):.3g} in the median) over that at the "
        f"best ({np.median(grid[chosen_by_others(-loss)]):.3g}), minus 1 (at λ = {grid[0]:.3g} it is {weakest:.3g})"
    )
    return Measured.of(jackknife_interval(regret, loss.shape[1], least=2), detail)


@measure
@in_units("decades of λ")
def linear_minima_distance(tables: Tables, labels: Labels) -> Measured:
    """Log10 λ at the minimum of E minus log10 λ at the minimum of the test cross-entropy.

    The minima are of the curves averaged over seeds, as Fig. 2b draws them; jackknife over seeds. (The minimum of one seed's
    cross-entropy is that of a few hard test images.)
    """
    grid, (evidence, loss) = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    interval = minima_distance(np.log10(grid), evidence, loss)
    return Measured.of(
        interval, f"decades of λ from the minimum of the test cross-entropy to the minimum of E on {labels} labels"
    )


def minima_distance(log_l2: Floats, evidence: Floats, loss: Floats) -> Interval:
    """Lowest point of the mean of `evidence` minus that of `loss`, both (L, S), in units of `log_l2` (L,)."""

    def distance(seeds: Places) -> float:
        return _lowest(log_l2, evidence[:, seeds].mean(axis=1)) - _lowest(log_l2, loss[:, seeds].mean(axis=1))

    return jackknife_interval(distance, loss.shape[1], least=FEWEST_SEEDS - 1)


def _lowest(log_l2: Floats, curve: Floats) -> float:
    """Where a curve (L,) is lowest: the vertex of a parabola within `NEAR` decades of the lowest point.

    A point of the grid would not move with the curve but jump. No vertex there: the lowest point itself.
    """
    lowest = int(curve.argmin())
    near = np.abs(log_l2 - log_l2[lowest]) <= NEAR + 1e-9
    x = log_l2[near] - log_l2[lowest]
    bend, slope, _ = np.polyfit(x, curve[near], 2) if near.sum() > 2 else (0.0, 0.0, 0.0)
    vertex = -slope / (2 * bend) if bend > 0 else 0.0
    return float(log_l2[lowest] + (vertex if x.min() <= vertex <= x.max() else 0.0))


@measure
@in_units("rank correlation")
def linear_evidence_rank(tables: Tables, labels: Labels) -> Measured:
    """Rank correlation over λ of E and the test cross-entropy, averaged over seeds; jackknife over `FEWEST_SEEDS` or more."""
    grid, (evidence, loss) = _linear_grid(tables, labels, "log_evidence_ratio", "test_loss")
    detail = f"rank correlation of E and test cross-entropy over {len(grid)} values of λ on {labels} labels"
    return Measured.of(spearman(evidence, loss, least=FEWEST_SEEDS - 1), detail)
