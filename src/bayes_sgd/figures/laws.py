"""Figures of our own on the laws: optimum against N by budget, accuracy against noise scale, predicted optima; takes tables.

Nothing is estimated here: optima, exponents and predictions are as the tables give them. Each figure comes with its data, a row
for each point. Accuracies are in [0, 1] in the data and in % on paper.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT, headline
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import (
    EDGES,
    EXPONENT_95,
    OPTIMUM_95,
    SEEDS_95,
    Drawn,
    edges,
    legend,
    need,
    over_seeds,
    span,
    two_parts,
)
from bayes_sgd.figures.style import BLACK, BLUE, GREY, LABELS, VERMILION, Look, number, points

EXPERIMENTS = {"learning_rate": "learning_rate", "momentum": "momentum", "training_set_size": "n_train"}  # and their axes
SYMBOLS = {"learning_rate": "ε", "momentum": "m", "n_train": "N"}
PREDICTED_90 = "90 % prediction interval"


def optimum_vs_n(optimum: pd.DataFrame, scaling: pd.DataFrame, laws: pd.DataFrame) -> Drawn:
    """(a) Optimal batch size against N, a line for each budget of updates; (b) the exponent in N against the budget.

    Rows of the experiment `training_set_size` in the phases `constant` and `after_cooldown`; failed runs count.
    """
    what = "How the optimal batch size grows with the training set, and what the number of updates does to that"
    columns = ["experiment", "updates", "phase", "budget_fraction", "treatment", "estimator", "ci_low", "ci_high"]
    extra = ["axis_value", "b_opt", "censored_side", "argmax", "grid_low", "grid_high"]
    need(optimum, [*columns, *extra], f"{what}: optimum")
    need(scaling, [*columns, "exponent"], f"{what}: scaling")
    need(laws, ["experiment", "updates", "phase", "treatment", "law", "favoured"], f"{what}: laws")
    optima, exponents = (headline(_in_n(table), phase=None, budget=None, estimator=None) for table in (optimum, scaling))
    favoured = _in_n(laws)
    favoured = favoured.loc[(favoured["treatment"] == TREATMENT) & favoured["favoured"].astype(bool)]
    optima = optima.loc[optima["estimator"].isin([HEADLINE, "argmax"])]
    if optima.empty:
        raise UserError(f"{what}: the table of optima has no rows for it")
    optima = optima.assign(panel="a", quantity="b_opt", edge=optima["censored_side"].fillna("").astype(str))
    optima["value"] = optima["b_opt"].where(optima["edge"] == "", optima["argmax"])
    for end in ("low", "high"):
        optima[f"ci_{end}"] = optima[f"ci_{end}"].mask(optima["estimator"] == "argmax", optima[f"grid_{end}"])
    optima["interval"] = np.where(optima["estimator"] == "argmax", "next batch sizes sampled", OPTIMUM_95)
    exponents = exponents.loc[exponents["estimator"].isin([HEADLINE, "collapse"])]
    exponents = exponents.rename(columns={"exponent": "value"}).astype({"value": float}).assign(panel="b", quantity="exponent")
    exponents["interval"] = np.where(
        exponents["estimator"] == "collapse", "95 % t-interval over curves (jackknife)", EXPONENT_95
    )
    favoured = favoured.assign(panel="b", quantity="favoured law")
    names = [
        "panel",
        "phase",
        "updates",
        "budget_fraction",
        "axis_value",
        "estimator",
        "quantity",
        "value",
        "ci_low",
        "ci_high",
    ]
    data = pd.concat([optima, exponents, favoured]).reindex(columns=[*names, "edge", "law", "interval"])
    with rc_context(style.RC):
        means = f"optima: cubic fit, bars: {OPTIMUM_95}; faint: grid argmax, bars to the next batch sizes sampled"
        figure, left, right = two_parts(what, means, (1.1, 1), 5.4)
        ax = left.subplots()
        ax.set(xscale="log", yscale="log", xlabel=LABELS["n_train"], ylabel=LABELS["b_opt"], label="a")
        ax.set_title("(a) optimum against N")
        _draw_n(ax, optima)
        legend(left, ax, 2, _edge_handles(optima))
        ax = right.subplots()
        ax.set(xscale="log", xlabel="updates (with those of the cooldown)", ylabel="exponent of B in N", label="b")
        ax.set_title("(b) the exponent against the budget")
        _draw_exponents(ax, exponents, favoured)
        legend(right, ax, 1)
    return figure, data


def _in_n(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[(table["experiment"] == "training_set_size") & table["phase"].isin([PHASE, "after_cooldown"])]


def _edge_handles(optima: pd.DataFrame) -> list[Line2D]:
    looks = [EDGES[edge] for edge in EDGES if edge in set(optima["edge"])]
    return [Line2D([], [], ls="", marker=m, mfc="none", mec=GREY, label=words) for m, words in looks]


def _draw_n(ax: Axes, optima: pd.DataFrame) -> None:
    sampled = optima.loc[:, ["grid_low", "value", "grid_high"]].to_numpy(float)
    low, high = float(np.nanmin(sampled)) / 1.3, float(np.nanmax(sampled)) * 1.3
    ax.set_ylim(low, high)
    optima = optima.assign(ci_low=optima["ci_low"].clip(lower=low), ci_high=optima["ci_high"].clip(upper=high))
    budgets = optima.loc[:, ["phase", "budget_fraction"]].drop_duplicates()
    budgets = budgets.sort_values(["phase", "budget_fraction"], ascending=[False, True])  # `constant` first
    constant = budgets.loc[budgets["phase"] == PHASE, "budget_fraction"].tolist()
    looks = dict(zip(constant, style.ordered(len(constant)), strict=True))
    for place, (phase, share) in enumerate(budgets.itertuples(index=False)):
        rows = optima.loc[(optima["phase"] == phase) & (optima["budget_fraction"] == share)]
        rows = rows.assign(x=rows["axis_value"]).sort_values("x")
        look = looks[share] if phase == PHASE else Look(VERMILION, "D", ":")
        beside = 1.045 ** (place - (len(budgets) - 1) / 2)
        main, grid = (rows.loc[rows["estimator"] == name] for name in (HEADLINE, "argmax"))
        inside = main.loc[(main["edge"] == "") & np.isfinite(main["value"])]
        words = f"{span(rows['updates'], 'update')}{', after cooldown' if phase == 'after_cooldown' else ''}"
        points(ax, inside["x"] * beside, inside, look, words, hollow=phase == "after_cooldown")
        edges(ax, main, beside, look.color)
        bars = np.nan_to_num(np.abs(grid.loc[:, ["ci_low", "ci_high"]].to_numpy(float).T - grid["value"].to_numpy(float)))
        x = grid["x"] * beside * 1.015
        ax.errorbar(
            x, grid["value"], yerr=bars, color=look.color, alpha=0.35, marker=".", ls="", ms=5, elinewidth=0.7, capsize=0
        )
    x = np.array([optima["axis_value"].min(), optima["axis_value"].max()])
    middle = np.sqrt(low * high)
    ax.plot(x, middle * x / np.sqrt(x[0] * x[1]), color=GREY, ls="--", lw=1, zorder=1, label="slope 1: proportional to N")
    style.plain_log(ax.xaxis)
    style.plain_log(ax.yaxis)
    ax.tick_params(axis="x", rotation=30)


def _draw_exponents(ax: Axes, exponents: pd.DataFrame, favoured: pd.DataFrame) -> None:
    ax.axhline(1, color=GREY, ls="--", lw=1, zorder=1, label="1: proportional")
    ax.axhline(0, color=GREY, ls=":", lw=1, zorder=1, label="0: constant")
    finite = exponents.loc[np.isfinite(exponents["value"])]
    ends = finite.loc[:, ["value", "ci_low", "ci_high"]].to_numpy(float)
    ends = np.concatenate([ends[np.isfinite(ends)], [-0.1, 1.2]])
    low, high = float(ends.min()) - 0.1, float(ends.max()) + 0.1
    if finite.empty:
        ax.text(0.5, 0.4, "no estimate of the exponent", transform=ax.transAxes, ha="center", color=GREY)
    ax.set_ylim(low, high + 0.6 * (high - low))  # room for the names of the laws
    words = {
        HEADLINE: ("from the optima", Look(VERMILION, "D", "-")),
        "collapse": ("from whole curves", Look(BLUE, "o", "-")),
    }
    for phase in ("constant", "after_cooldown"):
        for place, (estimator, (name, look)) in enumerate(words.items()):
            rows = finite.loc[(finite["phase"] == phase) & (finite["estimator"] == estimator)].sort_values("updates")
            cooled = phase == "after_cooldown"
            beside = 1.02 ** (2 * place - 1) * (1.09 if cooled else 1)
            label = f"{name}{', after cooldown' if cooled else ''}" if len(rows) else ""
            points(ax, rows["updates"] * beside, rows, look, label, hollow=cooled)
    for phase, place in (("constant", 0.95), ("after_cooldown", 0.8)):
        for row in favoured.loc[favoured["phase"] == phase].to_dict("records"):
            text = f"{'cooldown: ' if phase == 'after_cooldown' else ''}{row['law']}"
            ax.text(
                row["updates"], place, text.replace(" ", "\n"),
                transform=ax.get_xaxis_transform(), fontsize=7, ha="center", va="top",
            )  # fmt: skip
    if len(exponents):
        updates = exponents["updates"].to_numpy(float)
        ax.set_xlim(updates.min() / 1.6, updates.max() * 1.6)
    if len(favoured):
        ax.text(0.01, 0.99, "favoured law:", transform=ax.transAxes, fontsize=7, va="top", color=GREY)
    style.plain_log(ax.xaxis)


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
        rows = rows.loc[rows["update"] == rows.groupby(axis)["update"].transform("max")].rename(columns={axis: "axis_value"})
        failed = rows["diverged"].astype(bool) | (rows["train_accuracy"] < failed_below)
        trains = ~failed.groupby([rows["axis_value"], rows["batch_size"]]).transform("any") & (rows["noise_scale"] > 0)
        means = over_seeds(rows.loc[trains], ["axis_value", "batch_size", "noise_scale"], ["test_accuracy"])
        tables.append(means.assign(panel=name))
    tables = [table for table in tables if len(table)] or tables[:1]
    data = pd.concat(tables)
    with rc_context(style.RC):
        figure = Figure(figsize=(3.7 * max(2, len(tables)), 4.6), layout="constrained")
        seeds = span(data["seeds"], "seed") if len(data) else "seeds"
        means = f"points: means over {seeds}; bars: {SEEDS_95}; stars: the best of each line"
        figure.suptitle(f"{what}\n{means}", x=0.01, ha="left")
        grid = figure.add_gridspec(1, len(tables))
        if data.empty:
            figure.text(0.5, 0.5, "no batch size at which every network trains", ha="center", color=GREY)
            return figure, data
        limits = data["noise_scale"].min() / 1.3, data["noise_scale"].max() * 1.3
        for column, table in enumerate(tables):
            name = table["panel"].iloc[0]
            part = figure.add_subfigure(grid[column])
            ax = part.subplots()
            ax.set(xscale="log", xlim=limits, xlabel="noise scale g = ε(N/B − 1)/(1 − m)", label=name)
            ax.set_title(f"({'abc'[column]}) {name.replace('_', ' ')}")
            ax.set_ylabel(LABELS["test_accuracy"])
            _draw_collapse(ax, table, SYMBOLS[EXPERIMENTS[name]])
            style.plain_log(ax.xaxis, (1.0,))
            legend(part, ax, 3)
    return figure, data


def _draw_collapse(ax: Axes, table: pd.DataFrame, symbol: str) -> None:
    values = sorted(table["axis_value"].unique())
    for value, look in zip(values, style.ordered(len(values)), strict=True):
        rows = table.loc[table["axis_value"] == value].sort_values("noise_scale")
        points(ax, rows["noise_scale"], rows, look, f"{symbol} = {number(value)}", 100)
        best = rows.nlargest(1, "value")
        ax.plot(best["noise_scale"], 100 * best["value"], "*", ms=13, mfc="none", mec=look.color, zorder=5)


def prediction(table: pd.DataFrame) -> Drawn:
    """Predicted against measured optimal batch size, each axis value left out in turn; bars: 90 % prediction intervals."""
    what = "Optimal batch size predicted from the other values of the axis"
    columns = ["experiment", "axis", "axis_value", "b_opt_measured", "b_opt_predicted", "ci_low", "ci_high", "extrapolated"]
    need(table, [*columns, "inside"], f"{what}: prediction")
    data = table.rename(columns={"b_opt_predicted": "value"}).assign(panel="a", quantity="b_opt", interval=PREDICTED_90)
    inside = f"{np.count_nonzero(data['inside'].astype(bool))} of {len(data)} intervals hold what was measured"
    with rc_context(style.RC):
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        figure.suptitle(f"{what}\nbars: {PREDICTED_90}s; {inside}", x=0.01, ha="left")
        ax = figure.subplots()
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="measured optimum B (examples)",
            ylabel="predicted optimum B (examples)",
            label="a",
        )
        if data.empty:
            ax.text(0.5, 0.5, "nothing to predict: fewer than four optima\ninside the grid along every axis", ha="center",
                    transform=ax.transAxes, color=GREY)  # fmt: skip
            return figure, data
        values = data.loc[:, ["b_opt_measured", "value"]].to_numpy(float)
        ends = np.array([values.min() / 2, values.max() * 2])
        ax.set(xlim=ends, ylim=ends)
        data_shown = data.assign(ci_low=data["ci_low"].clip(lower=ends[0]), ci_high=data["ci_high"].clip(upper=ends[1]))
        ax.plot(ends, ends, color=BLACK, lw=0.9, zorder=1, label="predicted = measured")
        for factor in (2**-0.5, 2**0.5):
            ax.plot(ends, factor * ends, color=GREY, ls=":", lw=0.9, zorder=1, label="a step of the grid, √2, off")
        names = list(dict.fromkeys(data["experiment"]))
        for series, (name, look) in enumerate(zip(names, style.unordered(len(names)), strict=True)):
            side = "left" if series % 2 == 0 else "right"
            away = (5, -8) if side == "left" else (-5, 4)
            for outer in (False, True):
                part = data_shown.loc[(data["experiment"] == name) & (data["extrapolated"].astype(bool) == outer)]
                label = f"{str(name).replace('_', ' ')}{': an end of the axis, extrapolated' if outer else ''}"
                points(ax, part["b_opt_measured"], part, look, label if len(part) else "", hollow=outer)
                for row in part.to_dict("records"):
                    place = (row["b_opt_measured"], row["value"])
                    text = f"{SYMBOLS.get(row['axis'], row['axis'])} = {number(row['axis_value'])}"
                    ax.annotate(text, place, away, textcoords="offset points", fontsize=6.5, color=look.color, ha=side)
        style.plain_log(ax.xaxis)
        style.plain_log(ax.yaxis)
        legend(figure, ax, 2)
    return figure, data
