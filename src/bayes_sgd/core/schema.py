"""Every table that the project writes: its columns in order, each with name, unit and one sentence.

Writers and readers are typed by it (`io.write_csv`, `io.read_csv`), and docs/tables.md is its text:
`python -m bayes_sgd.core.schema > docs/tables.md`. Symbols: ε learning rate, m momentum, B batch size, N training set size, λ
precision of the Gaussian prior of the sum cost C = H + λ‖ω‖²/2, ω weights, E log evidence ratio against the null model.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from bayes_sgd.core.columns import (
    AXIS,
    AXIS_VALUE,
    BUDGET_FRACTION,
    CELL,
    CENSORED_FRACTION,
    COST,
    ESTIMATOR,
    EXPERIMENT,
    GRADIENT_NORM,
    HIGH,
    LOW,
    NOISE_SCALE,
    OCCAM,
    PER_EXAMPLE,
    PHASE,
    RATIO,
    SEED,
    SEEDS,
    TEST_ACCURACY,
    TEST_LOSS,
    TRAIN_ACCURACY,
    TRAIN_LOSS,
    TREATMENT,
    UPDATES,
    cell,
    rest,
)
from bayes_sgd.core.schema_bench import BENCH
from bayes_sgd.core.schema_evidence import INVARIANCE, LAPLACE_VS_AIS, NETWORK_EVIDENCE, SIMPLE_NOISE, SPECTRA
from bayes_sgd.core.schema_n_law import N_LAW, N_LAW_FIT
from bayes_sgd.core.schema_predictors import FIT_BATCH, PREDICTORS, RUN_CURVATURE
from bayes_sgd.core.schema_replication import REPEATED
from bayes_sgd.core.table import Column, Table, markdown

_HEAD = """# Tables

Made from src/bayes_sgd/core/schema.py by `make schema`; edit that. CSV, one header line, floats in full; an empty field is a
value that does not exist. `x.json` beside `x.csv` holds its SHA-256 and what made it.

ε is the learning rate, m the momentum, B the batch size, N the training set size, ω the weights, λ the precision of the
Gaussian prior of the sum cost C = H + λ‖ω‖²/2, E the log evidence ratio. GGN is the generalized Gauss-Newton matrix. How the
numbers are made is in [method.md](method.md).

"""
CELLS = Table(
    "cells",
    "A row for each cell, seed and recorded update of the training.",
    (
        Column("data", "text", "Name of the data set."),
        *CELL,
        NOISE_SCALE,
        SEED,
        Column("update", "updates", "Updates done when the network was measured."),
        PHASE,
        TRAIN_LOSS,
        TEST_LOSS,
        TRAIN_ACCURACY,
        TEST_ACCURACY,
        Column("weight_norm", "1", "‖ω‖, biases included."),
        Column("dead_units", "fraction", "Share of hidden units that are above 0 for no training image."),
        Column("diverged", "yes/no", "Whether a weight is not finite; loss and accuracy are then those of chance."),
    ),
)
LINEAR = Table(
    "linear",
    "A row for each labelling, seed and λ of the logistic regression on digits 0 and 1.",
    (
        *cell("labels"),
        Column("l2", "1", "λ, of the sum cost and of the prior alike."),
        SEED,
        TRAIN_ACCURACY,
        TEST_ACCURACY,
        Column("margin", "length in pixel space", "Mean of t(ω·x + b)/‖ω‖ over training examples, t = ±1 the label."),
        TRAIN_LOSS,
        TEST_LOSS,
        COST,
        OCCAM,
        RATIO,
        PER_EXAMPLE,
        Column("margin_absolute", "length in pixel space", "Mean of |ω·x + b|/‖ω‖ over training examples."),
        Column("weight_norm", "1", "‖ω‖ without the bias."),
        Column("test_accuracy_true_labels", "fraction", "Accuracy on the test set under its labels before randomization."),
        GRADIENT_NORM,
        Column("iterations", "1", "Newton steps."),
        Column("converged", "yes/no", "Whether the gradient reached the tolerance; if no fit exists the results are empty."),
    ),
)
OPTIMUM = Table(
    "optimum",
    "A row for each experiment, axis value, phase, share of the budget, treatment and estimator of the optimum batch size.",
    (
        EXPERIMENT,
        AXIS,
        AXIS_VALUE,
        Column("updates", "updates", "The recorded update at which accuracies are compared."),
        TREATMENT,
        ESTIMATOR,
        Column("b_opt", "examples", "Optimum batch size; empty if censored."),
        LOW,
        HIGH,
        Column("censored", "yes/no", "Whether the grid of batch sizes does not bound the optimum, or no run trained."),
        Column("peak_accuracy", "fraction", "Mean test accuracy at `argmax`."),
        Column("peak_accuracy_se", "fraction", "Its standard error over seeds."),
        Column("argmax", "examples", "The sampled batch size of best mean test accuracy."),
        Column("grid_low", "examples", "The next smaller batch size sampled; empty at the end of the grid."),
        Column("grid_high", "examples", "The next larger batch size sampled; empty at the end of the grid."),
        Column("censored_side", "text", "Where a censored optimum lies: `below` or `above` the grid."),
        CENSORED_FRACTION,
        Column("failure_fraction", "fraction", "Share of runs at `argmax` that failed to train."),
        Column("failures", "text", "Share of failed runs at each batch size, as B:share."),
        SEEDS,
        Column("scaling_variable", "1", "What B_opt is proportional to by the theory: 1/(1 − m), or the axis value."),
        BUDGET_FRACTION,
        PHASE,
    ),
)
SCALING = Table(
    "scaling",
    "A row for each experiment, phase, share of the budget, treatment and estimator: the exponent of the optimum batch size.",
    (
        EXPERIMENT,
        AXIS,
        UPDATES,
        TREATMENT,
        Column("estimator", "text", "As in optimum.csv, or `collapse`: the exponent under which whole curves coincide."),
        Column("exponent", "1", "Slope of ln B_opt against ln of the scaling variable."),
        LOW,
        HIGH,
        Column("n_points", "1", "Axis values whose optimum is not censored."),
        Column("ratio", "1", "Largest over smallest scaling variable of these."),
        Column("width", "1", "Width of the interval."),
        Column("n_censored", "1", "Axis values that are left out."),
        CENSORED_FRACTION,
        SEEDS,
        Column("budget", "text", "How the updates depend on the axis, in words."),
        BUDGET_FRACTION,
        PHASE,
        Column("p_proportional", "1", "Two-sided p of the exponent 1, by Student's t as the interval is."),
        Column("p_holm", "1", "The same, corrected (Holm 1979) for the experiments along ε, N and m."),
    ),
)
LAWS = Table(
    "laws",
    "A row for each experiment, phase, treatment, share of the budget and law of how the optimum moves along the axis.",
    (
        EXPERIMENT,
        AXIS,
        UPDATES,
        PHASE,
        TREATMENT,
        Column(
            "law",
            "text",
            "How the optimum moves, in words; see statistics.md.",
        ),
        Column("parameter", "of the law", "Exponent, g in units of ε′, or N₀ in examples; empty at the end of its range."),
        LOW,
        HIGH,
        Column("held_out_error", "fraction", "Root mean square error of the accuracies of a left-out seed."),
        Column("excess", "1", "Mean square error over that of the best law, minus 1."),
        Column("excess_low", "1", "Lower end of its 95 % interval over seeds."),
        Column("excess_high", "1", "Upper end of its 95 % interval over seeds."),
        Column("favoured", "yes/no", "Whether no law has a smaller error."),
        Column("n_points", "1", "Points of the curves near their tops that enter the fit."),
        SEEDS,
    ),
)
_PREDICTED = (
    Column("b_opt_predicted", "examples", "Predicted optimum batch size."),
    Column("ci_low", "examples", "Lower end of its 90 % interval."),
    Column("ci_high", "examples", "Upper end of its 90 % interval."),
    Column("extrapolated", "yes/no", "Whether it lies outside the optima that it is predicted from."),
)
PREDICTION = Table(
    "prediction",
    "A row for each optimum inside the grid that at least three others of its experiment predict.",
    (
        AXIS,
        AXIS_VALUE,
        Column("b_opt_measured", "examples", "The optimum that was left out."),
        *_PREDICTED,
        EXPERIMENT,
        ESTIMATOR,
        Column("updates", "updates", "The recorded update at which accuracies are compared."),
        Column("inside", "yes/no", "Whether the measured optimum lies in the interval."),
        Column("steps", "factors of √2", "Distance of the predicted from the measured optimum."),
    ),
)
ADVICE = Table(
    "advice",
    "A row for each setting under `advise` in the configuration: a batch size for it, or why there is none.",
    (
        Column("axis", "text", "The word `advise`."),
        Column("axis_value", "1", "Number of the setting in the configuration, from 0."),
        Column("b_opt_measured", "examples", "The optimum measured at the same setting, if the run trained it."),
        *_PREDICTED,
        *cell("learning_rate"),
        *cell("momentum"),
        *cell("n_train"),
        Column("updates", "updates", "Updates of the training that the batch size is for.", None),
        Column("budget", "text", "How the updates depend on the learning rate, in words.", None),
        Column("measured_updates", "updates", "Updates at which `b_opt_measured` was found.", None),
        Column("measured_low", "examples", "Lower end of the 90 % interval of `b_opt_measured`.", None),
        Column("measured_high", "examples", "Upper end of it.", None),
        Column("data", "text", "Data set that the batch size is for.", None),
        *(replace(column, default=None) for column in rest("n_train", "batch_size", "learning_rate", "momentum", "updates")),
        Column("why", "text", "What the number rests on, or what is missing."),
    ),
)  # fmt: skip
CLAIMS = Table(
    "claims",
    "A row for each claim of the paper that config/claims.yaml lists.",
    (
        Column("claim", "text", "Its number, with a letter for parts."),
        Column("statement", "text", "The claim in one sentence."),
        Column("source", "text", "Where the paper makes it."),
        Column("paper_value", "text", "The paper's value, in words."),
        Column("value", "of the quantity", "Our value; empty if it was not tested."),
        LOW,
        HIGH,
        Column("limit", "text", "What confirms and what refutes the claim."),
        SEEDS,
        Column("verdict", "text", "`reproduced`, `not reproduced`, `inconclusive` or `not tested`."),
        Column("figure", "text", "The figure that shows it."),
        Column("table", "text", "The table that holds the numbers."),
        Column("why", "text", "The verdict in one sentence, with its numbers."),
    ),
)
GRADIENT_NOISE = Table(
    "gradient_noise",
    "A row for each frozen network (update, seed), way of sampling and batch size; gradients are of the mean cross-entropy.",
    (
        *cell("n_train"),
        Column("update", "updates", "Updates done when the network was frozen; 0 is its initialization."),
        SEED,
        *cell("sampling"),
        *cell("batch_size"),
        Column("trace", "nats² per squared weight", "Trace of the covariance of a batch's gradient, measured."),
        Column("trace_se", "nats² per squared weight", "Its standard error over batches."),
        Column("trace_predicted", "nats² per squared weight", "The same trace, predicted from the single examples' gradients."),
        Column("ratio", "1", "Measured over predicted trace."),
        Column("next_batch", "nats² per squared weight", "Trace of the covariance with the next batch's gradient, measured."),
        Column("next_batch_se", "nats² per squared weight", "Its standard error over batches."),
        Column("next_batch_predicted", "nats² per squared weight", "The same trace, predicted."),
        Column("skewness", "1", "Mean absolute skewness of the softmax layer's gradients; of independent batches alone."),
        Column("excess_kurtosis", "1", "Mean excess kurtosis of the softmax layer's gradients; of independent batches alone."),
        Column("weights", "1", "Number of weights behind these two."),
    ),
)
GRADIENTS = Table(
    "gradients",
    "A row for each single example or batch: the gradient of one weight of one network (figure 9).",
    (
        Column("batch_size", "examples", "1 for a single example, else B."),
        Column("gradient", "nats per weight", "Derivative of the mean cross-entropy of the batch with respect to the weight."),
    ),
)
COSTS = Table(
    "costs",
    "A row for each rule of the workflow: what its jobs took, with a published run only.",
    (
        Column("rule", "text", "Name of the rule."),
        Column("jobs", "1", "Number of its jobs."),
        Column("hours", "h", "Sum of their wall-clock times; of a resumed job the last attempt alone."),
        Column("cpu_hours", "h", "Sum of their CPU times, alike, up to the last sample that Snakemake took of each."),
        Column("max_rss_mb", "MB", "Largest memory of a job."),
    ),
)
CALIBRATION = Table(
    "calibration",
    "A row for each quantity, estimator, truth and number of seeds: simulated studies, analysed as real ones.",
    (
        Column("quantity", "text", "What is estimated, and along which axis or as which measure."),
        Column("estimator", "text", "Of an exponent, as in scaling.csv."),
        Column("claim", "text", "The claim by whose limit the studies are judged."),
        Column("truth", "1", "The value that the simulated studies have; empty where each has its own."),
        Column("seeds", "1", "Seeds of a study."),
        Column("studies", "1", "Number of simulated studies."),
        Column("coverage", "fraction", "Share of 95 % intervals that hold the truth."),
        Column("coverage_low", "fraction", "Lower end of its 95 % Clopper-Pearson interval."),
        Column("coverage_high", "fraction", "Upper end of its 95 % Clopper-Pearson interval."),
        Column("bias", "1", "Mean of estimate minus truth."),
        Column("spread", "1", "Standard deviation of estimate minus truth."),
        Column("width", "1", "Median width of the intervals."),
        Column("opposite", "fraction", "Share of pairs of studies of which one is reproduced and the other is not."),
        *(
            Column(verdict.replace(" ", "_"), "fraction", f"Share of studies with the verdict `{verdict}`.")
            for verdict in ("reproduced", "not reproduced", "inconclusive", "not tested")
        ),
    ),
)
RUN = {
    table.name: table
    for table in (
        *(
            CELLS,
            LINEAR,
            OPTIMUM,
            SCALING,
            LAWS,
            N_LAW,
            N_LAW_FIT,
            PREDICTION,
            ADVICE,
            FIT_BATCH,
            PREDICTORS,
            RUN_CURVATURE,
            GRADIENT_NOISE,
            GRADIENTS,
            SIMPLE_NOISE,
            NETWORK_EVIDENCE,
            INVARIANCE,
        ),
        *(LAPLACE_VS_AIS, SPECTRA, CLAIMS, COSTS),
    )
}
TABLES = RUN | {table.name: table for table in (CALIBRATION, *REPEATED, *BENCH)}


def text() -> str:
    """docs/tables.md: every table with its columns."""
    parts = [
        ("Tables of a run", "results/<run>/tables/", RUN.values()),
        ("Coverage of intervals and verdicts", "results/published/", [CALIBRATION]),
        ("Replicates of a run", "results/published/", REPEATED),
        ("Benchmarks and faults", "results/published/bench/, results/published/faults.csv and advice_check.csv", BENCH),
    ]
    chapters = [f"## {title} ({place})\n\n" + "\n".join(markdown(table) for table in tables) for title, place, tables in parts]
    return _HEAD + "\n".join(chapters)


if __name__ == "__main__":
    sys.stdout.write(text())
