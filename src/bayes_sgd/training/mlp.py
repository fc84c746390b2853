"""The network: fully connected, ReLU or another activation, softmax; and a stack of such networks of equal shape.

A layer is one matrix of shape (fan_in + 1, fan_out) whose last row is the bias: inputs and activations carry a column of ones.
The paper's network is 784-800-10 (section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bayes_sgd.core.rng import generator
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.shapes import layer_shapes
from bayes_sgd.training.activations import ACTIVATIONS


def initial_weights(
    inputs: int, hidden_sizes: Sequence[int], classes: int, initialization: str, seed: int, architecture: str = "mlp"
) -> list[Tensor]:
    """Initial layers of one network, float64, a function of seed and shape alone (so cells of equal shape are paired).

    Args:
        inputs: d, the number of pixels.
        hidden_sizes: units of each hidden layer.
        classes: C.
        initialization: lecun_normal N(0, 1/fan_in), he_normal N(0, 2/fan_in), glorot_uniform U(±√(6/(fan_in + fan_out))), all
            with biases 0; or torch, U(±1/√fan_in) for weights and biases (torch.nn.Linear). The paper states none.
        seed: the replicate.
        architecture: mlp or lenet, whose convolutions have the fan_in of a patch and the fan_out of their channels.
    """
    layers = []
    for number, (rows, columns) in enumerate(layer_shapes(inputs, hidden_sizes, classes, architecture)):
        fan_in, random = rows - 1, generator(seed, "weights", number)
        layer = torch.zeros(rows, columns, dtype=torch.float64)
        if initialization == "torch":
            bound = 1 / math.sqrt(fan_in)
            layer[:] = torch.from_numpy(random.uniform(-bound, bound, (rows, columns)))
        elif initialization == "glorot_uniform":
            bound = math.sqrt(6 / (fan_in + columns))
            layer[:-1] = torch.from_numpy(random.uniform(-bound, bound, (fan_in, columns)))
        else:
            gain = {"lecun_normal": 1.0, "he_normal": 2.0}[initialization]
            layer[:-1] = torch.from_numpy(random.normal(0.0, math.sqrt(gain / fan_in), (fan_in, columns)))
        layers.append(layer)
    return layers


def weights_of_cell(cell: Cell, seed: int, inputs: int, classes: int, initialization: str) -> list[Tensor]:
    """The layers from which a network of this cell and seed starts; as `initial_weights`."""
    layers = initial_weights(inputs, cell.hidden_sizes, classes, initialization, seed, cell.architecture)
    return [layer * cell.init_scale for layer in layers]


def with_ones(inputs: Tensor) -> Tensor:
    """Inputs (..., d) with a column of ones appended, (..., d + 1): the input of the bias."""
    return torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1)], dim=-1)


def forward(layers: Sequence[Tensor], inputs: Tensor, activation: str = "relu") -> tuple[Tensor, list[Tensor]]:
    """Logits (n, C) of one network and its hidden activations, each (n, H), for inputs (n, d + 1) with their ones."""
    function, hidden = ACTIVATIONS[activation].function, []
    activations = inputs
    for layer in layers[:-1]:
        hidden.append(function(activations @ layer))
        activations = with_ones(hidden[-1])
    return activations @ layers[-1], hidden
