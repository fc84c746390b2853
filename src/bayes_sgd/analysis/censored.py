"""Least squares of ln B where some optima lie beyond the grid of batch sizes: power laws, and B = B_e + c x.

Takes optima ln B with their replicates; gives the fit of a law by censored regression (Tobin 1958). An optimum beyond the grid
is a bound and not left out: what is left out is largest or smallest, and a slope through the rest is biased towards 0. Batch
sizes in examples, logarithms natural.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bayes_sgd.analysis.intervals import Floats, Places
from bayes_sgd.analysis.prediction import STEP

LEAST_SCATTER = float(STEP / np.sqrt(12))
"""An optimum is not known to better than where the grid, of ratio √2, puts it."""
_STEPS = 300
_CONVERGED = 1e-4  # in ln B
_LOG_NORM = 0.5 * np.log(2 * np.pi)


class Censored(NamedTuple):
    """Optima of which some lie beyond their grid.

    Attributes:
        log_b: ln B, (J, R): a column for the sample or for a replicate; ±inf beyond that end of the grid; where one is NaN the
            column has no fit.
        low: ln of the smallest batch size sampled, (J,).
        high: ln of the largest, (J,).
    """

    log_b: Floats
    low: Floats
    high: Floats

    def at(self, places: Places | NDArray[np.bool_]) -> Censored:
        """Those at some places."""
        return Censored(self.log_b[places], self.low[places], self.high[places])

    def missed_by(self, predicted: Floats) -> Floats:
        """Measured minus predicted ln B, (J, R); for a censored optimum how far the prediction lies inside the grid, else 0."""
        above = np.maximum(self.high[:, None] - predicted, 0.0)
        below = np.minimum(self.low[:, None] - predicted, 0.0)
        error = np.where(self.log_b > 0, above, below)
        return np.where(np.isinf(self.log_b), error, self.log_b - predicted)


class LogFit(NamedTuple):
    """A law fitted to ln B.

    Attributes:
        fitted: ln B, (J, R).
        parameters: as its `Law` says, (P, R).
        scatter: standard deviation about it, (R,), of maximum likelihood and at least `LEAST_SCATTER`.
        log_likelihood: (R,).
    """

    fitted: Floats
    parameters: Floats
    scatter: Floats
    log_likelihood: Floats


Law = Callable[[Floats, Floats | None], tuple[Floats, Floats]]
"""From ln B (J, R) and parameters (P, R) to start from, or none, to fitted ln B (J, R) and better parameters."""


def censored_fit(data: Censored, law: Law) -> LogFit:
    """Maximum likelihood of ln B normal about a law, by expectation and maximization (Dempster, Laird, Rubin 1977).

    Without censored values this is least squares. The scatter is at least `LEAST_SCATTER`: three optima, one of them censored,
    would have none.
    """
    y = data.log_b
    side = np.where(np.isinf(y), np.sign(y), 0.0)
    beyond = side != 0
    bound = np.where(side > 0, data.high[:, None], np.where(beyond, data.low[:, None], 0.0))
    complete, variance = np.where(beyond, bound, y), np.zeros(y.shape)
    fitted, parameters = law(complete, None)
    scatter, z = np.ones(y.shape[1]), np.zeros(y.shape)
    for _ in range(_STEPS):
        scatter = np.maximum(np.sqrt(((complete - fitted) ** 2 + variance).mean(axis=0)), LEAST_SCATTER)
        z = np.where(beyond, side * (bound - fitted) / scatter, 0.0)
        # the mean of a standard normal beyond z
        mills = np.exp(-0.5 * z**2 - _LOG_NORM - log_ndtr(-z))
        complete = np.where(beyond, fitted + side * scatter * mills, y)
        variance = np.where(beyond, scatter**2 * np.maximum(1 + z * mills - mills**2, 0.0), 0.0)
        before = fitted
        fitted, parameters = law(complete, parameters)
        if np.nanmax(np.abs(fitted - before), initial=0.0) < _CONVERGED:
            break
    density = -0.5 * ((complete - fitted) / scatter) ** 2 - np.log(scatter) - _LOG_NORM
    likelihood = np.where(beyond, log_ndtr(-z), density).sum(axis=0)
    return LogFit(fitted, parameters, scatter, likelihood)


def power_law(*axes: Floats) -> Law:
    """The law ln B = a + b₁ ln x₁ + b₂ ln x₂ + …, each x (J,): parameters a, then each b."""
    design = np.stack([np.ones(len(axes[0])), *map(np.log, axes)], axis=1)
    solve = np.linalg.pinv(design)

    def law(y: Floats, _: Floats | None) -> tuple[Floats, Floats]:
        parameters = solve @ y
        return design @ parameters, parameters

    return law


def offset_law(x: Floats, *powers: Floats) -> Law:
    """The law B = B_e + c x, `x` (J,), by least squares of ln B, times a power of each of `powers` (J,).

    Parameters: B_e, c, then the exponents. The one nonlinear parameter, c/B_e, is found from the best of a coarse grid by the
    steps of Gauss and Newton. A constant and B ∝ x are limits, at the ends of its range: the other term is 0.1 % of B there.
    """
    low, high = -np.log(x.max()) - np.log(1e3), -np.log(x.min()) + np.log(1e3)
    design = np.stack([np.ones(len(x)), *map(np.log, powers)], axis=1)
    solve = np.linalg.pinv(design)
    residual_of = np.eye(len(x)) - design @ solve

    def law(y: Floats, start: Floats | None) -> tuple[Floats, Floats]:
        about = residual_of @ y
        if start is None:
            tried = np.linspace(low, high, 40)
            shapes = residual_of @ np.log1p(np.exp(tried) * x[:, None])
            ratio = tried[((about[:, None] - shapes[:, :, None]) ** 2).sum(axis=0).argmin(axis=0)]
        else:
            ratio = np.log(start[1] / start[0])
        for _ in range(12 if start is None else 3):
            scaled = np.exp(ratio) * x[:, None]
            gradient = residual_of @ (scaled / (1 + scaled))
            error = about - residual_of @ np.log1p(scaled)
            step = (gradient * error).sum(axis=0) / np.maximum((gradient**2).sum(axis=0), 1e-12)
            ratio = np.clip(ratio + np.clip(step, -0.7, 0.7), low, high)
        shape = np.log1p(np.exp(ratio) * x[:, None])
        level, *exponents = solve @ (y - shape)
        return shape + design @ np.stack([level, *exponents]), np.stack([np.exp(level), np.exp(level + ratio), *exponents])

    return law


def akaike(log_likelihood: float, parameters: int, n: int) -> float:
    """AIC corrected for few data (Hurvich and Tsai 1989); `parameters` without the scatter, which is one more."""
    k = parameters + 1
    return 2 * k - 2 * log_likelihood + 2 * k * (k + 1) / max(n - k - 1, 1)
