"""Figures are checked by their data, scales, labels and bytes, on synthetic tables shaped like measured ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from bayes_sgd import figures, style
from bayes_sgd.errors import UserError
from bayes_sgd.statistics import fit_optima, optimum_table, scaling_table
from bayes_sgd.tables import CELLS

REPORT = Path(__file__).parents[1] / "workflow" / "report"
GRID = (1, 2, 4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 256)
SWEEPS = {
    "learning_rate": ("learning_rate", {0.025: 6, 0.05: 11, 0.1: 23, 0.2: 45, 0.4: 90}),
    "training_set_size": ("n_train", {500: 11, 1000: 11, 2000: 13, 4000: 16, 8000: 23, 16000: 64}),
    "momentum": ("momentum", {0.0: 2, 0.5: 3, 0.8: 6, 0.9: 11, 0.95: 32}),
}
FIGURES: dict[str, Callable[..., figures.Drawn]] = {
    "learning_rate": figures.fig5,
    "training_set_size": figures.fig6,
    "momentum": figures.fig7,
}


def linear_table(seeds: int = 6, per_decade: int = 4) -> pd.DataFrame:
    """λ from 1e-5 to 1e4 with curves like the measured ones: E > 0 on random labels, a well at λ = 0.3 on true ones."""
    rng = np.random.default_rng(0)
    l2 = 10.0 ** np.linspace(-5, 4, 9 * per_decade + 1)
    fitted = 1 / (1 + l2 / 30)
    rows = []
    for seed in range(seeds):
        for labels in ("random", "real"):
            real = labels == "real"
            loss = (
                0.69 * (1 - 0.993 * fitted) + 0.001 * np.maximum(-np.log10(l2 / 0.1), 0)
                if real
                else 34 * fitted**2 + 0.69
            )
            rows.append(
                pd.DataFrame(
                    {
                        "labels": labels,
                        "l2": l2,
                        "seed": seed,
                        "train_accuracy": 1 - (0.002 if real else 0.4) * (1 - fitted),
                        "test_accuracy": (0.998 if real else 0.5) + rng.normal(0, 0.001 if real else 0.01, len(l2)),
                        "margin": (0.6 if real else 0.4) * (1 + 1.5 * np.log10(l2 / l2[0]) / 9) + rng.normal(0, 0.01),
                        "train_loss": 0.69 * (1 - fitted) + 1e-6,
                        "test_loss": loss * np.exp(rng.normal(0, 0.05)),
                        "log_evidence_ratio_per_example": (
                            -0.66 * np.exp(-((np.log10(l2 / 0.3) / 2.5) ** 2)) if real else 0.13 * np.log(1 + 1e4 / l2)
                        )
                        + rng.normal(0, 0.01),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def cells_table(experiment: str, seeds: int = 6, records: int = 1, values: tuple[float, ...] = ()) -> pd.DataFrame:
    """Accuracy against B: a cliff to 10 % below the optimum, a slope of half a point per factor e above it."""
    axis, optima = SWEEPS[experiment]
    rng = np.random.default_rng(1)
    offset = rng.normal(0, 0.003, seeds)
    rows = []
    for value, best in optima.items():
        if values and value not in values:
            continue
        peak = 0.909 if axis != "n_train" else 0.87 + 0.1 * np.log10(value / 500) / 1.5
        for size in GRID:
            z = np.log(size / best)
            for seed in range(seeds):
                train = float(z + rng.normal(0, 0.15) > -0.65)
                end = peak - 0.0055 * max(z, 0) - 0.01 * min(z, 0) ** 2 + offset[seed] + rng.normal(0, 0.001)
                end = end if train else 0.1 + rng.normal(0, 0.01)
                for update in np.linspace(0, 4000, records + 1)[1:].astype(int):
                    accuracy = end - (end - 0.1) * np.exp(-update / (100 + 300 * (size < 30)))
                    rows.append(
                        {
                            "data": "mnist5k", "labels": "real", "hidden_sizes": "200", "n_train": 1000,
                            "batch_size": size, "learning_rate": 0.1, "momentum": 0.9, "dampening": 0.0, "l2": 0.0,
                            "sampling": "independent", "updates": 4000, "noise_scale": 1.0, "seed": seed,
                            "update": update, "train_loss": 0.01, "test_loss": 0.4, "train_accuracy": max(train, 0.1),
                            "test_accuracy": accuracy, "weight_norm": 20.0, "dead_units": 0, "diverged": not train,
                        } | {axis: value}
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(CELLS))


def tables(experiment: str, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    optima = fit_optima({experiment: {"axis": SWEEPS[experiment][0], "rows": cells}}, n_replicates=200)
    return optimum_table(optima), scaling_table(optima)


def draw(experiment: str, cells: pd.DataFrame) -> figures.Drawn:
    return FIGURES[experiment](cells, *tables(experiment, cells))


def axes(figure: Figure) -> dict[str, Axes]:
    return {str(ax.get_label()): ax for ax in figure.axes}


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [c for c in ax.containers if isinstance(c, ErrorbarContainer)]


def words(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))


@pytest.fixture(scope="module")
def sweeps() -> dict[str, tuple[pd.DataFrame, Figure, pd.DataFrame]]:
    drawn = {}
    for name in SWEEPS:
        cells = cells_table(name)
        drawn[name] = (cells, *draw(name, cells))
    return drawn
