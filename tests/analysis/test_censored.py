"""Censored regression: closed forms, another optimizer's maximum, and what leaving out censored optima does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from bayes_sgd.analysis.censored import LEAST_SCATTER, Censored, akaike, censored_fit, offset_law, power_law

N = np.array([500.0, 1000, 4000, 16000, 30000, 60000])


def uncensored(log_b: np.ndarray) -> Censored:
    return Censored(log_b, np.full(len(log_b), -np.inf), np.full(len(log_b), np.inf))


def cut(log_b: np.ndarray, high: float) -> Censored:
    """Values beyond the upper end of a grid are only known to lie there."""
    ends = np.zeros(len(log_b)), np.full(len(log_b), high)
    return Censored(np.where(log_b > high, np.inf, log_b), *ends)


def test_without_censored_values_a_power_law_is_least_squares():
    y = np.random.default_rng(0).normal(3, 1, (6, 4))
    fit = censored_fit(uncensored(y), power_law(N))
    slopes, intercepts = np.polyfit(np.log(N), y, 1)
    np.testing.assert_allclose(fit.parameters, [intercepts, slopes], rtol=1e-8)
    np.testing.assert_allclose(fit.scatter, np.sqrt(((y - fit.fitted) ** 2).mean(axis=0)))
    expected = norm.logpdf(y, fit.fitted, fit.scatter).sum(axis=0)
    np.testing.assert_allclose(fit.log_likelihood, expected)


@pytest.mark.parametrize(("offset", "slope"), [(8.3, 15.2), (3.0, 0.1), (40.0, 200.0)])
def test_an_exact_law_with_an_offset_is_found(offset, slope):
    x = np.array([0.05, 0.1, 0.5, 1.0, 2.0, 6.0, 30.0])
    fit = censored_fit(uncensored(np.log(offset + slope * x)[:, None]), offset_law(x))
    np.testing.assert_allclose(fit.parameters[:, 0], [offset, slope], rtol=1e-5)
    assert fit.scatter[0] == LEAST_SCATTER
    times = offset_law(x, x[::-1])
    fit = censored_fit(uncensored(np.log((offset + slope * x) * x[::-1] ** 0.3)[:, None]), times)
    np.testing.assert_allclose(fit.parameters[:, 0], [offset, slope, 0.3], rtol=1e-4)


def test_a_constant_and_a_proportional_law_are_limits():
    x = np.array([1.0, 2, 4, 8])
    constant, proportional = (censored_fit(uncensored(y[:, None]), offset_law(x)) for y in (np.full(4, 3.0), np.log(5 * x)))
    np.testing.assert_allclose(constant.fitted[:, 0], 3.0, atol=1e-3)
    np.testing.assert_allclose(proportional.fitted[:, 0], np.log(5 * x), atol=1e-3)


@pytest.mark.parametrize("above", [1, 2, 3])
def test_a_censored_fit_has_the_maximum_of_the_likelihood(above):
    y = 0.4 * np.log(N) + np.random.default_rng(above).normal(0, 0.5, 6)
    data = cut(y[:, None], np.sort(y)[-above] - 0.01)
    fit = censored_fit(data, power_law(N))

    def loss(p):
        fitted, scatter = p[0] + p[1] * np.log(N), np.exp(p[2])
        inside = np.isfinite(data.log_b[:, 0])
        z = (data.high - fitted) / scatter
        return -np.where(inside, norm.logpdf(np.where(inside, y, 0), fitted, scatter), norm.logsf(z)).sum()

    best = minimize(loss, [*fit.parameters[:, 0], np.log(fit.scatter[0])], method="Nelder-Mead", options={"xatol": 1e-7})
    assert fit.log_likelihood[0] == pytest.approx(-best.fun, abs=1e-3)
    np.testing.assert_allclose(fit.parameters[:, 0], best.x[:2], atol=0.05)


def test_leaving_out_censored_optima_biases_an_exponent_and_the_fit_does_not():
    rng = np.random.default_rng(5)
    y = np.log(10) + 0.8 * np.log(N / 500)[:, None] + rng.normal(0, 0.5, (6, 400))
    high = np.log(10) + 0.8 * np.log(16000 / 500)
    slopes = censored_fit(cut(y, high), power_law(N)).parameters[1]
    left = [np.polyfit(np.log(N[k]), column[k], 1)[0] for column in y.T for k in [column <= high] if k.sum() > 2]
    assert np.median(slopes) == pytest.approx(0.8, abs=0.03)
    assert np.median(left) < 0.75


def test_an_optimum_below_the_grid_is_a_bound_too():
    y = np.array([[-np.inf], [1.0], [2.0], [3.0]])
    fit = censored_fit(Censored(y, np.full(4, 0.5), np.full(4, 9.0)), power_law(np.exp([0.0, 1, 2, 3])))
    assert fit.parameters[1, 0] == pytest.approx(1.0, abs=0.05)


def test_an_error_of_a_censored_optimum_is_how_far_inside_the_prediction_lies():
    data = Censored(np.array([[np.inf], [np.inf], [-np.inf], [2.0]]), np.zeros(4), np.full(4, 3.0))
    missed = data.missed_by(np.array([[2.5], [4.0], [0.5], [1.5]]))
    np.testing.assert_array_equal(missed[:, 0], [0.5, 0.0, -0.5, 0.5])


def test_a_replicate_that_has_no_value_has_no_fit():
    y = np.array([[1.0, np.nan], [2.0, 2.0], [3.0, 3.0]])
    slopes = censored_fit(uncensored(y), power_law(np.exp([1.0, 2, 3]))).parameters[1]
    assert slopes[0] == pytest.approx(1.0)
    assert np.isnan(slopes[1])


def test_akaike_by_hand():
    assert akaike(-10.0, 2, 24) == pytest.approx(6 + 20 + 24 / 20)
