"""Columns that several tables share: the fields of a cell, what is measured of a network, intervals, the evidence.

A new field of a cell gets its sentence here, in `CELL`; `schema` puts it into the tables. Symbols as there.
"""

from __future__ import annotations

from bayes_sgd.core.table import Column

# the fields of a cell, in their order there; a test holds the two together
CELL = (
    Column("labels", "text", "Labelling: `real`, `random`, or `random-p` (a share p replaced)."),
    Column("hidden_sizes", "text", "Units of each hidden layer, as 200 or 256x256; `none` for a linear model."),
    Column("n_train", "examples", "N, the size of the training set."),
    Column("batch_size", "examples", "B."),
    Column("learning_rate", "1", "ε per update, of the mean cross-entropy."),
    Column("momentum", "1", "m."),
    Column("dampening", "1", "Factor 1 − dampening of each gradient in the velocity; 0, or m."),
    Column("l2", "1", "λ of the training's sum cost, hence λ/N on the mean loss."),
    Column("sampling", "text", "How batches are drawn: `independent`, `replacement` or `shuffle`."),
    Column("updates", "updates", "Updates of the whole training."),
    Column("activation", "text", "Of hidden units: `relu`, `leaky_relu` or `softplus`.", "relu"),
    Column("init_scale", "1", "Factor on the initial weights.", 1.0),
    Column("pixel_scale", "1", "Factor on the pixels.", 1.0),
    Column("svag", "1", "l of stochastic variance amplified gradients: an update is l steps of ε/l; 1 is SGD.", 1),
    Column("architecture", "text", "`mlp`, or `lenet`: the first two hidden sizes are channels of convolutions.", "mlp"),
    Column("gradient_penalty", "1", "κ of the penalty κ times the mean squared norm of the gradients of micro-batches.", 0.0),
    Column("penalty_batch_size", "examples", "Size of those micro-batches.", 1),
)
SEED = Column("seed", "1", "The replicate: images, initial weights, batches and random labels.")
NOISE_SCALE = Column("noise_scale", "1", "g = ε′(N/B − 1) with ε′ = ε(1 − dampening)/(1 − m).")
TRAIN_LOSS = Column("train_loss", "nats per example", "Mean cross-entropy of the training set.")
TEST_LOSS = Column("test_loss", "nats per example", "Mean cross-entropy of the test set.")
TRAIN_ACCURACY = Column("train_accuracy", "fraction", "Share of the training set that is classified correctly.")
TEST_ACCURACY = Column("test_accuracy", "fraction", "Share of the test set that is classified correctly.")
EXPERIMENT = Column("experiment", "text", "Name of the experiment in the configuration.")
AXIS = Column("axis", "text", "The field of a cell along which the optimum is followed.")
AXIS_VALUE = Column("axis_value", "of the axis", "Value of that field.")
UPDATES = Column("updates", "updates", "The recorded update at which accuracies are compared; the largest along the axis.")
TREATMENT = Column("treatment", "text", "Runs that failed to train are `included` with the accuracy reached, or `excluded`.")
ESTIMATOR = Column("estimator", "text", "Estimator of the optimum: `cubic` (the headline), `argmax`, `quadratic`, `plateau`.")
PHASE = Column("phase", "text", "Which weights: `constant` ε, their `iterate_average`, or `after_cooldown` of ε to 0.")
BUDGET_FRACTION = Column("budget_fraction", "fraction", "The recorded update over the last one of the training.")
CENSORED_FRACTION = Column("censored_fraction", "fraction", "Share of bootstrap replicates with a censored optimum.")
LOW = Column("ci_low", "as the value", "Lower end of the 95 % interval.")
HIGH = Column("ci_high", "as the value", "Upper end of the 95 % interval.")
SEEDS = Column("seeds", "1", "Number of seeds behind the row.")
PRECISION = Column("prior_precision", "1", "λ of the prior N(centre, I/λ) of the evidence; training has its own `l2`.")
RATIO = Column("log_evidence_ratio", "nats", "E: log evidence of the null model minus that of the network or model.")
OCCAM = Column("occam_penalty", "nats", "½ ln of the determinant of the curvature of C over that of the prior.")
PER_EXAMPLE = Column("log_evidence_ratio_per_example", "nats per example", "E/N.")
COST = Column("cost", "nats", "C at the weights of the row.")
GRADIENT_NORM = Column("gradient_norm", "λ times the norm of the weights", "Norm of the gradient of C.")
PERMUTATIONS = Column("log_permutations", "nats", "ln H! summed over hidden layers, for equivalent orders of units; not in E.")


def older(columns: tuple[Column, ...], **defaults: object) -> tuple[Column, ...]:
    """The columns, some with the default that older tables need; None: such a table goes without the column."""
    return tuple(Column(c.name, c.unit, c.meaning, defaults.get(c.name, c.default)) for c in columns)


def cell(*names: str) -> tuple[Column, ...]:
    """Fields of a cell, by name."""
    return tuple(column for column in CELL if column.name in names)


def rest(*names: str) -> tuple[Column, ...]:
    """Fields of a cell but for those named."""
    return tuple(column for column in CELL if column.name not in names)
