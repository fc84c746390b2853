"""One update by hand-written passes against autograd, and where matrices lie in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from training import CELL

from bayes_sgd.training.mlp import forward, initial_weights
from bayes_sgd.training.momentum import MomentumRule
from bayes_sgd.training.passes import LINE, StackedPasses, aligned, aligned_columns


@pytest.mark.parametrize("hidden_sizes", [(), (7,), (7, 5)])
def test_an_update_is_a_step_along_the_gradient_of_autograd(data, hidden_sizes):
    cell, seeds = replace(CELL, hidden_sizes=hidden_sizes), (0, 1)
    initial = [initial_weights(12, hidden_sizes, 3, "torch", seed) for seed in seeds]
    passes = StackedPasses(
        [torch.stack(layers) for layers in zip(*initial, strict=True)],
        aligned_columns(data.train_inputs),
        cell.batch_size,
        MomentumRule([cell, cell], torch.float64, torch.device("cpu")),
    )
    images = torch.arange(2 * cell.batch_size).view(2, -1)
    labels = torch.stack([data.train_labels[seed][images[seed]] for seed in seeds])
    passes.update(images, torch.eye(3, dtype=torch.float64)[labels], first=True)
    for seed in seeds:
        leaves = [layer.clone().requires_grad_() for layer in initial[seed]]
        loss = cross_entropy(forward(leaves, data.train_inputs[images[seed]])[0], labels[seed])
        for layer, leaf, gradient in zip(passes.layers, leaves, torch.autograd.grad(loss, leaves), strict=True):
            expected = leaf.detach() - cell.learning_rate * gradient
            torch.testing.assert_close(layer[seed, : len(leaf)], expected, rtol=1e-12, atol=1e-12)


def test_every_network_and_row_is_aligned_alike():
    like = torch.zeros(0)
    matrices = aligned(3, 5, 7, like)
    assert matrices.shape == (3, 5, 7)
    assert matrices.stride(0) % LINE == 0
    inputs = aligned_columns(torch.ones(4, 13))
    assert inputs.shape == (4, 16)
    assert not inputs[:, 13:].any()
