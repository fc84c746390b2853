"""Takes the curves of an experiment; gives the law under which they fall on one another (paper §5, Figs. 5-7).

Estimator D: accuracy = f(ln B − s_j) + d_j for axis value j, with f one polynomial for all curves and d_j a height each. A law
says how the optimum moves: s = a ln x for a power law (x = ε, N or 1/(1 − m)), s = ln ε′N/(g + ε′) if the −1 in
g = ε(N/B − 1) is kept, s = ln(1 + N/N₀) if an edge that knows no N turns into the noise scale. Whole curves decide, not
their tops, and laws compete on held-out seeds. All of it is our choice; the paper draws lines by eye.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.polynomial import legendre

from bayes_sgd.analysis.exponent import Optima, replicate_means, scaling_variable
from bayes_sgd.analysis.intervals import (
    Floats,
    Interval,
    bootstrap_variance,
    jackknife_variance,
    mean_interval,
    optimum_interval,
    p_value,
    student_interval,
)
from bayes_sgd.analysis.optimum import Bools, ResponseCurve, aligned_accuracy, counted_runs
from bayes_sgd.experiment.noise_scale import effective_learning_rate

DEGREE = 4  # of f: a cubic cannot lean and flatten at once, a sextic follows noise
FLOOR = 0.004  # of the standard errors, as in `optimum.polynomial_optimum`
FALL = 0.02  # farther below its top a curve shows where training fails; chosen by simulation for the least bias
EXPONENTS = np.round(np.arange(-1.0, 3.0001, 0.02), 2)
SCALES = np.exp(np.linspace(-7.0, 7.0, 141))  # of g and N₀, relative to the middle of the axis


@dataclass(frozen=True)
class Law:
    """How the optimum moves along an axis: shifts s (J,) for each value of the one free parameter, or none free."""

    name: str
    parameters: Floats
    shift: Callable[[float], Floats]


def laws(axis: str, values: Floats, rows: pd.DataFrame) -> list[Law]:
    """The laws that are compared along an axis, `values` (J,); `rows` give the other fields of the cells (ε, m, N)."""
    log_x = np.log(scaling_variable(axis, values))

    def power(exponent: float) -> Floats:
        return exponent * log_x

    def fixed(name: str, exponent: float) -> Law:
        return Law(name, np.array([exponent]), power)

    candidates = [Law("free exponent", EXPONENTS, power), fixed("proportional", 1.0), fixed("constant", 0.0)]
    if axis == "n_train":
        middle = np.exp(log_x.mean())
        return [*candidates, Law("edge, then proportional", middle * SCALES, lambda n0: np.log1p(values / n0))]
    candidates.append(fixed("square root", 0.5))
    if axis in ("learning_rate", "momentum"):
        by_value = rows.groupby(axis)[["learning_rate", "momentum", "dampening", "n_train"]].first().loc[values]
        epsilon, momentum, dampening, n = by_value.to_numpy(np.float64).T
        rate = effective_learning_rate(epsilon, momentum, dampening)
        middle = np.exp(np.log(rate).mean())
        candidates.append(Law("saturating", middle * SCALES, lambda g: np.log(rate * n / (g + rate))))
    return candidates


@dataclass(frozen=True)
class _Points:
    """The points of all curves that count: `log_b` (P,), `curve` (P,) which one, `weight` (P,), `means` (P, 1 + R)."""

    log_b: Floats
    curve: np.ndarray
    weight: Floats
    means: Floats

    def design(self, shifts: Floats) -> Floats:
        """√weight times the columns of the model for shifts (..., J), (..., P, J' + DEGREE): the heights, then f without 1.

        The scale of u = ln B − s is that of ln B, whatever the shift: curves pulled apart must still be one polynomial.
        """
        u = self.log_b - shifts[..., self.curve]
        scaled = 2 * (u - u.mean(axis=-1, keepdims=True)) / np.ptp(self.log_b)
        heights = (self.curve[:, None] == np.unique(self.curve)).astype(np.float64)  # none for a curve without points
        polynomial = legendre.legvander(scaled, DEGREE)[..., 1:]
        columns = np.concatenate([np.broadcast_to(heights, (*u.shape, heights.shape[1])), polynomial], axis=-1)
        return columns * np.sqrt(self.weight)[:, None]

    def without(self, number: int) -> _Points:
        """The points of all other curves."""
        elsewhere = self.curve != number
        return _Points(self.log_b[elsewhere], self.curve[elsewhere], self.weight[elsewhere], self.means[elsewhere])

    def misfit(self, shifts: Floats, y: Floats) -> Floats:
        """Weighted sums of squares that the model with shifts (A, J) leaves of `y` (P, R), (A, R)."""
        target = y * np.sqrt(self.weight)[:, None]
        q, _ = np.linalg.qr(self.design(shifts))
        explained = np.array([((basis.T @ target) ** 2).sum(0) for basis in q])
        return np.maximum((target**2).sum(0) - explained, 0.0)


def _points(curves: Sequence[ResponseCurve], treatment: str, counts: Floats) -> _Points | None:
    """The points near the tops of the curves, None if fewer than three curves have three of them."""
    log_b, number, weight, means = [], [], [], []
    for j, curve in enumerate(curves):
        rows, mean, error = replicate_means(curve, treatment, counts)
        if not rows.any():
            continue
        trains = (curve.failed.mean(axis=1) < 0.5)[rows]
        near = trains & (mean[:, 0] >= mean[:, 0].max() - FALL)
        if near.sum() < 3:
            continue
        finite = np.isfinite(mean[near])
        shown = np.where(finite, mean[near], mean[near][:, :1])
        log_b.append(np.log(curve.batch_sizes[rows][near]))
        number.append(np.full(near.sum(), j))
        weight.append(1 / (error[near, 0] ** 2 + FLOOR**2))
        means.append(shown)
    if len(log_b) < 3:
        return None
    w = np.concatenate(weight)
    return _Points(np.concatenate(log_b), np.concatenate(number), w / w.mean(), np.concatenate(means))


def _best(points: _Points, law: Law, y: Floats) -> tuple[Floats, Floats]:
    """The parameter of a law with the least misfit of each column of `y` (P, R), and whether it lies inside the grid, (R,)."""
    misfit = points.misfit(np.array([law.shift(value) for value in law.parameters]), y)
    best = misfit.argmin(axis=0)
    column = np.arange(y.shape[1])
    value = law.parameters[best].astype(np.float64)
    if len(law.parameters) > 2:
        inner = np.clip(best, 1, len(law.parameters) - 2)
        before, at, after = (misfit[inner + step, column] for step in (-1, 0, 1))
        bend = before - 2 * at + after
        step = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
        if law.parameters is EXPONENTS:  # equal steps: the vertex of the parabola through the three lowest
            value = law.parameters[inner] + np.clip(step, -1, 1) * (EXPONENTS[1] - EXPONENTS[0])
    return value, (best > 0) & (best < len(law.parameters) - 1)


def collapse_exponent(o: Optima) -> tuple[Interval, int, float, float]:
    """Estimator D: the exponent under which whole curves collapse, its interval, the curves used, their ratio, p of exponent 1.

    The curves are the sample, for no two have quite one shape: Student's interval by a jackknife over curves, whose means hold
    the seeds' noise too. Our choice: a bootstrap over seeds covers too seldom (`claims.coverage_study`).
    """
    seeds = len(o.curves[0].seeds)
    points = _points(o.curves, o.treatment, np.zeros((seeds, 0)))
    if points is None:
        return Interval(np.nan, np.nan, np.nan, seeds), 0, np.nan, np.nan
    x = scaling_variable(o.axis, np.array([curve.axis_value for curve in o.curves]))
    law = Law("free exponent", EXPONENTS, lambda a: a * np.log(x))
    of_curves = np.unique(points.curve)
    (value,), (inside,) = _best(points, law, points.means)
    value = float(value) if inside else np.nan
    fewer = [points.without(number) for number in of_curves]
    variance = jackknife_variance(np.array([_best(part, law, part.means)[0][0] for part in fewer]))
    ratio = float(x[of_curves].max() / x[of_curves].min())
    interval = Interval(value, *student_interval(value, variance), seeds)
    return interval, len(of_curves), ratio, p_value(value, 1.0, variance)


def _parameter_interval(law: Law, value: Floats, seeds: int) -> tuple[float, float]:
    """Student's interval of a law's parameter, from its value and its replicates (1 + R,); of a scale on its logarithm."""
    if law.parameters is EXPONENTS:
        return student_interval(float(value[0]), bootstrap_variance(value[1:], seeds))
    return optimum_interval(float(np.log(value[0])), np.log(value[1:]), seeds)


def _left_out(curves: Sequence[ResponseCurve], treatment: str, points: _Points) -> Iterator[tuple[Floats, Floats, Bools]]:
    """For each seed: the means of the others and its own aligned accuracies at the points, (P,), and which of these count."""
    n = len(curves[0].seeds)
    for s in range(n):
        rest_means, values, counts = [], [], []
        for j in np.unique(points.curve):
            curve = curves[j]
            runs, _ = counted_runs(curve, treatment)
            at = np.isin(np.log(curve.batch_sizes), points.log_b[points.curve == j])
            accuracy, counted = aligned_accuracy(curve)[at], runs[at]
            rest = counted & (np.arange(n) != s)
            rest_means.append(np.where(rest, accuracy, 0.0).sum(1) / np.maximum(rest.sum(1), 1))
            values.append(np.where(counted[:, s], accuracy[:, s], 0.0))
            counts.append(counted[:, s] & ~curve.failed[at, s] & rest.any(1))
        yield np.concatenate(rest_means), np.concatenate(values), np.concatenate(counts)


def law_table(o: Optima, rows: pd.DataFrame, counts: Floats) -> list[dict[str, Any]]:
    """How well each law predicts a seed that did not choose its parameter: a row each, none if there are too few curves.

    `parameter`: the exponent, g in units of ε′, or N₀ in examples, with its bootstrap interval. `held_out_error`: root of the
    mean weighted square of what the law leaves of a left-out seed's accuracy near the tops, a fraction. `excess`: mean over
    seeds of that square minus the best law's, over the best law's mean, with a t-interval. `favoured`: no law does better.
    """
    points = _points(o.curves, o.treatment, counts)
    seeds = len(o.curves[0].seeds)
    if points is None or seeds < 2:
        return []
    values = np.array([curve.axis_value for curve in o.curves])
    offered = laws(o.axis, values, rows)
    squares = np.full((len(offered), seeds), np.nan)
    for s, (rest_means, held, present) in enumerate(_left_out(o.curves, o.treatment, points)):
        for number, law in enumerate(offered):
            value, _ = _best(points, law, rest_means[:, None])
            design = points.design(law.shift(float(value[0])))
            root = np.sqrt(points.weight)
            coefficients, *_ = np.linalg.lstsq(design, rest_means * root, rcond=None)
            residuals = held * root - design @ coefficients
            if present.any():
                squares[number, s] = (residuals[present] ** 2).sum() / points.weight[present].sum()
    best = int(np.nanmean(squares, axis=1).argmin())
    scale = float(np.nanmean(squares[best]))
    results = []
    for number, law in enumerate(offered):
        value, inside = _best(points, law, points.means)
        bounded = len(law.parameters) > 1 and inside[0]
        low, high = _parameter_interval(law, value, seeds) if bounded else (np.nan, np.nan)
        excess = mean_interval((squares[number] - squares[best]) / scale)
        results.append(
            {
                "experiment": o.experiment,
                "axis": o.axis,
                "updates": int(max(curve.updates for curve in o.curves)),
                "phase": o.phase,
                "treatment": o.treatment,
                "law": law.name,
                "parameter": float(value[0]) if bounded or len(law.parameters) == 1 else np.nan,
                "ci_low": low,
                "ci_high": high,
                "held_out_error": float(np.sqrt(np.nanmean(squares[number]))),
                "excess": excess.value,
                "excess_low": excess.low,
                "excess_high": excess.high,
                "favoured": number == best,
                "n_points": len(points.log_b),
                "seeds": seeds,
            }
        )
    return results
