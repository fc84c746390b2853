"""The tables of the evidence and of the curvature of trained networks, as `schema` has the others."""

from __future__ import annotations

from bayes_sgd.core.columns import (
    CELL,
    COST,
    EXPERIMENT,
    GRADIENT_NORM,
    NOISE_SCALE,
    OCCAM,
    PER_EXAMPLE,
    PERMUTATIONS,
    PRECISION,
    RATIO,
    SEED,
    TEST_ACCURACY,
    TEST_LOSS,
    TRAIN_ACCURACY,
    TRAIN_LOSS,
    cell,
    older,
    rest,
)
from bayes_sgd.core.table import Column, Table

NETWORK_EVIDENCE = Table(
    "network_evidence",
    "A row for each trained network, prior centre, point of expansion and λ.",
    (
        *cell("labels", "batch_size", "learning_rate"),
        SEED,
        Column("point", "text", "Where E is taken: `sgd`, `linearized` or `minimum`."),
        Column("prior_centre", "text", "Centre of the prior: `zero`, or the `initial` weights."),
        PRECISION,
        COST,
        OCCAM,
        RATIO,
        TEST_ACCURACY,
        TEST_LOSS,
        *older(rest("labels", "batch_size", "learning_rate"), dampening=0.0),
        NOISE_SCALE,
        PER_EXAMPLE,
        Column("best_prior_precision", "yes/no", "Whether this λ has the largest evidence of its network, point and centre."),
        TRAIN_LOSS,
        TRAIN_ACCURACY,
        Column("weight_norm", "1", "Distance of the weights from the prior's centre."),
        Column("top_eigenvalue", "nats per squared weight", "Largest eigenvalue of the GGN of the sum loss, without λ."),
        Column("trace", "nats per squared weight", "Trace of the GGN of the sum loss, without λ."),
        Column("effective_parameters", "1", "Σ η/(η + λ) over the eigenvalues η of the GGN."),
        Column("effective_parameters_error", "1", "Standard error of that estimate; 0 where it is exact."),
        GRADIENT_NORM,
        Column("converged", "yes/no", "Whether the search for the point ended; no for a network that is not finite."),
        PERMUTATIONS,
        Column("weights", "text", "Start of the SHA-256 of the network's name and weights."),
        Column("main_series", "yes/no", "Whether figures show and claims judge the network: one of the commonest kind.", None),
    ),
    joined=("main_series",),
)
SIMPLE_NOISE = Table(
    "simple_noise",
    "A row for each network of the experiments under `simple_noise` and each loss there: gradients where it first is so low.",
    (
        EXPERIMENT,
        *CELL,
        NOISE_SCALE,
        SEED,
        Column("loss", "nats per example", "The training loss that was waited for."),
        Column("update", "updates", "The first update looked at with no larger training loss; they grow by a twentieth."),
        TRAIN_LOSS,
        Column("trace", "nats² per squared weight", "tr Σ: trace of the covariance of single examples' gradients."),
        Column("mean_square", "nats² per squared weight", "|G|² of the mean gradient, unbiased, hence below 0 at times."),
    ),
)
INVARIANCE = Table(
    "invariance",
    "A row for each seed and reparameterization of a network that leaves its function unchanged.",
    (
        SEED,
        Column("transformation", "text", "What is rescaled: a layer against the next, units one by one, or inputs."),
        Column("factor", "1", "By how much."),
        PRECISION,
        Column(
            "examples", "examples", "Training examples that E is of, the first ones; older tables have them in `n_train`.", None
        ),
        Column("log_evidence_ratio", "nats", "E of these, with the prior transformed along with the weights."),
        Column("evidence_change_prior_transformed", "nats", "Its change against the network as it was trained."),
        Column("evidence_change_prior_fixed", "nats", "The change if the prior stays isotropic, which is another model."),
        Column("top_eigenvalue", "nats per squared weight", "Largest eigenvalue of the GGN of the sum loss, without λ."),
        Column("eigenvalue_ratio", "1", "Its ratio to that of the network as it was trained."),
        Column("logits_change", "nats", "Largest absolute change of an output, from rounding alone."),
        *older(CELL, momentum=None, dampening=None, l2=None, sampling=None),
    ),
)
LAPLACE_VS_AIS = Table(
    "laplace_vs_ais",
    "A row for each labelling, seed, model, point and λ: Laplace's evidence beside that of annealed importance sampling.",
    (
        Column("labels", "text", "`real`, `random`, or `simulated` from the linear model itself."),
        SEED,
        Column("model", "text", "`linear` (logistic regression) or `network` (5 hidden units)."),
        Column("point", "text", "Where Laplace's E is taken: `sgd`, `linearized` or `minimum`."),
        PRECISION,
        *cell("n_train"),
        Column("log_evidence_ratio", "nats", "E by Laplace's approximation."),
        Column("log_evidence_ratio_ais", "nats", "E by chains from the prior to the posterior; in expectation too large."),
        Column("log_evidence_ratio_ais_error", "nats", "Its standard error over chains."),
        Column("laplace_error", "nats", "Laplace's E minus the sampled one."),
        PERMUTATIONS,
        Column("effective_chains", "1", "Effective number of chains, from their weights."),
        Column("chains", "1", "Number of chains."),
        Column("acceptance", "fraction", "Accepted share of the moves."),
        Column("log_evidence_ratio_reverse_ais", "nats", "E by chains from a posterior sample; in expectation too small."),
    ),
)
SPECTRA = Table(
    "spectra",
    "A row for each eigenvalue of two matrices of the sum cross-entropy, at networks as SGD left them.",
    (
        *older(CELL, momentum=None, dampening=None, l2=None, sampling=None),
        SEED,
        Column("matrix", "text", "`gauss_newton`, or `hessian` for the exact one."),
        Column("index", "1", "Rank from 1 at the largest eigenvalue; −1 is the smallest of the Hessian."),
        Column("eigenvalue", "nats per squared weight", "The eigenvalue, without λ; empty if the search did not converge."),
        TRAIN_ACCURACY,
    ),
)
