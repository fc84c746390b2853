"""The log evidence ratio against independent witnesses: eigenvalues, laplace-torch, closed forms, the axioms."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from scipy.special import expit

from bayes_sgd.evidence.laplace import (
    LogLikelihood,
    annealed_importance_sampling,
    data_span,
    log_evidence_ratio,
    logistic_log_likelihood,
    null_cost,
    occam_penalty,
)
from bayes_sgd.evidence.logistic import fit_map, hessian


def problem(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(n, d)), rng.integers(0, 2, n)


def with_bias(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.column_stack([inputs, np.ones(len(inputs))]))


def test_occam_factor_is_half_the_sum_of_the_log_eigenvalue_ratios() -> None:
    x, _ = problem(30, 7)
    h = x.T @ x + 0.3 * np.eye(7)
    assert occam_penalty(h, 0.3) == pytest.approx(0.5 * np.log(np.linalg.eigvalsh(h) / 0.3).sum(), rel=1e-12)


def test_occam_factor_ignores_dimensions_that_the_data_do_not_see() -> None:
    x, _ = problem(30, 7)
    h = x.T @ x + 0.3 * np.eye(7)
    larger = 0.3 * np.eye(12)
    larger[2:9, 2:9] = h
    assert occam_penalty(larger, 0.3) == pytest.approx(occam_penalty(h, 0.3), rel=1e-12)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_occam_factor_refuses_what_is_no_minimum(value: float) -> None:
    with pytest.raises(np.linalg.LinAlgError):
        occam_penalty(np.diag([1.0, value, 2.0]), 1.0)


def test_the_null_model_costs_n_ln_classes() -> None:
    assert null_cost(800, 2) == pytest.approx(554.5, abs=0.05)
    assert null_cost(1000, 10) == pytest.approx(2302.6, abs=0.05)
    assert log_evidence_ratio(10.0, 5.0, 1000, 10) == 15.0 - null_cost(1000, 10)


@pytest.mark.parametrize("l2", [1e-3, 1.0, 50.0])
def test_laplace_torch_finds_the_same_evidence(l2: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from laplace import FullLaplace

    x, y = problem(60, 8)
    fit = fit_map(x, y, l2)
    # Two logits ±f/2 with the prior precision 2λ on their weights give f the prior N(0, 1/λ), while no likelihood sees
    # the sum of the two: the same model.
    model = torch.nn.Linear(8, 2, dtype=torch.float64)
    half = torch.from_numpy(fit.weights) / 2
    with torch.no_grad():
        model.weight.copy_(torch.stack([-half[:-1], half[:-1]]))
        model.bias.copy_(torch.stack([-half[-1], half[-1]]))
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    witness = FullLaplace(model, "classification", prior_precision=torch.tensor([2 * l2], dtype=torch.float64))
    witness.fit(torch.utils.data.DataLoader(data, batch_size=60))
    theirs = -float(witness.log_marginal_likelihood()) - null_cost(60, 2)
    assert log_evidence_ratio(fit.cost, fit.occam_penalty, 60, 2) == pytest.approx(theirs, rel=1e-6)


def test_the_hessian_is_that_of_automatic_differentiation() -> None:
    x, y = problem(40, 6)
    features, signs = with_bias(x), torch.from_numpy(2.0 * y - 1.0)
    w = torch.linspace(-2, 2, 7, dtype=torch.float64)

    def cost(w: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.logsigmoid(signs * (features @ w)).sum() + 0.7 * w @ w / 2

    witness = torch.func.hessian(cost)(w)
    np.testing.assert_allclose(hessian(features.numpy(), (features @ w).numpy(), 0.7), witness, rtol=1e-12)


class GaussianModel:
    """y = X θ + noise, 15 examples, 4 weights: its evidence and its posterior are known."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.x, self.y, self.noise = rng.normal(size=(15, 4)), rng.normal(size=15), 0.5
        self.features, self.target = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.curvature = torch.linalg.eigvalsh(self.features.T @ self.features)[-1] / self.noise**2

    def log_evidence(self, l2: float) -> float:
        cov = self.noise**2 * np.eye(15) + self.x @ self.x.T / l2
        return float(scipy.stats.multivariate_normal.logpdf(self.y, cov=cov))

    def posterior(self, l2: float, shape: tuple[int, ...]) -> torch.Tensor:
        cov = np.linalg.inv(self.x.T @ self.x / self.noise**2 + l2 * np.eye(4))
        mean = cov @ self.x.T @ self.y / self.noise**2
        return torch.from_numpy(np.random.default_rng(2).multivariate_normal(mean, cov, shape))

    def __call__(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        residual = (self.target - theta @ self.features.T) / self.noise
        value = -0.5 * residual.square().sum(-1) - 15 * math.log(self.noise * math.sqrt(2 * math.pi))
        return value, residual @ self.features / self.noise


@pytest.mark.parametrize("backward", [False, True])
def test_sampling_agrees_with_the_closed_form_of_a_gaussian_model(backward: bool) -> None:
    model, l2 = GaussianModel(), [0.1, 1.0, 10.0]
    found = annealed_importance_sampling(
        model,
        torch.tensor(l2, dtype=torch.float64),
        4,
        seed=0,
        chains=128,
        temperatures=500,
        curvature=model.curvature,
        exact=torch.stack([model.posterior(a, (128,)) for a in l2]) if backward else None,
    )
    exact = torch.tensor([model.log_evidence(a) for a in l2])
    assert (found.standard_error < 0.1).all()
    assert (found.acceptance > 0.8).all()
    assert ((found.log_evidence - exact).abs() < 4 * found.standard_error).all()


def both_ways(
    target: LogLikelihood, l2: torch.Tensor, exact: torch.Tensor, temperatures: int, **more: Any
) -> list[torch.Tensor]:
    """The log evidence forward and backward, 8 chains for each problem."""
    return [
        annealed_importance_sampling(
            target, l2, exact.shape[-1], seed=5, chains=8, temperatures=temperatures, exact=start, **more
        ).log_evidence
        for start in (None, exact)
    ]


def z_score(values: torch.Tensor) -> float:
    """The mean in units of its standard error."""
    return float(values.mean() / values.std() * math.sqrt(len(values)))


def test_forward_errs_low_and_backward_high_less_so_with_more_temperatures() -> None:
    model, replicates = GaussianModel(), 200
    l2, starts = torch.ones(replicates, dtype=torch.float64), model.posterior(1.0, (replicates, 1))
    truth, widths = model.log_evidence(1.0), []
    for temperatures in (15, 100, 500):
        low, high = both_ways(model, l2, starts, temperatures, curvature=model.curvature)
        assert z_score(low - truth) < 3
        assert z_score(high - truth) > -3
        if temperatures == 15:
            assert z_score(low - truth) < -3
            assert z_score(high - truth) > 3
        widths.append(float((high - low).mean()))
    assert widths[0] > 1 > widths[1]
    assert abs(widths[2]) < 0.05


def test_labels_from_the_model_bound_the_evidence_that_quadrature_gives() -> None:
    """E[w] = Z and E[1/w] = 1/Z over labels and samples, although all chains of a problem start at its one sample."""
    n, replicates, l2 = 8, 3000, 0.05
    rng = np.random.default_rng(4)
    x = rng.normal(size=n)
    theta = rng.normal(size=replicates) / math.sqrt(l2)
    signs = np.where(rng.uniform(size=(replicates, n)) < expit(np.outer(theta, x)), 1.0, -1.0)
    grid = np.linspace(-9, 9, 4001) / math.sqrt(l2)
    density = scipy.stats.norm.pdf(grid, scale=1 / math.sqrt(l2))
    labelings, which = np.unique(signs, axis=0, return_inverse=True)
    evidence = [scipy.integrate.trapezoid(expit(t[:, None] * x[:, None] * grid).prod(0) * density, grid) for t in labelings]
    truth = torch.from_numpy(np.log(evidence)[which])

    features, curvature = data_span(torch.from_numpy(x[:, None]))
    logits = torch.from_numpy(np.outer(theta, x))
    starts = (logits @ features / (4 * curvature))[:, None]
    low, high = both_ways(
        logistic_log_likelihood(features, torch.from_numpy(signs)),
        torch.full((replicates,), l2, dtype=torch.float64),
        starts,
        temperatures=4,
        curvature=curvature,
    )
    assert abs(z_score((low - truth).exp() - 1)) < 3
    assert abs(z_score((truth - high).exp() - 1)) < 3
    assert z_score(low - truth) < -3
    assert z_score(high - truth) > 3


def test_sampling_agrees_with_quadrature_of_a_logistic_model() -> None:
    x, y = problem(12, 1, seed=3)
    x, signs = 4 * x[:, 0], 2.0 * y - 1.0
    l2 = np.array([1e-3, 0.1, 10.0])

    def density(w: float, precision: float) -> float:
        return float(expit(signs * x * w).prod()) * math.exp(-precision * w**2 / 2) * math.sqrt(precision / 2 / math.pi)

    exact = [
        math.log(scipy.integrate.quad(density, -8 / a**0.5, 8 / a**0.5, args=(a,), points=[-1, 0, 1], limit=500)[0]) for a in l2
    ]
    features, curvature = data_span(torch.from_numpy(x[:, None]))
    found = annealed_importance_sampling(
        logistic_log_likelihood(features, torch.from_numpy(signs)[None]),
        torch.from_numpy(l2),
        1,
        seed=0,
        chains=400,
        temperatures=400,
        curvature=curvature,
    )
    assert (found.standard_error < 0.05).all()
    assert ((found.log_evidence - torch.tensor(exact)).abs() < 4 * found.standard_error).all()


@pytest.mark.parametrize(("l2", "laplace_total"), [(0.5, 0.85), (5.0, 0.95)])
def test_the_evidence_of_all_labelings_sums_to_one(l2: float, laplace_total: float) -> None:
    """Σ_y P(y|X, M) = 1 for every model: an axiom, so it needs no witness."""
    n = 8
    x, _ = problem(n, 5, seed=2)
    x = 3 * x
    features, curvature = data_span(with_bias(x))
    labelings = np.array(list(itertools.product([0, 1], repeat=n)))
    found = annealed_importance_sampling(
        logistic_log_likelihood(features, torch.from_numpy(2.0 * labelings - 1.0)),
        torch.full((len(labelings),), l2, dtype=torch.float64),
        features.shape[1],
        seed=0,
        chains=128,
        temperatures=50,
        curvature=curvature,
    )
    evidence = found.log_evidence.exp()
    total, error = float(evidence.sum()), float((evidence * found.standard_error).square().sum().sqrt())
    assert error < 0.015
    assert total == pytest.approx(1, abs=4 * error)

    fits = [fit_map(x, y, l2) for y in labelings]
    laplace = np.array([-fit.cost - fit.occam_penalty for fit in fits])
    # Laplace is an approximation: it sees too little evidence, the less the weaker the prior, in the right order.
    assert np.exp(laplace).sum() == pytest.approx(laplace_total, abs=0.01)
    assert np.corrcoef(laplace, found.log_evidence)[0, 1] > 0.99


def test_the_span_of_the_data_loses_nothing() -> None:
    x, y = problem(6, 20, seed=4)
    full = with_bias(x)
    features, curvature = data_span(full)
    assert features.shape == (6, 6)
    torch.testing.assert_close(features @ features.T, full @ full.T)
    signs, l2 = torch.from_numpy(2.0 * y - 1.0)[None], torch.tensor([0.2], dtype=torch.float64)
    short = annealed_importance_sampling(
        logistic_log_likelihood(features, signs), l2, 6, seed=0, chains=500, curvature=curvature
    )
    long = annealed_importance_sampling(
        logistic_log_likelihood(full, signs), l2, 21, seed=0, chains=500, curvature=curvature.max()
    )
    error = torch.hypot(short.standard_error, long.standard_error)
    assert float(error) < 0.05
    assert float((short.log_evidence - long.log_evidence).abs()) < 4 * float(error)


def test_the_seed_fixes_the_estimate() -> None:
    x, y = problem(10, 3)
    features, curvature = data_span(with_bias(x))
    target = logistic_log_likelihood(features, torch.from_numpy(2.0 * y - 1.0)[None])

    def estimate(seed: int) -> float:
        one = torch.ones(1, dtype=torch.float64)
        return float(annealed_importance_sampling(target, one, 4, seed, temperatures=20, curvature=curvature).log_evidence)

    assert estimate(1) == estimate(1)
    assert estimate(1) != estimate(2)
