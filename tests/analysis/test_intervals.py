"""Intervals against independent witnesses and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest

from bayes_sgd.analysis.intervals import (
    bootstrap_mean,
    chosen_by_others,
    mean_interval,
    paired_difference,
    proportion_interval,
    spearman,
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


def test_bootstrap_mean_covers() -> None:
    generator = np.random.default_rng(0)
    hits = [
        interval.low <= 0 <= interval.high
        for interval in (bootstrap_mean(generator.normal(size=8), 1000, rng=i) for i in range(300))
    ]
    assert 0.92 <= np.mean(hits) <= 0.985


def test_spearman() -> None:
    x = np.arange(10.0)[:, None]
    noise = np.random.default_rng(0).normal(0, 0.1, (10, 5))
    up, down = spearman(x + noise, x + noise), spearman(x + noise, -x + noise)
    assert up[:3] == (1, 1, 1)
    assert down.value == pytest.approx(-1)
    assert np.isnan(spearman(x + noise, np.zeros((10, 5))).value)


def test_a_seed_does_not_choose_for_itself() -> None:
    values = np.array([[9.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    assert chosen_by_others(values).tolist() == [1, 0, 0], "and of equals the first is chosen"
