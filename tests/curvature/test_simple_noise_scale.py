"""The simple noise scale against gradients of single examples by autograd, and without bias against a known truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench.common.problem import digits
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.curvature.gradient_noise import factors
from bayes_sgd.curvature.simple_noise_scale import gradient_moments, simple_noise_scale
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.sgd import NetworkStack


def test_moments_are_those_of_autograds_gradients_of_single_examples():
    torch.manual_seed(0)
    layers = [torch.randn(6, 7, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)]
    x, y = torch.randn(11, 5, dtype=torch.float64), torch.randint(0, 3, (11,))
    model = as_sequential(layers, torch.nn.ReLU)
    weights = dict(model.named_parameters())

    def loss(weights, one, label):
        return cross_entropy(functional_call(model, weights, (one[None],)), label[None])

    single = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, y)
    g = torch.cat([part.flatten(1) for part in single.values()], dim=1).detach().numpy()
    trace = np.trace(np.cov(g.T))
    expected = trace, (g.mean(axis=0) ** 2).sum() - trace / 11
    inputs = with_ones(x)
    for chunks in ([11], [4, 7]):
        parts = (factors(layers, a, b) for a, b in zip(inputs.split(chunks), y.split(chunks), strict=True))
        assert gradient_moments(parts) == pytest.approx(expected, rel=1e-10)


def test_moments_have_no_bias():
    rng = np.random.default_rng(0)
    mean, spread = np.array([0.3, -0.2, 0.1]), np.array([1.0, 0.5, 2.0])
    found = []
    for _ in range(4000):
        g = torch.from_numpy(mean + spread * rng.normal(size=(8, 3)))
        found.append(gradient_moments([[(torch.ones(8, 1, dtype=torch.float64), g)]]))
    average, error = np.mean(found, axis=0), np.std(found, axis=0) / 4000**0.5
    assert np.abs(average - [(spread**2).sum(), (mean**2).sum()]) == pytest.approx([0, 0], abs=4 * error.max())


def test_of_a_run_it_is_positive_and_one_of_a_network_at_its_start_is_that_of_its_gradients():
    labelled = digits(1)
    cell = Cell("real", (7,), 30, 5, 0.05, 0.9, 0.0, 0.0, "independent", 40)
    assert simple_noise_scale(labelled, cell, 0) > 0
    inputs, labels = labelled.training_set(0, 30)
    layers = [layer.double() for layer in NetworkStack([(cell, 0)], labelled).network(0)]
    trace, square = gradient_moments([factors(layers, inputs.double(), labels)])
    assert simple_noise_scale(labelled, cell, 0, points=1) == pytest.approx(trace / square)
