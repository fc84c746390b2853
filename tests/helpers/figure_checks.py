"""Tables shaped like measured ones, for figures, and what a figure and its caption show."""

from __future__ import annotations

from typing import Any

import jinja2
import numpy as np
import pandas as pd
from docutils.core import publish_parts
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from project import ROOT

from bayes_sgd.analysis.exponent import fit_optima, optimum_table, scaling_table
from bayes_sgd.core.schema import CELLS

REPORT = ROOT / "workflow" / "report"
GRID = (1, 2, 4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 256)
SWEEPS = {
    "learning_rate": ("learning_rate", {0.025: 6, 0.05: 11, 0.1: 23, 0.2: 45, 0.4: 90}),
    "training_set_size": ("n_train", {500: 11, 1000: 11, 2000: 13, 4000: 16, 8000: 23, 16000: 64}),
    "momentum": ("momentum", {0.0: 2, 0.5: 3, 0.8: 6, 0.9: 11, 0.95: 32}),
}


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
                            "update": update, "phase": "constant", "train_loss": 0.01, "test_loss": 0.4,
                            "train_accuracy": max(train, 0.1), "test_accuracy": accuracy, "weight_norm": 20.0, "dead_units": 0,
                            "diverged": not train,
                        } | {axis: value}
                    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(CELLS.names))


def with_phases(cells: pd.DataFrame) -> pd.DataFrame:
    """The last records once more: averaged a little better, and after 500 updates of cooldown better still, cliff and all."""
    last = cells[cells["update"] == cells["update"].max()]
    averaged = last.assign(phase="iterate_average", test_accuracy=last["test_accuracy"] + 0.001)
    warm = 0.9 - 0.003 * np.abs(np.log(last["batch_size"] / 8))
    cooled = last.assign(
        phase="after_cooldown",
        update=last["update"] + 500,
        test_accuracy=last["test_accuracy"].where(last["test_accuracy"] > 0.5, warm) + 0.002,
        train_accuracy=1.0,
        diverged=False,
    )
    return pd.concat([cells, averaged, cooled], ignore_index=True)


def tables(experiment: str, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    found = [
        o
        for phase, rows in cells.groupby("phase")
        for o in fit_optima({experiment: {"axis": SWEEPS[experiment][0], "rows": rows}}, n_replicates=200, phase=str(phase))
    ]
    return optimum_table(found), scaling_table(found)


def axes(figure: Figure) -> dict[str, Axes]:
    return {str(ax.get_label()): ax for ax in figure.axes}


def bars(ax: Axes) -> list[ErrorbarContainer]:
    return [c for c in ax.containers if isinstance(c, ErrorbarContainer)]


def words(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))


def render(figure: Figure) -> None:
    """Render all of a figure, as a file would, without writing one; what cannot be drawn is an error."""
    FigureCanvasAgg(figure).draw()


def inside(figure: Figure) -> bool:
    """Whether all that is drawn lies inside the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, (width, height) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def rendered(name: str, snakemake: Any) -> str:
    """The caption as HTML, as Snakemake makes it, but strict: a missing fact or bad markup is an error."""
    text = (REPORT / name).read_text(encoding="utf-8")
    rst = (
        jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
        .from_string(text)
        .render(snakemake=snakemake)
    )
    return publish_parts(rst, writer="html", settings_overrides={"halt_level": 2, "report_level": 2})["html_body"]
