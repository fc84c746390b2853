"""Evidence by annealed importance sampling against closed forms, quadrature, and the axioms of probability."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from scipy.special import expit

from bayes_sgd.evidence.ais import (
    AisSettings,
    LogLikelihood,
    annealed_importance_sampling,
    data_span,
    logistic_log_likelihood,
    reverse_annealed_importance_sampling,
)
from bayes_sgd.evidence.logistic import fit_map


def data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(n, d)), rng.integers(0, 2, n)


def with_bias(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.column_stack([inputs, np.ones(len(inputs))]))


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
    grid, settings = torch.tensor(l2, dtype=torch.float64), AisSettings(chains=128, temperatures=500)
    if backward:
        starts = torch.stack([model.posterior(a, (128,)) for a in l2])
        estimate = reverse_annealed_importance_sampling(model, grid, starts, 0, settings, model.curvature)
    else:
        estimate = annealed_importance_sampling(model, grid, 4, 0, settings, model.curvature)
    exact = torch.tensor([model.log_evidence(a) for a in l2])
    assert (estimate.standard_error < 0.1).all()
    assert (estimate.acceptance > 0.8).all()
    assert ((estimate.log_evidence - exact).abs() < 4 * estimate.standard_error).all()


def both_ways(
    target: LogLikelihood, l2: torch.Tensor, exact: torch.Tensor, temperatures: int, curvature: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The log evidence forward and backward, 8 chains for each problem."""
    settings = AisSettings(chains=8, temperatures=temperatures)
    forward = annealed_importance_sampling(target, l2, exact.shape[-1], 5, settings, curvature)
    backward = reverse_annealed_importance_sampling(target, l2, exact, 5, settings, curvature)
    return forward.log_evidence, backward.log_evidence


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
    x, y = data(12, 1, seed=3)
    x, signs = 4 * x[:, 0], 2.0 * y - 1.0
    l2 = np.array([1e-3, 0.1, 10.0])

    def density(w: float, precision: float) -> float:
        return float(expit(signs * x * w).prod()) * math.exp(-precision * w**2 / 2) * math.sqrt(precision / 2 / math.pi)

    exact = [
        math.log(scipy.integrate.quad(density, -8 / a**0.5, 8 / a**0.5, args=(a,), points=[-1, 0, 1], limit=500)[0]) for a in l2
    ]
    features, curvature = data_span(torch.from_numpy(x[:, None]))
    estimate = annealed_importance_sampling(
        logistic_log_likelihood(features, torch.from_numpy(signs)[None]),
        torch.from_numpy(l2),
        1,
        0,
        AisSettings(chains=400, temperatures=400),
        curvature,
    )
    assert (estimate.standard_error < 0.05).all()
    assert ((estimate.log_evidence - torch.tensor(exact)).abs() < 4 * estimate.standard_error).all()


@pytest.mark.parametrize(("l2", "laplace_total"), [(0.5, 0.85), (5.0, 0.95)])
def test_the_evidence_of_all_labelings_sums_to_one(l2: float, laplace_total: float) -> None:
    """Σ_y P(y|X, M) = 1 for every model: an axiom, so it needs no witness."""
    n = 8
    x, _ = data(n, 5, seed=2)
    x = 3 * x
    features, curvature = data_span(with_bias(x))
    labelings = np.array(list(itertools.product([0, 1], repeat=n)))
    estimate = annealed_importance_sampling(
        logistic_log_likelihood(features, torch.from_numpy(2.0 * labelings - 1.0)),
        torch.full((len(labelings),), l2, dtype=torch.float64),
        features.shape[1],
        0,
        AisSettings(chains=128, temperatures=50),
        curvature,
    )
    evidence = estimate.log_evidence.exp()
    total, error = float(evidence.sum()), float((evidence * estimate.standard_error).square().sum().sqrt())
    assert error < 0.015
    assert total == pytest.approx(1, abs=4 * error)

    fits = [fit_map(x, y, l2) for y in labelings]
    laplace = np.array([-fit.cost - fit.occam_penalty for fit in fits])
    # Laplace is an approximation: it sees too little evidence, the less the weaker the prior, in the right order.
    assert np.exp(laplace).sum() == pytest.approx(laplace_total, abs=0.01)
    assert np.corrcoef(laplace, estimate.log_evidence)[0, 1] > 0.99


def test_the_span_of_the_data_loses_nothing() -> None:
    x, y = data(6, 20, seed=4)
    full = with_bias(x)
    features, curvature = data_span(full)
    assert features.shape == (6, 6)
    torch.testing.assert_close(features @ features.T, full @ full.T)
    signs, l2 = torch.from_numpy(2.0 * y - 1.0)[None], torch.tensor([0.2], dtype=torch.float64)
    short = annealed_importance_sampling(logistic_log_likelihood(features, signs), l2, 6, 0, AisSettings(chains=500), curvature)
    long = annealed_importance_sampling(
        logistic_log_likelihood(full, signs), l2, 21, 0, AisSettings(chains=500), curvature.max()
    )
    error = torch.hypot(short.standard_error, long.standard_error)
    assert float(error) < 0.05
    assert float((short.log_evidence - long.log_evidence).abs()) < 4 * float(error)


def test_the_seed_fixes_the_estimate() -> None:
    x, y = data(10, 3)
    features, curvature = data_span(with_bias(x))
    target = logistic_log_likelihood(features, torch.from_numpy(2.0 * y - 1.0)[None])

    def estimate(seed: int) -> float:
        l2, settings = torch.ones(1, dtype=torch.float64), AisSettings(temperatures=20)
        return float(annealed_importance_sampling(target, l2, 4, seed, settings, curvature).log_evidence)

    assert estimate(1) == estimate(1)
    assert estimate(1) != estimate(2)
