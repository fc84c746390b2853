"""An explicit penalty on the squared norms of gradients (Smith, Dherin, Barrett, De 2021, as we recall it).

With κ the field `gradient_penalty`, a batch that is cut into K micro-batches of `penalty_batch_size` examples trains on

    L + κ/K Σ_k ‖∇L_k‖²,    L_k the mean cross-entropy of micro-batch k;

what is left over is in L alone. They find SGD in shuffled epochs to follow, in the mean and to first order in ε, the gradient
flow of L + ε/4 times the mean of ‖∇L_k‖² over its batches: κ = ε/4 with the size of those batches is what they call implicit.

A dense layer's gradient AᵀD has the squared norm Σ (A Aᵀ) ∘ (D Dᵀ), b x b for b examples, so that gradients of micro-batches
are never stored; autograd derives it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.activations import ACTIVATIONS
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.momentum import MomentumRule
from bayes_sgd.training.passes import StackedPasses


def penalty_gradients(
    layers: Sequence[Tensor], inputs: Tensor, targets: Tensor, size: int, activation: str = "relu"
) -> list[Tensor]:
    """The gradient of the mean of ‖∇L_k‖² over micro-batches, of one network's layers.

    Args:
        layers: (fan_in + 1, fan_out) each; the first has a row for each column of `inputs`.
        inputs: (B, columns), ones included.
        targets: one-hot, (B, C).
        size: b, of a micro-batch; the last B mod b examples are left out.
        activation: of hidden units.
    """
    count = len(inputs) // size
    weights = [layer.detach().requires_grad_() for layer in layers]
    taken, outputs = [inputs[: count * size]], []
    for number, layer in enumerate(weights):
        outputs.append(taken[-1] @ layer)
        if number < len(weights) - 1:
            taken.append(with_ones(ACTIVATIONS[activation].function(outputs[-1].clone())))
    loss = functional.cross_entropy(outputs[-1], targets[: count * size], reduction="sum") / size
    squares = loss.new_zeros(())
    for below, derivatives in zip(taken, torch.autograd.grad(loss, outputs, create_graph=True), strict=True):
        of_inputs, of_derivatives = (part.unflatten(0, (count, size)) for part in (below, derivatives))
        grams = [part @ part.transpose(1, 2) for part in (of_inputs, of_derivatives)]
        squares = squares + (grams[0] * grams[1]).sum()
    return list(torch.autograd.grad(squares / count, weights))


class PenalizedPasses(StackedPasses):
    """Networks of equal shape that train on the penalized loss; the penalty is derived network by network."""

    def __init__(self, layers: Sequence[Tensor], inputs: Tensor, cell: Cell, rule: MomentumRule) -> None:
        """As `StackedPasses`, for a cell's batches, activation and penalty."""
        super().__init__(layers, inputs, cell.batch_size, rule, cell.activation)
        self._cell = cell

    def update(self, images: Tensor, targets: Tensor, first: bool) -> None:
        """See `StackedPasses.update`."""
        cell = self._cell
        with torch.enable_grad():
            by_network = [
                penalty_gradients(
                    [layer[index] for layer in self.layers],
                    self.inputs[images[index]],
                    targets[index],
                    cell.penalty_batch_size,
                    cell.activation,
                )
                for index in range(len(images))
            ]
        rates = self.rule.rate(first)[:, 0, 0] * (cell.batch_size * cell.gradient_penalty)
        super().update(images, targets, first)
        # the rule is linear in the gradient, so that the penalty's part of the step comes on top
        for index, gradients in enumerate(by_network):
            for layer, step, gradient in zip(self.layers, self.steps, gradients, strict=True):
                part = gradient * rates[index]
                step[index] += part
                layer[index] -= part
