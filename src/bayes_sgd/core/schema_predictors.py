"""The tables that compare predictors of the optimum batch size: the smallest that fits, and its rivals."""

from __future__ import annotations

from bayes_sgd.core.columns import AXIS, EXPERIMENT, PHASE, SEED, SEEDS, rest
from bayes_sgd.core.table import Column, Table

FIT_BATCH = Table(
    "fit_batch",
    "A row for each setting but for its batch size, recorded update, phase and threshold of the training accuracy.",
    (
        EXPERIMENT,
        AXIS,
        Column("axis_value", "text", "Value of that field."),
        *rest("batch_size", "updates"),
        Column("update", "updates", "The recorded update at which accuracies are compared."),
        PHASE,
        Column("threshold", "fraction", "Mean training accuracy from which on a batch size fits the training set."),
        SEEDS,
        Column("b_opt", "examples", "Optimum batch size; empty if censored."),
        Column("b_opt_low", "examples", "Lower end of its 95 % interval."),
        Column("b_opt_high", "examples", "Upper end of its 95 % interval."),
        Column("b_fit", "examples", "The smallest batch size that fits, interpolated in ln B; empty if censored."),
        Column("b_fit_low", "examples", "Lower end of its 95 % interval."),
        Column("b_fit_high", "examples", "Upper end of its 95 % interval."),
        Column("ratio", "1", "b_opt over b_fit, of the same seeds."),
        Column("ratio_low", "1", "Lower end of its 95 % interval."),
        Column("ratio_high", "1", "Upper end of its 95 % interval."),
        Column("b_opt_side", "text", "Where a censored optimum lies: `below` or `above` the grid."),
        Column("b_fit_side", "text", "Where a censored fitting batch size lies: `below` or `above` the grid."),
    ),
)
PREDICTORS = Table(
    "predictors",
    "A row for each predictor of the optimum, labelling and phase: how well it gives the optima of all axes with one constant. "
    "Optimum and predictor are of different halves of the seeds.",
    (
        Column("predictor", "text", "What is constant by this law, in words."),
        Column("labels", "text", "The arms: `real`, or `random-p` for those with a share of random labels."),
        PHASE,
        Column("axes", "1", "Number of experiments."),
        Column("n", "1", "Number of arms with optimum and predictor inside the grid."),
        Column("constant", "of the predictor", "Geometric mean over arms of what is constant: for B_fit, of B_opt/B_fit."),
        Column("sd", "natural logarithm", "Standard deviation over arms of its logarithm."),
        Column("sd_low", "natural logarithm", "Lower end of the 95 % interval of sd."),
        Column("sd_high", "natural logarithm", "Upper end of the 95 % interval of sd."),
        Column("relative_sd", "ratio", "sd over that of B_fit at 99 %, of the same arms."),
        Column("relative_sd_low", "ratio", "Lower end of its 95 % interval."),
        Column("relative_sd_high", "ratio", "Upper end of its 95 % interval."),
        Column(
            "axis_difference",
            "natural logarithm",
            "Largest absolute difference between an axis' mean logarithm and the mean over axes.",
        ),
        Column("axis_difference_low", "natural logarithm", "Lower end of its 95 % interval."),
        Column("axis_difference_high", "natural logarithm", "Upper end of its 95 % interval."),
        Column("farthest_axis", "text", "The experiment with that difference."),
        Column(
            "held_out_error",
            "natural logarithm",
            "Root mean square error of ln B_opt predicted with the constant of the other axes.",
        ),
        Column("within_step", "fraction", "Share of arms so predicted within a factor of √2."),
        Column("within_step_low", "fraction", "Lower end of its 95 % interval."),
        Column("within_step_high", "fraction", "Upper end of its 95 % interval."),
        Column("inside", "fraction", "Share of arms inside the 90 % interval of that prediction."),
    ),
)
RUN_CURVATURE = Table(
    "run_curvature",
    "A row for each setting without batch size, recorded update and seed: what is measured along a run with its largest batch.",
    (
        EXPERIMENT,
        *rest("updates"),
        Column("update", "updates", "The recorded update at which the run ends."),
        SEED,
        Column("simple_noise_scale", "examples", "B_simple: the mean over the run of tr Σ over that of |G|²."),
        Column(
            "sharpness", "nats per example and squared weight", "Largest eigenvalue of the GGN of the mean loss in the run."
        ),
        Column(
            "stable_batch",
            "examples",
            "Smallest batch size that is stable in the mean square everywhere in the run: the largest ε′s²/(2a).",
        ),
    ),
)
