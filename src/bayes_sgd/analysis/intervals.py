"""Intervals and tests. The paper has none, so every choice here is ours.

Takes values of independent seeds, (S,), bootstrap or jackknife replicates; gives 95 % intervals (Student, Fieller,
Clopper-Pearson), p values, and their correction for several tests. Verdicts rest on Student's t with a
standard error from the replicates: percentiles of three to eight seeds are hardly more than the smallest and the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# scipy.stats gives the same numbers, and takes half a second to import
from scipy.special import betaincinv, stdtr, stdtrit

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


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


def proportion_interval(successes: float, n: int, level: float = 0.95) -> Interval:
    """A share of `n` independent runs with the Clopper-Pearson interval, which never covers less than `level`."""
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    tail = (1 - level) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return Interval(successes / n, low, high, n)


class Variance(NamedTuple):
    """An estimated variance and its degrees of freedom."""

    value: float
    degrees: float


def student_interval(value: float, *parts: Variance, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of an estimate whose variance is a sum of independent estimates (Welch 1947, Satterthwaite 1946).

    One part: the usual interval. No degrees of freedom, or an infinite variance: both ends infinite.
    """
    variance = sum(part.value for part in parts)
    if np.isnan(value) or np.isnan(variance):
        return np.nan, np.nan
    if variance == 0:
        return value, value
    if not np.isfinite(variance) or any(part.degrees <= 0 for part in parts if part.value):
        return -np.inf, np.inf
    half = float(stdtrit(degrees_of_freedom(parts), 0.5 + level / 2) * np.sqrt(variance))
    return value - half, value + half


def degrees_of_freedom(parts: Sequence[Variance]) -> float:
    """Degrees of freedom of a sum of variances, one of them not 0, after Satterthwaite; of known variances, infinite."""
    share = sum(part.value**2 / part.degrees for part in parts if part.value)
    return sum(part.value for part in parts) ** 2 / share if share else np.inf


def rounding_variance(step: float) -> Variance:
    """Variance of an error that is anywhere within half a step of a grid, the same for all seeds."""
    return Variance(step**2 / 12, np.inf)


def bootstrap_variance(replicates: Floats, n: int) -> Variance:
    """Variance of a statistic of `n` units from its bootstrap replicates (R,), NaN or infinite ones left out.

    The plug-in variance of a bootstrap is too small by (n − 1)/n.
    """
    replicates = replicates[np.isfinite(replicates)]
    return Variance(float(replicates.var()) * n / (n - 1) if n > 1 and len(replicates) else np.nan, n - 1)


def jackknife_variance(left_out: Floats) -> Variance:
    """Variance of a statistic of n units from its values with one unit left out each (n,) (Tukey 1958)."""
    n = len(left_out)
    return Variance((n - 1) * float(left_out.var()) if n > 1 else np.nan, n - 1)


def jackknife_interval(statistic: Callable[[Places], float], n: int, least: int = 1, level: float = 0.95) -> Interval:
    """A statistic of `n` seeds with Student's interval by a jackknife: the whole of it is done again without each seed.

    For what is no mean of independent values, such as an accuracy at batch sizes that seeds choose for one another.

    Args:
        statistic: its value on the seeds at these places.
        n: the number of seeds.
        least: how many seeds the statistic needs; with no seed more both ends are NaN.
        level: of the interval.
    """
    every = np.arange(n)
    value = float(statistic(every))
    if n <= max(1, least):
        return Interval(value, np.nan, np.nan, n)
    left_out = np.array([statistic(np.delete(every, s)) for s in range(n)])
    return Interval(value, *student_interval(value, jackknife_variance(left_out), level=level), n)


def ratio_interval(numerator: Floats, denominator: Floats, level: float = 0.95) -> Interval:
    """Ratio of the means of paired values, both (S,), with Fieller's interval (1954), which holds for few seeds.

    Where the mean of the denominator is not significantly different from 0 the data bound no ratio: both ends are infinite.
    """
    n = len(numerator)
    a, b = float(numerator.mean()), float(denominator.mean())
    if n < 2 or b == 0:
        return Interval(a / b if b else np.nan, np.nan, np.nan, n)
    (vaa, vab), (_, vbb) = stdtrit(n - 1, 0.5 + level / 2) ** 2 / n * np.cov(numerator, denominator)
    square = b * b - vbb
    root = (a * b - vab) ** 2 - square * (a * a - vaa)
    if square <= 0 or root < 0:
        return Interval(a / b, -np.inf, np.inf, n)
    middle, half = (a * b - vab) / square, np.sqrt(root) / square
    return Interval(a / b, float(middle - half), float(middle + half), n)


def optimum_interval(log_b: float, replicates: Floats, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a positive number from its logarithm and bootstrap replicates of that (R,): Student's on the logarithm.

    An end is open, 0 or inf, if more replicates than an interval may leave out on its side are −inf or inf.
    """
    draws = replicates[~np.isnan(replicates)]
    if n < 2 or not len(draws):
        return np.nan, np.nan
    low, high = np.exp(student_interval(log_b, bootstrap_variance(draws, n), level=level))
    below, above = ((draws == side).mean() > (1 - level) / 2 for side in (-np.inf, np.inf))
    return 0.0 if below else float(low), np.inf if above else float(high)


def seed_counts(n_seeds: int, n_replicates: int, rng: int) -> Floats:
    """How often each seed is drawn in each bootstrap replicate, (S, R)."""
    generator = np.random.default_rng(rng)
    return generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_replicates).T.astype(np.float64)


def held_out(values: Floats, by: Floats) -> Floats:
    """For each seed its value in the row of `values` (K, S) that the other seeds choose by `by` (K, S), (S,); S ≥ 2."""
    return values[chosen_by_others(by), np.arange(values.shape[1])]


def chosen_by_others(values: Floats) -> NDArray[np.int64]:
    """For each seed the row of `values` (K, S), S ≥ 2, that is best in the mean over the other seeds; the first of equals.

    So the row at which a seed is measured was not chosen by its own luck.
    """
    seeds = np.arange(values.shape[1])
    return np.array([values[:, seeds != s].mean(axis=1).argmax() for s in seeds])


def ranks(values: Floats) -> Floats:
    """The rank of each value (K, ...) along the first axis, 1 for the smallest, equal values their mean rank."""
    below, same = (compare(values[None], values[:, None]).sum(axis=1) for compare in (np.less, np.equal))
    return below + (same + 1) / 2


def rank_correlation(a: Floats, b: Floats) -> Floats:
    """Spearman's correlation of `a` and `b`, both (K, ...), along the first axis; 0 where one of them does not vary."""
    return correlation(ranks(a), ranks(b))


def correlation(a: Floats, b: Floats) -> Floats:
    """Correlation of `a` and `b`, both (K, ...), along the first axis; 0 where one of them does not vary."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norms = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), norms, out=np.zeros(norms.shape), where=norms > 1e-12)


def correlation_interval(value: float, variance: Variance, n: int, level: float = 0.95) -> Interval:
    """A correlation with an interval symmetric in Fisher's z = artanh ρ, from the variance of ρ itself (delta method).

    |ρ| counts as 0.97 at most, or a variance would have no z; beyond that nothing up to 1 is excluded.
    """
    if not variance.value > 0:
        return Interval(value, *((value, value) if variance.value == 0 else (np.nan, np.nan)), n)
    near = float(np.clip(value, -0.97, 0.97))
    half = float(stdtrit(variance.degrees, 0.5 + level / 2) * np.sqrt(variance.value)) / (1 - near**2)
    low, high = (float(np.tanh(np.arctanh(near) + side * half)) for side in (-1, 1))
    return Interval(value, -1.0 if value < near else low, 1.0 if value > near else high, n)


def mean_rank_interval(rho: Floats, settings: int, difference: bool = False) -> Interval:
    """Mean over seeds of rank correlations (S,) over the same few settings.

    The settings are those at hand and no sample: an interval that stood for all settings there could be would, for fewer than
    some twenty, never exclude any claim. The variance is that over seeds and that of the steps in which a rank correlation
    moves. Simulated studies bear out the choice (`claims.coverage_study`).

    Args:
        rho: a seed each.
        settings: how many settings there are.
        difference: of two rank correlations each, which have no z of Fisher: Student's interval of the difference itself.
    """
    n, value = len(rho), float(rho.mean())
    if n < 2:
        return Interval(value, np.nan, np.nan, n)
    parts = Variance(float(rho.var(ddof=1)) / n, n - 1), rounding_variance(12 / (settings**3 - settings))
    if difference:
        return Interval(value, *student_interval(value, *parts), n)
    return correlation_interval(value, Variance(sum(part.value for part in parts), degrees_of_freedom(parts)), n)


def spearman(a: Floats, b: Floats, least: int = 0) -> Interval:
    """Spearman's correlation over L settings of the seed means of `a` and `b`, both (L, S); jackknife over seeds.

    The settings are a fine grid along one curve, and no sample: only the seeds are. With no seed more than `least` both ends
    are NaN, as in `jackknife_interval`.
    """
    n = a.shape[1]
    draws = np.hstack([np.ones((n, 1)), 1 - np.eye(n)])
    rho = rank_correlation(a @ draws, b @ draws)
    if n <= least:
        return Interval(float(rho[0]), np.nan, np.nan, n)
    return correlation_interval(float(rho[0]), jackknife_variance(rho[1:]), n)


def p_value(value: float, expected: float, *parts: Variance) -> float:
    """Two-sided p of `expected` from Student's t; below 0.05 where `student_interval` excludes it."""
    variance = sum(part.value for part in parts)
    if not np.isfinite([value, variance]).all() or any(part.degrees <= 0 for part in parts if part.value):
        return np.nan
    if variance == 0:
        return float(value == expected)
    return float(2 * stdtr(degrees_of_freedom(parts), -abs(value - expected) / np.sqrt(variance)))


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
