"""The kernel and its log-determinant against dense Jacobians and Hessians, laplace-torch and curvlinops; memory; Lanczos."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from bench.common.modules import as_module
from networks import CLASSES, N, dense_ggn, jacobian, network
from torch import Tensor, nn

from bayes_sgd.core.errors import UserError
from bayes_sgd.curvature import ggn as curvature
from bayes_sgd.curvature.cholesky import Factor, effective_parameters, eigenvalues, log_determinant
from bayes_sgd.curvature.ggn import Linearization, hessian_product, softmax_factor
from bayes_sgd.curvature.lanczos import lanczos_log_determinant
from bayes_sgd.training.mlp import with_ones

DEPTHS = [(), (6,), (6, 5), (6, 5, 7)]


def whole(lower: Tensor) -> Tensor:
    return lower.tril() + lower.tril(-1).T


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
    torch.testing.assert_close(at.push(direction), j @ flat)
    cotangent = torch.randn(N, CLASSES, dtype=torch.float64)
    pulled = torch.cat([part.reshape(-1) for part in at.pull(cotangent)])
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
@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
def test_the_log_determinant_is_that_of_the_dense_matrix(hidden: tuple[int, ...], l2: float) -> None:
    layers, inputs, _ = network(hidden)
    at = Linearization(layers, inputs)
    factor, dense = softmax_factor(at.logits), dense_ggn(layers, inputs)
    witness = float(torch.linalg.slogdet(torch.eye(len(dense), dtype=torch.float64) + dense / l2)[1])
    mu = torch.linalg.eigvalsh(dense).clamp_min(0)
    factorized, spectrum = Factor(at.kernel(factor), l2), eigenvalues(at.kernel(factor))
    assert factorized.log_determinant == pytest.approx(witness, rel=1e-8)
    assert log_determinant(spectrum, l2) == pytest.approx(witness, rel=1e-8)
    gamma = float((mu / (mu + l2)).sum())
    assert factorized.effective_parameters(None) == (pytest.approx(gamma, rel=1e-7), 0.0)
    assert effective_parameters(spectrum, l2) == pytest.approx(gamma, rel=1e-7)
    estimate, error = factorized.effective_parameters(400)
    assert abs(estimate - gamma) < 4 * error
    assert at.trace(factor) == pytest.approx(float(dense.trace()), rel=1e-12)
    np.testing.assert_allclose(at.top_eigenvalues(factor, 3), mu.flip(0)[:3], rtol=1e-6)


def test_the_kernel_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, inputs, _ = network((6, 5))
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    before = whole(at.kernel(factor))
    monkeypatch.setattr(curvature, "_BLOCK_BYTES", 8 * len(before) * 4)
    torch.testing.assert_close(whole(at.kernel(factor)), before, rtol=1e-13, atol=1e-13)
    assert Factor(at.kernel(factor), 0.1).effective_parameters(None)[0] == pytest.approx(
        effective_parameters(eigenvalues(before), 0.1), rel=1e-10
    )


def test_precisions_of_the_prior_divide_the_jacobian() -> None:
    layers, inputs, _ = network((6, 5))
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    precision = [(torch.rand(len(w)).double() + 0.1, torch.rand(w.shape[1]).double() + 0.1) for w in layers]
    scale = torch.cat([(rows[:, None] * columns).reshape(-1) for rows, columns in precision]).rsqrt()
    j = torch.einsum("icr,icp->rip", factor, jacobian(layers, inputs)).reshape(-1, len(scale)) * scale
    torch.testing.assert_close(whole(at.kernel(factor, precision)), j @ j.T)


def test_the_factor_solves_in_the_order_of_the_kernel() -> None:
    layers, inputs, _ = network((6,))
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    matrix = torch.eye(N * (CLASSES - 1), dtype=torch.float64) + whole(at.kernel(factor)) / 0.3
    right = torch.randn(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(Factor(at.kernel(factor), 0.3).solve(right), torch.linalg.solve(matrix, right))
    torch.testing.assert_close(at.ggn_product(factor, right), whole(at.kernel(factor)) @ right)


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (6, 5, 7)])
def test_laplace_torch_finds_the_same_evidence(hidden: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from laplace import FullLaplace

        layers, inputs, labels = network(hidden)
        l2 = 0.4
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs[:, :-1], labels), batch_size=N)
        witness = FullLaplace(as_module(layers), "classification", prior_precision=torch.tensor([l2], dtype=torch.float64))
        witness.fit(loader)
        theirs = -float(witness.log_marginal_likelihood())
    at = Linearization(layers, inputs)
    cost = float(nn.functional.cross_entropy(at.logits, labels, reduction="sum"))
    cost += 0.5 * l2 * sum(float(w.square().sum()) for w in layers)
    occam = 0.5 * Factor(at.kernel(softmax_factor(at.logits)), l2).log_determinant
    assert cost + occam == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("hidden", [(6,), (6, 5), (6, 5, 7)])
def test_curvlinops_finds_the_same_matrix(hidden: tuple[int, ...]) -> None:
    from curvlinops import GGNLinearOperator

    layers, inputs, labels = network(hidden)
    model = as_module(layers)
    operator = GGNLinearOperator(
        model, nn.CrossEntropyLoss(reduction="sum"), list(model.parameters()), [(inputs[:, :-1], labels)]
    )
    size = sum(w.numel() for w in layers)
    dense = (operator @ torch.eye(size, dtype=torch.float64)).detach()
    witness = float(torch.linalg.slogdet(torch.eye(size, dtype=torch.float64) + dense / 0.4)[1])
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    assert Factor(at.kernel(factor), 0.4).log_determinant == pytest.approx(witness, rel=1e-8)
    assert at.trace(factor) == pytest.approx(float(dense.trace()), rel=1e-10)


def test_hessian_products_are_those_of_the_dense_hessian() -> None:
    layers, inputs, labels = network((6, 5))
    shapes = [w.shape for w in layers]

    def loss(flat: Tensor) -> Tensor:
        weights = [part.view(shape) for part, shape in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)]
        activations = inputs
        for layer in weights[:-1]:
            activations = with_ones((activations @ layer).relu())
        return nn.functional.cross_entropy(activations @ weights[-1], labels, reduction="sum")

    dense = torch.func.hessian(loss)(torch.cat([w.reshape(-1) for w in layers]))
    direction = [torch.randn_like(w) for w in layers]
    mine = torch.cat([p.reshape(-1) for p in hessian_product(layers, inputs, labels, direction)])
    torch.testing.assert_close(mine, dense @ torch.cat([d.reshape(-1) for d in direction]))


def test_lanczos_agrees_with_the_exact_log_determinant_within_its_error() -> None:
    layers, inputs, _ = network((8, 8), n=60)
    at = Linearization(layers, inputs)
    factor, grid = softmax_factor(at.logits), [0.01, 0.1, 1.0, 10.0]
    spectrum = eigenvalues(at.kernel(factor))
    exact = np.array([log_determinant(spectrum, l2) for l2 in grid])
    estimate = lanczos_log_determinant(lambda v: at.ggn_product(factor, v), len(spectrum), grid, probes=30, steps=60)
    assert (np.abs(estimate.value - exact) < 4 * estimate.standard_error).all()
    assert (estimate.standard_error < 0.1 * exact).all()


def test_lanczos_is_exact_where_the_kernel_is_a_multiple_of_one() -> None:
    estimate = lanczos_log_determinant(lambda v: 3.0 * v, 40, [0.5], probes=2, steps=10)
    assert estimate.value == pytest.approx(40 * math.log(7.0))
    assert estimate.standard_error == pytest.approx(0.0, abs=1e-9)


def test_too_little_memory_is_told_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, inputs, _ = network((6,), n=200)
    at = Linearization(layers, inputs)
    factor = softmax_factor(at.logits)
    monkeypatch.setattr(curvature, "available_bytes", lambda device: 1_000_000)
    with pytest.raises(UserError, match=r"200 x 3 = 600 rows needs 0\.\d+ GB, and 0\.001 GB are free on cpu; lower n_train"):
        at.kernel(factor)


def test_free_memory_is_known_here() -> None:
    free = curvature.available_bytes(torch.device("cpu"))
    assert free is None or free > 0
    assert curvature.kernel_bytes(1000, 9) < 1.3 * 8 * 9000**2


def test_a_matrix_that_is_not_finite_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        Factor(torch.full((3, 3), math.nan, dtype=torch.float64), 1.0)
    with pytest.raises(np.linalg.LinAlgError):
        Factor(-5 * torch.eye(3, dtype=torch.float64), 1.0)
