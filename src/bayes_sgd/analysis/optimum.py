"""Takes the cells of an experiment; gives accuracy against batch size and where it peaks (paper §5, Figs. 4b-7a).

Estimators of ln B_opt, both over R replicates at once, and the test of an interior optimum on held-out seeds.
Accuracies are fractions in [0, 1], batch sizes are examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayes_sgd.analysis.intervals import Floats, Interval, Places, chosen_by_others, held_out, jackknife_interval
from bayes_sgd.core.errors import UserError

Bools = NDArray[np.bool_]
FITS = 0.99  # of the training set: from this mean training accuracy on a batch size fits it (our choice)


class SweepRows(TypedDict):
    """The rows of `cells` that feed one figure, and the column along which the optimum is followed."""

    axis: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class ResponseCurve:
    """Accuracy against batch size at one axis value and one recorded update (one series of Figs. 5a, 6a, 7a).

    At equal epochs each batch size has its own update, and `updates` is the largest.
    `batch_sizes` (K,) ascending, `accuracy` (K, S) on test images and `train_accuracy` (K, S), with NaN where a run is missing,
    `failed` (K, S), `seeds` (S,).
    """

    axis_value: float
    updates: int
    batch_sizes: Floats
    accuracy: Floats
    failed: Bools
    seeds: NDArray[np.int64]
    train_accuracy: Floats


def whole_budget(rows: pd.DataFrame, axis: str) -> NDArray[np.int64]:
    """The update of each row that is its whole budget, (rows,): the last recorded one of its value of `axis`.

    Where the last updates of the batch sizes are V/B, rounded, with one V (equal epochs), it is the batch size's own last one.
    """
    update, values = np.asarray(rows["update"], dtype=np.int64), np.asarray(rows[axis])
    whole = np.zeros(len(rows), dtype=np.int64)
    for value in np.unique(values):
        of_value = values == value
        sizes, place = np.unique(np.asarray(rows["batch_size"], dtype=np.float64)[of_value], return_inverse=True)
        last = np.zeros(len(sizes), dtype=np.int64)
        np.maximum.at(last, place, update[of_value])
        equal_epochs = ((last - 0.5) * sizes).max() <= ((last + 0.5) * sizes).min()
        whole[of_value] = last[place] if equal_epochs else last.max()
    return whole


def _nearest(update: NDArray[np.int64], whole: NDArray[np.int64], fraction: float) -> Bools:
    """Which rows are at the recorded update nearest to a share of the whole budget."""
    chosen = np.zeros(len(update), dtype=bool)
    for last in np.unique(whole):
        recorded = np.unique(update[whole == last])
        chosen |= (whole == last) & (update == recorded[np.abs(recorded - fraction * last).argmin()])
    return chosen


def response_curves(rows: pd.DataFrame, axis: str, fraction: float = 1.0, failed_below: float = 0.5) -> list[ResponseCurve]:
    """One curve per value of `axis`, ascending, at the recorded update nearest to `fraction` of the budget (`whole_budget`).

    A run failed if it diverged or its training accuracy there is below `failed_below` (our choice, made before looking:
    far above chance, far below any network that trains). Raises UserError when two runs share a setting and a seed.
    """
    seeds = np.unique(np.asarray(rows["seed"]))
    whole, update = whole_budget(rows, axis), np.asarray(rows["update"], dtype=np.int64)
    curves = []
    for value in np.unique(np.asarray(rows[axis])):
        of_value = np.asarray(rows[axis] == value)
        nearest = _nearest(update[of_value], whole[of_value], fraction)
        at, last = rows[of_value][nearest], int(update[of_value][nearest].max())
        batch_sizes, row = np.unique(np.asarray(at["batch_size"], dtype=np.float64), return_inverse=True)
        column = np.searchsorted(seeds, np.asarray(at["seed"]))
        if len(set(zip(row, column, strict=True))) < len(at):
            raise UserError(f"cells: more than one run with the same batch size and seed at {axis} = {value:g}")
        accuracy, trained = np.full((2, len(batch_sizes), len(seeds)), np.nan)
        accuracy[row, column] = np.asarray(at["test_accuracy"])
        trained[row, column] = np.asarray(at["train_accuracy"])
        failed = np.zeros(accuracy.shape, dtype=bool)
        failed[row, column] = np.asarray(at["diverged"], dtype=bool) | ~(trained[row, column] >= failed_below)
        curves.append(ResponseCurve(float(value), last, batch_sizes, accuracy, failed, seeds, trained))
    return curves


def counted_runs(curve: ResponseCurve, treatment: str) -> tuple[Bools, Bools]:
    """Which runs count, (K, S), and which batch sizes, (K,).

    `included`: every run counts with the accuracy that it reached; `excluded`: failed runs do not, nor does a batch size
    at which fewer than half of the runs are left: the mean of a few survivors says how lucky they were.
    """
    runs = np.isfinite(curve.accuracy)
    if treatment == "excluded":
        runs &= ~curve.failed
    return runs, runs.sum(axis=1) >= max(1, len(curve.seeds) / 2)


def aligned_accuracy(curve: ResponseCurve) -> Floats:
    """Accuracy (K, S) without what a seed adds to every batch size (its subset, its initial weights).

    Differences between means over all seeds stay as they are; means over the seeds that trained no longer depend on
    which these are, and standard errors are those of paired seeds. A seed's offset is its median over the batch sizes
    at which every seed trained (a median, for one batch size at the cliff must not move it).
    """
    trained = np.isfinite(curve.accuracy) & ~curve.failed
    everywhere = trained.all(axis=1)
    offset = np.zeros(len(curve.seeds))
    for s in range(len(curve.seeds)):
        used = curve.accuracy[everywhere if everywhere.any() else trained[:, s], s]
        offset[s] = np.median(used) if len(used) else 0.0
    return curve.accuracy - (offset - offset.mean())


def argmax_optimum(log_b: Floats, mean: Floats) -> Floats:
    """Estimator A, the paper's rule: ln B of the best mean accuracy; −inf, +inf at the lower, upper end of the grid.

    `log_b` (K,) ascending, `mean` (K, R) -> (R,).
    """
    top = mean.argmax(axis=0)
    return np.where(top == 0, -np.inf, np.where(top == len(log_b) - 1, np.inf, log_b[top]))


def polynomial_optimum(
    log_b: Floats, mean: Floats, error: Floats, degree: int = 2, window: float = 3.0, floor: float = 0.004
) -> Floats:
    """Estimators B, C: ln B at the maximum of a weighted polynomial in ln B near the top; ±inf, its side, if censored.

    `log_b` (K,), `mean` (K, R), its standard error `error` (K, R), or (K, 1) for all alike -> (R,); `degree` 2 or 3. Points:
    within a factor `window` of the best one, its neighbours always. Weights: 1/(error² + floor²); the error silences the
    cliff on the left, where some seeds do not train, and the floor stands for the curve's not being a polynomial. Censored:
    best point at the end of the grid, no maximum, or a maximum outside the points used.

    Degree, window and floor are our choice, by simulation of curves of this shape: a cliff on the left, a gentle slope on the
    right. The parabola leans to the gentle side, so its vertex lies right of the top by a nearly constant factor, which is no
    matter to an exponent and is to who wants the batch size. Simulated studies on the surface of real cells settle which
    estimator is the headline (`calibration`; bias, spread and coverage of each are in its table).
    """
    edge = argmax_optimum(log_b, mean)
    top = mean.argmax(axis=0)
    shift = log_b[:, None] - log_b[top]
    near = (np.abs(shift) <= np.log(window) + 1e-9) | (np.abs(np.arange(len(log_b))[:, None] - top) <= 1)
    usable = near & np.isfinite(mean)
    z = np.where(usable, shift / np.log(window), 0.0)
    y = np.where(usable, mean - mean[top, np.arange(mean.shape[1])], 0.0)
    w = np.where(usable, floor**2 / (np.where(usable, error, 0.0) ** 2 + floor**2), 0.0)
    powers = np.stack([z**p for p in range(degree + 1)], axis=-1)
    # The ridge is far below any effect; it makes a cubic through three points the parabola through them.
    ridge = np.diag([1e-12, 1e-12, 1e-12, 1e-6][: degree + 1])
    normal = np.einsum("kr,kri,krj->rij", w, powers, powers) + ridge
    moments = np.einsum("kr,kri,kr->ri", w, powers, y)
    c = np.linalg.solve(normal, moments[..., None])[..., 0]
    cubic = c[:, 3] if degree == 3 else np.zeros(len(c))
    discriminant = c[:, 2] ** 2 - 3 * c[:, 1] * cubic
    denominator = np.sqrt(np.maximum(discriminant, 0.0)) - c[:, 2]
    peaked = (discriminant >= 0) & (denominator > 0)
    # c1/(sqrt(D) − c2) is the root of the derivative that is a maximum, and −c1/2c2 if there is no cubic term.
    peak = c[:, 1] / np.where(peaked, denominator, 1.0)
    inside = peaked & (peak >= z.min(axis=0)) & (peak <= z.max(axis=0))
    side = np.where(c[:, 1] > 0, np.inf, -np.inf)
    return np.where(np.isinf(edge), edge, np.where(inside, log_b[top] + peak * np.log(window), side))


def plateau_optimum(log_b: Floats, mean: Floats, error: Floats) -> Floats:
    """Middle of the plateau in ln B: of all batch sizes whose mean lies within one standard error of the best (our choice).

    It says what ties leave open. `log_b` (K,) ascending, `mean` and its standard error `error` (K, R) -> (R,); ±inf, its side,
    if the plateau reaches an end of the grid (both: the best one's nearer end).
    """
    top = mean.argmax(axis=0)
    best, spread = mean[top, np.arange(mean.shape[1])], error[top, np.arange(mean.shape[1])]
    tied = mean >= best - spread
    first, last = tied.argmax(axis=0), len(log_b) - 1 - tied[::-1].argmax(axis=0)
    middle = (log_b[first] + log_b[last]) / 2
    below = (first == 0) & ((last < len(log_b) - 1) | (top < len(log_b) / 2))
    return np.where(below, -np.inf, np.where(last == len(log_b) - 1, np.inf, middle))


class InteriorOptimum(NamedTuple):
    """What the chosen batch size gains, on seeds that did not choose it; `chosen` and `fitting` are (S,) batch sizes."""

    over_largest: Interval
    over_smallest_fitting: Interval
    chosen: Floats
    fitting: Floats


def interior_optimum(curve: ResponseCurve) -> InteriorOptimum:
    """Does an interior batch size beat both ends? Each seed is tested with the batch sizes that the other seeds chose.

    For seed s: B*, neither the smallest nor the largest sampled, has the best mean accuracy over the other seeds; the smallest
    fitting B is where their mean training accuracy reaches `FITS`; the gain is the accuracy of seed s at B* minus that at the
    end. Choice and test never share a seed, so the mean is free of selection bias, and unlike a split in halves every seed
    tests once (our choice). Both the fitting B and the accuracy there are interpolated in ln B: a B on the grid would jump with
    single runs, where training is chaotic.
    No B fits, or all do: no gain over it. Intervals by `jackknife_interval`, for seeds that choose for one another are not
    independent.
    """
    complete = np.isfinite(curve.accuracy).all(axis=1)
    accuracy, trained, b = curve.accuracy[complete], curve.train_accuracy[complete], curve.batch_sizes[complete]
    n = accuracy.shape[1]
    if n < 2 or len(b) < 3:
        none = Interval(np.nan, np.nan, np.nan, n)
        return InteriorOptimum(none, none, np.full(n, np.nan), np.full(n, np.nan))

    def over_largest(seeds: Places) -> float:
        sample = accuracy[:, seeds]
        return float((held_out(sample[1:-1], sample[1:-1]) - sample[-1]).mean())

    def over_smallest_fitting(seeds: Places) -> float:
        sample, fitting = accuracy[:, seeds], _fitting(np.log(b), trained[:, seeds])
        ends = [
            np.interp(at, np.log(b), column) if np.isfinite(at) else np.nan
            for at, column in zip(fitting, sample.T, strict=True)
        ]
        return float((held_out(sample[1:-1], sample[1:-1]) - np.array(ends)).mean())

    return InteriorOptimum(
        jackknife_interval(over_largest, n, least=2),
        jackknife_interval(over_smallest_fitting, n, least=2),
        b[1:-1][chosen_by_others(accuracy[1:-1])],
        np.exp(_fitting(np.log(b), trained)),
    )


def _fitting(log_b: Floats, trained: Floats) -> Floats:
    """For each seed the smallest fitting ln B by the training accuracies (K, S) of the others, (S,)."""
    seeds = np.arange(trained.shape[1])
    fitting = fitting_batch(log_b, np.stack([trained[:, seeds != s].mean(axis=1) for s in seeds], axis=1))
    return np.where(np.isfinite(fitting), fitting, np.nan)


def side_of_grid(log_b: float) -> str:
    """Beyond which end of its grid an optimum lies: "above" for ln B = inf, "below" for −inf, else ""."""
    return {-np.inf: "below", np.inf: "above"}.get(float(log_b), "")


def fitting_batch(log_b: Floats, trained: Floats, threshold: float = FITS) -> Floats:
    """Ln B above which the mean training accuracy is `threshold` or more, by linear interpolation; our choice.

    `log_b` (K,) ascending, `trained` (K, R) -> (R,); −inf if all batch sizes fit, inf if the largest does not.
    """
    fitting = np.empty(trained.shape[1])
    for r, accuracies in enumerate(trained.T):
        misfits = np.flatnonzero(accuracies < threshold)
        k = int(misfits[-1]) if len(misfits) else -1
        ends = {-1: -np.inf, len(log_b) - 1: np.inf}
        fitting[r] = ends[k] if k in ends else np.interp(threshold, accuracies[k : k + 2], log_b[k : k + 2])
    return fitting
