"""Activations of hidden units: the functions for autograd and measurement, and the two halves that the written passes need.

The paper's units are ReLU. The others are there to see whether what holds for ReLU networks is due to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LEAK = 0.1  # slope of leaky_relu below 0
_LINEAR = 40.0  # above it softplus is its argument to float64's last digit


class Activation(NamedTuple):
    """An activation σ.

    Attributes:
        function: σ of a tensor of any shape; may reuse its argument's memory.
        forward: σ of the first tensor, written to the second.
        backward: from ∂L/∂σ(z) and σ(z), ∂L/∂z, written to the third. All of one shape.
    """

    function: Callable[[Tensor], Tensor]
    forward: Callable[[Tensor, Tensor], object]
    backward: Callable[[Tensor, Tensor, Tensor], object]


def _softplus_backward(back: Tensor, active: Tensor, out: Tensor) -> None:
    torch.neg(active, out=out)  # σ'(z) = 1 − e^−σ(z)
    out.expm1_().neg_().mul_(back)


ACTIVATIONS = {
    "relu": Activation(
        torch.relu_,
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda back, active, out: torch.ops.aten.threshold_backward.grad_input(back, active, 0, grad_input=out),
    ),
    "leaky_relu": Activation(
        lambda z: functional.leaky_relu(z, LEAK),
        lambda z, out: torch.ops.aten.leaky_relu.out(z, LEAK, out=out),
        lambda back, active, out: torch.ops.aten.leaky_relu_backward.grad_input(back, active, LEAK, True, grad_input=out),
    ),
    "softplus": Activation(
        lambda z: functional.softplus(z, threshold=_LINEAR),
        lambda z, out: torch.ops.aten.softplus.out(z, 1, _LINEAR, out=out),
        _softplus_backward,
    ),
}
