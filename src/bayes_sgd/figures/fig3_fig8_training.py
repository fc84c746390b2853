"""Figures 3 and 8 of the paper, small and full batch during training: takes the cells of the experiment `l2`, gives figures.

Nothing is estimated here: means over seeds with 95 % t-intervals. Each figure comes with its data, a row for each point.
Accuracies are in [0, 1] in the data and in % on paper, cross-entropies in nats per example.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import SEEDS_95, Drawn, band, legend, need, over_seeds, span
from bayes_sgd.figures.style import BLUE, LABELS, VERMILION, Look, number

SIZES = {"small": Look(VERMILION, "o", "-"), "large": Look(BLUE, "s", "-")}  # the ends of the batch sizes


def fig3(cells: pd.DataFrame) -> Drawn:
    """Test accuracy and cross-entropy against updates without L2, smallest against largest batch size.

    `cells`: rows of the experiment `l2`, all recorded updates.
    """
    what = "Figure 3. Small and large batches during training, λ = 0"
    rows = _trained(cells, what)
    without_l2 = rows.loc[rows["l2"] == 0]
    if without_l2.empty:
        raise UserError(f"{what}: the table has no rows with l2 0")
    data = _curves(without_l2)
    with rc_context(style.RC):
        figure = Figure(figsize=(9.6, 4.8), layout="constrained")
        figure.suptitle(f"{what}\n{_means(data)}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, 2)
        peak, full = style.two_scales(figure.add_subfigure(grid[0]), "a", "accuracy", (0, 100))
        full.set_xlabel(LABELS["update"])
        loss = figure.add_subfigure(grid[1]).subplots()
        loss.set(title="(b) cross-entropy", xlabel=LABELS["update"], label="b")
        _draw_curves(peak, full, loss, data)
        legend(figure, loss, 5)
    return figure, data.assign(panel=np.where(data["quantity"].str.endswith("accuracy"), "a", "b"))


def fig8(cells: pd.DataFrame) -> Drawn:
    """Figure 3 with L2: λ = 0.1 of the sum cost, and beside it 0.1 of the mean loss, which is 0.1 N of the sum cost."""
    what = "Figure 8. Small and large batches during training, with L2"
    rows = _trained(cells, what)
    readings = {"a": ("0.1 of the sum cost", 0.1), "b": ("0.1 of the mean loss", 0.1 * rows["n_train"].iloc[0])}
    parts = {panel: _curves(rows.loc[np.isclose(rows["l2"], l2)]) for panel, (_, l2) in readings.items()}
    parts = {panel: table for panel, table in parts.items() if len(table)}
    if not parts:
        values = " or ".join(number(l2) for _, l2 in readings.values())
        raise UserError(f"{what}: the table has no rows with l2 {values}")
    data = pd.concat([table.assign(panel=panel, l2=readings[panel][1]) for panel, table in parts.items()])
    with rc_context(style.RC):
        figure = Figure(figsize=(9.6, 6.8), layout="constrained")
        figure.suptitle(f"{what}\n{_means(data)}", x=0.01, ha="left")
        axes = figure.subplots(3, len(parts), sharex=True, squeeze=False, height_ratios=(2.4, 1, 2.2))
        for column, (panel, table) in zip(axes.T, parts.items(), strict=True):
            words, l2 = readings[panel]
            column[0].set(title=f"({panel}) λ = {number(l2)}: {words}", ylabel=LABELS["test_accuracy"], label=f"{panel} peak")
            column[1].set(ylim=(0, 103), yticks=(0, 50, 100), ylabel="full range", label=f"{panel} full")
            column[2].set(xlabel=LABELS["update"], label=f"{panel} loss")
            peak, full, loss = column
            _draw_curves(peak, full, loss, table)
        legend(figure, axes[-1, 0], 5)
    return figure, data


def _trained(cells: pd.DataFrame, what: str) -> pd.DataFrame:
    quantities = ["train_accuracy", "test_accuracy", "train_loss", "test_loss"]
    need(cells, ["l2", "n_train", "batch_size", "update", "seed", "phase", *quantities], what)
    rows = cells.loc[(cells["phase"] == "constant") & (cells["update"] > 0)]  # the axis of updates is logarithmic
    if rows.empty:
        raise UserError(f"{what}: the table has no rows for it")
    if rows["n_train"].nunique() > 1:
        raise UserError(f"{what}: rows of more than one n_train; give the cells of one experiment")
    if rows.duplicated(["l2", "batch_size", "update", "seed"]).any():
        raise UserError(f"{what}: two runs with the same l2, batch_size and seed; give the cells of one experiment")
    return rows


def _curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds at each recorded update of the smallest and the largest batch size."""
    rows = rows.loc[rows["batch_size"].isin([rows["batch_size"].min(), rows["batch_size"].max()])]
    return over_seeds(rows, ["batch_size", "update"], ["train_accuracy", "test_accuracy", "train_loss", "test_loss"])


def _means(data: pd.DataFrame) -> str:
    return f"lines: means over {span(data['seeds'], 'seed')}; bands: {SEEDS_95}; thin lines: training set"


def _draw_curves(peak: Axes, full: Axes, loss: Axes, data: pd.DataFrame) -> None:
    """Test accuracies enlarged, all accuracies, all cross-entropies."""
    sizes = sorted(data["batch_size"].unique())
    looks = list(SIZES.values()) if len(sizes) == 2 else [SIZES["small"]]
    for ax, quantity, scale in ((peak, "accuracy", 100), (full, "accuracy", 100), (loss, "loss", 1)):
        ax.set_xscale("log")
        style.plain_log(ax.xaxis, (1.0,))
        for size, look in zip(sizes, looks, strict=True):
            rows = data.loc[data["batch_size"] == size]
            tested = band(ax, rows, f"test_{quantity}", look, f"B = {number(size)}, test", scale, "update")
            trained = rows.loc[rows["quantity"] == f"train_{quantity}"]
            label = f"B = {number(size)}, training"
            if ax is not peak:
                ax.plot(trained["update"], scale * trained["value"], color=look.color, lw=0.7, ls="--", label=label)
            if ax is loss:
                star = tested.nsmallest(1, "value")
                ax.plot(star["update"], star["value"], "*", ms=12, mfc="none", mec=look.color, label="lowest mean of the test")
    loss.set(ylabel=LABELS["loss"])
    loss.set_ylim(bottom=0)
    tests = data.loc[(data["quantity"] == "test_accuracy") & np.isfinite(data["value"])]
    if len(tests):
        ends = 100 * tests.loc[tests["update"] == tests["update"].max(), "value"].to_numpy(float)
        best = 100 * float(tests["value"].max())
        spread = best - float(ends.min())
        peak.set_ylim(float(ends.min()) - 0.15 * spread - 1.5, best + 0.15 * spread + 0.5)
