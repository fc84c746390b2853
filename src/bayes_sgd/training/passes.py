"""Forward and backward passes of a stack of networks in lock-step, written by hand; each layer is updated on the way back.

Takes images (rows of the pool) and one-hot targets; changes weights and momentum by the rule of `momentum`. Two things make it
fast and change no result: there is no gradient for the inputs, and no gradient is stored, since the rule takes its factors.
All buffers are allocated once, so that a stretch of updates can be captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayes_sgd.training.activations import ACTIVATIONS
from bayes_sgd.training.momentum import MomentumRule

LINE = 16  # numbers in a cache line of float32


def aligned(networks: int, rows: int, columns: int, like: Tensor) -> Tensor:
    """Zeros (networks, rows, columns), each network's matrix on a cache line of its own.

    A matrix product picks its kernel by the alignment of its operands: only if every network of a stack is aligned alike do
    its numbers not depend on the place that it has there.
    """
    size = -(-rows * columns // LINE) * LINE
    return like.new_zeros(networks, size)[:, : rows * columns].unflatten(1, (rows, columns))


def aligned_columns(inputs: Tensor) -> Tensor:
    """Inputs (n, columns) with columns of zeros appended up to a cache line, so that every row is aligned alike."""
    return torch.nn.functional.pad(inputs, (0, -inputs.shape[1] % LINE)).contiguous()


class StackedPasses:
    """Weights, momentum and activations of networks of equal shape, and one update of them.

    Attributes:
        inputs: the pool, (n_pool, columns), as `aligned_columns` gives it.
        layers: ω of each layer, (networks, fan_in + 1, fan_out), biases last; the first has as many rows as the inputs columns.
        steps: u of each layer, of the same shapes; 0 at first.
        rule: how weights change.
    """

    def __init__(
        self, layers: Sequence[Tensor], inputs: Tensor, batch_size: int, rule: MomentumRule, activation: str = "relu"
    ) -> None:
        """Copy initial layers, (networks, fan_in + 1, fan_out), and allocate what an update needs.

        The first layer may have fewer rows than `inputs` has columns: the weights of the others are 0.
        """
        self.inputs, self.rule, self._activation = inputs, rule, ACTIVATIONS[activation]
        self.layers, self.steps = [], []
        first_rows, widths = self._first_rows_and_widths(layers)
        for number, layer in enumerate(layers):
            networks, rows, columns = layer.shape
            shape = (networks, rows if number else first_rows, columns)
            self.layers.append(aligned(*shape, like=inputs))
            self.layers[-1][:, :rows] = layer
            self.steps.append(aligned(*shape, like=inputs))
        networks = len(layers[0])
        self._images = inputs.new_zeros(networks * batch_size, inputs.shape[1])
        self._hidden = [aligned(networks, batch_size, width + 1, inputs) for width in widths[:-1]]
        for hidden in self._hidden:
            hidden[..., -1] = 1
        # of each layer: its outputs, and the derivatives of the loss with respect to them
        self._outputs = [aligned(networks, batch_size, width, inputs) for width in widths]
        self._deltas = [aligned(networks, batch_size, width, inputs) for width in widths]

    def _first_rows_and_widths(self, layers: Sequence[Tensor]) -> tuple[int, list[int]]:
        """Rows of the first layer; outputs of the layer below all that `_update_above_first` takes, and of those above it."""
        return self.inputs.shape[1], [layer.shape[2] for layer in layers]

    def update(self, images: Tensor, targets: Tensor, first: bool) -> None:
        """One update: images int64 (networks, B), rows of the pool; one-hot targets (networks, B, C)."""
        torch.index_select(self.inputs, 0, images.view(-1), out=self._images)
        below = self._images.view(*images.shape, -1)
        torch.bmm(below, self.layers[0], out=self._outputs[0])
        self._update_above_first(targets, first)
        self.rule.apply(self.layers[0], self.steps[0], below, self._deltas[0], first)

    def _update_above_first(self, targets: Tensor, first: bool) -> None:
        """The passes through all layers but the first, or first two convolutions, and their update.

        Takes the outputs below, and leaves the derivatives with respect to them, times the rate.
        """
        hidden, outputs, rule = self._hidden, self._outputs, self.rule
        lowest = len(self.layers) - len(hidden)
        layers, steps = self.layers[lowest:], self.steps[lowest:]
        for number, active in enumerate(hidden):
            self._activation.forward(outputs[number], active[..., :-1])
            torch.bmm(active, layers[number], out=outputs[number + 1])
        deltas = torch.softmax(outputs[-1], dim=-1, out=self._deltas[-1])
        deltas.sub_(targets).mul_(rule.rate(first))
        for number in range(len(hidden), 0, -1):
            below, back = hidden[number - 1], outputs[number - 1]
            torch.bmm(deltas, layers[number - 1][:, :-1].transpose(1, 2), out=back)
            rule.apply(layers[number - 1], steps[number - 1], below, deltas, first)
            deltas = self._deltas[number - 1]
            self._activation.backward(back, below[..., :-1], deltas)
