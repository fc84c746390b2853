"""The tables of optima against N and the number T of updates, and of the laws through them. Symbols as in `schema`."""

from __future__ import annotations

from bayes_sgd.core.columns import PHASE, SEEDS, cell
from bayes_sgd.core.table import Column, Table

_ALONG_N = (
    Column("experiment", "text", "Name of the experiment in the configuration, or `all along N`."),
    PHASE,
    Column("data", "text", "Name of the data set."),
    *cell("hidden_sizes"),
    *cell("learning_rate"),
    *cell("momentum"),
)
N_LAW = Table(
    "n_law",
    "A row for each experiment along N or at equal epochs, network, ε, N, recorded T and phase: the optimum and its left edge.",
    (
        *_ALONG_N,
        *cell("n_train"),
        Column("updates", "updates", "T, the recorded update at which accuracies are compared."),
        Column("n_over_t", "examples per update", "N/T: at a batch size B training lasts B/(N/T) epochs."),
        Column("b_opt", "examples", "Optimum batch size, cubic, failed runs included; empty if censored."),
        Column("b_opt_low", "examples", "Lower end of its 95 % interval."),
        Column("b_opt_high", "examples", "Upper end of its 95 % interval."),
        Column("b_opt_side", "text", "Where a censored optimum lies: `below` or `above` the grid."),
        Column("left_edge", "examples", "The B left of the top at which mean test accuracy is half a point below it."),
        Column("left_edge_low", "examples", "Lower end of its 95 % interval."),
        Column("left_edge_high", "examples", "Upper end of its 95 % interval."),
        Column("left_edge_side", "text", "`below`: the accuracy is nowhere so low left of the top."),
        Column("grid_low", "examples", "The smallest batch size sampled."),
        Column("grid_high", "examples", "The largest batch size sampled."),
        SEEDS,
    ),
)
N_LAW_FIT = Table(
    "n_law_fit",
    "A row for each law of how an optimum, or its left edge, depends on N and T; censored regression of ln B.",
    (
        *_ALONG_N,
        Column("of", "text", "`optimum`, or `left_edge`, half a point below the top."),
        Column("law", "text", "The law; a `power of` momentum is one of 1/(1 − m)."),
        Column("updates", "updates", "T, where it is one."),
        Column("n_over_t", "examples per update", "N/T, where it is one."),
        Column("offset", "examples", "B_e."),
        Column("offset_low", "examples", "Lower end of its 95 % interval."),
        Column("offset_high", "examples", "Upper end of its 95 % interval."),
        Column("slope", "of the law", "c: of N/T in updates, of N a pure number."),
        Column("slope_low", "of the law", "Lower end of its 95 % interval."),
        Column("slope_high", "of the law", "Upper end of its 95 % interval."),
        Column("exponent", "1", "Of the axis; of N at fixed N/T, where both are fitted."),
        Column("exponent_low", "1", "Lower end of its 95 % interval."),
        Column("exponent_high", "1", "Upper end of its 95 % interval."),
        Column("scatter", "1", "Standard deviation of ln B about the law."),
        Column("aicc", "1", "Akaike's criterion, corrected for few data; comparable between laws of the same optima."),
        Column("held_out_error", "1", "Root mean square error of ln B, each N predicted from the others."),
        Column("n_points", "1", "Optima that are fitted, censored ones included."),
        Column("n_censored", "1", "Of these how many lie beyond their grid, and enter as bounds."),
        SEEDS,
    ),
)
