"""Simulated sweeps of the batch size with a known law of the optimum, in the likeness of a measured experiment.

Takes the cells of an experiment; gives curves of accuracy against batch size, as `response_curves` does for measured ones. The
response surface is that of the run, over u = ln B − ln B_opt: one mean curve; the departure of each measured curve from it,
smoothed and dealt out anew among the axis values; and the run's own residuals, drawn from the measured points nearest in u. So
noise is as large, as skewed and as heavy at the cliff, where training is chaotic, as it is there. A seed also has an offset for
all its cells. All of it is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, fit_optima, scaling_variable
from bayes_sgd.analysis.intervals import Floats
from bayes_sgd.analysis.optimum import FITS, ResponseCurve, SweepRows, aligned_accuracy
from bayes_sgd.core.errors import UserError

NEAREST = 3  # measured points whose residuals are drawn: those of one, from four to six seeds, are too few values
FLOOR = 0.001  # added to the standard errors, which are sometimes 0
BIN = np.log(2) / 4  # width in u over which the measured points are averaged


class Sweep(NamedTuple):
    """A simulated study: its curves, and the mean accuracy (K,) of each that an infinity of seeds would have.

    `at_fit`: the mean test accuracy of each curve (J,) where its mean training accuracy reaches `FITS`.
    """

    curves: list[ResponseCurve]
    means: list[Floats]
    at_fit: Floats


@dataclass(frozen=True)
class Surface:
    """A response surface, J axis values and P measured points.

    `values` (J,); `windows`: ln B − ln B_opt of the batch sizes that the run sampled at each; `centre`: ln B_opt at the mean of
    ln x; `mean`, `trained`: mean test and training accuracy over u; `u` (P,), `test_residuals`, `train_residuals` (P, S);
    `departures`: u and departure of each measured curve from the mean; `offset`: standard deviation of the seeds' offsets.
    """

    axis: str
    values: Floats
    windows: list[Floats]
    centre: float
    mean: PchipInterpolator
    trained: PchipInterpolator
    u: Floats
    test_residuals: Floats
    train_residuals: Floats
    departures: list[tuple[Floats, Floats]]
    offset: float
    failed_below: float

    @classmethod
    def of(cls, experiment: SweepRows, failed_below: float = 0.5, axis_from: float = -np.inf) -> Surface:
        """The surface of a measured experiment, of its optima by the headline estimator that lie inside the grid.

        Only axis values from `axis_from` on count. Raises UserError if there are fewer than three.
        """
        (fitted,) = fit_optima({"x": experiment}, treatments=[TREATMENT], estimators=[HEADLINE], failed_below=failed_below)
        members = [j for j, curve in enumerate(fitted.curves) if np.isfinite(fitted.log_b[j]) and curve.axis_value >= axis_from]
        if len(members) < 3:
            raise UserError(f"calibration: {len(members)} optima along {fitted.axis} lie inside the grid; a surface needs 3")
        curves, log_b = [fitted.curves[j] for j in members], fitted.log_b[members]
        windows = [np.log(curve.batch_sizes) - b for curve, b in zip(curves, log_b, strict=True)]
        u = np.concatenate(windows)
        aligned = [aligned_accuracy(curve) for curve in curves]
        levels = [accuracy.mean(axis=1) - accuracy.mean(axis=1).max() for accuracy in aligned]
        peak = float(np.mean([accuracy.mean(axis=1).max() for accuracy in aligned]))
        mean = _mean_curve(u, np.concatenate(levels) + peak)
        trained = [curve.train_accuracy for curve in curves]
        departures = [
            (window, _smooth(window, level + peak - _at(mean, window), accuracy))
            for window, level, accuracy in zip(windows, levels, aligned, strict=True)
        ]
        return cls(
            axis=fitted.axis,
            values=np.array([curve.axis_value for curve in curves]),
            windows=windows,
            centre=float(log_b.mean()),
            mean=mean,
            trained=_mean_curve(u, np.concatenate([accuracy.mean(axis=1) for accuracy in trained])),
            u=u,
            test_residuals=_residuals(aligned),
            train_residuals=_residuals(trained),
            departures=departures,
            offset=float(np.mean([_offset(curve) for curve in curves])),
            failed_below=failed_below,
        )

    def study(self, exponent: float, seeds: int, rng: np.random.Generator) -> Sweep:
        """One simulated study with a true exponent; the run's windows of batch sizes, moved with the optimum."""
        log_x = np.log(scaling_variable(self.axis, self.values))
        optima = self.centre + exponent * (log_x - log_x.mean())
        offsets = rng.normal(0, self.offset, seeds)
        curves, means, at_fit = [], [], []
        for value, optimum, window in zip(self.values, optima, self.windows, strict=True):
            # the grid hits a moved optimum elsewhere between two of its batch sizes
            u = window + rng.uniform(-0.5, 0.5) * np.diff(window).min()
            departure = self.departures[rng.integers(len(self.departures))]
            level = _at(self.mean, u) + np.interp(u, *departure)
            nearest = np.abs(self.u - u[:, None]).argsort(axis=1)[:, :NEAREST]
            point = np.take_along_axis(nearest, rng.integers(NEAREST, size=(len(u), seeds)), axis=1)
            run = rng.integers(self.test_residuals.shape[1], size=(len(u), seeds))
            test = np.clip(level[:, None] + self.test_residuals[point, run] + offsets, 0.0, 1.0)
            train = np.clip(_at(self.trained, u)[:, None] + self.train_residuals[point, run], 0.0, 1.0)
            failed = train < self.failed_below
            curves.append(ResponseCurve(float(value), 1, np.exp(u + optimum), test, failed, np.arange(seeds), train))
            means.append(level)
            at_fit.append(np.interp(self._fitting(u), u, level))
        return Sweep(curves, means, np.array(at_fit))

    def _fitting(self, u: Floats) -> float:
        """From which u on the mean training accuracy is `FITS`, by linear interpolation between the batch sizes at `u`."""
        trained = _at(self.trained, u)
        last = np.flatnonzero(trained < FITS)
        if not len(last) or last[-1] == len(u) - 1:
            return np.nan
        between = slice(int(last[-1]), int(last[-1]) + 2)
        return float(np.interp(FITS, trained[between], u[between]))


def _at(curve: PchipInterpolator, u: Floats) -> Floats:
    return curve(np.clip(u, curve.x[0], curve.x[-1]))


def _mean_curve(u: Floats, level: Floats) -> PchipInterpolator:
    """Mean over u of levels (P,), over bins of width `BIN`."""
    bins = np.round(u / BIN).astype(int)
    knots = np.array([[u[bins == b].mean(), level[bins == b].mean()] for b in np.unique(bins)])
    return PchipInterpolator(*knots.T, extrapolate=False)


def _smooth(u: Floats, departure: Floats, accuracy: Floats) -> Floats:
    """A cubic through departures (K,), weighted by the standard errors of `accuracy` (K, S); scatter is in the residuals."""
    error = accuracy.std(axis=1, ddof=1) / np.sqrt(accuracy.shape[1])
    fitted = np.polyval(np.polyfit(u, departure, min(3, len(u) - 1), w=1 / np.hypot(error, FLOOR)), u)
    return np.clip(fitted, departure.min(), departure.max()).astype(np.float64)


def _residuals(values: list[Floats]) -> Floats:
    """What single seeds depart from the mean, (P, S), of the variance that a run more would have."""
    seeds = values[0].shape[1]
    return np.concatenate([v - v.mean(axis=1, keepdims=True) for v in values]) * np.sqrt(seeds / (seeds - 1))


def _offset(curve: ResponseCurve) -> float:
    """Standard deviation over seeds of what a seed adds to every batch size."""
    return float((curve.accuracy - aligned_accuracy(curve)).mean(axis=0).std(ddof=1))
