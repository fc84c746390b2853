"""The noise of minibatch gradients, measured on frozen networks (paper, section 5 and appendix C, figure 9).

Takes labelled data, a cell and seeds; gives the trace of the covariance of the mean gradient over many batches of the
trainer's own sampler beside what is predicted, and how far single weights' gradients are from a Gaussian. With S₁ the sample
covariance of the N per-example gradients (divisor N − 1),

    independent, shuffle   tr Cov = (1/B − 1/N) tr S₁      (the paper's N(N/B − 1)F with F = S₁/N², as g is of the sum cost)
    replacement            tr Cov = (1/B)(1 − 1/N) tr S₁
    shuffle, next batch    tr Cov(a, b) = −tr S₁ / N within an epoch; independent of one another otherwise: 0

No gradient is ever formed: a batch's mean gradient is a weighting v of the examples, and |Σ v_i g_i|² = vᵀKv with the N x N
Gram matrix K = Σ_layers (A Aᵀ) ∘ (D Dᵀ), A a layer's inputs with their ones and D the derivatives with respect to its outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bayes_sgd.core.errors import UserError
from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.data.memory import NOISE_BATCHES
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.experiment.packs import make_cell
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.minibatches import Batches
from bayes_sgd.training.runner import load_labelled
from bayes_sgd.training.sgd import NetworkStack

SAMPLINGS = ("independent", "replacement", "shuffle")
SMALLEST = 4  # N below which the batches of figure 9, at most half of N, are single examples


def factors(layers: Sequence[Tensor], inputs: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each layer its inputs A (N, fan_in + 1) and the derivatives D (N, fan_out) of each example's cross-entropy.

    The gradient of example i for a layer (fan_in + 1, fan_out) is A_i D_iᵀ. Inputs (N, d + 1) hold their ones; labels (N,).
    """
    network = Linearization(layers, inputs)
    delta = torch.softmax(network.logits, 1) - torch.nn.functional.one_hot(labels, network.logits.shape[1])
    return [(below, back[0]) for below, back in zip(network.below, network.back(delta[:, :, None]), strict=True)]


def gradient_gram(parts: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """K (N, N): inner products of the examples' gradients, over all layers, from `factors`; three such squares at one time."""
    (a, d), *others = parts
    gram = (a @ a.T).mul_(d @ d.T)
    for a, d in others:
        gram += (a @ a.T).mul_(d @ d.T)
    return gram


def batch_weights(positions: Tensor, n: int) -> Tensor:
    """Give v (M, N), the weight of each example in the mean gradient of a batch minus that of all, for positions (M, B)."""
    weights = torch.full((len(positions), n), -1.0 / n, dtype=torch.float64, device=positions.device)
    share = torch.full(positions.shape, 1.0 / positions.shape[1], dtype=torch.float64, device=positions.device)
    return weights.scatter_add_(1, positions, share)


def _mean(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def covariance_rows(gram: Tensor, seed: int, batch_sizes: Sequence[int], draws: int) -> list[dict[str, Any]]:
    """Measured and predicted traces for each sampler and batch size, over `draws` batches: rows of `gradient_noise`."""
    n = len(gram)
    total = float((gram.trace() - gram.sum() / n) / (n - 1))  # tr S₁
    rows = []
    for sampling in SAMPLINGS:
        for batch_size in batch_sizes:
            squares, products = [], []
            batches = Batches([seed], n, batch_size, sampling, gram.device)
            per_epoch = n // batch_size if sampling == "shuffle" else 1
            for start in range(0, draws, NOISE_BATCHES):
                v = batch_weights(batches.draw(start, min(NOISE_BATCHES, draws - start))[:, 0], n)
                kv = v @ gram
                squares.append((v * kv).sum(1))
                inside = torch.arange(start + 1, start + len(v), device=v.device) % per_epoch != 0
                products.append((v[1:] * kv[:-1]).sum(1)[inside if sampling == "shuffle" else slice(None)])
            measured, error = _mean(torch.cat(squares))
            lag = torch.cat(products)
            next_one, next_error = _mean(lag) if len(lag) > 1 else (np.nan, np.nan)
            exact = (1 - 1 / n) / batch_size if sampling == "replacement" else 1 / batch_size - 1 / n
            rows.append(
                {
                    "sampling": sampling,
                    "batch_size": batch_size,
                    "trace": measured,
                    "trace_se": error,
                    "trace_predicted": exact * total,
                    "ratio": measured / (exact * total) if exact > 0 else np.nan,
                    "next_batch": next_one,
                    "next_batch_se": next_error,
                    "next_batch_predicted": -total / n if sampling == "shuffle" and per_epoch > 1 else 0.0,
                }
            )
    return rows


def shape_of_noise(part: tuple[Tensor, Tensor], seed: int, batch_sizes: Sequence[int], draws: int) -> list[dict[str, Any]]:
    """Skewness and excess kurtosis of the softmax layer's gradients over independent batches: their means over its weights.

    `part`: A and D of the last layer. Weights of units that are dead for all examples have no distribution and are left out;
    skewness is averaged in its absolute value, for its sign differs from weight to weight.
    """
    a, d = (tensor.double() for tensor in part)
    n = len(a)
    single = (a[:, :, None] * d[:, None, :]).flatten(1)
    single = single[:, single.std(0) > 0]
    rows = []
    for batch_size in batch_sizes:
        batches = Batches([seed], n, batch_size, "independent", a.device)
        count, sums = 0, [single.new_zeros(single.shape[1]) for _ in range(3)]
        for start in range(0, draws, NOISE_BATCHES):
            v = batch_weights(batches.draw(start, min(NOISE_BATCHES, draws - start))[:, 0], n)
            centred = v @ single
            power = centred
            for total in sums:
                power = power * centred
                total += power.sum(0)
            count += len(v)
        second, third, fourth = (total / count for total in sums)
        rows.append(
            {
                "batch_size": batch_size,
                "skewness": float((third / second**1.5).abs().mean()),
                "excess_kurtosis": float((fourth / second**2 - 3).mean()),
                "weights": single.shape[1],
            }
        )
    return rows


def one_weight(part: tuple[Tensor, Tensor], seed: int, batch_size: int, draws: int) -> pd.DataFrame:
    """The gradient of one weight of the softmax layer: single examples (N of them) and `draws` batches (figure 9).

    The weight is the one from the unit that is active for most examples to class 0 (the paper takes one at random; our choice).
    """
    a, d = (tensor.double() for tensor in part)
    unit = int((a[:, :-1] > 0).sum(0).argmax())
    single = a[:, unit] * d[:, 0]
    positions = Batches([seed], len(a), batch_size, "independent", a.device).draw(0, draws)[:, 0]
    values = {1: single, batch_size: single[positions].mean(1)}
    return pd.concat(
        [pd.DataFrame({"batch_size": size, "gradient": gradient.cpu().numpy()}) for size, gradient in values.items()],
        ignore_index=True,
    )


def measure(
    data: LabelledData,
    cell: Cell,
    seeds: Sequence[int],
    updates: Sequence[int],
    batch_sizes: Sequence[int],
    draws: int,
    initialization: str = "lecun_normal",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `gradient_noise` and `gradients`.

    Args:
        data: images and labels, on the device that is to be used.
        cell: what is trained to the later of the frozen networks.
        seeds: replicates.
        updates: at which the network is frozen, ascending; 0 is its initialization.
        batch_sizes: of the batches; those above N are left out.
        draws: batches for each mean.
        initialization: as in `models.initial_weights`.

    Raises:
        UserError: the cell does not fit the data, or no batch size lies below its N.

    Gives a row for each (update, seed, sampling, batch size), with the skewness and kurtosis of independent batches beside,
    and the gradient of one weight at the first update of the first seed (columns batch_size, gradient).
    """
    sizes = [size for size in batch_sizes if size <= cell.n_train]
    if not sizes or cell.n_train < SMALLEST:
        raise UserError(
            f"noise: n_train {cell.n_train}, batch sizes {', '.join(map(str, batch_sizes))}; allowed: n_train at least "
            f"{SMALLEST}, and at least one batch size up to n_train"
        )
    stack = NetworkStack([(cell, seed) for seed in seeds], data, initialization)
    rows, gradients = [], pd.DataFrame(columns=["batch_size", "gradient"])
    for update in updates:
        stack.run(update)
        for index, seed in enumerate(seeds):
            inputs, labels = data.training_set(seed, cell.n_train)
            layers = [layer.double() for layer in stack.network(index)]
            parts = factors(layers, inputs.double(), labels)
            shapes = {row.pop("batch_size"): row for row in shape_of_noise(parts[-1], seed, sizes, draws)}
            for row in covariance_rows(gradient_gram(parts), seed, sizes, draws):
                moments = shapes[row["batch_size"]] if row["sampling"] == "independent" else {}
                rows.append({"n_train": cell.n_train, "update": update, "seed": seed} | row | moments)
            if gradients.empty:
                gradients = one_weight(parts[-1], seed, min(30, cell.n_train // 2), 10 * cell.n_train)
    return pd.DataFrame(rows), gradients


def measure_run(config: Config, prepared: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`measure` for what a configuration asks for: the networks of its `cell`, its section `noise`, the prepared data."""
    cell, noise, seeds = make_cell(config.cell), config.noise, seed_range(config.noise.seeds)
    data = load_labelled(prepared, config.data, cell.labels, seeds, torch.device("cpu"))
    updates = sorted(set(noise.updates))
    return measure(data, cell, seeds, updates, noise.batch_sizes, noise.draws, config.initialization)
