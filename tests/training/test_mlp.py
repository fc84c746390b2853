"""The network: its initial weights, paired over cells, and its forward pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training import CELL, bits, torch_trained

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.training.mlp import forward, initial_weights
from bayes_sgd.training.sgd import NetworkStack


@pytest.mark.parametrize("initialization", ["lecun_normal", "glorot_uniform", "he_normal", "torch"])
def test_every_initialization_equals_torch_sgd(data, initialization):
    stack = NetworkStack([(CELL, 1)], data, initialization, torch.float64)
    stack.run(CELL.updates)
    for layer, witness in zip(stack.network(0), torch_trained(CELL, data, 1, initialization), strict=True):
        torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)


def test_seeds_are_paired_over_cells(data):
    a = NetworkStack([(CELL, 1)], data)
    b = NetworkStack([(replace(CELL, batch_size=11, learning_rate=0.5, n_train=12), 1)], data)
    assert bits(a, 0) == bits(b, 0)


@pytest.mark.parametrize("hidden_sizes", [(), (7,), (7, 5)])
def test_the_forward_pass_is_that_of_torch(data, hidden_sizes):
    layers = initial_weights(12, hidden_sizes, 3, "torch", 0)
    logits, hidden = forward(layers, data.train_inputs)
    torch.testing.assert_close(logits, as_sequential(layers)(data.train_inputs[:, :-1]), rtol=1e-12, atol=1e-12)
    assert [activations.shape for activations in hidden] == [(30, units) for units in hidden_sizes]
