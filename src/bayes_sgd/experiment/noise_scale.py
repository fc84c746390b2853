"""The noise scale of SGD, g = ε(N/B − 1) (paper, section 5), with momentum ε/(1 − m) for ε (paper, appendix D).

One function an equation; all take numbers or arrays of equal shape. ε is the learning rate per update of the mean loss.
"""

from __future__ import annotations

from typing import Protocol


class HasNoise(Protocol):
    """What the noise scale is a function of: a cell, or a row of the table of cells."""

    @property
    def learning_rate(self) -> float:
        """ε, per update of the mean loss."""
        ...

    @property
    def momentum(self) -> float:
        """The coefficient m."""
        ...

    @property
    def dampening(self) -> float:
        """As a number: 0, or m."""
        ...

    @property
    def n_train(self) -> int:
        """N."""
        ...

    @property
    def batch_size(self) -> int:
        """B."""
        ...

    @property
    def sampling(self) -> str:
        """independent, replacement or shuffle."""
        ...


def effective_learning_rate(learning_rate: float, momentum: float, dampening: float = 0.0) -> float:
    """ε′ = ε(1 − dampening)/(1 − m): the rate of plain SGD that covers the same distance (paper, appendix D)."""
    return learning_rate * (1 - dampening) / (1 - momentum)


def noise_scale(cell: HasNoise) -> float:
    """G = ε′(N/B − 1): the strength of the noise in the paper's stochastic differential equation.

    Drawn with replacement, a batch of N still has noise, and g = ε′N/B (our extension: the covariance of the mean gradient is
    then S/B, without the finite-population correction). Epoch shuffling has the same one-step covariance as independent
    batches, and anti-correlated steps, which g does not know.
    """
    rate = effective_learning_rate(cell.learning_rate, cell.momentum, cell.dampening)
    ratio = cell.n_train / cell.batch_size
    return rate * (ratio if cell.sampling == "replacement" else ratio - 1)
