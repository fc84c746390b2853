"""Figures 3 and 8 of the paper, small and full batch during training: takes the cells of the experiment `l2`, gives figures.

Nothing is estimated here: means over seeds with 95 % t-intervals, and differences of paired seeds with their own. Each figure
comes with its data, a row for each point. Accuracies are in [0, 1] in the data and in % on paper, cross-entropies in nats per
example.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.analysis.intervals import mean_interval
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import PAIRED_95, SEEDS_95, Drawn, band, legend, need, over_seeds, span
from bayes_sgd.figures.style import BLACK, BLUE, GREY, LABELS, PURPLE, VERMILION, Look, number, points

GAP = "gap in test accuracy (points)"
PHASES = {
    "constant": ("last iterate", Look(GREY, "o", ":")),
    "iterate_average": ("average of the last iterates", Look(PURPLE, "s", "-")),
}
SIZES = {"small": Look(VERMILION, "o", "-"), "large": Look(BLUE, "s", "-")}  # the ends of the batch sizes


def fig3(cells: pd.DataFrame) -> Drawn:
    """Test accuracy and cross-entropy against updates without L2, smallest against largest batch size, and their difference.

    `cells`: rows of the experiment `l2`, all recorded updates.
    """
    what = "Figure 3. Small and large batches during training, λ = 0"
    rows = _trained(cells, what)
    without_l2 = rows.loc[rows["l2"] == 0]
    if without_l2.empty:
        raise UserError(f"{what}: the table has no rows with l2 0")
    data = _curves(without_l2).assign(panel="")
    data["panel"] = np.where(data["quantity"].str.endswith("accuracy"), "a", "b")
    gap = _gap(without_l2, "update").assign(panel="c")
    with rc_context(style.RC):
        figure = Figure(figsize=(13, 4.8), layout="constrained")
        figure.suptitle(f"{what}\n{_means(data)}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, 3)
        peak, full = style.two_scales(figure.add_subfigure(grid[0]), "a", "accuracy", (0, 100))
        full.set_xlabel(LABELS["update"])
        loss = figure.add_subfigure(grid[1]).subplots()
        loss.set(title="(b) cross-entropy", xlabel=LABELS["update"], label="b")
        _draw_curves(peak, full, loss, data)
        ax = figure.add_subfigure(grid[2]).subplots()
        ax.set(xscale="log", xlabel=LABELS["update"], ylabel=GAP, label="c")
        ax.set_title(f"(c) small minus large batch\nbars: {PAIRED_95}")
        late = gap.loc[gap["update"] >= gap["update"].max() / 100]  # before, the gap is tens of points either way
        points(ax, late["update"], late, Look(BLACK, "o", "-"), "", 100)
        style.plain_log(ax.xaxis)
        ax.axhline(0, color=GREY, lw=0.9, zorder=1)
        legend(figure, loss, 5)
    return figure, pd.concat([data, gap])


def fig8(cells: pd.DataFrame) -> Drawn:
    """Figure 3 with L2: λ = 0.1 of the sum cost, and beside it 0.1 of the mean loss, which is 0.1 N of the sum cost.

    (c) has the gap between the smallest and the largest batch size at the end of training against λ, all λ of the experiment.
    """
    what = "Figure 8. Small and large batches during training, with L2"
    rows = _trained(cells, what)
    readings = {"a": ("0.1 of the sum cost", 0.1), "b": ("0.1 of the mean loss", 0.1 * rows["n_train"].iloc[0])}
    parts = {panel: _curves(rows.loc[np.isclose(rows["l2"], l2)]) for panel, (_, l2) in readings.items()}
    parts = {panel: table for panel, table in parts.items() if len(table)}
    if not parts:
        values = " or ".join(number(l2) for _, l2 in readings.values())
        raise UserError(f"{what}: the table has no rows with l2 {values}")
    data = pd.concat([table.assign(panel=panel, l2=readings[panel][1]) for panel, table in parts.items()])
    gaps = _gaps_at_the_end(cells)
    with rc_context(style.RC):
        figure = Figure(figsize=(4.8 * (len(parts) + 1), 6.8), layout="constrained")
        figure.suptitle(f"{what}\n{_means(data)}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, 2, width_ratios=(len(parts), 1))
        left, right = (figure.add_subfigure(part) for part in grid)
        axes = left.subplots(3, len(parts), sharex=True, squeeze=False, height_ratios=(2.4, 1, 2.2))
        for column, (panel, table) in zip(axes.T, parts.items(), strict=True):
            words, l2 = readings[panel]
            column[0].set(title=f"({panel}) λ = {number(l2)}: {words}", ylabel=LABELS["test_accuracy"], label=f"{panel} peak")
            column[1].set(ylim=(0, 103), yticks=(0, 50, 100), ylabel="full range", label=f"{panel} full")
            column[2].set(xlabel=LABELS["update"], label=f"{panel} loss")
            peak, full, loss = column
            _draw_curves(peak, full, loss, table)
        legend(left, axes[-1, 0], 3)
        ax = right.subplots()
        ax.set(
            xscale="symlog",
            xlabel=LABELS["l2"],
            ylabel=GAP,
            label="c",
            title=f"(c) small minus large batch at the end\nbars: {PAIRED_95}",
        )
        _draw_dose(ax, gaps)
        legend(right, ax, 1)
    return figure, pd.concat([data, gaps])


def _draw_dose(ax: Axes, gaps: pd.DataFrame) -> None:
    """Gap against λ by phase, λ = 0 on the left; half of the gap at λ = 0 as a line."""
    smallest = float(gaps.loc[gaps["l2"] > 0, "l2"].min())
    ax.set_xscale("symlog", linthresh=smallest)
    for phase, (name, look) in PHASES.items():
        rows = gaps.loc[gaps["phase"] == phase].sort_values("l2")
        points(ax, rows["l2"], rows, look, name if len(rows) else "", 100)
    shown = gaps.loc[gaps["phase"] == gaps["phase"].iloc[-1]]
    without = shown.loc[shown["l2"] == 0, "value"]
    if len(without):
        ax.axhline(50 * float(without.iloc[0]), color=VERMILION, ls="--", lw=0.9, zorder=1, label="half of the gap at λ = 0")
    ax.axhline(0, color=GREY, lw=0.9, zorder=1)
    heights = 100 * shown.loc[:, ["value", "ci_low", "ci_high"]].to_numpy(float)
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    ax.set_ylim(low - 0.1 * (high - low) - 0.2, high + 0.1 * (high - low) + 0.2)
    below = gaps.loc[(gaps["phase"] != shown["phase"].iloc[0]) & (100 * gaps["value"] < ax.get_ylim()[0])]
    style.below_scale(ax, below["l2"], below)
    ax.set_xticks([0, *sorted(gaps.loc[gaps["l2"] > 0, "l2"].unique())])
    ax.set_xticklabels([number(l2) for l2 in ax.get_xticks()])
    ax.minorticks_off()


def _gaps_at_the_end(cells: pd.DataFrame) -> pd.DataFrame:
    """The gap of each λ after its last update, by phase."""
    rows = cells.loc[cells["phase"].isin(list(PHASES))]
    last = rows["update"] == rows.groupby(["phase", "l2"])["update"].transform("max")
    parts = [_gap(table, "l2").assign(phase=phase) for phase, table in rows.loc[last].groupby("phase")]
    return pd.concat(parts).assign(panel="c").sort_values(["phase", "l2"])


def _gap(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Test accuracy at the smallest minus at the largest batch size, a row for each value of a column; seeds are paired."""
    small, large = (
        rows.loc[rows["batch_size"] == size].pivot(index=by, columns="seed", values="test_accuracy")
        for size in (rows["batch_size"].min(), rows["batch_size"].max())
    )
    difference = (small - large).dropna(how="all")
    means = [mean_interval(row) for row in difference.to_numpy(float)]
    table = pd.DataFrame(means, columns=["value", "ci_low", "ci_high", "seeds"])
    return table.assign(**{by: difference.index.to_numpy()}, quantity="gap", interval=PAIRED_95)


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
