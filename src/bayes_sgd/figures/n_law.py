"""The figure of our own on the N law: the optimum against N/T and against N, of all recorded budgets of updates; takes tables.

Nothing is estimated here: optima and laws are as the tables `n_law` and `n_law_fit` give them. The figure comes with its data,
a row for each point.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import EDGES, OPTIMUM_95, Drawn, edges, legend, need, two_parts
from bayes_sgd.figures.style import BLACK, GREY, LABELS, Look, number, points

COOLED = "after_cooldown"
LAW = "B_e + c N/T"


def optimum_vs_n(n_law: pd.DataFrame, n_law_fit: pd.DataFrame) -> Drawn:
    """(a) Optimal batch size against N/T, all N and T, with the law B_e + c N/T; (b) against N, lines of equal T or N/T.

    Phases `constant` and `after_cooldown` (hollow). Censored optima stand as triangles at the end of their grid.
    """
    what = "The optimal batch size against N/T, T updates, and against N alone"
    columns = ["experiment", "phase", "learning_rate", "n_train", "updates", "n_over_t", "b_opt", "b_opt_low", "b_opt_high"]
    need(n_law, [*columns, "b_opt_side", "grid_low", "grid_high"], f"{what}: n_law")
    need(n_law_fit, ["phase", "law", "learning_rate", "offset", "slope", "scatter"], f"{what}: n_law_fit")
    optima = n_law.loc[n_law["phase"].isin([PHASE, COOLED])]
    if optima.empty:
        raise UserError(f"{what}: the table of optima has no rows for it")
    optima = optima.assign(quantity="b_opt", edge=optima["b_opt_side"].fillna("").astype(str), interval=OPTIMUM_95)
    end = optima["grid_high"].where(optima["edge"] == "above", optima["grid_low"])
    optima["value"] = optima["b_opt"].where(optima["edge"] == "", end)
    optima = optima.rename(columns={"b_opt_low": "ci_low", "b_opt_high": "ci_high"})
    fits = n_law_fit.loc[(n_law_fit["law"] == LAW) & n_law_fit["phase"].isin([PHASE, COOLED])]
    names = ["panel", "experiment", "phase", "learning_rate", "n_train", "updates", "n_over_t"]
    laws = fits.melt(["experiment", "phase", "learning_rate"], ["offset", "slope"], var_name="quantity").assign(panel="a")
    shown = pd.concat([optima.assign(panel="a"), optima.assign(panel="b"), laws])
    data = shown.reindex(columns=[*names, "quantity", "value", "ci_low", "ci_high", "edge", "interval"])
    with rc_context(style.RC):
        means = f"cubic fit, bars: {OPTIMUM_95}; filled: as trained, hollow: after cooldown; triangles: beyond the grid"
        figure, left, right = two_parts(what, means, (1, 1), 5.6)
        low, high = optima["value"].min() / 1.5, optima["value"].max() * 1.5
        bars = optima.assign(ci_low=optima["ci_low"].clip(lower=low), ci_high=optima["ci_high"].clip(upper=high))
        for part, name, title in ((left, "a", "all optima against N/T"), (right, "b", "the same optima against N")):
            ax = part.subplots()
            ax.set(xscale="log", yscale="log", ylim=(low, high), ylabel=LABELS["b_opt"], label=name)
            ax.set_title(f"({name}) {title}")
            (_against_ratio if name == "a" else _against_n)(ax, bars, fits)
            style.plain_log(ax.xaxis)
            style.plain_log(ax.yaxis)
            legend(part, ax, 2, _edge_handles(optima["edge"]))
    return figure, data


def _edge_handles(edges: Iterable[str]) -> list[Line2D]:
    looks = [EDGES[edge] for edge in EDGES if edge in set(edges)]
    return [Line2D([], [], ls="", marker=m, mfc="none", mec=GREY, label=words) for m, words in looks]


def _scatter(ax: Axes, rows: pd.DataFrame, x: str, look: Look, words: str) -> None:
    """Points of one series: filled as trained, hollow and small after cooldown; triangles where censored."""
    for phase in (PHASE, COOLED):
        part = rows.loc[rows["phase"] == phase].sort_values(x)
        beside = 1.0 if phase == PHASE else 1.06
        inside = part.loc[part["edge"] == ""]
        line = look.line if phase == PHASE else ""
        points(
            ax, inside[x] * beside, inside, look._replace(line=line), words if phase == PHASE else "", hollow=phase == COOLED
        )
        edges(ax, part.assign(x=part[x]), beside, look.color)


def _against_ratio(ax: Axes, optima: pd.DataFrame, fits: pd.DataFrame) -> None:
    ax.set_xlabel("N/T (examples per update)")
    by = "n_train" if len(set(optima["n_train"])) > 1 else "learning_rate"
    symbol = {"n_train": "N", "learning_rate": "ε"}[by]
    values = sorted(optima[by].unique())
    for value, look in zip(values, style.ordered(len(values)), strict=True):
        _scatter(ax, optima.loc[optima[by] == value], "n_over_t", look._replace(line=""), f"{symbol} = {number(value)}")
    x = np.geomspace(optima["n_over_t"].min() / 1.2, optima["n_over_t"].max() * 1.2, 100)
    several = len(fits.loc[fits["phase"] == PHASE]) > 1
    for row in fits.to_dict("records"):
        cooled = row["phase"] == COOLED
        where = f"ε = {number(row['learning_rate'])}: " if several else ""
        words = f"{where}{row['offset']:.3g} + {row['slope']:.3g} N/T{', cooled' if cooled else ''}"
        color, line = (GREY, ":") if cooled else (BLACK, "-")
        ax.plot(x, row["offset"] + row["slope"] * x, color=color, ls=line, lw=1.1, zorder=1, label=words)


def _against_n(ax: Axes, optima: pd.DataFrame, _: pd.DataFrame) -> None:
    """Lines through the k-th recorded update of each N of an experiment: equal T, or equal N/T."""
    ax.set_xlabel(LABELS["n_train"])
    trained = optima.loc[optima["phase"] == PHASE]
    place = trained.groupby(["experiment", "learning_rate", "n_train"])["updates"].rank()
    lines = [rows for _, rows in trained.groupby([trained["experiment"], trained["learning_rate"], place])]
    lines.sort(key=lambda rows: float(rows["n_over_t"].max()))
    for i, (rows, look) in enumerate(zip(lines, style.ordered(len(lines)), strict=True)):
        same = len(set(rows["updates"])) == 1
        words = f"T = {number(rows['updates'].iloc[0])}" if same else f"N/T = {rows['n_over_t'].median():.2g}"
        _scatter(ax, rows.assign(n_train=rows["n_train"] * 1.03 ** (i - (len(lines) - 1) / 2)), "n_train", look, words)
    x = np.array([optima["n_train"].min(), optima["n_train"].max()], dtype=float)
    if x[1] > x[0]:
        middle = np.sqrt(np.prod(ax.get_ylim()) * x[0] * x[1])
        ax.plot(x, middle * x / (x[0] * x[1]), color=GREY, ls="--", lw=1, zorder=1, label="slope 1: proportional to N")
