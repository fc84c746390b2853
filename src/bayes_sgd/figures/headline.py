"""The figure on the project's first page: figure 5 with one estimator and one phase, from `cells`, `optimum` and `scaling`.

Nothing is estimated here: means over seeds with 95 % t-intervals, and optima and the exponent as the tables give them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT
from bayes_sgd.figures import style
from bayes_sgd.figures.common import OPTIMUM_95, SEEDS_95, Drawn, legend, span, two_parts
from bayes_sgd.figures.fig5_to_fig7_batch_size import (
    LEARNING_RATE,
    NAMES,
    Sweep,
    draw_optima,
    edge_handles,
    exponent_text,
    optimum_panel,
    sweep_data,
    window,
)
from bayes_sgd.figures.style import LABELS, VERMILION, Look, number, points


def headline(cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float = 0.5) -> Drawn:
    """(a) Test accuracy against batch size around the peaks, a series for each ε; (b) the optimum by the cubic fit against ε.

    Failed runs count. The networks are those trained at a constant ε. The arguments are those of figure 5.
    """
    title = "The optimum batch size grows with the learning rate"
    return optimum_figure(LEARNING_RATE, cells, optimum, scaling, failed_below, title)


def optimum_figure(
    sweep: Sweep, cells: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame, failed_below: float, title: str
) -> Drawn:
    """The same along any axis.

    Args:
        sweep: the experiment and its axis.
        cells: as of figure 5, of that experiment.
        optimum: likewise.
        scaling: likewise.
        failed_below: the training accuracy below which a run has failed.
        title: the figure's first line.
    """
    data = sweep_data(sweep, cells, optimum, scaling, failed_below)
    chosen = (data.optima["phase"] == PHASE) & (data.optima["treatment"] == TREATMENT) & (data.optima["estimator"] == HEADLINE)
    data = data._replace(optima=data.optima.loc[chosen])
    fitted = data.exponents["estimator"] == HEADLINE
    same = (data.exponents["phase"] == PHASE) & (data.exponents["treatment"] == TREATMENT)
    shown = [data.all_runs, data.optima, data.line, data.exponents.loc[fitted & same]]
    means = f"(a): means over {span(data.all_runs['seeds'], 'seed')}; bars, at each peak only: {SEEDS_95}"
    with rc_context(style.RC):
        figure, left, right = two_parts(title, means, (1.15, 1), 4.6)
        ax = left.subplots()
        ax.set(xscale="log", xlabel=LABELS["batch_size"], ylabel=LABELS["test_accuracy"], label="a")
        ax.set(title="(a) test accuracy at the end of training", ylim=window(data.all_runs, sweep.axis))
        values = sorted(data.all_runs[sweep.axis].unique())
        for value, look in zip(values, style.ordered(len(values)), strict=True):
            rows = data.all_runs.loc[data.all_runs[sweep.axis] == value]
            points(
                ax,
                rows["batch_size"],
                rows.assign(ci_low=np.nan, ci_high=np.nan),
                look,
                f"{sweep.symbol} = {number(value)}",
                100,
            )
            peak = rows.nlargest(1, "value")
            points(ax, peak["batch_size"], peak, look, "", 100)
        style.plain_log(ax.xaxis)
        legend(left, ax, 3)
        ax = right.subplots()
        optima = optimum_panel(ax, sweep, data)
        words = f"{exponent_text(data.exponents, HEADLINE)}; bar: {OPTIMUM_95}"
        draw_optima(ax, optima, 1.0, Look(VERMILION, "D", ""), NAMES[HEADLINE], words)
        style.plain_log(ax.xaxis)
        style.plain_log(ax.yaxis)
        legend(right, ax, 1, edge_handles(optima))
    return figure, pd.concat([part for part in shown if len(part)])
