"""Cells whose best and whose smallest fitting batch size are known, exactly but for noise between seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.optimum import SweepRows

GRID = (8, 11, 16, 23, 32, 45, 64, 90, 128)
BASE = {
    "data": "synthetic", "labels": "real", "hidden_sizes": "200", "n_train": 1000, "learning_rate": 0.1, "momentum": 0.9,
    "dampening": 0.0, "l2": 0.0, "sampling": "independent", "updates": 4000, "update": 4000, "phase": "constant",
    "diverged": False,
}  # fmt: skip


def arm_cells(
    log_fit: float, log_opt: float, seeds: int = 6, noise: float = 0.0, rng: int = 0, grid: Sequence[int] = GRID, **fields: Any
) -> pd.DataFrame:
    """Rows of one arm: training accuracy reaches 0.99 at `log_fit` on a line, test accuracy has its top at `log_opt`.

    `noise`: standard deviation between seeds of both logarithms, independent of one another.
    """
    random = np.random.default_rng(rng)
    rows = []
    for seed in range(seeds):
        fit, opt = np.array([log_fit, log_opt]) + random.normal(0, noise, 2)
        for b in grid:
            trained = float(np.clip(0.99 + 0.02 * (np.log(b) - fit), 0, 1))
            tested = 0.9 - 0.01 * (np.log(b) - opt) ** 2
            rows.append(BASE | fields | {"batch_size": b, "seed": seed, "train_accuracy": trained, "test_accuracy": tested})
    return pd.DataFrame(rows)


def of_axis(axis: str, *parts: pd.DataFrame) -> SweepRows:
    """An experiment along an axis from the rows of its arms."""
    return {"axis": axis, "rows": pd.concat(parts, ignore_index=True)}
