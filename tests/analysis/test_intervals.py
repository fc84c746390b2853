"""Intervals against independent witnesses and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest, spearmanr, t, ttest_ind

from bayes_sgd.analysis.intervals import (
    Variance,
    bootstrap_variance,
    chosen_by_others,
    correlation_interval,
    degrees_of_freedom,
    held_out,
    jackknife_interval,
    mean_interval,
    mean_rank_interval,
    optimum_interval,
    p_value,
    paired_difference,
    proportion_interval,
    rank_correlation,
    ratio_interval,
    rounding_variance,
    seed_counts,
    spearman,
    student_interval,
)


def test_mean_intervals() -> None:
    values = np.random.default_rng(0).normal(size=12)
    found = mean_interval(values)
    assert found[:3] == pytest.approx((values.mean(), *sm.stats.DescrStatsW(values).tconfint_mean()))
    assert paired_difference(values + 5, values)[:3] == pytest.approx((5, 5, 5))
    assert np.isnan(mean_interval(values[:1]).low)
    assert mean_interval(values[:0]).n == 0


@pytest.mark.parametrize(("k", "n"), [(0, 8), (3, 8), (8, 8), (1, 1)])
def test_proportion_interval_is_the_exact_one(k: int, n: int) -> None:
    witness = binomtest(k, n).proportion_ci(method="exact")
    assert proportion_interval(k, n)[1:3] == pytest.approx((witness.low, witness.high))
    assert proportion_interval(0, 0).n == 0


def test_students_interval_of_two_variances_is_welchs() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=5), generator.normal(1, 3, size=9)
    parts = [Variance(float(x.var(ddof=1)) / len(x), len(x) - 1) for x in (a, b)]
    witness = ttest_ind(a, b, equal_var=False)
    assert student_interval(a.mean() - b.mean(), *parts) == pytest.approx(tuple(witness.confidence_interval()))
    assert p_value(a.mean() - b.mean(), 0.0, *parts) == pytest.approx(witness.pvalue)
    assert degrees_of_freedom(parts) == pytest.approx(witness.df)


def test_an_interval_without_information_has_no_ends() -> None:
    assert student_interval(1.0, Variance(0.0, 3)) == (1.0, 1.0)
    assert student_interval(1.0, Variance(np.inf, 3)) == (-np.inf, np.inf)
    assert student_interval(1.0, Variance(0.5, 0)) == (-np.inf, np.inf)
    assert np.isnan(student_interval(np.nan, Variance(0.5, 3))).all()
    low, high = student_interval(0.0, rounding_variance(1.0))
    assert (low, high) == pytest.approx((-1.96 / np.sqrt(12), 1.96 / np.sqrt(12)), rel=1e-3)
    assert p_value(1.0, 1.0, Variance(0.0, 3)) == 1.0
    assert np.isnan(p_value(1.0, 1.0, Variance(0.5, 0)))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_bootstrap_and_jackknife_of_a_mean_are_students(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    expected = mean_interval(values)
    assert jackknife_interval(lambda seeds: float(values[seeds].mean()), n) == pytest.approx(expected)
    draws = values @ seed_counts(n, 200_000, 0) / n
    assert student_interval(expected.value, bootstrap_variance(draws, n)) == pytest.approx(expected[1:3], rel=0.02)
    one_more = jackknife_interval(lambda seeds: float(values[seeds].mean()), n, least=n)
    assert np.isnan([one_more.low, one_more.high]).all(), "with no seed to leave out there is no interval"


@pytest.mark.parametrize("n", [3, 4, 8])
def test_fiellers_interval_is_where_the_difference_is_not_significant(n: int) -> None:
    generator = np.random.default_rng(n)
    a, b = generator.normal(1.0, 0.2, n), generator.normal(2.0, 0.2, n)
    found = ratio_interval(a, b)
    assert found.value == pytest.approx(a.mean() / b.mean())
    for end in found[1:3]:
        left = a - end * b
        assert abs(left.mean()) / (left.std(ddof=1) / np.sqrt(n)) == pytest.approx(t.ppf(0.975, n - 1))
    flat = ratio_interval(a, b - b.mean() + 0.01)
    assert flat[1:3] == (-np.inf, np.inf), "a denominator that may be 0 bounds nothing"


def test_fieller_holds_for_three_seeds_where_percentiles_of_a_bootstrap_do_not() -> None:
    generator = np.random.default_rng(0)
    pairs = [(generator.normal(0.8, 0.1, 3), generator.normal(1.0, 0.1, 3)) for _ in range(2000)]
    hits = [found.low <= 0.8 <= found.high for found in (ratio_interval(*pair) for pair in pairs)]
    assert 0.935 <= np.mean(hits) <= 0.965
    ranges = [np.sort(a / b) for a, b in pairs]  # the smallest and the largest of three ratios
    assert np.mean([low <= 0.8 <= high for low, _, high in ranges]) < 0.8


def test_an_optimum_that_replicates_censor_is_open_on_that_side() -> None:
    draws = np.random.default_rng(0).normal(3.0, 0.1, 1000)
    low, high = optimum_interval(3.0, draws, 6)
    assert np.log([low, high]) == pytest.approx(student_interval(3.0, bootstrap_variance(draws, 6)))
    draws[:30] = -np.inf
    assert optimum_interval(3.0, draws, 6)[0] == 0.0
    draws[:30] = np.inf
    assert optimum_interval(3.0, draws, 6)[1] == np.inf
    assert np.isnan(optimum_interval(3.0, draws, 1)).all()


def test_spearman() -> None:
    x = np.arange(10.0)[:, None]
    noise = np.random.default_rng(0).normal(0, 0.1, (10, 5))
    up, down = spearman(x + noise, x + noise), spearman(x + noise, -x + noise)
    assert up[:3] == (1, 1, 1)
    assert down.value == pytest.approx(-1)
    assert spearman(x + noise, np.zeros((10, 5))).value == 0.0
    a, b = np.random.default_rng(1).normal(size=(2, 10, 4))
    assert rank_correlation(a, b) == pytest.approx([spearmanr(a[:, s], b[:, s]).statistic for s in range(4)])


def test_ranks_over_settings_at_hand_are_as_uncertain_as_the_seeds_and_the_steps_of_a_rank() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 8, 1)) + 0.1 * generator.normal(size=(2, 8, 5))
    rho = rank_correlation(x, y)
    found = mean_rank_interval(rho, 8)
    assert found.n == 5
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.5, "no correlation can be told from one of 0.5"
    same = mean_rank_interval(np.full(5, 0.25), 8)
    assert same.high - same.low == pytest.approx(2 * 1.96 * 12 / (8**3 - 8) / np.sqrt(12), rel=0.1)
    apart = mean_rank_interval(np.array([-1.5, -1.3, -1.4]), 8, difference=True)
    assert apart.low < -1.4 < apart.high < -1, "a difference of two lies between -2 and 2"
    assert np.isnan(mean_rank_interval(rho[:1], 8).low), "one seed has no interval"
    assert correlation_interval(1.0, Variance(0.0, 3), 4)[:3] == (1.0, 1.0, 1.0)
    near = correlation_interval(0.99, Variance(0.01, 7), 5)
    assert near.low < 0.99 < near.high == 1.0
    assert correlation_interval(-0.99, Variance(1e-6, 7), 5).low == -1.0


def test_a_seed_does_not_choose_for_itself() -> None:
    values = np.array([[9.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    assert chosen_by_others(values).tolist() == [1, 0, 0], "and of equals the first is chosen"
    by = values + 10
    assert held_out(values, by).tolist() == [0.0, 0.0, 0.0], "the row that others choose, at the seed itself"
