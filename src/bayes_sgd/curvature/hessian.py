"""Products with the exact Hessian of a network's cost, without the Hessian.

Takes layers, inputs and labels; gives ∇∇H v, with H the cross-entropy summed over the examples, in nats, λ not included. In the
paper ∇∇H + λI is the ∇∇C of section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayes_sgd.training.mlp import with_ones


def hessian_product(layers: Sequence[Tensor], inputs: Tensor, labels: Tensor, direction: Sequence[Tensor]) -> list[Tensor]:
    """∇∇H v, by two passes of autograd.

    Args:
        layers: weights, (fan_in + 1, fan_out) each, bias last.
        inputs: (n, d + 1) with their ones.
        labels: int64 (n,).
        direction: v, shaped as the layers.

    Returns:
        Tensors shaped as the layers.
    """
    with torch.enable_grad():
        weights = [layer.detach().requires_grad_() for layer in layers]
        activations = inputs
        for layer in weights[:-1]:
            activations = with_ones((activations @ layer).relu())
        loss = torch.nn.functional.cross_entropy(activations @ weights[-1], labels, reduction="sum")
        gradient = torch.autograd.grad(loss, weights, create_graph=True)
        along = sum((g * v).sum() for g, v in zip(gradient, direction, strict=True))
        assert isinstance(along, Tensor)
        return list(torch.autograd.grad(along, weights))
