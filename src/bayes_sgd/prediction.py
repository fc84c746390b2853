"""Takes optima with their bootstrap replicates; predicts the optimum batch size where it was not used or not measured.

`prediction_table` leaves one axis value out at a time and scores the power law through the others against what was measured
there; `advice_table` gives a batch size for a learning rate, a momentum and a training set size that a user names. All of it
is our
choice: the paper has the law and predicts nothing. Batch sizes in examples; intervals of 90 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bayes_sgd.intervals import Floats
from bayes_sgd.statistics import Optima, abscissa

LEVEL = 0.90
STEP = np.log(2) / 2  # of the grid of batch sizes, ratio √2


@dataclass(frozen=True)
class Line:
    """Least squares of ln B on ln x over J points, in the sample and in each bootstrap replicate (R,)."""

    x: Floats
    intercept: Floats
    slope: Floats
    residual: float
    spread: float

    @classmethod
    def through(cls, x: Floats, log_b: Floats, replicates: Floats) -> Line:
        """Through `x` (J,), `log_b` (J,), `replicates` (J, R); where a replicate censors a point, that of the sample."""
        draws = np.hstack([log_b[:, None], np.where(np.isfinite(replicates), replicates, log_b[:, None])])
        centred = np.log(x) - np.log(x).mean()
        spread = float((centred**2).sum())
        slope = centred @ draws / spread
        intercept = draws.mean(axis=0)
        left = draws[:, 0] - intercept[0] - slope[0] * centred
        freedom = len(x) - 2
        return cls(x, intercept, slope, float(np.sqrt((left**2).sum() / freedom)) if freedom > 0 else np.inf, spread)

    def at(self, x: float) -> tuple[Floats, float]:
        """Ln B at `x`, (1 + R,), and the residual standard deviation of a new point there."""
        shift = np.log(x) - np.log(self.x).mean()
        return self.intercept + self.slope * shift, self.residual * np.sqrt(1 + 1 / len(self.x) + shift**2 / self.spread)


def _points(o: Optima) -> tuple[Floats, Floats, Floats]:
    x = abscissa(o.axis, np.array([curve.axis_value for curve in o.curves]))
    used = np.isfinite(o.log_b) & (x > 0)
    return x[used], o.log_b[used], o.replicates[used]


def prediction_table(optima: Sequence[Optima]) -> pd.DataFrame:
    """One row per experiment and axis value with an optimum inside the grid, where at least three others have one.

    The line goes through the others; the half-width of the interval is Student's t with their degrees of freedom times the
    larger of the line's residual spread for a new point and the bootstrap's spread of predicted minus measured. `steps`: how
    many steps of the grid, of ratio √2, lie between predicted and measured; `extrapolated`: the value lies outside the others.
    """
    rows: list[dict[str, Any]] = []
    for o in optima:
        x, log_b, replicates = _points(o)
        values = np.array([curve.axis_value for curve in o.curves])[np.isfinite(o.log_b)]
        for j in range(len(x) if len(x) >= 4 else 0):
            rest = np.arange(len(x)) != j
            predicted, residual = Line.through(x[rest], log_b[rest], replicates[rest]).at(x[j])
            apart = predicted[1:] - np.where(np.isfinite(replicates[j]), replicates[j], log_b[j])
            half = stats.t.ppf(0.5 + LEVEL / 2, rest.sum() - 2) * max(residual, float(apart.std(ddof=1)))
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
    return pd.DataFrame(rows, columns=PREDICTION_COLUMNS)


PREDICTION_COLUMNS = [
    *("axis", "axis_value", "b_opt_measured", "b_opt_predicted", "ci_low", "ci_high", "extrapolated"),
    *("experiment", "estimator", "updates", "inside", "steps"),
]
ADVICE_COLUMNS = [*PREDICTION_COLUMNS[:7], "learning_rate", "momentum", "n_train", "why"]


def advice_table(
    optima: Sequence[Optima], wanted: Sequence[Mapping[str, float]], reference: Mapping[str, float]
) -> pd.DataFrame:
    """A batch size for each wanted (learning_rate, momentum, n_train).

    From the line of the learning rate at the wanted ε, moved by the line of the momentum and, between the sampled training set
    sizes, by interpolation in ln N (beyond them by the last slope): what a law does not bend into one is not forced into one.
    An axis that the run did not follow is taken to be as in `reference`, and the row is marked as extrapolated if it differs.

    Args:
        optima: one for each experiment, of one estimator; those along learning_rate, momentum and n_train are used.
        wanted: what is asked for.
        reference: the cell from which the axes are followed: learning_rate, momentum, n_train.
    """
    by_axis = {o.axis: o for o in reversed(optima) if len(_points(o)[0]) >= 3}
    rows = []
    for number, wish in enumerate(wanted):
        row: dict[str, Any] = {"axis": "advise", "axis_value": number, "b_opt_measured": np.nan} | dict(wish)
        if "learning_rate" not in by_axis:
            rows.append(row | {"why": "the run has no optimum along the learning rate inside its grid"})
            continue
        x, log_b, replicates = _points(by_axis["learning_rate"])
        line = Line.through(x, log_b, replicates)
        total, residual = line.at(wish["learning_rate"])
        center, variance = float(total[0]), residual**2 + float(total[1:].var(ddof=1))
        outside = [] if x.min() <= wish["learning_rate"] <= x.max() else ["learning_rate"]
        freedom = len(x) - 2
        for axis in ("momentum", "n_train"):
            if wish[axis] == reference[axis]:
                continue
            if axis not in by_axis:
                outside.append(axis)
                continue
            x, log_b, replicates = _points(by_axis[axis])
            here, there = (float(abscissa(axis, np.array([of[axis]]))[0]) for of in (reference, wish))
            if axis == "momentum":
                line = Line.through(x, log_b, replicates)
                moved = line.slope * np.log(there / here)
                variance += line.residual**2
                freedom = min(freedom, len(x) - 2)
            else:
                draws = np.hstack([log_b[:, None], np.where(np.isfinite(replicates), replicates, log_b[:, None])])
                moved = _interpolated(np.log(x), draws, np.log(there)) - _interpolated(np.log(x), draws, np.log(here))
            center += float(moved[0])
            variance += float(moved[1:].var(ddof=1))
            outside += [] if x.min() <= there <= x.max() else [axis]
        half = float(stats.t.ppf(0.5 + LEVEL / 2, max(1, freedom)) * np.sqrt(variance))
        rows.append(
            row
            | {
                "b_opt_predicted": float(np.exp(center)),
                "ci_low": float(np.exp(center - half)),
                "ci_high": float(np.exp(center + half)),
                "extrapolated": bool(outside),
                "why": f"outside what was sampled: {', '.join(outside)}" if outside else "inside what was sampled",
            }
        )
    return pd.DataFrame(rows, columns=ADVICE_COLUMNS)


def _interpolated(x: Floats, draws: Floats, at: float) -> Floats:
    """Piecewise linear through (x, draws) at one place, (1 + R,), continued by the slope at the ends; x (J,) ascending."""
    right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return draws[right - 1] * (1 - share) + draws[right] * share
