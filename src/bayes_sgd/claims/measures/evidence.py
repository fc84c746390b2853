"""Measures of the evidence of trained networks as a predictor of their test accuracy, and of its sign.

Takes the tables `network_evidence` and `invariance`; gives the value behind each claim on them. The paper argues that small
batches find minima of larger evidence (section 4), and computes none. E and cross-entropies in nats, accuracies in [0, 1].

Method: docs/evidence.md, Evidence of networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    Places,
    Variance,
    correlation,
    held_out,
    jackknife_interval,
    mean_interval,
    mean_rank_interval,
    rank_correlation,
    ranks,
    rounding_variance,
    student_interval,
)
from bayes_sgd.claims.measures.base import Labels, Measured, NotMeasuredError, Tables, in_units, measure, select
from bayes_sgd.claims.measures.networks import RANKED, Point, at_best, at_worst, complete, judged, stationary

Predictor = Literal["evidence", "sharpness", "weight_norm"]
Predicted = Literal["sgd_test_accuracy", "test_accuracy", "fit"]
PREDICTED = {
    "sgd_test_accuracy": "test accuracy of the network as SGD left it",
    "test_accuracy": "test accuracy at the same point",
    "fit": "minus the test cross-entropy of the network as SGD left it",
}


def _residual(values: Floats, given: Floats) -> Floats:
    """What is left of `values` (K, S) after a straight line in `given` (K, S), within each seed."""
    x, y = given - given.mean(0), values - values.mean(0)
    return y - x * np.divide((x * y).sum(0), (x**2).sum(0), out=np.zeros(x.shape[1]), where=(x**2).sum(0) > 0)


def ranked(statistic: Callable[[Places], Floats], settings: int, difference: bool = False) -> tuple[Interval, str]:
    """The mean over seeds of rank correlations, as `mean_rank_interval` has it, and in words how far one batch size decides it.

    `statistic`: from the places of some of the batch sizes to the correlations over them, a seed each.
    """
    every = np.arange(settings)
    without = [float(statistic(np.delete(every, k)).mean()) for k in every]
    words = f", {min(without):.2g} to {max(without):.2g} without one of them"
    return mean_rank_interval(statistic(every), settings, difference), words


def _over(sizes: Floats, rows: pd.DataFrame) -> str:
    return f"over {len(sizes)} batch sizes, {sizes[0]:g} to {sizes[-1]:g}, N = {rows['n_train'].iloc[0]}"


@measure
@in_units("rank correlation")
def evidence_rank(
    tables: Tables,
    point: Point,
    n_train: int | None = None,
    predictor: Predictor = "evidence",
    of: Predicted = "sgd_test_accuracy",
    given: Literal["nothing", "weight_norm"] = "nothing",
) -> Measured:
    """Rank correlation over batch sizes of a predictor with what it should predict, within seeds, mean over seeds.

    Only batch sizes whose networks interpolate. Those are as they are: the interval is over seeds, and the words say how far
    the value hangs on one of them.

    Args:
        tables: of the run.
        point: where the predictor is taken.
        n_train: which N; that of the figures if not given.
        predictor: −E at the empirical-Bayes λ, minus the largest eigenvalue, or the norm of the weights.
        of: what it should predict: the test accuracy of the network as SGD left it, that of the model at the point itself, or
            `fit`, minus the test cross-entropy of the former, with which the paper compares evidence.
        given: partial rank correlation, so that the evidence gets no credit for the norm of the weights.
    """
    rows = at_best(judged(tables, point, "real", n_train))
    sizes, (x, y, norm) = complete(rows, [predictor, of, "weight_norm"], RANKED)

    def within_seeds(kept: Places) -> Floats:
        a, b, c = (ranks(values[kept]) for values in (x, y, norm))
        return correlation(_residual(a, c), _residual(b, c)) if given == "weight_norm" else correlation(a, b)

    interval, words = ranked(within_seeds, len(sizes))
    detail = (
        f"rank correlation of {predictor} at the {point} point with {PREDICTED[of]} {_over(sizes, rows)}"
        f"{', given the norm of the weights' if given == 'weight_norm' else ''}{words}{stationary(rows)}"
    )
    return Measured.of(interval, detail)


@measure
@in_units("difference of rank correlations")
def evidence_beyond(tables: Tables, point: Point, over: Predictor = "sharpness", n_train: int | None = None) -> Measured:
    """Rank correlation of evidence with test accuracy minus that of another predictor, within seeds, mean over paired seeds."""
    rows = at_best(judged(tables, point, "real", n_train))
    sizes, (evidence, other, accuracy) = complete(rows, ["evidence", over, "sgd_test_accuracy"], RANKED)

    def beyond(kept: Places) -> Floats:
        return rank_correlation(evidence[kept], accuracy[kept]) - rank_correlation(other[kept], accuracy[kept])

    interval, words = ranked(beyond, len(sizes), difference=True)
    agreement = rank_correlation(evidence, other)
    detail = (
        f"rank correlation with test accuracy of evidence minus that of {over}, {point} point, "
        f"{_over(sizes, rows)}{words}; the two predictors' own rank correlation is {agreement.mean():.3g}"
    )
    return Measured.of(interval, detail)


@measure
@in_units("rank correlation")
def evidence_rank_at_fixed_l2(tables: Tables, point: Point, n_train: int | None = None) -> Measured:
    """`evidence_rank` at one λ for all batch sizes, the one least in favour of the evidence, as the other seeds find it."""
    rows = judged(tables, point, "real", n_train)
    grid = sorted({float(value) for value in rows["prior_precision"]})
    parts = [select(rows, np.isclose(np.asarray(rows["prior_precision"], dtype=np.float64), l2)) for l2 in grid]
    by_size = [complete(part, ["evidence", "sgd_test_accuracy"], RANKED) for part in parts]
    sizes, rho = by_size[0][0], np.array([rank_correlation(*columns) for _, columns in by_size])
    if rho.shape[1] < 2:
        raise NotMeasuredError("one seed cannot choose λ for another")
    interval = jackknife_interval(lambda s: float(held_out(rho[:, s], -rho[:, s]).mean()), rho.shape[1], least=2)
    by_l2 = ", ".join(f"{value:.2g} at {l2:g}" for value, l2 in zip(rho.mean(axis=1), grid, strict=True))
    detail = (
        f"rank correlation of evidence with test accuracy, {point} point, {_over(sizes, rows)}, one λ "
        f"for all, the least favourable by the other seeds; by λ: {by_l2}"
    )
    return Measured.of(interval, detail)


@measure
@in_units("factors of 2")
def evidence_optimum_distance(tables: Tables, point: Point, n_train: int | None = None) -> Measured:
    """log2 of the batch size with the lowest E over the one with the best test accuracy, within seeds, mean over seeds.

    Student's t over seeds. Both are rounded to the grid of batch sizes, alike in all seeds; as errors evenly spread over a step
    they add to the variance.
    """
    rows = at_best(judged(tables, point, "real", n_train))
    sizes, (evidence, accuracy) = complete(rows, ["evidence", "sgd_test_accuracy"], RANKED)
    size = int(rows["n_train"].iloc[0])
    best, right = (np.log2(sizes)[values.argmax(axis=0)] for values in (evidence, accuracy))
    distance, n = best - right, evidence.shape[1]
    rounding = rounding_variance(float(np.median(np.diff(np.log2(sizes)))))
    by_seed = Variance(float(distance.var(ddof=1)) / n if n > 1 else np.nan, n - 1)
    ends = student_interval(float(distance.mean()), by_seed, rounding, rounding)
    detail = (
        f"log2 of B with the lowest E ({2 ** np.median(best):g} in the median) over B with the best test accuracy "
        f"({2 ** np.median(right):g}), {point} point, N = {size}"
    )
    return Measured.of(Interval(float(distance.mean()), *ends, n), detail)


@measure
@in_units("nats per example")
def evidence_sign(tables: Tables, point: Point, labels: Labels, n_train: int | None = None) -> Measured:
    """E per example at the batch size that most contradicts the paper: highest for real, lowest for random labels.

    Each seed is judged at the batch size that the other seeds find the worst. The words say what is left of random labels once
    ln H!, for the orders of the hidden units, is taken from E: each of them is a minimum like this one.
    """
    rows = at_best(judged(tables, point, labels, n_train))
    sizes, (evidence, permutations) = complete(rows, ["evidence", "log_permutations"], 1)
    n = int(rows["n_train"].iloc[0])
    sign = 1 if labels == "real" else -1
    worst, at = at_worst(-sign * evidence / n, sizes)
    low, high = sorted((sign * worst.low, sign * worst.high))
    less = f"; with ln H! = {permutations.mean():.4g} nats less, {sign * worst.value - permutations.mean() / n:.3g}"
    detail = (
        f"E / N in nats at the {point} point on {labels} labels, B = {at:g} in the median, the worst of {len(sizes)} "
        f"batch sizes by the other seeds, N = {n}{less}{stationary(rows)}"
    )
    return Measured.of(Interval(sign * worst.value, low, high, worst.n), detail)


@measure
@in_units("nats")
def invariance(tables: Tables) -> Measured:
    """Largest change of E in nats under rescalings of the layers and the inputs, with the prior transformed accordingly."""
    rows = tables.frame("invariance")
    worst = float(np.abs(rows["evidence_change_prior_transformed"].to_numpy(np.float64)).max())
    detail = f"largest |ΔE| in nats over {len(rows)} reparameterizations, the prior transformed accordingly; {_curvature(rows)}"
    return Measured(worst, worst, worst, len(set(rows["seed"])), detail)


@measure
@in_units("nats")
def fixed_prior_change(tables: Tables) -> Measured:
    """Largest change of E in nats under the same rescalings with the isotropic prior kept fixed: mean over seeds."""
    rows = tables.frame("invariance")
    change = np.abs(rows["evidence_change_prior_fixed"].to_numpy(np.float64))
    worst = np.array([change[rows["seed"] == seed].max() for seed in sorted(set(rows["seed"]))])
    detail = f"largest |ΔE| in nats of a network's reparameterizations, the prior kept fixed; {_curvature(rows)}"
    return Measured.of(mean_interval(worst), detail)


def _curvature(rows: pd.DataFrame) -> str:
    factor = float(np.exp(np.abs(np.log(rows["eigenvalue_ratio"])).max()))
    return f"the top eigenvalue changes by a factor of up to {factor:.3g}"
