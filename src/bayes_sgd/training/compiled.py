"""Stretches of updates by the compiled loops of `kernels`, one network after the other; on a CPU.

Takes the initial layers of a stack, its images by their nonzero pixels and its batches; an `Execution`. A network's numbers do
not depend on the other networks of its stack, nor on where stretches end.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayes_sgd.training.kernels import LANES, Rates, Scratch, Weights, catch_up_all, padded, train_stretch
from bayes_sgd.training.labelled_data import LabelledBatches
from bayes_sgd.training.momentum import MomentumRule
from bayes_sgd.training.sparse_images import TOGETHER, SparseImages

_DRAWN = 512  # examples of a network drawn in one go, at least `_UPDATES` updates
_UPDATES = 64
_LINE_BYTES = 64
_POWERS = 256  # updates without gradient that are made in one step


class CompiledExecution:
    """Networks whose stretches are computed by compiled loops; see `execution.Execution`."""

    def __init__(
        self, initial: Sequence[Tensor], images: SparseImages, batches: LabelledBatches, batch_size: int, rule: MomentumRule
    ) -> None:
        """Copy initial layers, (networks, fan_in + 1, fan_out), whose first has the rows of the images' columns."""
        dtype = initial[0].numpy().dtype
        self._images = images._replace(values=images.values.astype(dtype, copy=False))
        self._batches, self._rule, self._batch_size = batches, rule, batch_size
        self._shapes = [tuple(layer.shape[1:]) for layer in initial]
        self._networks = [_weights([layer[n].numpy() for layer in initial]) for n in range(len(initial[0]))]
        self._rates = self._current_rates()
        workers = min(torch.get_num_threads(), len(self._networks))
        self._scratch = [_scratch(self._networks[0], self._images, batch_size) for _ in range(workers)]
        self._update = 0

    def advance(self, update: int, until: int) -> int:
        """See `Execution`."""
        images, labels = self._batches.draw(update, min(max(_UPDATES, _DRAWN // self._batch_size), until - update))
        by_network = [np.ascontiguousarray(drawn.transpose(0, 1).numpy()) for drawn in (images, labels)]

        def train(worker: int) -> None:
            for n in range(worker, len(self._networks), len(self._scratch)):
                batches = by_network[0][n], by_network[1][n]
                train_stretch(*batches, self._images, self._networks[n], self._rates[n], update, self._scratch[worker])

        if len(self._scratch) == 1:
            train(0)
        else:
            with ThreadPoolExecutor(len(self._scratch), initializer=torch.set_flush_denormal, initargs=(True,)) as pool:
                list(pool.map(train, range(len(self._scratch))))
        self._update = update + len(images)
        return self._update

    def scale_learning_rate(self, factor: float) -> None:
        """See `Execution`."""
        for weights, rates in zip(self._networks, self._rates, strict=True):
            catch_up_all(weights, rates.powers, self._update)
        steps = [torch.from_numpy(step) for weights in self._networks for step in (weights.first_step, weights.above_step)]
        self._rule.scale_learning_rate(factor, steps, self._update)
        self._rates = self._current_rates()

    def layers(self, index: int) -> list[Tensor]:
        """See `Execution`."""
        weights = self._networks[index]
        current = weights._replace(**{name: getattr(weights, name).copy() for name in ("first", "first_step", "done")})
        catch_up_all(current, self._rates[index].powers, self._update)
        layers = [torch.from_numpy(current.first[:, : self._shapes[0][1]])]
        for start, inputs, outputs, columns in weights.shapes:
            matrix = weights.above[start : start + outputs * columns].reshape(outputs, columns)
            layers.append(torch.from_numpy(matrix[:, :inputs].T.copy()))
        return layers

    def _current_rates(self) -> list[Rates]:
        """The rule's numbers of each network, as they are now."""
        dtype = self._networks[0].first.dtype
        rates = []
        for index in range(len(self._networks)):
            numbers = self._rule.numbers(index)
            powers = _powers(numbers.momentum, numbers.decay) if not rates or self._rule.has_l2 else rates[0].powers
            rates.append(Rates(powers.astype(dtype), np.array(numbers, dtype=dtype)))
        return rates


def _powers(momentum: float, decay: float) -> NDArray[np.float64]:
    """The matrix of (ω, u) → (ω − u', u'), u' = m u + c ω, to the powers 0, ..., K; (K + 1, 2, 2)."""
    powers = np.empty((_POWERS + 1, 2, 2))
    powers[0] = np.eye(2)
    for number in range(_POWERS):
        powers[number + 1] = powers[number] @ np.array([[1 - decay, -momentum], [decay, momentum]])
    return powers


def _aligned(shape: int | tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Zeros whose first number starts a cache line: a vector that straddles two lines is read and written in two steps."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + _LINE_BYTES, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE_BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


def _weights(layers: Sequence[NDArray]) -> Weights:
    """One network at update 0, in the form of the kernels."""
    first, *above = layers
    width = padded(above[0].shape[0] if above else first.shape[1], LANES)
    shapes, start = [], 0
    for inputs, outputs in (layer.shape for layer in above):
        columns = padded(inputs, LANES)
        shapes.append((start, inputs, outputs, columns))
        start += padded(outputs, TOGETHER) * columns
    flat = _aligned(start, first.dtype)
    for layer, (begin, inputs, outputs, columns) in zip(above, shapes, strict=True):
        flat[begin : begin + outputs * columns].reshape(outputs, columns)[:, :inputs] = layer.T
    wide, wide_step = (_aligned((first.shape[0], width), first.dtype) for _ in range(2))
    wide[:, : first.shape[1]] = first
    table = np.array(shapes, dtype=np.int64).reshape(-1, 4)
    done = np.zeros(len(first), dtype=np.int64)
    return Weights(wide, wide_step, done, flat, _aligned(start, first.dtype), table, layers[-1].shape[1])


def _scratch(weights: Weights, images: SparseImages, batch_size: int) -> Scratch:
    """Memory for updates of networks of one shape."""
    inputs, width = weights.first.shape
    dtype, widest = weights.first.dtype, max([width, padded(weights.classes, LANES), *weights.shapes[:, 3]])
    entries = batch_size * int(images.lengths.max())
    counts, begins, touched = (np.zeros(inputs, dtype=np.int32) for _ in range(3))
    hidden, deltas = (_aligned((len(weights.shapes) + 1, batch_size * widest), dtype) for _ in range(2))
    examples, pixels = np.zeros(entries, dtype=np.int32), np.zeros(entries, dtype=dtype)
    return Scratch(counts, begins, touched, examples, pixels, _aligned(width, dtype), hidden, deltas)
