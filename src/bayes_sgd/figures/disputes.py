"""The figure of the disputes (docs/disputes.md): paired differences of accuracy, a panel for each experiment; takes cells.

(a), (b): what a batch size or a rule for ε gains. The others: test accuracy less that of the curve's own best batch size, in
which the left edge of the peak lies half a point down. The figure comes with its data, a row for each point.
"""

from __future__ import annotations

from contextlib import suppress
from string import ascii_lowercase

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.analysis.intervals import paired_difference
from bayes_sgd.analysis.n_law import EDGE_DROP
from bayes_sgd.claims.measures.base import NotMeasuredError
from bayes_sgd.claims.measures.disputes import last_accuracy, penalized_accuracy, tuned_accuracy
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import PAIRED_95, Drawn, below_best, need
from bayes_sgd.figures.style import GREY, LABELS, Look, number, ordered, points, unordered

CURVES = {
    "edge_learning_rate": ("learning_rate", "ε"),
    "edge_momentum": ("momentum", "m"),
    "edge_pixels": ("pixel_scale", "scale of the pixels"),
    "edge_n_train": ("n_train", "N"),
    "edge_activation": ("activation", "activation"),
    "svag": ("svag", "l of SVAG"),
    "samplers": ("sampling", "batches"),
    "hidden_width": ("hidden_sizes", "hidden units"),
    "simple_updates": ("n_train", "N at equal updates"),
    "simple_epochs": ("n_train", "N at equal epochs"),
    "convolution_rates": ("learning_rate", "ε, convolutions"),
    "convolution_sizes": ("n_train", "N at equal epochs, convolutions"),
}
# experiments whose arms stand side by side: the title, and what is subtracted
ARMS = {
    "scaled": ("ε scaled with √B, with B", "points over the small batch"),
    "gradient_penalty": ("full batch, penalty κ", "points over the full batch"),
}
SHOWN = -2.5  # points below the best to which curves are drawn: the left edge falls to chance
TUNED = {"tuned_updates": "equal updates", "tuned_epochs": "equal epochs"}
_COLUMNS = ["panel", "experiment", "series", "batch_size", "quantity", "value", "ci_low", "ci_high", "seeds", "interval"]


def disputes(cells: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """A panel for each experiment that is there: tuned and scaled learning rates, then accuracy about each left edge.

    Args:
        cells: rows of the experiments by the keys that they feed, in `experiment`, all recorded updates and phases.
        failed_below: training accuracy below which a run has failed; batch sizes with such a run have no bar.
    """
    what = "Disputes: what tuned and scaled learning rates gain, and where the left edge of the peak lies"
    need(cells, ["experiment", "phase", "update", "updates", "batch_size", "seed", "test_accuracy"], what)
    rows = cells.loc[(cells["phase"] == PHASE) & (cells["update"] == cells["updates"])]
    by_name = {name: part for name, part in rows.groupby("experiment")}
    tables = {}
    for name in (*TUNED, *ARMS, *CURVES):
        with suppress(NotMeasuredError):  # as where one seed cannot choose for another: then it has no panel
            if name in by_name:
                tables[name] = _differences(name, by_name[name], failed_below)
    if not tables:
        raise UserError(f"{what}: no rows for it")
    data = pd.concat(tables.values())
    groups = [names for names in (list(TUNED), *([name] for name in (*ARMS, *CURVES))) if set(names) & set(tables)]
    letters = {name: ascii_lowercase[k] for k, names in enumerate(groups) for name in names}
    data["panel"] = [letters[name] for name in data["experiment"]]
    with rc_context(style.RC):
        height = 2.6 * -(-len(groups) // 4) + 0.7
        figure = Figure(figsize=(12.4, height), layout="constrained")
        figure.suptitle(f"{what}\nbars: {PAIRED_95}; dotted: half a point below the best", x=0.01, ha="left")
        panels = figure.subplots(-(-len(groups) // 4), min(4, len(groups)), squeeze=False).ravel()
        for ax in panels[len(groups) :]:
            ax.set(label="empty")
            ax.axis("off")
        for ax, names, letter in zip(panels, groups, ascii_lowercase, strict=False):
            part = data.loc[data["experiment"].isin(names)]
            ax.set_label(letter)
            (_draw_tuned if len(names) > 1 else _draw_arms if names[0] in ARMS else _draw_curves)(ax, part, letter)
    return figure, data.reindex(columns=_COLUMNS)


def _differences(name: str, rows: pd.DataFrame, failed_below: float) -> pd.DataFrame:
    """The points of one experiment."""
    if name in TUNED:
        return _tuned(rows).assign(experiment=name, series=TUNED[name])
    if name == "scaled":
        return _scaled(rows)
    return _penalized(rows, failed_below) if name == "gradient_penalty" else _about_best(rows, name, failed_below)


def _difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    interval = paired_difference(one, other)
    return {"value": interval.value, "ci_low": interval.low, "ci_high": interval.high, "seeds": interval.n}


def _tuned(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy at the tuned ε of each batch size minus that at the largest, ε chosen by the other seeds."""
    accuracy = last_accuracy(rows)
    tuned, _ = tuned_accuracy(accuracy, np.arange(accuracy.shape[1]))
    sizes = sorted(set(accuracy.index.get_level_values("batch_size")))
    table = pd.DataFrame([{"batch_size": b} | _difference(one, tuned[-1]) for b, one in zip(sizes[:-1], tuned, strict=False)])
    return table.assign(quantity="accuracy_over_largest", interval=PAIRED_95)


def _scaled(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each larger batch and ε minus that of the smallest batch."""
    accuracy = last_accuracy(rows)
    base = accuracy.iloc[0].to_numpy(float)
    keys = accuracy.index[1:]
    table = pd.DataFrame(
        [
            {"batch_size": b, "series": f"ε = {number(rate)}"} | _difference(accuracy.loc[(b, rate)].to_numpy(float), base)
            for b, rate in keys
        ]
    )
    return table.assign(quantity="accuracy_over_smallest", interval=PAIRED_95, experiment="scaled")


def _penalized(rows: pd.DataFrame, failed_below: float) -> pd.DataFrame:
    """Accuracy of the small batch, and of the large one with each penalty, minus that of the large one without."""
    failed = set(rows["gradient_penalty"].to_numpy(float)[rows["train_accuracy"].to_numpy(float) < failed_below])
    small, large, penalized = penalized_accuracy(rows)
    sizes = rows["batch_size"].to_numpy(float)
    smallest, largest = float(sizes.min()), float(sizes.max())
    arms = [{"batch_size": smallest, "series": f"B = {number(smallest)}"} | _difference(small, large)]
    for penalty, accuracy in zip(penalized.index, penalized.to_numpy(float), strict=True):
        difference = _difference(accuracy, large) | ({"ci_low": np.nan, "ci_high": np.nan} if penalty in failed else {})
        arms.append({"batch_size": largest, "series": f"κ = {number(penalty)}"} | difference)
    return pd.DataFrame(arms).assign(quantity="accuracy_over_largest", interval=PAIRED_95, experiment="gradient_penalty")


def _about_best(rows: pd.DataFrame, name: str, failed_below: float) -> pd.DataFrame:
    axis, _ = CURVES[name]
    failed = rows["diverged"].astype(bool) | (rows["train_accuracy"] < failed_below)
    trains = ~failed.groupby([rows[axis], rows["batch_size"]]).transform("any").to_numpy(bool)
    table = below_best(rows, axis, trains)
    table = table.iloc[np.argsort([_as_number(value) for value in table[axis]], kind="stable")]
    return table.assign(series=[value if isinstance(value, str) else number(value) for value in table[axis]], experiment=name)


def _as_number(value: object) -> float:
    """By which values of an axis are sorted: widths are text there, as cells have them; names have no order."""
    try:
        return float(str(value))
    except ValueError:
        return np.nan


def _draw_tuned(ax: Axes, table: pd.DataFrame, letter: str) -> None:
    ax.set(xscale="log", xlabel=LABELS["batch_size"], ylabel="points over B = largest", title=f"({letter}) ε tuned for each B")
    for look, (name, words) in zip(unordered(2), TUNED.items(), strict=True):
        part = table.loc[table["experiment"] == name]
        points(ax, part["batch_size"], part, look._replace(line="-"), words, scale=100)
    ax.axhline(0, color=GREY, lw=0.8)
    style.plain_log(ax.xaxis)
    ax.legend()


def _draw_arms(ax: Axes, table: pd.DataFrame, letter: str) -> None:
    names, (words, over) = list(table["series"]), ARMS[table["experiment"].iloc[0]]
    points(ax, np.arange(len(names)), table, Look(style.BLUE, "o", ""), scale=100)
    ax.set(xticks=range(len(names)), xticklabels=names, xlim=(-0.6, len(names) - 0.4), ylabel=over)
    bars = 100 * table[["ci_low", "ci_high"]].dropna().to_numpy(float)
    low, high = min(0.0, bars.min()), max(0.0, bars.max())
    ax.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    ax.set_title(f"({letter}) {words}")
    ax.axhline(0, color=GREY, lw=0.8)


def _draw_curves(ax: Axes, table: pd.DataFrame, letter: str) -> None:
    _, words = CURVES[table["experiment"].iloc[0]]
    ax.set(xscale="log", xlabel=LABELS["batch_size"], ylabel="points below the best")
    shown = table.loc[100 * table["value"] >= SHOWN, "ci_high"].fillna(0)
    ax.set(ylim=(SHOWN, max(0.6, 105 * shown.max())), title=f"({letter}) {words}")
    series = list(dict.fromkeys(table["series"]))
    for name, look in zip(series, ordered(len(series)), strict=True):
        part = table.loc[table["series"] == name]
        points(ax, part["batch_size"], part, look, name.replace("_", " "), scale=100)
    ax.axhline(-100 * EDGE_DROP, color=GREY, lw=0.8, ls=":")
    style.plain_log(ax.xaxis)
    ax.legend(fontsize=6.5, loc="lower right")
