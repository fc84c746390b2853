"""How well a power law predicts an optimum batch size that it was not fitted to.

Takes optima with their bootstrap replicates; leaves one axis value out at a time, and compares the power law through the others
with the optimum that was measured there. Our choice: the paper has the law and makes no predictions. Batch sizes in examples;
intervals of 90 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bayes_sgd.analysis.exponent import Optima, scaling_variable
from bayes_sgd.analysis.intervals import Floats
from bayes_sgd.core.schema import PREDICTION

LEVEL = 0.90
STEP = np.log(2) / 2  # of the grid of batch sizes, ratio √2


@dataclass(frozen=True)
class PowerLaw:
    """Least squares of ln B on ln x over J points, in the sample and in each bootstrap replicate (R,)."""

    x: Floats
    intercept: Floats
    slope: Floats
    residual: float
    spread: float

    @classmethod
    def through(cls, x: Floats, log_b: Floats, replicates: Floats) -> PowerLaw:
        """Through `x` (J,), `log_b` (J,), `replicates` (J, R); where a replicate censors a point, that of the sample."""
        draws = np.hstack([log_b[:, None], np.where(np.isfinite(replicates), replicates, log_b[:, None])])
        centred = np.log(x) - np.log(x).mean()
        spread = float((centred**2).sum())
        slope = centred @ draws / spread
        intercept = draws.mean(axis=0)
        residuals = draws[:, 0] - intercept[0] - slope[0] * centred
        freedom = len(x) - 2
        return cls(x, intercept, slope, float(np.sqrt((residuals**2).sum() / freedom)) if freedom > 0 else np.inf, spread)

    def at(self, x: float) -> tuple[Floats, float]:
        """Ln B at `x`, (1 + R,), and the residual standard deviation of a new point there."""
        shift = np.log(x) - np.log(self.x).mean()
        return self.intercept + self.slope * shift, self.residual * np.sqrt(1 + 1 / len(self.x) + shift**2 / self.spread)


def uncensored(o: Optima) -> tuple[Floats, Floats, Floats]:
    """Of the optima inside the grid: the scaling variable (J,), ln B (J,), and its replicates (J, R)."""
    x = scaling_variable(o.axis, np.array([curve.axis_value for curve in o.curves]))
    used = np.isfinite(o.log_b) & (x > 0)
    return x[used], o.log_b[used], o.replicates[used]


def prediction_table(optima: Sequence[Optima]) -> pd.DataFrame:
    """One row per experiment and axis value with an optimum inside the grid, where at least three others have one.

    The law is fitted to the others. The half-width of the interval is Student's t with their degrees of freedom, times the
    larger of the residual spread for a new point and the bootstrap's spread of predicted minus measured. `steps`: how many
    steps of the grid, of ratio √2, lie between predicted and measured; `extrapolated`: the value lies outside the others.
    """
    rows: list[dict[str, Any]] = []
    for o in optima:
        x, log_b, replicates = uncensored(o)
        values = np.array([curve.axis_value for curve in o.curves])[np.isfinite(o.log_b)]
        for j in range(len(x) if len(x) >= 4 else 0):
            others = np.arange(len(x)) != j
            predicted, residual = PowerLaw.through(x[others], log_b[others], replicates[others]).at(x[j])
            errors = predicted[1:] - np.where(np.isfinite(replicates[j]), replicates[j], log_b[j])
            half = stdtrit(others.sum() - 2, 0.5 + LEVEL / 2) * max(residual, float(errors.std(ddof=1)))
            low, high = predicted[0] - half, predicted[0] + half
            rows.append(
                {
                    "axis": o.axis,
                    "axis_value": values[j],
                    "b_opt_measured": float(np.exp(log_b[j])),
                    "b_opt_predicted": float(np.exp(predicted[0])),
                    "ci_low": float(np.exp(low)),
                    "ci_high": float(np.exp(high)),
                    "extrapolated": bool(j in (x.argmin(), x.argmax())),
                    "experiment": o.experiment,
                    "estimator": o.estimator,
                    "updates": o.curves[j].updates,
                    "inside": bool(low <= log_b[j] <= high),
                    "steps": float(abs(predicted[0] - log_b[j]) / STEP),
                }
            )
    return pd.DataFrame(rows, columns=list(PREDICTION.names))
