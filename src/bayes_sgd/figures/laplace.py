"""Laplace's evidence against annealed importance sampling: takes the table `laplace_vs_ais`, gives a figure and its data.

Means over seeds; bars are two standard errors of the sampling. E in nats.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import Drawn, legend, need, over_seeds, span
from bayes_sgd.figures.evidence import POINT_NAMES, POINTS, WORDS
from bayes_sgd.figures.style import BLACK, GREEN, GREY, LABELS, ORANGE, PURPLE, Look, points

TITLE = "Laplace's approximation against annealed importance sampling"
GAP_WORDS = WORDS | {"simulated": "labels drawn from it"}


def laplace(laplace_vs_ais: pd.DataFrame) -> Drawn:
    """Laplace's approximation of E and sampled E against λ: linear model and small network, true and random labels.

    Where the table has labels drawn from the model, a panel for them shows what backward sampling gives as well.
    """
    data = _means(laplace_vs_ais)
    models = [name for name in ("linear", "network") if name in set(data["model"])]
    labels = [name for name in GAP_WORDS if name in set(data["labels"])]
    with rc_context(style.RC):
        figure = Figure(figsize=(8.4, 1.6 + 2.6 * len(labels)), layout="constrained")
        shown = laplace_vs_ais.loc[laplace_vs_ais["labels"].isin(labels), "n_train"]
        sizes = f"N = {span(shown, 'example')}"
        means = f"{sizes}; means over {span(data['seeds'], 'seed')}; bars: two standard errors of the sampling"
        figure.suptitle(f"{TITLE}\n{means}", x=0.01, ha="left")
        axes = figure.subplots(len(labels), len(models), squeeze=False)
        handles, free = {}, None
        for row, name in enumerate(labels):
            for column, model in enumerate(models):
                ax = axes[row, column]
                panel = data.loc[(data["model"] == model) & (data["labels"] == name)]
                if panel.empty:
                    free = ax
                    continue
                ax.set(xscale="log", title=f"{'linear model' if model == 'linear' else 'network'}, {GAP_WORDS[name]}")
                ax.set(xlabel=LABELS["l2"], ylabel="log evidence ratio E (nats)", label=f"{model} {name}")
                if model == "network":  # E where SGD stopped is hundreds of times that at a minimum
                    ax.set_yscale("symlog", linthresh=10)
                _draw_gap(ax, panel, model)
                handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        if free is None:
            legend(figure, axes[0, 0], 2, handles.values())
        else:
            free.set(label="legend")
            free.axis("off")
            free.legend(handles=list(handles.values()), loc="center left")
    return figure, data


def _means(laplace_vs_ais: pd.DataFrame) -> pd.DataFrame:
    """Means of Laplace's E and of sampled E with their intervals, a row for each point that is drawn."""
    columns = [
        "labels",
        "seed",
        "model",
        "point",
        "prior_precision",
        "n_train",
        "log_evidence_ratio",
        "log_evidence_ratio_ais",
        "log_evidence_ratio_ais_error",
    ]
    need(laplace_vs_ais, [*columns, "log_permutations"], TITLE)
    table = laplace_vs_ais.loc[laplace_vs_ais["labels"].isin(list(GAP_WORDS))]
    if table.empty:
        raise UserError(f"{TITLE}: the table has no rows with real, random or simulated labels")
    simulated = table.loc[table["labels"] == "simulated"]
    need(simulated, ["log_evidence_ratio_reverse_ais"] if len(simulated) else [], TITLE)
    table = table.assign(one_mode=table["log_evidence_ratio_ais"] + table["log_permutations"])
    keys = ["model", "labels", "prior_precision"]
    approximate = over_seeds(table, [*keys, "point"], ["log_evidence_ratio"])
    # labels drawn anew differ in E by more than the methods do: an interval over them would say nothing of these
    approximate.loc[approximate["labels"] == "simulated", ["ci_low", "ci_high", "interval"]] = [np.nan, np.nan, ""]
    once = table.drop_duplicates([*keys, "seed"])
    sampled = over_seeds(once, keys, ["log_evidence_ratio_ais", "one_mode"]).assign(point="sampled")
    # the error of the sampling itself: with one seed there is no other
    error = (
        once.groupby(keys)["log_evidence_ratio_ais_error"].agg(lambda e: float(np.sqrt((e**2).mean() / len(e)))).rename("error")
    )
    sampled = sampled.merge(error.reset_index(), on=keys)
    sampled = sampled.assign(
        ci_low=sampled["value"] - 1.96 * sampled["error"], ci_high=sampled["value"] + 1.96 * sampled["error"]
    )
    sampled["interval"] = "95 % interval of the sampling"
    data = pd.concat([approximate, sampled.drop(columns="error")])
    if len(simulated):
        backward = over_seeds(simulated, keys, ["log_evidence_ratio_reverse_ais"])
        data = pd.concat([data, backward.assign(point="sampled", ci_low=np.nan, ci_high=np.nan, interval="")])
    return data.assign(panel=data["model"] + " " + data["labels"])


def _draw_gap(ax: Axes, gap: pd.DataFrame, model: str) -> None:
    for point, look in POINTS.items():
        rows = gap.loc[(gap["point"] == point) & (gap["quantity"] == "log_evidence_ratio")].sort_values("prior_precision")
        name = "Laplace, minimum" if model == "linear" else f"Laplace, {POINT_NAMES[point]}"
        points(
            ax, rows["prior_precision"], rows, Look(BLACK, "s", "-") if model == "linear" else look, name if len(rows) else ""
        )
    rows = gap.loc[gap["quantity"] == "log_evidence_ratio_ais"].sort_values("prior_precision")
    points(ax, rows["prior_precision"], rows, Look(ORANGE, "D", ""), "sampled", hollow=True)
    rows = gap.loc[gap["quantity"] == "log_evidence_ratio_reverse_ais"].sort_values("prior_precision")
    label = "sampled from the posterior back:\nE lies between the two, in expectation"
    points(ax, rows["prior_precision"], rows, Look(GREEN, "s", ""), label if len(rows) else "", hollow=True)
    if model == "network":
        rows = gap.loc[gap["quantity"] == "one_mode"].sort_values("prior_precision")
        points(
            ax,
            rows["prior_precision"],
            rows,
            Look(PURPLE, "X", ""),
            "sampled + ln H!: of one order of the hidden units",
            hollow=True,
        )
    low, high = ax.get_ylim()
    if low < 0 < high:
        ax.axhline(0, color=GREY, lw=0.9, zorder=1, label="0: above it the null model is better")
