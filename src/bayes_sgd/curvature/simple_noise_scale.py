"""The simple noise scale B_simple = tr Σ/|G|² of McCandlish, Kaplan, Amodei et al. (2018), along one run.

Takes labelled data and a cell; gives a batch size. Below it gradients of batches are mostly noise, above it mostly signal. It
says with which batch training is efficient, not which one generalizes best: a second opinion. G is the mean gradient over the
distribution from which the N training examples come, Σ the covariance of single examples' gradients.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from bayes_sgd.curvature.gradient_noise import factors
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.sgd import NetworkStack

POINTS = 10  # of a run, equally spaced from its start on (our choice)
_AT_ONCE = 2000  # examples differentiated at a time


def gradient_moments(parts: Iterable[list[tuple[Tensor, Tensor]]]) -> tuple[float, float]:
    """Unbiased estimates of tr Σ and |G|² from the gradients of N examples, N ≥ 2 (their appendix A.1, batches of 1 and N).

    Args:
        parts: `factors` of the examples, of some after another.
    """
    n, squares = 0, 0.0
    sums: list[Tensor] = []
    for part in parts:
        n += len(part[0][0])
        squares += sum(float((a.square().sum(1) * d.square().sum(1)).sum()) for a, d in part)
        products = [a.T @ d for a, d in part]
        sums = [old + new for old, new in zip(sums, products, strict=True)] if sums else products
    of_mean = sum(float(total.square().sum()) for total in sums) / n**2
    trace = (squares - n * of_mean) / (n - 1)
    return trace, of_mean - trace / n


def simple_noise_scale(
    data: LabelledData, cell: Cell, seed: int, initialization: str = "lecun_normal", points: int = POINTS
) -> float:
    """B_simple over a run of one network: the mean of tr Σ over the mean of |G|²; examples.

    Args:
        data: images and labels.
        cell: what is trained; its activation is relu.
        seed: of the network.
        initialization: as in `mlp.initial_weights`.
        points: updates at which gradients are taken, equally spaced from the first on.

    Returns:
        Infinity where the gradients of all examples show no mean beyond their noise; NaN where the network diverged.
    """
    stack = NetworkStack([(cell, seed)], data, initialization)
    inputs, labels = data.with_pixels_times(cell.pixel_scale).training_set(seed, cell.n_train)
    trace, square = 0.0, 0.0
    for point in range(points):
        stack.run(cell.updates * point // points)
        layers = [layer.double() for layer in stack.network(0)]
        chunks = zip(inputs.double().split(_AT_ONCE), labels.split(_AT_ONCE), strict=True)
        moments = gradient_moments(factors(layers, x, y) for x, y in chunks)
        trace, square = trace + moments[0], square + moments[1]
    if not torch.isfinite(torch.tensor([trace, square])).all():
        return float("nan")
    return trace / square if square > 0 else float("inf")
