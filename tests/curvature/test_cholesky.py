"""Log-determinant, effective parameters and solutions from a kernel, against dense matrices and laplace-torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from networks import CLASSES, DEPTHS, N, dense_ggn, from_lower, laplace_torch, network
from torch import nn

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.curvature.cholesky import CholeskyFactor, effective_parameters, eigenvalues, log_determinant
from bayes_sgd.curvature.ggn import Linearization, softmax_factor


@pytest.mark.parametrize("hidden", DEPTHS)
@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
def test_the_log_determinant_is_that_of_the_dense_matrix(hidden: tuple[int, ...], l2: float) -> None:
    layers, inputs, _ = network(hidden)
    at = Linearization(layers, inputs)
    factor, dense = softmax_factor(at.logits), dense_ggn(layers, inputs)
    witness = float(torch.linalg.slogdet(torch.eye(len(dense), dtype=torch.float64) + dense / l2)[1])
    mu = torch.linalg.eigvalsh(dense).clamp_min(0)
    factorized, spectrum = CholeskyFactor(at.kernel(factor), l2), eigenvalues(at.kernel(factor))
    assert factorized.log_determinant == pytest.approx(witness, rel=1e-8)
    assert log_determinant(spectrum, l2) == pytest.approx(witness, rel=1e-8)
    gamma = float((mu / (mu + l2)).sum())
    assert effective_parameters(spectrum, l2) == pytest.approx(gamma, rel=1e-7)
    estimate, error = factorized.effective_parameters(400)
    assert abs(estimate - gamma) < 4 * error


def test_the_factor_solves_in_the_order_of_the_kernel() -> None:
    layers, inputs, _ = network((6,))
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    matrix = torch.eye(N * (CLASSES - 1), dtype=torch.float64) + from_lower(at.kernel(factor)) / 0.3
    right = torch.randn(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(CholeskyFactor(at.kernel(factor), 0.3).solve(right), torch.linalg.solve(matrix, right))


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (6, 5, 7)])
def test_laplace_torch_finds_the_same_evidence(hidden: tuple[int, ...]) -> None:
    layers, inputs, labels = network(hidden)
    l2 = 0.4
    theirs = -float(laplace_torch(as_sequential(layers), inputs[:, :-1], labels, l2).log_marginal_likelihood())
    at = Linearization(layers, inputs)
    cost = float(nn.functional.cross_entropy(at.logits, labels, reduction="sum"))
    cost += 0.5 * l2 * sum(float(w.square().sum()) for w in layers)
    occam = 0.5 * CholeskyFactor(at.kernel(softmax_factor(at.logits)), l2).log_determinant
    assert cost + occam == pytest.approx(theirs, rel=1e-6)


def test_a_matrix_that_is_not_finite_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        CholeskyFactor(torch.full((3, 3), math.nan, dtype=torch.float64), 1.0)
    with pytest.raises(np.linalg.LinAlgError):
        CholeskyFactor(-5 * torch.eye(3, dtype=torch.float64), 1.0)
