"""Figures of our own on the laws: accuracy against the noise scale, and predicted optima; takes tables.

Nothing is estimated here: predictions are as the tables give them. Each figure comes with its data, a row for each point.
Accuracies are in [0, 1] in the data and in % on paper.
"""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.analysis.optimum import whole_budget
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import (
    SEEDS_95,
    Drawn,
    below_best,
    legend,
    need,
    over_seeds,
    span,
)
from bayes_sgd.figures.style import BLACK, GREY, LABELS, Look, number, points

EXPERIMENTS = {"learning_rate": "learning_rate", "momentum": "momentum", "training_set_size": "n_train"}  # and their axes
SYMBOLS = {"learning_rate": "ε", "momentum": "m", "n_train": "N"}
SHOWN = 4.0  # points of accuracy below the best that are drawn at equal noise scale
PREDICTED_90 = "90 % prediction interval"
KINDS = {BLACK: "interpolated", "none": "an end of the axis, extrapolated"}  # by the face of the marker


def accuracy_vs_noise_scale(cells: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """Test accuracy at the end against the noise scale g, a panel for each experiment, a line for each value of its axis.

    Args:
        cells: rows of the experiments, named in a column `experiment`.
        failed_below: training accuracy below which a run has failed. Only batch sizes at which every seed trains are drawn.
    """
    what = "Test accuracy against the noise scale g"
    columns = ["batch_size", "noise_scale", "update", "seed", "train_accuracy", "test_accuracy", "diverged", "phase"]
    need(cells, ["experiment", *columns], what)
    cells = cells.loc[(cells["phase"] == PHASE) & cells["experiment"].isin(list(EXPERIMENTS))]
    if cells.empty:
        raise UserError(f"{what}: the table has no rows for it")
    tables = []
    for name, axis in EXPERIMENTS.items():
        rows = cells.loc[cells["experiment"] == name]
        if rows.empty:
            continue
        rows = rows.loc[rows["update"] == whole_budget(rows, axis)].rename(columns={axis: "axis_value"})
        failed = rows["diverged"].astype(bool) | (rows["train_accuracy"] < failed_below)
        trains = ~failed.groupby([rows["axis_value"], rows["batch_size"]]).transform("any") & (rows["noise_scale"] > 0)
        rows = rows.loc[trains]
        means = over_seeds(rows, ["axis_value", "batch_size", "noise_scale"], ["test_accuracy"])
        if axis == "n_train" and len(rows):  # heights differ with N; what is compared is where each line is highest
            noise = rows.loc[:, ["axis_value", "batch_size", "noise_scale"]].drop_duplicates()
            means = below_best(rows, "axis_value", np.ones(len(rows), dtype=bool)).merge(noise, on=["axis_value", "batch_size"])
        tables.append(means.assign(panel=name))
    tables = [table for table in tables if len(table)] or tables[:1]
    data = pd.concat(tables)
    with rc_context(style.RC):
        figure = Figure(figsize=(3.7 * max(2, len(tables)), 4.6), layout="constrained")
        seeds = span(data["seeds"], "seed") if len(data) else "seeds"
        paired = ", paired for training set sizes" if "training_set_size" in set(data["panel"]) else ""
        means = f"points: means over {seeds}; bars: {SEEDS_95}{paired}; stars: the best of a line"
        figure.suptitle(f"{what}\n{means}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, len(tables))
        if data.empty:
            figure.text(0.5, 0.5, "no batch size at which every network trains", ha="center", color=GREY)
            return figure, data
        for column, table in enumerate(tables):
            name = table["panel"].iloc[0]
            part = figure.add_subfigure(grid[column])
            ax = part.subplots()
            limits = table["noise_scale"].min() / 1.3, table["noise_scale"].max() * 1.3
            ax.set(xscale="log", xlim=limits, xlabel="noise scale g = ε(N/B − 1)/(1 − m)", label=name)
            ax.set_title(f"({'abc'[column]}) {name.replace('_', ' ')}")
            relative = (table["quantity"] != "test_accuracy").any()
            ax.set_ylabel("test accuracy minus the line's own best (points)" if relative else LABELS["test_accuracy"])
            _draw_collapse(ax, table, SYMBOLS[EXPERIMENTS[name]])
            style.plain_log(ax.xaxis, (1.0,))
            legend(part, ax, 3)
    return figure, data


def _draw_collapse(ax: Axes, table: pd.DataFrame, symbol: str) -> None:
    values = sorted(table["axis_value"].unique())
    heights = 100 * table["value"].to_numpy(float)
    ax.set_ylim(max(heights.max() - SHOWN, heights.min() - 0.3), np.nanmax([heights.max() + 0.3, 100 * table["ci_high"].max()]))
    for value, look in zip(values, style.ordered(len(values)), strict=True):
        rows = table.loc[table["axis_value"] == value].sort_values("noise_scale")
        points(ax, rows["noise_scale"], rows, look, f"{symbol} = {number(value)}", 100)
        style.below_scale(ax, rows["noise_scale"], rows)
        best = rows.nlargest(1, "value")
        ax.plot(best["noise_scale"], 100 * best["value"], "*", ms=13, mfc="none", mec=look.color, zorder=5)


def prediction(table: pd.DataFrame) -> Drawn:
    """Predicted against measured optimal batch size, each axis value left out in turn, a panel for each experiment."""
    what = "Optimal batch size predicted from the other values of the axis"
    columns = ["experiment", "axis", "axis_value", "b_opt_measured", "b_opt_predicted", "ci_low", "ci_high", "extrapolated"]
    need(table, [*columns, "inside"], f"{what}: prediction")
    data = table.rename(columns={"b_opt_predicted": "value"}).assign(quantity="b_opt", interval=PREDICTED_90)
    inside = f"{np.count_nonzero(data['inside'].astype(bool))} of {len(data)} intervals hold what was measured"
    names = list(dict.fromkeys(data["experiment"]))
    data["panel"] = [ascii_lowercase[names.index(name)] for name in data["experiment"]]
    with rc_context(style.RC):
        figure = Figure(figsize=(max(7.2, 3.3 * len(names)), 4.6), layout="constrained")
        figure.suptitle(f"{what}\nbars: {PREDICTED_90}s; {inside}", x=0.01, ha="left")
        panels = figure.subplots(1, max(1, len(names)), squeeze=False).ravel()
        for ax in panels:
            ax.set(xscale="log", yscale="log", xlabel="measured optimum B (examples)", ylabel="predicted optimum B (examples)")
        if data.empty:
            panels[0].set_label("a")
            panels[0].text(0.5, 0.5, "nothing to predict: fewer than four optima\ninside the grid along every axis",
                           ha="center", transform=panels[0].transAxes, color=GREY)  # fmt: skip
            return figure, data
        for ax, (name, rows), look in zip(
            panels, data.groupby("experiment", sort=False), style.unordered(len(names)), strict=True
        ):
            _draw_prediction(ax, rows, look)
            panel, axis = rows["panel"].iloc[0], rows["axis"].iloc[0]
            ax.set(label=panel, title=f"({panel}) {str(name).replace('_', ' ')}: values of {SYMBOLS.get(axis, axis)}")
        handles = [Line2D([], [], color=BLACK, ls="", marker="o", mfc=face, label=words) for face, words in KINDS.items()]
        legend(figure, panels[0], 4, handles)
    return figure, data


def _draw_prediction(ax: Axes, rows: pd.DataFrame, look: Look) -> None:
    """The optima of one experiment, on square axes that hold every bar."""
    shown = rows.loc[:, ["b_opt_measured", "value", "ci_low", "ci_high"]].to_numpy(float)
    ends = np.array([shown.min() / 1.6, shown.max() * 1.3])
    ax.set(xlim=ends, ylim=ends)
    ax.plot(ends, ends, color=BLACK, lw=0.9, zorder=1, label="predicted = measured")
    for factor in (2**-0.5, 2**0.5):
        ax.plot(ends, factor * ends, color=GREY, ls=":", lw=0.9, zorder=1, label="a step of the grid, √2, off")
    for outer in (False, True):
        part = rows.loc[rows["extrapolated"].astype(bool) == outer]
        points(ax, part["b_opt_measured"], part, look, hollow=outer)
    for row in rows.to_dict("records"):
        place = (row["b_opt_measured"], row["ci_low"])
        ax.annotate(number(row["axis_value"]), place, (0, -3), textcoords="offset points", fontsize=7, ha="center", va="top")
    style.plain_log(ax.xaxis)
    style.plain_log(ax.yaxis)
