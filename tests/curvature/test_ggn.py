"""Products with the Jacobian, and the kernel of the GGN, against dense Jacobians and curvlinops; memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import CLASSES, DEPTHS, N, dense_ggn, from_lower, jacobian, network
from torch import nn

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.core.errors import UserError
from bayes_sgd.curvature import ggn
from bayes_sgd.curvature.cholesky import CholeskyFactor
from bayes_sgd.curvature.ggn import Linearization, softmax_factor
from bayes_sgd.data import memory


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_the_factor_is_that_of_the_softmax_hessian(scale: float) -> None:
    logits = scale * torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    factor, p = softmax_factor(logits), torch.softmax(logits, 1)
    assert factor.shape == (50, 6, 5)
    off = ~torch.eye(6, dtype=torch.bool)
    product = factor @ factor.transpose(1, 2)
    torch.testing.assert_close(product[:, off], -(p[:, :, None] * p[:, None, :])[:, off], rtol=1e-10, atol=1e-18)
    # p(1 − p) from the other probabilities, since 1 − p loses its digits where p rounds to 1
    rest = torch.stack([p[:, [k for k in range(6) if k != c]].sum(1) for c in range(6)], 1)
    torch.testing.assert_close(product.diagonal(dim1=1, dim2=2), p * rest, rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize("hidden", DEPTHS)
def test_products_with_the_jacobian_are_those_of_autograd(hidden: tuple[int, ...]) -> None:
    layers, inputs, _ = network(hidden)
    at, j = Linearization(layers, inputs), jacobian(layers, inputs)
    direction = [torch.randn_like(layer) for layer in layers]
    flat = torch.cat([part.reshape(-1) for part in direction])
    torch.testing.assert_close(at.jvp(direction), j @ flat)
    cotangent = torch.randn(N, CLASSES, dtype=torch.float64)
    pulled = torch.cat([part.reshape(-1) for part in at.vjp(cotangent)])
    torch.testing.assert_close(pulled, torch.einsum("icp,ic->p", j, cotangent))


@pytest.mark.parametrize("hidden", DEPTHS)
def test_gradients_of_the_factor_are_outer_products_of_activations_and_what_comes_back(hidden: tuple[int, ...]) -> None:
    layers, inputs, _ = network(hidden)
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    mine = [torch.einsum("ia,rib->irab", a, g).flatten(2) for a, g in at.whitened(factor, None)]
    witness = torch.einsum("icr,icp->irp", factor, jacobian(layers, inputs))
    torch.testing.assert_close(torch.cat(mine, 2), witness)


@pytest.mark.parametrize("hidden", DEPTHS)
def test_trace_products_and_top_eigenvalues_are_those_of_the_dense_matrix(hidden: tuple[int, ...]) -> None:
    layers, inputs, _ = network(hidden)
    at = Linearization(layers, inputs)
    factor, dense = softmax_factor(at.logits), dense_ggn(layers, inputs)
    assert at.trace(factor) == pytest.approx(float(dense.trace()), rel=1e-12)
    np.testing.assert_allclose(at.top_eigenvalues(factor, 3), torch.linalg.eigvalsh(dense).flip(0)[:3], rtol=1e-6)
    vector = torch.randn(N * (CLASSES - 1), dtype=torch.float64)
    torch.testing.assert_close(at.ggn_product(factor, vector), from_lower(at.kernel(factor)) @ vector)


def test_the_kernel_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, inputs, _ = network((6, 5))
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    before = from_lower(at.kernel(factor))
    monkeypatch.setattr(ggn, "BLOCK_BYTES", 8 * len(before) * 4)
    torch.testing.assert_close(from_lower(at.kernel(factor)), before, rtol=1e-13, atol=1e-13)


def test_precisions_of_the_prior_divide_the_jacobian() -> None:
    layers, inputs, _ = network((6, 5))
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    precision = [(torch.rand(len(w)).double() + 0.1, torch.rand(w.shape[1]).double() + 0.1) for w in layers]
    scale = torch.cat([(rows[:, None] * columns).reshape(-1) for rows, columns in precision]).rsqrt()
    j = torch.einsum("icr,icp->rip", factor, jacobian(layers, inputs)).reshape(-1, len(scale)) * scale
    torch.testing.assert_close(from_lower(at.kernel(factor, precision)), j @ j.T)


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (6, 5, 7)])
def test_curvlinops_finds_the_same_matrix(hidden: tuple[int, ...]) -> None:
    from curvlinops import GGNLinearOperator

    layers, inputs, labels = network(hidden)
    model = as_sequential(layers)
    operator = GGNLinearOperator(
        model, nn.CrossEntropyLoss(reduction="sum"), list(model.parameters()), [(inputs[:, :-1], labels)]
    )
    size = sum(w.numel() for w in layers)
    dense = (operator @ torch.eye(size, dtype=torch.float64)).detach()
    witness = float(torch.linalg.slogdet(torch.eye(size, dtype=torch.float64) + dense / 0.4)[1])
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    assert CholeskyFactor(at.kernel(factor), 0.4).log_determinant == pytest.approx(witness, rel=1e-8)
    assert at.trace(factor) == pytest.approx(float(dense.trace()), rel=1e-10)


def test_too_little_memory_is_told_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, inputs, _ = network((6,), n=200)
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1_000_000)
    with pytest.raises(UserError, match=r"200 x 3 = 600 rows needs 0\.\d+ GB, and 0\.001 GB are free on cpu; allowed: n_train"):
        at.kernel(factor)
