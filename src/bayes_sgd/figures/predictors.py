"""What predicts the optimum batch size: optima of all axes against each prediction; takes the tables `fit_batch`, `predictors`.

Nothing is estimated here. The figure comes with its data, a row for each point. Batch sizes are in examples.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.analysis.prediction import STEP
from bayes_sgd.analysis.predictors import REFERENCE, predictions
from bayes_sgd.figures import style
from bayes_sgd.figures.common import OPTIMUM_95, Drawn, need
from bayes_sgd.figures.style import BLACK, GREY, Look, plain_log, points, unordered

_SPREAD_95 = "95 % t-interval of its logarithm, over arms and over axes"


def predictors(fit_batch: pd.DataFrame, predictors: pd.DataFrame) -> Drawn:
    """(a) to (d) measured optima against four predictions, each with one constant; (e) B_opt/B_fit by axis; (f) their scatter.

    Arms at constant learning rate whose optimum and B_fit at 99 % lie inside the grid; hollow: partly random labels, which
    take no part in the constants.
    """
    what = "One constant for all axes? The best batch size against what predicts it"
    need(fit_batch, ["experiment", "labels", "threshold", "b_opt", "b_opt_low", "ratio", "ratio_low"], f"{what}: fit_batch")
    need(predictors, ["predictor", "labels", "phase", "n", "constant", "sd", "sd_low", "sd_high"], f"{what}: predictors")
    rows = predictions(fit_batch, predictors)
    rows = rows.loc[np.isfinite(rows["predicted"])]
    if rows.empty:
        return _empty(what)
    optima = rows.rename(columns={"b_opt": "value", "b_opt_low": "ci_low", "b_opt_high": "ci_high"})
    optima = optima.assign(quantity="b_opt", interval=OPTIMUM_95)
    names = optima["predictor"].unique()
    optima["panel"] = optima["predictor"].map(dict(zip(names, "abcd", strict=True)))
    ratios = rows.loc[rows["predictor"] == REFERENCE.name]
    ratios = ratios.assign(value=ratios["ratio"], ci_low=ratios["ratio_low"], ci_high=ratios["ratio_high"])
    ratios = ratios.assign(panel="e", quantity="ratio", interval=OPTIMUM_95.replace("ln B", "its logarithm"))
    spreads = predictors.loc[(predictors["labels"] == "real") & (predictors["phase"] == PHASE) & predictors["sd"].notna()]
    spreads = spreads.rename(columns={"sd": "value", "sd_low": "ci_low", "sd_high": "ci_high"})
    spreads = spreads.assign(panel="f", quantity="sd", interval=_SPREAD_95)
    looks = dict(zip(sorted(rows["experiment"].unique()), unordered(rows["experiment"].nunique()), strict=True))
    with rc_context(style.RC):
        figure = Figure(figsize=(10.4, 7.6), layout="constrained")
        figure.suptitle(f"{what}\nbars: {OPTIMUM_95}; dotted: a factor √2 off; hollow: partly random labels", x=0.01, ha="left")
        panels = figure.subplots(2, 3).ravel()
        for ax, name, panel in zip(panels, names, "abcd", strict=False):
            _against(ax, optima.loc[optima["predictor"] == name], looks)
            ax.set_title(f"({panel}) constant {'B/B_fit at 99 %' if name == REFERENCE.name else name}")
        _by_axis(panels[4], ratios, float(predictors.set_index(["predictor", "labels", "phase"]).loc[_KEY, "constant"]), looks)
        _spreads(panels[5], spreads)
        handles = [
            Line2D([], [], ls="", marker=look.marker, color=look.color, label=name.replace("_", " "))
            for name, look in looks.items()
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=6, columnspacing=1.2)
    data = pd.concat([optima, ratios, spreads]).reindex(columns=_COLUMNS)
    return figure, data


_KEY = (REFERENCE.name, "real", PHASE)
_COLUMNS = [
    *("panel", "predictor", "experiment", "axis", "axis_value", "labels", "update", "predicted", "quantity", "value"),
    *("ci_low", "ci_high", "interval"),
]


def _empty(what: str) -> Drawn:
    with rc_context(style.RC):
        figure = Figure(figsize=(10.4, 3.0), layout="constrained")
        figure.suptitle(what, x=0.01, ha="left")
        _nothing(figure.subplots(), "no arm with both batch sizes inside its grid")
    return figure, pd.DataFrame(columns=_COLUMNS)


def _against(ax: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    ax.set(xscale="log", yscale="log", xlabel="predicted B (examples)", ylabel="optimal batch size B (examples)")
    ends = rows[["value", "predicted"]].to_numpy(float)
    low, high = float(ends.min()) / 1.4, float(ends.max()) * 1.4
    ax.set(xlim=(low, high), ylim=(low, high), label=str(rows["panel"].iloc[0]))
    for factor, line in ((1.0, "-"), (np.exp(STEP), ":"), (np.exp(-STEP), ":")):
        ax.plot([low, high], [low * factor, high * factor], color=GREY, ls=line, lw=0.9)
    rows = rows.assign(ci_low=rows["ci_low"].clip(lower=low), ci_high=rows["ci_high"].clip(upper=high))
    for _, part in rows.groupby(["experiment", "labels"]):
        first = part.iloc[0]
        points(ax, part["predicted"], part, looks[first["experiment"]], hollow=first["labels"] != "real")
    plain_log(ax.xaxis)
    plain_log(ax.yaxis)


def _by_axis(ax: Axes, rows: pd.DataFrame, constant: float, looks: dict[str, Look]) -> None:
    ax.set(yscale="log", ylabel="B_opt / B_fit", label="e")
    ax.set_title("(e) the constant, arm by arm")
    ax.axhline(constant, color=GREY, lw=0.9)
    ax.axhspan(constant * np.exp(-0.2), constant * np.exp(0.2), color=GREY, alpha=0.15, lw=0)
    values = rows["value"].to_numpy(float)
    low, high = min(float(values.min()), constant) / 1.5, max(float(values.max()), constant) * 1.5
    ax.set_ylim(low, high)
    place = 0
    for name in looks:
        part = rows.loc[rows["experiment"] == name]
        part = part.assign(ci_low=part["ci_low"].clip(lower=low), ci_high=part["ci_high"].clip(upper=high))
        for labels, group in part.groupby("labels", sort=False):
            points(ax, place + np.arange(len(group)), group, looks[name], hollow=labels != "real")
            place += len(group)
        place += 1
    ax.set_xticks([])
    ax.set_xlabel("arms, by axis; band: ± 0.2 in the logarithm")
    plain_log(ax.yaxis)


def _nothing(ax: Axes, words: str) -> None:
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=GREY)


def _spreads(ax: Axes, rows: pd.DataFrame) -> None:
    ax.set(xscale="log", xlabel="sd of ln(constant) over arms", label="f")
    ax.set_title("(f) scatter of each law")
    if rows.empty:
        _nothing(ax, "too few arms for a scatter")
        return
    rows = rows.iloc[::-1]
    value = rows["value"].to_numpy(float)
    low, high = float(value.min()) / 3, float(value.max()) * 3
    ends = rows[["ci_low", "ci_high"]].to_numpy(float).clip(low, high)
    bars = np.nan_to_num(np.stack([value - ends[:, 0], ends[:, 1] - value])).clip(min=0)
    ax.errorbar(value, np.arange(len(rows)), xerr=bars, color=BLACK, marker="o", ls="", elinewidth=0.9)
    ax.axvline(0.2, color=GREY, ls=":", lw=0.9)
    ax.set_xlim(low, high)
    most = rows["n"].max()
    names = [name if n == most else f"{name}, {n:g} arms" for name, n in zip(rows["predictor"], rows["n"], strict=True)]
    ax.set_yticks(np.arange(len(rows)), names)
    plain_log(ax.xaxis)
