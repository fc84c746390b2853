"""Cells drawn from response surfaces with known optima: a cliff on the left, a gentle slope on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from bayes_sgd.analysis.exponent import Optima, fit_optima
from bayes_sgd.analysis.optimum import SweepRows

# Mean test accuracy of a small network against the batch size, for an optimum at 23.
SHAPE = {
    1: 9.8, 2: 10.0, 4: 10.7, 6: 25.5, 8: 45.9, 11: 84.9, 16: 89.99, 23: 90.93, 32: 90.79, 45: 90.37, 64: 89.97,
    90: 89.75, 128: 89.47, 256: 88.94, 1000: 88.5,
}  # fmt: skip
GRID = tuple(np.unique(np.round(2 ** np.arange(1.0, 9.01, 0.5))).tolist())
FITS_FROM = -0.3  # ln(B/B_opt) from which on the training set is fitted
_PCHIP = PchipInterpolator(np.log(np.array(list(SHAPE)) / 23), np.array(list(SHAPE.values())) / 100)


def cliff(u: np.ndarray) -> np.ndarray:
    """Accuracy against ln(B/B_opt)."""
    return _PCHIP(np.clip(u, np.log(1 / 23), np.log(1000 / 23)))


def broad(u: np.ndarray) -> np.ndarray:
    return 0.91 - 0.004 * u**2


def make_cells(
    axis: str = "learning_rate",
    values: Sequence[float] = (0.025, 0.05, 0.1, 0.2, 0.4),
    exponent: float = 1.0,
    seeds: int = 8,
    grid: Sequence[float] = GRID,
    shape: Callable[[np.ndarray], np.ndarray] = cliff,
    rng: int = 0,
    noise: float = 1.0,
    centre: float = 23.0,
) -> pd.DataFrame:
    """B_opt ∝ x^exponent, x = 1/(1 − m) for momentum; seeds differ by an offset that all cells share, and by noise."""
    generator = np.random.default_rng(rng)
    x = 1 / (1 - np.array(values)) if axis == "momentum" else np.array(values)
    offset = generator.normal(0, 0.003 * noise, seeds)
    base = {
        "data": "synthetic", "labels": "real", "hidden_sizes": "200", "n_train": 1000, "learning_rate": 0.1,
        "momentum": 0.9, "dampening": 0.0, "l2": 0.0, "sampling": "independent", "updates": 2000,
    }  # fmt: skip
    rows = []
    for value, scaling_variable in zip(values, x, strict=True):
        log_optimum = np.log(centre) + exponent * np.log(scaling_variable / np.sqrt(x[0] * x[-1]))
        for b in grid:
            # Each run has a threshold of its own, so that accuracies scatter by tens of points at the cliff.
            u = np.log(b) - log_optimum + generator.normal(0, 0.15 * noise, seeds)
            accuracy = np.clip(shape(u) + offset + generator.normal(0, 0.002 * noise, seeds), 0, 1)
            cell = base | {axis: value, "batch_size": b}
            epsilon = cell["learning_rate"] / (1 - cell["momentum"])
            for seed in range(seeds):
                for update in (1000, 2000):
                    rows.append(
                        cell
                        | {
                            "noise_scale": epsilon * (cell["n_train"] / b - 1), "seed": seed, "update": update,
                            "train_loss": 0.1, "test_loss": 0.4,
                            "train_accuracy": 1.0 if u[seed] > FITS_FROM else min(1.0, accuracy[seed] + 0.1),
                            "test_accuracy": accuracy[seed] - 0.01 * (update == 1000), "weight_norm": 10.0,
                            "dead_units": 0, "phase": "constant", "diverged": bool(accuracy[seed] < 0.12),
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def experiment(axis: str = "learning_rate", **arguments: object) -> SweepRows:
    return {"axis": axis, "rows": make_cells(axis, **arguments)}


# where advice and predictions are asked for, and what the synthetic experiments along each axis hold
REFERENCE = {"learning_rate": 0.1, "momentum": 0.9, "n_train": 1000}
VALUES = {
    "learning_rate": (0.025, 0.05, 0.1, 0.2, 0.4),
    "momentum": (0.0, 0.5, 0.8, 0.9, 0.95),
    "n_train": (500, 1000, 2000, 4000),
}


def optima(axis: str, rng: int = 1, estimator: str = "cubic", **more: object) -> Optima:
    """The optima along an axis that `estimator` finds in a synthetic experiment, failed runs included."""
    of = experiment(axis, values=VALUES[axis], rng=rng, **more)
    (estimated,) = fit_optima({axis: of}, estimators=[estimator], treatments=["included"], n_replicates=300)
    return estimated
