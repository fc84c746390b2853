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
from bayes_sgd.curvature.simple_noise_scale import CHECKS, at_losses, gradient_moments, simple_noise_scale
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


def test_moments_of_a_linear_model_at_zero_weights_are_those_in_closed_form():
    """All classes are as likely there: example i has the gradient x_i (1/C − e_y)ᵀ, of squared norm |x_i|² (1 − 1/C)."""
    torch.manual_seed(1)
    x, y = with_ones(torch.randn(40, 5, dtype=torch.float64)), torch.arange(40) % 4
    trace, square = gradient_moments([factors([torch.zeros(6, 4, dtype=torch.float64)], x, y)])
    mean = torch.stack([x.sum(0) / 4 - x[y == label].sum(0) for label in range(4)]).square().sum() / 40**2
    expected = (x.square().sum() * 3 / 4 - 40 * mean) / 39
    assert trace == pytest.approx(expected.item(), rel=1e-12)
    assert square == pytest.approx((mean - expected / 40).item(), rel=1e-12)


def test_at_a_loss_they_are_autograds_where_the_training_loss_first_is_so_low():
    labelled = digits(2)
    cell = Cell("real", (9,), 30, 15, 0.05, 0.9, 0.0, 0.0, "independent", 200)
    found = at_losses(labelled, cell, [0, 1], [1.5, 0.5, 1e-9])
    assert sorted(zip(found["seed"], found["loss"], strict=True)) == [(0, 0.5), (0, 1.5), (1, 0.5), (1, 1.5)], "none at 1e-9"
    for row in found.to_dict("records"):
        inputs, labels = labelled.training_set(row["seed"], 30)
        stack, looked = NetworkStack([(cell, row["seed"])], labelled), []
        while stack.update < row["update"]:
            stack.run(stack.update + max(1, stack.update // CHECKS))
            model = as_sequential([layer.double() for layer in stack.network(0)], torch.nn.ReLU)
            looked.append(cross_entropy(model(inputs.double()[:, :-1]), labels).item())
        assert looked[-1] <= row["loss"] < min(looked[:-1])
        assert row["train_loss"] == pytest.approx(looked[-1], rel=1e-10)
        weights = dict(model.named_parameters())

        def loss(weights, one, label, model=model):
            return cross_entropy(functional_call(model, weights, (one[None],)), label[None])

        single = vmap(grad(loss), in_dims=(None, 0, 0))(weights, inputs.double()[:, :-1], labels)
        g = torch.cat([part.flatten(1) for part in single.values()], dim=1).detach().numpy()
        trace = np.trace(np.cov(g.T))
        assert row["trace"] == pytest.approx(trace, rel=1e-10)
        assert row["mean_square"] == pytest.approx((g.mean(axis=0) ** 2).sum() - trace / 30, rel=1e-10, abs=1e-10 * trace)
