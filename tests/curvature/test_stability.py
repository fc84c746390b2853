"""Sharpness and scatter of the curvatures of single examples, against autograd's and against a closed form."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, jacrev

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.curvature.stability import curvatures, output_grams
from bayes_sgd.training.mlp import with_ones

SHAPES = [[(6, 3)], [(6, 7), (8, 3)], [(6, 5), (6, 4), (5, 3)]]


def network(shapes: list[tuple[int, int]]) -> tuple[Linearization, torch.Tensor]:
    """A random network of five inputs, with the Jacobian (n, C, weights) that autograd has of it, layer by layer."""
    torch.manual_seed(0)
    layers = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    x = torch.randn(11, 5, dtype=torch.float64)
    model = as_sequential(layers, torch.nn.ReLU)
    weights = dict(model.named_parameters())
    parts = jacrev(lambda weights: functional_call(model, weights, (x,)))(weights)
    return Linearization(layers, with_ones(x)), torch.cat([part.flatten(2) for part in parts.values()], dim=2).detach()


@pytest.mark.parametrize("shapes", SHAPES, ids=len)
def test_both_are_eigenvalues_of_the_matrices_that_autograd_gives(shapes):
    found, jacobian = network(shapes)
    assert torch.allclose(output_grams(found), jacobian @ jacobian.transpose(1, 2), rtol=1e-12)
    p = torch.softmax(found.logits, 1)
    single = jacobian.transpose(1, 2) @ (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) @ jacobian
    mean = single.mean(0)
    scatter = (single @ single).mean(0) - mean @ mean
    expected = [float(torch.linalg.eigvalsh(matrix)[-1]) for matrix in (mean, scatter)]
    assert curvatures(found) == pytest.approx(expected, rel=1e-6)


def test_examples_alike_have_no_scatter_and_orthogonal_ones_have_that_of_the_closed_form():
    """Of a linear model at equal weights p = 1/C: H_i = |x_i|²/C on the directions that tell classes apart."""
    layers, classes = [torch.zeros(9, 4, dtype=torch.float64)], 4
    alike = torch.ones(6, 9, dtype=torch.float64)
    sharpness, scatter = curvatures(Linearization(layers, alike))
    assert sharpness == pytest.approx(9 / classes)
    assert scatter == pytest.approx(0, abs=1e-10)
    n, square = 5, 3.0
    orthogonal = square**0.5 * torch.eye(n, 9, dtype=torch.float64)
    sharpness, scatter = curvatures(Linearization(layers, orthogonal))
    assert sharpness == pytest.approx(square / classes / n)
    assert scatter == pytest.approx((square / classes) ** 2 * (1 / n - 1 / n**2))
