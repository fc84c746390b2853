"""Figures 1 and 2 of the paper, the linear model against λ: takes the table `linear`, gives a figure and the data in it.

Nothing is estimated here: means over seeds with 95 % t-intervals. Accuracies are in [0, 1] in the data and in % on paper.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import ONLY, SEEDS_95, TEST, TRAIN, Drawn, band, need, over_seeds, span
from bayes_sgd.figures.style import BLACK, GREY, LABELS


def _linear(linear: pd.DataFrame, title: str, quantities: list[str], labels: list[str]) -> tuple[Figure, pd.DataFrame, list]:
    """The means, and two rows of panels, each pair with its part of the means: (a) random labels, (b) true ones."""
    need(linear, ["labels", "l2", "seed", *quantities], title)
    data = over_seeds(linear.loc[linear["labels"].isin(["random", "real"])], ["labels", "l2"], quantities)
    if data.empty:
        raise UserError(f"{title}: the table has no rows with real or random labels")
    data = data.assign(panel=np.where(data["labels"] == "random", "a", "b"))
    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    figure.suptitle(f"{title}\nlines: means over {span(data['seeds'], 'seed')}; bands: {SEEDS_95}", x=0.01, ha="left")
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    panels = []
    for column, (panel, words) in enumerate([("a", "random labels"), ("b", "informative (true) labels")]):
        top, bottom = axes[:, column]
        top.set(xscale="log", title=f"({panel}) {words}", label=f"{panel} top")
        bottom.set(xlabel=LABELS["l2"], label=f"{panel} bottom")
        axes[column, 0].set_ylabel(labels[column])
        panels.append((top, bottom, data.loc[data["panel"] == panel]))
    return figure, data, panels


def fig1(linear: pd.DataFrame) -> Drawn:
    """Accuracies and mean margin of the linear model against λ: (a) random, (b) informative labels."""
    title, quantities = "Figure 1. Linear model: accuracy and margin", ["train_accuracy", "test_accuracy", "margin"]
    with rc_context(style.RC):
        figure, data, panels = _linear(linear, title, quantities, [LABELS["accuracy"], LABELS["margin"]])
        top, bottom, table = panels[1]
        inset = top.inset_axes((0.14, 0.14, 0.84, 0.6), xscale="log", title="the same, enlarged", label="b enlarged")
        for ax, rows in ((panels[0][0], panels[0][2]), (top, table), (inset, table)):
            band(ax, rows, "train_accuracy", TRAIN, "training accuracy", 100)
            band(ax, rows, "test_accuracy", TEST, "test accuracy", 100)
        for _, ax, rows in panels:
            band(ax, rows, "margin", ONLY, "mean margin, training set")
        bottom.set_yscale("log")  # the margins of random labels are far smaller
        style.plain_log(bottom.yaxis)
        panels[0][0].legend()
        bottom.legend(loc="lower right")
    return figure, data


def fig2(linear: pd.DataFrame) -> Drawn:
    """Cross-entropies and log evidence ratio of the linear model against λ: (a) random, (b) informative labels."""
    title, evidence = "Figure 2. Linear model: cross-entropy and log evidence ratio", "log_evidence_ratio_per_example"
    with rc_context(style.RC):
        labels = [LABELS["loss"], LABELS[evidence]]
        figure, data, panels = _linear(linear, title, ["train_loss", "test_loss", evidence], labels)
        for top, bottom, table in panels:
            band(top, table, "train_loss", TRAIN, "training")
            tested = band(top, table, "test_loss", TEST, "test")
            of_evidence = band(bottom, table, evidence, ONLY, "E / N")
            top.axhline(np.log(2), color=GREY, ls=":", lw=1.2, label="ln 2: chance")
            bottom.axhline(0, color=BLACK, lw=0.9, label="0: above it the null model is better")
            bottom.axhline(-np.log(2), color=GREY, ls=":", lw=1.2, label="−ln 2: the lowest possible")
            for ax, rows in ((top, tested), (bottom, of_evidence)):
                star = rows.nsmallest(1, "value")
                ax.plot(star["l2"], star["value"], "*", ms=13, mfc="none", mec=BLACK, label="lowest mean")
        top, bottom, table = panels[1]
        inset = bottom.inset_axes((0.2, 0.5, 0.78, 0.36), xscale="log", title="enlarged", label="b enlarged")
        best = table.loc[table["quantity"] == evidence].nsmallest(1, "value")["l2"].max()
        band(inset, table.loc[table["l2"] <= 10 * best], evidence, ONLY, "")
        lowest = data.loc[(data["quantity"] == "test_loss") & (data["value"] > 0), "value"].min()
        top.set(yscale="log", ylim=(lowest / 3 if lowest > 0 else None, None))  # training loss goes to 0, out of view
        top.legend(loc="upper left")
        panels[0][1].legend(loc="upper right")
    return figure, data
