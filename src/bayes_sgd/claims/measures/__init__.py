"""The measured value behind each claim, with its 95 % interval. A new module of measures is imported here."""

from bayes_sgd.claims.measures import (
    conditional,
    disputes,
    evidence,
    fit_batch,
    linear,
    n_law,
    noise,
    optimum,
    simple_noise,
    training,
)
from bayes_sgd.claims.measures.base import MEASURES

__all__ = [
    "MEASURES",
    "conditional",
    "disputes",
    "evidence",
    "fit_batch",
    "linear",
    "n_law",
    "noise",
    "optimum",
    "simple_noise",
    "training",
]
