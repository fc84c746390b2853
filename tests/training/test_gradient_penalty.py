"""The gradient penalty against autograd twice through torch's own network and torch.optim.SGD, in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from training import CELL, TORCH_ACTIVATIONS, assert_equals, bits, layers_of

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.training.labelled_data import LabelledBatches
from bayes_sgd.training.mlp import weights_of_cell
from bayes_sgd.training.sgd import NetworkStack

PENALIZED = replace(CELL, gradient_penalty=0.07, penalty_batch_size=2, updates=20)


def witness(cell, data, seed: int) -> list[Tensor]:
    """The layers by torch.optim.SGD on L + κ times the mean of ‖∇L_k‖²."""
    network = as_sequential(weights_of_cell(cell, seed, 12, 3, "lecun_normal"), TORCH_ACTIVATIONS[cell.activation])
    weights, size = list(network.parameters()), cell.penalty_batch_size
    optimizer = torch.optim.SGD(weights, cell.learning_rate, cell.momentum, cell.dampening, cell.l2 / cell.n_train)
    drawn, labels = (of_seed[:, 0] for of_seed in LabelledBatches(data, [seed], cell).draw(0, cell.updates))
    for image, label in zip(drawn, labels, strict=True):
        x = data.train_inputs[image, :-1]
        starts = range(0, cell.batch_size - size + 1, size)
        losses = [cross_entropy(network(x[k : k + size]), label[k : k + size]) for k in starts]
        gradients = [torch.autograd.grad(loss, weights, create_graph=True) for loss in losses]
        squares = torch.stack([sum((g.square().sum() for g in gradient), torch.zeros(())) for gradient in gradients])
        optimizer.zero_grad()
        (cross_entropy(network(x), label) + cell.gradient_penalty * squares.mean()).backward()
        optimizer.step()
    return layers_of(network)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"batch_size": 6, "penalty_batch_size": 6, "momentum": 0.0},
        {"batch_size": 24, "penalty_batch_size": 1, "dampening": 0.9, "l2": 0.5},
        {"activation": "softplus", "hidden_sizes": (7, 5), "sampling": "shuffle"},
        {"hidden_sizes": (), "batch_size": 4},
    ],
    ids=str,
)
def test_equals_torch_sgd_of_the_penalized_loss(data, fields):
    assert_equals(witness, replace(PENALIZED, **fields), data)


def test_no_penalty_is_sgd_bit_for_bit_and_a_tiny_one_is_near(data):
    plain, none, tiny = (
        NetworkStack([(replace(CELL, **fields), 0)], data, execution="direct")
        for fields in ({}, {"gradient_penalty": 0.0, "penalty_batch_size": 5}, {"gradient_penalty": 1e-6})
    )
    for stack in (plain, none, tiny):
        stack.run(50)
    assert bits(plain, 0) == bits(none, 0) != bits(tiny, 0)
    for layer, wanted in zip(tiny.network(0), plain.network(0), strict=True):
        torch.testing.assert_close(layer, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_size", [3, 5, 24])
def test_a_network_does_not_depend_on_its_stack_bit_for_bit(data, batch_size):
    torch.set_num_threads(1)
    cell = replace(PENALIZED, batch_size=batch_size, hidden_sizes=(33, 17))
    networks = [(replace(cell, learning_rate=rate), seed) for rate in (0.05, 0.1) for seed in (0, 1, 2)]
    together = NetworkStack(networks, data)
    together.run(30)
    for index, network in enumerate(networks):
        alone = NetworkStack([network], data)
        for until in (7, 8, 30):
            alone.run(until)
        assert bits(alone, 0) == bits(together, index)
