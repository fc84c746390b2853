"""Figure 9 of the paper, and our own on the size of the gradient's noise: takes `gradients` and `gradient_noise`.

Nothing is estimated here: means over seeds with 95 % t-intervals, traces in units of what is predicted. Each figure
comes with its data, a row for each point.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import SEEDS_95, Drawn, legend, need, over_seeds, span
from bayes_sgd.figures.style import BLACK, BLUE, GREEN, GREY, LABELS, VERMILION, Look, number, points

SAMPLERS = {"independent": Look(BLUE, "o", ""), "replacement": Look(VERMILION, "s", ""), "shuffle": Look(GREEN, "^", "")}
SHAPES = {
    "skewness": (Look(BLUE, "o", "-"), "|skewness|", -0.5),
    "excess_kurtosis": (Look(VERMILION, "s", "-"), "excess kurtosis", -1.0),
}
BINS = 60
CLEAR = 1.5  # units: where two standard errors of a mean are wider, nothing can be seen


def fig9(gradients: pd.DataFrame, noise: pd.DataFrame) -> Drawn:
    """The gradient of one softmax weight over (a) examples and (b) batches, and (c) how its shape nears a Gaussian's with B.

    Args:
        gradients: columns batch_size (1 and one other), gradient.
        noise: the table `gradient_noise`.
    """
    what = "Figure 9. Distribution of gradients in the softmax layer"
    need(gradients, ["batch_size", "gradient"], f"{what}: gradients")
    need(noise, ["update", "seed", "sampling", "batch_size", *SHAPES], f"{what}: gradient_noise")
    if gradients.empty:
        raise UserError(f"{what}: the table has no rows for it")
    histograms = {
        float(str(size)): _histogram(rows["gradient"].to_numpy(float)) for size, rows in gradients.groupby("batch_size")
    }
    shapes = over_seeds(noise.loc[noise["sampling"] == "independent"], ["update", "batch_size"], list(SHAPES))
    shapes = shapes.loc[np.isfinite(shapes["value"])].assign(panel="c")
    parts = [table.assign(panel=panel, batch_size=size) for panel, (size, table) in zip("ab", histograms.items(), strict=False)]
    with rc_context(style.RC):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        seeds = f"means over {span(shapes['seeds'], 'seed')}; bars: {SEEDS_95}" if len(shapes) else "not measured"
        figure.suptitle(f"{what}\n(a), (b): one weight, seed 0; (c): all weights of the layer, {seeds}", x=0.01, ha="left")
        axes = figure.subplots(1, 3)
        for ax, table, panel in zip(axes, parts, "ab", strict=False):
            _draw_histogram(ax, table, panel)
        _draw_shapes(axes[2], shapes)
    return figure, pd.concat([*parts, shapes])


def _histogram(values: np.ndarray) -> pd.DataFrame:
    """Density in equal bins (rows `density`, x the middle of the bin), and the Gaussian of equal mean and variance there."""
    density, ends = np.histogram(values, bins=BINS, density=True)
    middle, deviation = (ends[1:] + ends[:-1]) / 2, values.std()
    scaled = (middle - values.mean()) / deviation if deviation > 0 else np.full(BINS, np.nan)
    gaussian = np.exp(-(scaled**2) / 2) / (np.sqrt(2 * np.pi) * deviation) if deviation > 0 else scaled
    same = {"x": middle, "x_low": ends[:-1], "x_high": ends[1:], "values": len(values)}
    return pd.concat(
        [pd.DataFrame(same | {"quantity": name, "value": y}) for name, y in (("density", density), ("gaussian", gaussian))],
        ignore_index=True,
    )


def _draw_histogram(ax: Axes, table: pd.DataFrame, panel: str) -> None:
    bars, line = (table.loc[table["quantity"] == name] for name in ("density", "gaussian"))
    size, values = table["batch_size"].iloc[0], table["values"].iloc[0]
    words = "single examples" if size == 1 else f"batches of {number(size)}"
    ax.set(title=f"({panel}) {words}, {number(values)} of them", xlabel="gradient of one weight (nats)", label=panel)
    ax.set_ylabel("density")
    ax.stairs(bars["value"], [*bars["x_low"], bars["x_high"].iloc[-1]], fill=True, color=BLUE, alpha=0.5, label="measured")
    ax.plot(line["x"], line["value"], color=BLACK, lw=0.9, label="Gaussian of equal\nmean and variance")
    if size == 1:
        ax.set_yscale("log")  # most examples hardly pull at one weight
        positive = bars.loc[bars["value"] > 0, "value"]
        ax.set_ylim(positive.min() / 3, positive.max() * 5)
    ax.legend(loc="upper left", handlelength=1.2)


def _draw_shapes(ax: Axes, shapes: pd.DataFrame) -> None:
    ax.set(xscale="log", yscale="log", title="(c) distance from a Gaussian", xlabel=LABELS["batch_size"], label="c")
    ax.set_ylabel("mean over weights")
    positive = shapes.loc[shapes["value"] > 0]
    if positive.empty:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", color=GREY)
        return
    low, high = positive["value"].min() / 2, positive["value"].max() * 2
    ax.set_ylim(low, high)
    updates = sorted(positive["update"].unique())
    for quantity, (look, words, slope) in SHAPES.items():
        for place, update in enumerate(updates):
            rows = positive.loc[(positive["quantity"] == quantity) & (positive["update"] == update)]
            rows = rows.assign(ci_low=rows["ci_low"].clip(lower=low))
            at = "initial" if update == 0 else f"after {number(update)} updates"
            points(
                ax,
                rows["batch_size"],
                rows,
                look if place == 0 else look._replace(line=":"),
                f"{words}, {at}",
                hollow=place > 0,
            )
            if place == 0 and len(rows):
                start = rows.nsmallest(1, "batch_size").iloc[0]
                x = np.array([start["batch_size"], rows["batch_size"].max()], dtype=float)
                label = f"slope {'−1/2' if slope == -0.5 else '−1'}"
                y = 1.5 * start["value"] * (x / x[0]) ** slope  # beside the points, which would hide it
                ax.plot(x, y, color=look.color, ls="--", lw=0.8, zorder=1, label=label)
    style.plain_log(ax.xaxis)
    ax.legend(loc="lower left", fontsize=7)


def gradient_noise(table: pd.DataFrame) -> Drawn:
    """(a) Measured over predicted trace of the noise's covariance; (b) covariance of a batch with the next, in −tr S₁/N."""
    what = "Noise of minibatch gradients on frozen networks"
    columns = ["n_train", "update", "seed", "sampling", "batch_size", "trace_predicted", "ratio", "next_batch", "next_batch_se"]
    need(table, columns, f"{what}: gradient_noise")
    rows = table.loc[table["sampling"].isin(list(SAMPLERS))]
    if rows.empty:
        raise UserError(f"{what}: the table has no rows for it")
    keys = ["sampling", "update", "batch_size"]
    # tr S₁, from what is predicted with replacement: that is there at every batch size
    n, total = rows["n_train"], _total(rows)
    rows = rows.assign(next_in_units=-rows["next_batch"] * n / total, next_error=rows["next_batch_se"] * n / total)
    data = over_seeds(rows, keys, ["ratio", "next_in_units"])
    data["panel"] = np.where(data["quantity"] == "ratio", "a", "b")
    errors = rows.groupby(keys)["next_error"].agg(lambda e: np.sqrt((e**2).mean() / e.count())).rename("error").reset_index()
    data = data.loc[np.isfinite(data["value"])].merge(errors, on=keys, how="left")
    unclear = (data["panel"] == "b") & ~(2 * data["error"] <= CLEAR)
    data = data.assign(drawn=~unclear).drop(columns="error")
    shown = data.loc[data["drawn"]]
    updates = sorted(data["update"].unique())
    with rc_context(style.RC):
        means = f"points: means over {span(data['seeds'], 'seed')}; bars: {SEEDS_95}"
        figure = Figure(figsize=(10.4, 4.8), layout="constrained")
        figure.suptitle(f"{what}\n{means}", x=0.01, ha="left")
        left, right = figure.subplots(1, 2, sharex=True)
        left.set(title="(a) size of the noise", ylabel="measured / predicted trace of the covariance", label="a")
        right.set(title="(b) a batch and the next one", ylabel="their covariance, in units of −tr S₁ / N", label="b")
        for ax, panel in ((left, "a"), (right, "b")):
            ax.set(xscale="log", xlabel=LABELS["batch_size"])
            _draw_noise(ax, shown.loc[shown["panel"] == panel], updates)
        left.axhline(1, color=BLACK, lw=0.9, zorder=1, label="predicted")
        right.axhline(1, color=GREEN, lw=0.9, ls="--", zorder=1, label="predicted for shuffled epochs")
        right.axhline(0, color=BLACK, lw=0.9, zorder=1)
        style.plain_log(left.xaxis)
        legend(figure, left, 4, right.get_legend_handles_labels()[0])
    return figure, data


def _total(rows: pd.DataFrame) -> np.ndarray:
    """The trace of S₁ behind each row: what the prediction for its sampler and batch size was made of, (rows,)."""
    n, b = rows["n_train"], rows["batch_size"]
    share = pd.Series(np.where(rows["sampling"] == "replacement", (1 - 1 / n) / b, 1 / b - 1 / n), rows.index)
    total = rows["trace_predicted"] / share.where(share > 0)
    return np.asarray(total.groupby([rows["n_train"], rows["update"], rows["seed"]]).transform("median"))


def _draw_noise(ax: Axes, rows: pd.DataFrame, updates: list[float]) -> None:
    for place, (sampling, look) in enumerate(SAMPLERS.items()):
        for later, update in enumerate(updates):
            series = rows.loc[(rows["sampling"] == sampling) & (rows["update"] == update)]
            beside = 1.06 ** (2 * place - 2 + 0.8 * later)
            at = "initial" if update == 0 else f"after {number(update)} updates"
            points(ax, series["batch_size"] * beside, series, look, f"{sampling}, {at}", hollow=later > 0)
