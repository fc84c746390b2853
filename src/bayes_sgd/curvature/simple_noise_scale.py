"""The simple noise scale B_simple = tr Σ/|G|² of McCandlish, Kaplan, Amodei et al. (2018), along one run or at a fixed loss.

Takes labelled data and a cell; gives a batch size, or tr Σ and |G|² where the training loss first is so low. Below B_simple
gradients of batches are mostly noise, above it mostly signal. It says with which batch training is efficient, not which one
generalizes best: a second opinion. G is the mean gradient over the distribution from which the N training examples come, Σ the
covariance of single examples' gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from bayes_sgd.core.schema import SIMPLE_NOISE
from bayes_sgd.curvature.gradient_noise import factors
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.packs import simple_noise_plans
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import forward
from bayes_sgd.training.runner import load_labelled
from bayes_sgd.training.sgd import NetworkStack

POINTS = 10  # of a run, equally spaced from its start on (our choice)
CHECKS = 20  # the loss is looked at whenever the updates have grown by a part of so many (our choice)
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


def moments_at(layers: Sequence[Tensor], inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """`gradient_moments` of examples at a network, in float64: inputs (N, d + 1) with their ones, labels (N,)."""
    chunks = zip(inputs.double().split(_AT_ONCE), labels.split(_AT_ONCE), strict=True)
    return gradient_moments(factors(layers, x, y) for x, y in chunks)


def networks_along(
    data: LabelledData, cell: Cell, seed: int, initialization: str = "lecun_normal", points: int = POINTS
) -> Iterator[list[Tensor]]:
    """The layers of one network at updates equally spaced from the first on, float64, while it trains."""
    stack = NetworkStack([(cell, seed)], data, initialization)
    for point in range(points):
        stack.run(cell.updates * point // points)
        yield [layer.double() for layer in stack.network(0)]


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
    inputs, labels = data.with_pixels_times(cell.pixel_scale).training_set(seed, cell.n_train)
    found = [moments_at(layers, inputs, labels) for layers in networks_along(data, cell, seed, initialization, points)]
    return ratio_of_means(found)


def ratio_of_means(moments: Iterable[tuple[float, float]]) -> float:
    """B_simple from `gradient_moments` at points of a run; see `simple_noise_scale`."""
    trace, square = (sum(values) for values in zip(*moments, strict=True))
    if not torch.isfinite(torch.tensor([trace, square])).all():
        return float("nan")
    return trace / square if square > 0 else float("inf")


def at_losses(
    data: LabelledData, cell: Cell, seeds: Sequence[int], losses: Sequence[float], initialization: str = "lecun_normal"
) -> pd.DataFrame:
    """Tr Σ and |G|² of each network where its training loss first is at or below each of `losses`.

    Args:
        data: images and labels of these seeds.
        cell: what is trained; its activation is relu.
        seeds: of the networks.
        losses: in nats per example.
        initialization: as in `mlp.initial_weights`.

    Returns:
        Rows of the table `simple_noise`, without `experiment`; none of a network whose loss is nowhere so low.
    """
    stack = NetworkStack([(cell, seed) for seed in seeds], data, initialization)
    data = data.with_pixels_times(cell.pixel_scale)
    waiting = {(index, loss) for index in range(len(seeds)) for loss in losses}
    rows = []
    while waiting and stack.update < cell.updates:
        stack.run(min(cell.updates, stack.update + max(1, stack.update // CHECKS)))
        for index in sorted({index for index, _ in waiting}):
            inputs, labels = data.training_set(seeds[index], cell.n_train)
            layers = [layer.double() for layer in stack.network(index)]
            logits, _ = forward(layers, inputs.double())
            train_loss = float(torch.nn.functional.cross_entropy(logits, labels))
            if reached := [loss for loss in losses if (index, loss) in waiting and train_loss <= loss]:
                trace, square = moments_at(layers, inputs, labels)
                measured = {"update": stack.update, "train_loss": train_loss, "trace": trace, "mean_square": square}
                rows += [cell.columns() | {"seed": seeds[index], "loss": loss} | measured for loss in reached]
                waiting -= {(index, loss) for loss in reached}
    return pd.DataFrame(rows, columns=list(SIMPLE_NOISE.names[1:]))


def measure_run(config: Config, prepared: Path) -> pd.DataFrame:
    """The table `simple_noise` of what a configuration asks for, on the prepared data."""
    tables = []
    for experiment, plan in simple_noise_plans(config):
        data = load_labelled(prepared, config.data, plan.cell.labels, plan.seeds, torch.device("cpu"))
        rows = at_losses(data, plan.cell, plan.seeds, config.simple_noise.losses, config.initialization)
        tables.append(rows.assign(experiment=experiment)[list(SIMPLE_NOISE.names)])
    return pd.concat(tables, ignore_index=True)
