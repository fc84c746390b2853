"""Images with the labels of one labelling, on one device, and the batches that a stack of networks takes from them.

Takes tensors that the runner loads; gives training and test sets of a seed for measurement, and images and labels of any
updates for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.shapes import LENET_PIXELS
from bayes_sgd.training.minibatches import Batches
from bayes_sgd.training.sparse_images import SparseImages, sparse_images


@dataclass(frozen=True)
class LabelledData:
    """Images and the labels that one labelling gives them in each seed; all on one device.

    Args:
        train_inputs: the pool, (n_pool, d + 1), pixels and a column of ones.
        test_inputs: (n_test, d + 1).
        train_labels, test_labels: int64 (seeds, n_pool) and (seeds, n_test), a row for each seed.
        subsets: int64 (seeds, n): the order in which a seed takes images from the pool; the first N are its training subset.
        classes: C.
        seeds: the seed of each row; from 0 on if not given.
    """

    train_inputs: Tensor
    test_inputs: Tensor
    train_labels: Tensor
    test_labels: Tensor
    subsets: Tensor
    classes: int
    seeds: tuple[int, ...] | None = None

    def row(self, seed: int) -> int:
        """The row that holds a seed's labels and order.

        Raises:
            UserError: the seed is none of those that were loaded.
        """
        if seed not in (known := self.seeds or range(len(self.subsets))):
            raise UserError(f"seed: {seed} is not loaded; allowed: {', '.join(map(str, known))}")
        return known.index(seed)

    def with_pixels_times(self, factor: float) -> LabelledData:
        """The same images with their pixels times a factor; the last factor's are kept, for stack after stack asks for them."""
        if factor == 1:
            return self
        if factor not in self._scaled:
            self._scaled.clear()
            train, test = (
                torch.cat([inputs[:, :-1] * factor, inputs[:, -1:]], dim=1) for inputs in (self.train_inputs, self.test_inputs)
            )
            self._scaled[factor] = replace(self, train_inputs=train, test_inputs=test)
        return self._scaled[factor]

    @cached_property
    def _scaled(self) -> dict[float, LabelledData]:
        return {}

    @property
    def pixels(self) -> int:
        """The number d of pixels of an image."""
        return self.train_inputs.shape[1] - 1

    @cached_property
    def active_inputs(self) -> Tensor:
        """Columns that are not zero throughout the pool, int64, ascending; the column of ones is the last."""
        return (self.train_inputs != 0).any(0).nonzero()[:, 0]

    @cached_property
    def sparse_inputs(self) -> SparseImages:
        """The pool's images by their nonzero pixels, numbered as in `active_inputs`."""
        return sparse_images(self.train_inputs[:, self.active_inputs])

    @cached_property
    def nonzero_pixels(self) -> float:
        """How many inputs of an image of the pool are not zero, on average."""
        return int(self.train_inputs.count_nonzero()) / len(self.train_inputs)

    def training_set(self, seed: int, n_train: int) -> tuple[Tensor, Tensor]:
        """Inputs (N, d + 1) and labels int64 (N,) on which a seed trains."""
        row = self.row(seed)
        subset = self.subsets[row, :n_train]
        return self.train_inputs[subset], self.train_labels[row, subset]

    def labels_of_test_set(self, seed: int) -> Tensor:
        """Labels int64 (n_test,) of the test set in a seed."""
        return self.test_labels[self.row(seed)]

    def check(self, cell: Cell) -> None:
        """Refuse a cell that does not fit.

        Raises:
            UserError: the data have fewer training images than N, a batch has more than N, or images are of another size.
        """
        if cell.architecture == "lenet" and self.pixels != LENET_PIXELS:
            raise UserError(f"architecture: lenet takes images of 28 x 28 pixels, not of {self.pixels}; allowed: mlp")
        pool = self.subsets.shape[1]
        if not 1 <= cell.n_train <= pool:
            raise UserError(f"n_train: {cell.n_train} does not fit the data; allowed: 1 to {pool}, its training images")
        if not 1 <= cell.batch_size <= cell.n_train:
            raise UserError(f"batch_size: {cell.batch_size} does not fit n_train {cell.n_train}; allowed: 1 to n_train")


_SECOND = 1 << 37  # where the second batches of SVAG start: beyond the steps of any training


class LabelledBatches:
    """Images and labels of the batches of networks that train in lock-step; for SVAG of two batches a step, joined."""

    def __init__(self, data: LabelledData, seeds: Sequence[int], cell: Cell) -> None:
        """Prepare to draw.

        Args:
            data: images and labels.
            seeds: of the networks.
            cell: N, B, sampling and svag.
        """
        device = data.train_inputs.device
        rows = torch.tensor([data.row(seed) for seed in seeds], device=device)
        joined = 2 if cell.svag > 1 else 1
        self._positions = [Batches(list(seeds), cell.n_train, cell.batch_size, cell.sampling, device) for _ in range(joined)]
        self._subsets = data.subsets[rows, : cell.n_train]
        self._labels = data.train_labels[rows].gather(1, self._subsets)

    def draw(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Batches of steps start, ..., start + count − 1: images and labels.

        Returns:
            Rows of the pool and their labels, both int64 (count, networks, B), or 2B for SVAG.
        """
        drawn = [positions.draw(start + number * _SECOND, count) for number, positions in enumerate(self._positions)]
        positions = drawn[0] if len(drawn) == 1 else torch.cat(drawn, dim=2)
        images = self._subsets.expand(count, -1, -1).gather(2, positions)
        return images, self._labels.expand(count, -1, -1).gather(2, positions)
