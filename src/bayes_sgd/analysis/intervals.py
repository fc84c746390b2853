"""Intervals and tests. The paper has none, so every choice here is ours.

Takes values of independent seeds, (S,), or bootstrap replicates; gives 95 % intervals (Student, Clopper-Pearson, expanded
percentile), p values, and their correction for several tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# scipy.stats gives the same numbers, and takes half a second to import
from scipy.special import betaincinv, ndtr, stdtr, stdtrit

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its two-sided interval and the number of independent units behind it (seeds)."""

    value: float
    low: float
    high: float
    n: int


def mean_interval(values: Floats, level: float = 0.95) -> Interval:
    """Mean of `values` (S,) with Student's t-interval; both ends NaN for one value, all NaN for none (our choice)."""
    values = values[np.isfinite(values)]
    n = len(values)
    mean = float(values.mean()) if n else np.nan
    half = float(stdtrit(n - 1, 0.5 + level / 2) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(a: Floats, b: Floats, level: float = 0.95) -> Interval:
    """Mean of a − b over paired seeds, both (S,), with Student's t-interval: what a pair shares cancels."""
    return mean_interval(a - b, level)


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """A share of `n` independent runs with the Clopper-Pearson interval, which never covers less than `level`."""
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return Interval(successes / n, low, high, n)


def percentile_interval(replicates: Floats, n: int, level: float = 0.95) -> tuple[float, float]:
    """Expanded percentile interval of bootstrap replicates (R,) of a statistic of `n` units (Hesterberg 2015, §4.2).

    The plain percentile interval is too short by about sqrt((n−1)/n)·z/t; each tail here holds
    Φ(−sqrt(n/(n−1))·t) of the replicates. NaN replicates are left out; infinite ones leave that end open.
    """
    replicates = replicates[~np.isnan(replicates)]
    if n < 2 or not len(replicates):
        return np.nan, np.nan
    tail = float(ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.5 + level / 2)))
    # Order statistics, not interpolation: ends are attained values, and ±inf makes no NaN.
    low = np.quantile(replicates, tail, method="lower")
    return float(low), float(np.quantile(replicates, 1 - tail, method="higher"))


def seed_counts(n_seeds: int, n_replicates: int, rng: int) -> Floats:
    """How often each seed is drawn in each bootstrap replicate, (S, R)."""
    generator = np.random.default_rng(rng)
    return generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_replicates).T.astype(np.float64)


def bootstrap_mean(values: Floats, n_replicates: int = 4000, rng: int = 0) -> Interval:
    """Mean of `values` (S,) with the expanded percentile interval: for skewed differences, where t misleads.

    Below five values their percentiles are the values themselves, and cover too seldom: Student's interval then.
    """
    n = len(values)
    if n < 5:
        return mean_interval(values)
    draws = values @ seed_counts(n, n_replicates, rng) / n
    return Interval(float(values.mean()), *percentile_interval(draws, n), n)


def chosen_by_others(values: Floats) -> NDArray[np.int64]:
    """For each seed the row of `values` (K, S), S ≥ 2, that is best in the mean over the other seeds; the first of equals.

    So the row at which a seed is measured was not chosen by its own luck.
    """
    seeds = np.arange(values.shape[1])
    return np.array([values[:, seeds != s].mean(axis=1).argmax() for s in seeds])


def ranks(values: Floats) -> Floats:
    """The rank of each value in its column, 1 for the smallest, equal values their mean rank; both (L, S)."""
    return pd.DataFrame(values).rank().to_numpy()


def spearman(a: Floats, b: Floats, n_replicates: int = 2000, rng: int = 0) -> Interval:
    """Spearman correlation over L settings of the seed means of `a` and `b`, both (L, S); bootstrap over seeds."""
    n = a.shape[1]
    counts = np.hstack([np.ones((n, 1)), seed_counts(n, n_replicates, rng)]) / n
    ranks_a, ranks_b = (ranks(x @ counts) - (len(a) + 1) / 2 for x in (a, b))
    norm = np.sqrt((ranks_a**2).sum(0) * (ranks_b**2).sum(0))
    rho = np.divide((ranks_a * ranks_b).sum(0), norm, out=np.full(norm.shape, np.nan), where=norm > 0)
    return Interval(float(rho[0]), *percentile_interval(rho[1:], n), n)


def p_value(value: float, expected: float, draws: Floats, n: int) -> float:
    """Two-sided p of `expected`, from Student's t with n − 1 degrees of freedom and the bootstrap's standard error."""
    draws = draws[np.isfinite(draws)]
    if n < 2 or len(draws) < 2 or not np.isfinite(value):
        return np.nan
    error = float(draws.std(ddof=1)) * np.sqrt(n / (n - 1))
    return float(2 * stdtr(n - 1, -abs(value - expected) / error)) if error > 0 else float(value == expected)


def with_holm(scaling: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """The scaling table with `p_holm`: `p_proportional` corrected for several tests (Holm 1979).

    One family of tests is the experiments along `axes` with the same treatment, estimator, phase and share of the budget.
    """
    scaling = scaling.assign(p_holm=np.nan)
    tested = scaling["axis"].isin(axes) & scaling["p_proportional"].notna()
    for _, group in scaling.loc[tested].groupby(["treatment", "estimator", "phase", "budget_fraction"]):
        p = group["p_proportional"].to_numpy(dtype=np.float64)
        order = p.argsort()
        steps = np.minimum(1, p[order] * np.arange(len(p), 0, -1))
        scaling.loc[group.index[order], "p_holm"] = np.maximum.accumulate(steps)
    return scaling
