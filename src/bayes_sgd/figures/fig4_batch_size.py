"""Figure 4 of the paper: takes the cells of an experiment, gives test accuracy against updates and against the batch size.

As in figures 5 to 7 nothing is estimated. Bars are of paired seeds: what a seed adds to all batch sizes is no difference
between them, and would hide the peak.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import rc_context

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures import style
from bayes_sgd.figures.common import PAIRED_95, SEEDS_95, TEST, TRAIN, Drawn, legend, over_seeds, paired, span, two_parts
from bayes_sgd.figures.fig5_to_fig7_batch_size import PHASE_NAMES, PHASES, final_rows, window
from bayes_sgd.figures.style import GREY, LABELS, below_scale, number, points, two_scales


def fig4(cells: pd.DataFrame, learning_rate: float | None = None, failed_below: float = 0.5) -> Drawn:
    """Test accuracy (a) against updates, a series for each batch size; (b) at the end against batch size.

    Args:
        cells: rows of one experiment, all recorded updates and phases.
        learning_rate: which ε; if not given, the middle one of those that are there.
        failed_below: training accuracy below which a run has failed; bars of batch sizes at which none has are of paired seeds.
    """
    final = final_rows(cells, "learning_rate", "figure 4")
    rates = sorted(final["learning_rate"].unique())
    rate = rates[len(rates) // 2] if learning_rate is None else learning_rate
    if rate not in rates:
        raise UserError(f"figure 4: no rows with learning_rate {rate:g}; there are {', '.join(map(number, rates))}")
    others_rows = {phase: final_rows(cells, "learning_rate", "figure 4", phase) for phase in PHASES}
    others_rows = {phase: rows.loc[rows["learning_rate"] == rate] for phase, rows in others_rows.items()}
    sizes_that_train = _training_sizes(final.loc[final["learning_rate"] == rate], failed_below)
    by_phase: dict[str, pd.DataFrame] = {
        phase: _paired(over_seeds(rows, ["batch_size"], ["test_accuracy"]), rows, sizes_that_train)
        for phase, rows in others_rows.items()
        if len(rows)
    }
    cells, final = (table.loc[table["learning_rate"] == rate] for table in (cells.loc[cells["phase"] == PHASE], final))
    curves = over_seeds(cells, ["batch_size", "update"], ["test_accuracy"])
    ends = _paired(over_seeds(final, ["batch_size"], ["train_accuracy", "test_accuracy"]), final, sizes_that_train)
    single = final.rename(columns={"test_accuracy": "value"}).loc[:, ["batch_size", "update", "seed", "value"]]
    single = single.assign(panel="b", quantity="test_accuracy", interval="none: a single seed")
    data = pd.concat([curves.assign(panel="a"), ends.assign(panel="b"), single]).assign(phase=PHASE)
    data = pd.concat([data, *(table.assign(panel="b", phase=phase) for phase, table in by_phase.items())])
    train, test = (ends.loc[ends["quantity"] == f"{part}_accuracy"] for part in ("train", "test"))
    limits = window(test.assign(series=0), "series")
    sizes = sorted(curves["batch_size"].unique())
    title = f"Figure 4. Test accuracy and batch size at ε = {number(rate)}, {span(final['update'], 'update')}"
    bars = f"{SEEDS_95}, in (a) at the end only; in (b) over paired seeds where all train"
    means = f"points: means over {span(test['seeds'], 'seed')}; bars: {bars}"
    with rc_context(style.RC):
        figure, left, right = two_parts(title, means, (1, 1))
        top, full = two_scales(left, "a", "during training", limits)
        full.set_xlabel(LABELS["update"])
        for size, look in zip(sizes, style.ordered(len(sizes)), strict=True):
            rows = curves.loc[curves["batch_size"] == size]
            last = rows.tail(1)
            for ax in (top, full):
                points(ax, rows["update"], rows.assign(ci_low=np.nan, ci_high=np.nan), look, f"B = {number(size)}", 100)
                points(ax, last["update"], last, look, "", 100)
            below_scale(top, last["update"], last)
        legend(left, top, 5, [])

        top, full = two_scales(right, "b", "at the end", limits)
        full.set(xscale="log", xlabel=LABELS["batch_size"])
        style.plain_log(full.xaxis)
        for ax in (top, full):
            ax.plot(single["batch_size"], 100 * single["value"], ".", color=GREY, alpha=0.5, ms=4, label="each seed")
            for phase, table in by_phase.items():
                points(ax, table["batch_size"], table, PHASES[phase], f"test, {PHASE_NAMES[phase]}", 100, hollow=True)
            points(ax, test["batch_size"], test, TEST, "test, mean", 100)
        below_scale(top, test["batch_size"], test)
        points(full, train["batch_size"], train, TRAIN, "training, mean (full range only)", 100)
        legend(right, top, 2, [full.containers[-1]])
    return figure, data


def _training_sizes(final: pd.DataFrame, failed_below: float) -> list[int]:
    """The batch sizes at which every seed trains."""
    failed = final["diverged"].astype(bool) | (final["train_accuracy"] < failed_below)
    return sorted({*final["batch_size"]} - {*final.loc[failed, "batch_size"]})


def _paired(means: pd.DataFrame, rows: pd.DataFrame, sizes: list[int]) -> pd.DataFrame:
    """Means over seeds, with intervals of paired test accuracies at some batch sizes."""
    if not sizes:
        return means
    among = paired(rows.loc[rows["batch_size"].isin(sizes)], "test_accuracy").set_index("batch_size")
    means = means.set_index("batch_size")
    replaced = (means["quantity"] == "test_accuracy") & means.index.isin(list(among.index))
    for name in ("ci_low", "ci_high"):
        means[name] = means[name].mask(replaced, among[name].reindex(means.index))
    return means.assign(interval=means["interval"].mask(replaced, PAIRED_95)).reset_index()
