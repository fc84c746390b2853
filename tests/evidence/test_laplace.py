"""The log evidence ratio against independent witnesses: eigenvalues, laplace-torch, automatic differentiation; its imports."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from networks import laplace_torch

from bayes_sgd.evidence.laplace import log_evidence_ratio, null_cost, occam_penalty
from bayes_sgd.evidence.logistic import fit_map, hessian


def data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(n, d)), rng.integers(0, 2, n)


def with_bias(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.column_stack([inputs, np.ones(len(inputs))]))


def test_the_occam_penalty_is_half_the_sum_of_the_log_eigenvalue_ratios() -> None:
    x, _ = data(30, 7)
    h = x.T @ x + 0.3 * np.eye(7)
    assert occam_penalty(h, 0.3) == pytest.approx(0.5 * np.log(np.linalg.eigvalsh(h) / 0.3).sum(), rel=1e-12)


def test_the_occam_penalty_ignores_dimensions_that_the_data_do_not_see() -> None:
    x, _ = data(30, 7)
    h = x.T @ x + 0.3 * np.eye(7)
    larger = 0.3 * np.eye(12)
    larger[2:9, 2:9] = h
    assert occam_penalty(larger, 0.3) == pytest.approx(occam_penalty(h, 0.3), rel=1e-12)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_the_occam_penalty_refuses_what_is_no_minimum(value: float) -> None:
    with pytest.raises(np.linalg.LinAlgError):
        occam_penalty(np.diag([1.0, value, 2.0]), 1.0)


def test_the_null_model_costs_n_ln_classes() -> None:
    assert null_cost(800, 2) == pytest.approx(554.5, abs=0.05)
    assert null_cost(1000, 10) == pytest.approx(2302.6, abs=0.05)
    assert log_evidence_ratio(10.0, 5.0, 1000, 10) == 15.0 - null_cost(1000, 10)


@pytest.mark.parametrize("l2", [1e-3, 1.0, 50.0])
def test_laplace_torch_finds_the_same_evidence(l2: float) -> None:
    x, y = data(60, 8)
    fit = fit_map(x, y, l2)
    # Two logits ±f/2 with the prior precision 2λ on their weights give f the prior N(0, 1/λ), while no likelihood sees
    # the sum of the two: the same model.
    model = torch.nn.Linear(8, 2, dtype=torch.float64)
    half = torch.from_numpy(fit.weights) / 2
    with torch.no_grad():
        model.weight.copy_(torch.stack([-half[:-1], half[:-1]]))
        model.bias.copy_(torch.stack([-half[-1], half[-1]]))
    witness = laplace_torch(model, torch.from_numpy(x), torch.from_numpy(y), 2 * l2)
    theirs = -float(witness.log_marginal_likelihood()) - null_cost(60, 2)
    assert log_evidence_ratio(fit.cost, fit.occam_penalty, 60, 2) == pytest.approx(theirs, rel=1e-6)


def test_the_hessian_is_that_of_automatic_differentiation() -> None:
    x, y = data(40, 6)
    features, signs = with_bias(x), torch.from_numpy(2.0 * y - 1.0)
    w = torch.linspace(-2, 2, 7, dtype=torch.float64)

    def cost(w: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.logsigmoid(signs * (features @ w)).sum() + 0.7 * w @ w / 2

    witness = torch.func.hessian(cost)(w)
    np.testing.assert_allclose(hessian(features.numpy(), (features @ w).numpy(), 0.7), witness, rtol=1e-12)


@pytest.mark.parametrize("module", ["laplace", "logistic", "linear_model"])
def test_the_linear_model_does_not_import_torch(module: str) -> None:
    code = f"import sys, bayes_sgd.evidence.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
